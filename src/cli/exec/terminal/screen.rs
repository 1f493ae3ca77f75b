//! The rows a terminal would show, and the cursor in them.
//!
//! Only what a log needs of a terminal: text, and where it is written over. There are no colours, no
//! scrolling and no right margin. The row under the cursor is held as cells, the others as text, and only
//! so many of them as a program that draws several bars goes back over.

use std::borrow::Cow;
use std::collections::VecDeque;

use unicode_width::UnicodeWidthChar;

use crate::model::MessageText;

/// What there is to tell of the screen.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown<'a> {
    /// A line that was written once and has ended; where its beginning was given out already, the rest.
    Line(Cow<'a, str>),
    /// A state of a row that is drawn over.
    Redraw(Redraw<'a>),
}

/// A state of a row that is drawn over.
#[derive(Clone, Debug, PartialEq)]
pub struct Redraw<'a> {
    /// Which row.
    pub row: u64,
    /// All that it shows.
    pub text: Cow<'a, str>,
    /// What was drawn last, where that began at its left end: what stands behind it is of an earlier state.
    pub drawn: Cow<'a, str>,
    /// What was given out of the row as a line before it was drawn over, the first time it is.
    pub before: Option<Cow<'a, str>>,
    /// It will be drawn over no more.
    pub last: bool,
}

/// Who is told.
pub type Each<'a> = &'a mut dyn FnMut(Shown<'_>);

#[derive(Debug, Default)]
struct Row {
    id: u64,
    /// What it shows; of the row under the cursor, what it showed when the cursor came.
    text: String,
    /// It was given out as a line.
    ended: bool,
    /// It is, or was, drawn over.
    redrawn: bool,
    /// What it shows was not given out as the last state.
    moved: bool,
    /// A state of it was given out.
    told: bool,
}

/// The rows and the cursor.
#[derive(Debug)]
pub struct Screen {
    /// Never empty.
    rows: VecDeque<Row>,
    /// The row under the cursor.
    at: usize,
    /// What it shows. The second half of a wide character is a NUL.
    cells: Vec<char>,
    column: usize,
    /// What is being drawn began at the left end.
    from_left: bool,
    /// How far it reaches.
    drawn: usize,
    /// Something was written since the row's state was last told.
    written: bool,
    /// So many characters of the unfinished line were given out already.
    given: usize,
    /// The row that programs which address rows by number call the first.
    home: Option<u64>,
    saved: (u64, usize),
    /// How many rows are to be given out once more.
    moved: usize,
    next_id: u64,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            rows: VecDeque::from([Row::default()]),
            at: 0,
            cells: Vec::new(),
            column: 0,
            from_left: true,
            drawn: 0,
            written: false,
            given: 0,
            home: None,
            saved: (0, 0),
            moved: 0,
            next_id: 1,
        }
    }
}

impl Screen {
    /// So many rows are remembered: more than fit on the terminals that bars are drawn for.
    const MOST_ROWS: usize = 100;
    /// Of an overlong row so many cells are kept at either end: together more than a message may have bytes,
    /// so that whoever cuts the text sees that there was more.
    const HEAD: usize = MessageText::MAX_BYTES / 2;
    const TAIL: usize = MessageText::MAX_BYTES / 2 + 1;
    /// The cursor is moved no further to the right than this, or than there is text.
    const MOST_COLUMNS: usize = 1000;

    /// Whether the cursor is in a new row at the bottom, in which nothing was written.
    pub fn is_fresh(&self) -> bool {
        self.cells.is_empty()
            && self.column == 0
            && self.is_bottom()
            && !self.row().ended
            && !self.row().redrawn
    }

    /// Writes a whole line into a new row at the bottom.
    pub fn line(&mut self, text: Cow<'_, str>, each: Each<'_>) {
        if !text.trim().is_empty() {
            self.give_last(each);
        }
        let row = &mut self.rows[self.at];
        row.text.clear();
        row.text.push_str(&text);
        row.ended = true;
        each(Shown::Line(text));
        self.add_row(each);
        self.enter(self.rows.len() - 1);
    }

    /// Writes a character at the cursor.
    pub fn put(&mut self, c: char) {
        let width = match c {
            '\t' => 1,
            c => c.width().unwrap_or(0),
        };
        if self.column > self.cells.len() {
            self.cells.resize(self.column, ' ');
        }
        // A mark that takes no room of its own stands in a cell of its own: few of them are drawn over.
        self.set(c);
        if width > 1 {
            self.set('\0');
        }
        self.drawn = self.drawn.max(self.column);
        if !c.is_whitespace() {
            self.written = true;
        }
        if self.cells.len() > Self::HEAD + 2 * Self::TAIL {
            let out = self.cells.len() - Self::HEAD - Self::TAIL;
            self.cells.drain(Self::HEAD..Self::HEAD + out);
            for place in [&mut self.column, &mut self.drawn, &mut self.given] {
                if *place > Self::HEAD {
                    *place = place.saturating_sub(out).max(Self::HEAD);
                }
            }
        }
    }

    fn set(&mut self, c: char) {
        let at = self.column;
        match self.cells.get(at).copied() {
            None => self.cells.push(c),
            Some(old) => {
                // Half a wide character is none.
                if old == '\0' && c != '\0' && at > 0 {
                    self.cells[at - 1] = ' ';
                }
                if self.cells.get(at + 1) == Some(&'\0') {
                    self.cells[at + 1] = ' ';
                }
                self.cells[at] = c;
            }
        }
        self.column += 1;
    }

    /// Ends the row under the cursor, and goes on to the one below.
    pub fn line_feed(&mut self, each: Each<'_>) {
        if self.is_bottom() && !self.row().ended {
            self.end_row(each);
            self.add_row(each);
        } else {
            self.tell(each);
            self.leave();
            if self.is_bottom() {
                self.add_row(each);
            }
        }
        self.enter(self.at + 1);
    }

    /// Goes back to the left end of the row.
    pub fn carriage_return(&mut self, each: Each<'_>) {
        self.tell(each);
        self.go_to(0);
    }

    /// Goes back a column. Only a second one in a row ends what was drawn: a single one is how bold and
    /// underlined letters are written.
    pub fn backspace(&mut self, is_second: bool, each: Each<'_>) {
        if is_second {
            self.tell(each);
        }
        self.go_to(self.column.saturating_sub(1));
    }

    /// Goes to a column of the row.
    pub fn move_to_column(&mut self, column: usize, each: Each<'_>) {
        if column < self.column {
            self.tell(each);
        }
        self.go_to(column);
    }

    /// Goes right by so many columns.
    pub fn right(&mut self, columns: usize) {
        // The pass goes on: what is skipped is left as it is.
        self.column = self.column.saturating_add(columns).min(self.cells.len().max(Self::MOST_COLUMNS));
    }

    /// Goes left by so many columns.
    pub fn left(&mut self, columns: usize, each: Each<'_>) {
        self.move_to_column(self.column.saturating_sub(columns), each);
    }

    /// Goes up (or down, where negative) by so many rows, no further than there are rows.
    pub fn up(&mut self, rows: isize, each: Each<'_>) {
        let to = self.at.saturating_add_signed(-rows).min(self.rows.len() - 1);
        let column = self.column;
        if to != self.at {
            self.tell(each);
            self.leave();
            self.enter(to);
            self.go_to(column);
        }
    }

    /// Goes to a row counted from the first one such a program drew in, and to a column.
    pub fn to(&mut self, row: usize, column: usize, each: Each<'_>) {
        self.tell(each);
        self.leave();
        let home = match self.home.filter(|id| self.index_of(*id).is_some()) {
            Some(home) => home,
            None => {
                // What was printed before stands above the screen.
                let bottom = self.rows.len() - 1;
                if bottom != self.at {
                    self.enter(bottom);
                }
                if !self.is_fresh() {
                    self.line_feed(each);
                }
                *self.home.insert(self.row().id)
            }
        };
        let row = row.min(Self::MOST_ROWS / 2);
        let below = |screen: &Self| screen.index_of(home).unwrap_or(0) + row;
        while self.rows.len() <= below(self) {
            self.add_row(each);
            if let Some(new) = self.rows.back_mut() {
                new.redrawn = true;
            }
        }
        self.enter(below(self));
        self.rows[self.at].redrawn = true;
        self.go_to(column);
    }

    /// Remembers where the cursor is.
    pub fn save(&mut self) {
        self.saved = (self.row().id, self.column);
    }

    /// Goes where the cursor was when that was remembered.
    pub fn restore(&mut self, each: Each<'_>) {
        let (id, column) = self.saved;
        let to = self.index_of(id).unwrap_or(self.at);
        if to != self.at || column < self.column {
            self.tell(each);
        }
        if to != self.at {
            self.leave();
            self.enter(to);
        }
        self.go_to(column);
    }

    /// Erases in the row: behind the cursor (0), before it (1), or all of it (2).
    pub fn erase_in_row(&mut self, what: u16, each: Each<'_>) {
        self.tell(each);
        match what {
            0 => self.cells.truncate(self.column),
            1 => {
                let end = self.cells.len().min(self.column + 1);
                self.cells[..end].fill(' ');
            }
            _ => self.cells.clear(),
        }
        self.drawn = self.drawn.min(self.cells.len());
    }

    /// Erases so many characters from the cursor on; those behind them move up where `close`.
    pub fn erase_cells(&mut self, count: usize, close: bool, each: Each<'_>) {
        self.tell(each);
        let end = self.column.saturating_add(count).min(self.cells.len());
        if self.column < end {
            if close {
                self.cells.drain(self.column..end);
            } else {
                self.cells[self.column..end].fill(' ');
            }
        }
    }

    /// Erases rows: from the cursor on (0), up to it (1), or all that such a program drew in (2 and more).
    /// They stay where they are, for what is drawn in them next.
    pub fn erase_rows(&mut self, what: u16, each: Each<'_>) {
        self.erase_in_row(what.min(2), each);
        let home = self.home.and_then(|id| self.index_of(id)).unwrap_or(self.at).min(self.at);
        let first = if what == 0 { self.at } else { home };
        let end = if what == 1 { self.at } else { self.rows.len() };
        for index in (first..end).filter(|index| *index != self.at) {
            self.rows[index].text.clear();
        }
    }

    /// The output has ended: gives out what was not.
    pub fn finish(&mut self, each: Each<'_>) {
        if self.is_bottom() && !self.row().ended && !self.row().redrawn && !self.cells.is_empty() {
            self.end_row(each);
        } else {
            self.tell(each);
            self.leave();
        }
        for index in 0..self.rows.len() {
            self.tell_row(index, each);
        }
    }

    /// The row under the cursor has rested: gives out what it shows, where that was not. `part` takes what
    /// was added to a line that is written once, and says whether it kept it.
    pub fn rest(&mut self, part: &mut dyn FnMut(&str) -> bool, each: Each<'_>) {
        if self.row().ended || self.row().redrawn || !self.is_bottom() {
            self.tell(each);
            return;
        }
        let text = of_cells(&self.cells[self.given.min(self.cells.len())..]);
        if !text.trim().is_empty() && part(&text) {
            self.given = self.cells.len();
        }
    }

    /// What was drawn last in the row under the cursor, and has not been given out.
    pub fn unfinished(&self) -> String {
        of_cells(self.drawn_cells())
    }

    fn row(&self) -> &Row {
        &self.rows[self.at]
    }

    fn is_bottom(&self) -> bool {
        self.at + 1 == self.rows.len()
    }

    fn index_of(&self, id: u64) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    fn go_to(&mut self, column: usize) {
        self.end_pass();
        self.column = column.min(self.cells.len().max(Self::MOST_COLUMNS));
        self.from_left = self.column == 0;
        self.drawn = self.column;
    }

    /// Keeps what the row under the cursor shows, before the cursor goes elsewhere.
    fn leave(&mut self) {
        self.end_pass();
        self.rows[self.at].text = of_cells(&self.cells);
    }

    /// Moves the cursor to the left end of a row.
    fn enter(&mut self, row: usize) {
        self.at = row.min(self.rows.len() - 1);
        self.cells.clear();
        let text = std::mem::take(&mut self.rows[self.at].text);
        for c in text.chars() {
            self.cells.push(c);
            if c.width().unwrap_or(0) > 1 {
                self.cells.push('\0');
            }
        }
        self.rows[self.at].text = text;
        self.written = false;
        self.go_to(0);
    }

    /// Adds a row at the bottom, and forgets the one at the top where there are too many.
    fn add_row(&mut self, each: Each<'_>) {
        let mut row = Row::default();
        if self.rows.len() >= Self::MOST_ROWS {
            self.tell_row(0, each);
            if let Some(old) = self.rows.pop_front() {
                row.text = old.text;
                row.text.clear();
            }
            self.at = self.at.saturating_sub(1);
        }
        row.id = self.next_id;
        self.next_id += 1;
        self.rows.push_back(row);
    }

    /// Gives out the row under the cursor, which has ended.
    fn end_row(&mut self, each: Each<'_>) {
        if self.row().redrawn {
            self.tell(each);
        }
        self.end_pass();
        self.written = false;
        let text = of_cells(&self.cells);
        if !text.trim().is_empty() {
            self.give_last(each);
        }
        let given = std::mem::take(&mut self.given);
        let row = &mut self.rows[self.at];
        row.ended = true;
        row.text.clone_from(&text);
        if row.redrawn {
            if !std::mem::replace(&mut row.moved, true) {
                self.moved += 1;
            }
            self.tell_row(self.at, each);
        } else {
            let rest = if given == 0 { text } else { of_cells(&self.cells[given.min(self.cells.len())..]) };
            each(Shown::Line(Cow::Owned(rest)));
        }
    }

    /// Tells the state of the row under the cursor, where something was written since it was told.
    fn tell(&mut self, each: Each<'_>) {
        if !std::mem::take(&mut self.written) {
            return;
        }
        self.end_pass();
        let text = of_cells(&self.cells);
        let drawn = of_cells(self.drawn_cells());
        let given = std::mem::take(&mut self.given);
        let row = &mut self.rows[self.at];
        let before = if row.told || !(row.ended || given > 0) {
            None
        } else if row.ended {
            Some(std::mem::take(&mut row.text))
        } else {
            Some(of_cells(&self.cells[..given.min(self.cells.len())]))
        };
        row.redrawn = true;
        row.told = true;
        if !std::mem::replace(&mut row.moved, true) {
            self.moved += 1;
        }
        let trimmed = text.trim_end();
        each(Shown::Redraw(Redraw {
            row: row.id,
            text: Cow::Borrowed(trimmed),
            drawn: Cow::Borrowed(drawn.trim_end()),
            before: before.map(Cow::Owned),
            last: false,
        }));
        row.text = text;
    }

    /// Gives out what a row shows as its last state, where that was not done.
    fn tell_row(&mut self, index: usize, each: Each<'_>) {
        let row = &mut self.rows[index];
        if !std::mem::take(&mut row.moved) {
            return;
        }
        self.moved -= 1;
        row.told = true;
        let text = row.text.trim_end();
        each(Shown::Redraw(Redraw {
            row: row.id,
            text: Cow::Borrowed(text),
            drawn: Cow::Borrowed(text),
            before: None,
            last: true,
        }));
    }

    /// Gives out the last state of all rows but the one under the cursor: other lines follow.
    fn give_last(&mut self, each: Each<'_>) {
        if self.moved == 0 {
            return;
        }
        for index in 0..self.rows.len() {
            if index != self.at || self.rows[index].ended {
                self.tell_row(index, each);
            }
        }
    }

    /// A shorter text drawn over a longer one leaves that one's end. Where both together would read as one
    /// word or number that nobody printed, the end goes.
    fn end_pass(&mut self) {
        let goes_on = |c: &char| c.is_alphanumeric() || matches!(c, '%' | '.');
        if self.from_left
            && self.drawn > 0
            && self.cells.get(self.drawn - 1).is_some_and(goes_on)
            && self.cells.get(self.drawn).is_some_and(goes_on)
        {
            self.cells.truncate(self.drawn);
        }
    }

    fn drawn_cells(&self) -> &[char] {
        let end = self.drawn.min(self.cells.len());
        if self.from_left && end > 0 { &self.cells[..end] } else { &self.cells }
    }
}

fn of_cells(cells: &[char]) -> String {
    cells.iter().filter(|c| **c != '\0').collect()
}
