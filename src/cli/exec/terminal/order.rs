//! What a sequence of a terminal asks for (ECMA-48), and what that does to the screen.

use vte::{Params, Perform};

use super::screen::{Each, Screen};

/// What a sequence asks for.
#[derive(Default)]
pub struct Order {
    action: Option<Action>,
}

enum Action {
    /// A control sequence: its last character, and its numbers.
    Control(char, u16, Option<u16>),
    /// Escape and this character.
    Escape(u8),
    /// The whole screen is another from here on.
    OtherScreen,
}

impl Perform for Order {
    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _: bool, last: char) {
        let mut numbers = params.iter().map(|param| param.first().copied().unwrap_or(0));
        let (first, second) = (numbers.next().unwrap_or(0), numbers.next());
        self.action = match (intermediates, last) {
            ([], last) => Some(Action::Control(last, first, second)),
            ([b'?'], 'h' | 'l') if matches!(first, 47 | 1047 | 1049) => Some(Action::OtherScreen),
            // Erasing that spares protected characters, of which there are none.
            ([b'?'], 'J' | 'K') => Some(Action::Control(last, first, second)),
            _ => None,
        };
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _: bool, byte: u8) {
        self.action = intermediates.is_empty().then_some(Action::Escape(byte));
    }
}

impl Order {
    /// Does it.
    pub fn apply(self, screen: &mut Screen, each: Each<'_>) {
        match self.action {
            None => {}
            Some(Action::OtherScreen) => {
                screen.to(0, 0, each);
                screen.erase_rows(2, each);
            }
            Some(Action::Escape(byte)) => match byte {
                b'7' => screen.save(),
                b'8' => screen.restore(each),
                b'D' | b'E' => screen.line_feed(each),
                b'M' => screen.up(1, each),
                b'c' => {
                    screen.to(0, 0, each);
                    screen.erase_rows(2, each);
                }
                _ => {}
            },
            Some(Action::Control(last, first, second)) => control_sequence(screen, last, first, second, each),
        }
    }
}

fn control_sequence(screen: &mut Screen, last: char, first: u16, second: Option<u16>, each: Each<'_>) {
    // Counts and places are 1 where nothing is said.
    let count = usize::from(first.max(1));
    let rows = isize::try_from(count).unwrap_or(isize::MAX);
    match last {
        'A' => screen.up(rows, each),
        'B' | 'e' => screen.up(-rows, each),
        'C' | 'a' => screen.right(count),
        'D' => screen.left(count, each),
        'E' => {
            screen.up(-rows, each);
            screen.move_to_column(0, each);
        }
        'F' => {
            screen.up(rows, each);
            screen.move_to_column(0, each);
        }
        'G' | '`' => screen.move_to_column(count - 1, each),
        'H' | 'f' => screen.to(count - 1, usize::from(second.unwrap_or(1).max(1)) - 1, each),
        'd' => screen.to(count - 1, 0, each),
        'J' => screen.erase_rows(first, each),
        'K' => screen.erase_in_row(first, each),
        'P' => screen.erase_cells(count, true, each),
        'X' => screen.erase_cells(count, false, each),
        's' => screen.save(),
        'u' => screen.restore(each),
        _ => {}
    }
}
