//! `longhaul jobs watch`: follows a job to its end.
//!
//! On a terminal the last two lines are redrawn and the log scrolls above them; elsewhere lines are
//! printed as they come. It asks every second rather than listening to the event stream: one request a
//! second by one person is nothing, and what is shown is then never older than that.

use std::time::Duration;

use super::document::{Document, Line};
use super::log::pages;
use super::show::{last_lines, log_line};
use super::{WatchArgs, connect, fetch, resolve};
use crate::cli::client::{CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::output::{LogClock, Screen, bar, complain, fit, print};
use crate::model::{JobId, Status, visible};
use chrono::{DateTime, Utc};

const EVERY: Duration = Duration::from_secs(1);

pub async fn run(args: WatchArgs) -> Result<Exit, CallError> {
    let client = connect(&args.client)?;
    let id = resolve(&client, &args.id).await?;
    let first = fetch(&client, id).await?;
    let last = follow(&client, id, first, args.lines, EVERY, &mut Terminal::new(Screen::of_stdout())).await?;
    Ok(if last == Status::Completed { Exit::Done } else { Exit::Failed })
}

async fn follow(
    client: &Client,
    id: JobId,
    first: Document,
    lines: usize,
    every: Duration,
    terminal: &mut Terminal,
) -> Result<Status, CallError> {
    let mut job = first;
    let mut seq = job.last_seq();
    for line in last_lines(client, id, &job, lines).await? {
        seq = seq.max(line.seq);
        terminal.line(&line);
    }
    let mut away = false;
    loop {
        terminal.status(&job, client.now());
        if job.status.is_final() {
            terminal.end(&job, client.now());
            return Ok(job.status);
        }
        tokio::time::sleep(every).await;
        // The job first: once it has ended, the lines read after it are all there will be.
        match refresh(client, id, &mut seq).await {
            Ok((new, lines)) => {
                job = new;
                terminal.clear();
                for line in &lines {
                    terminal.line(line);
                }
                if std::mem::take(&mut away) {
                    complain(&format!("server {} is back", client.server()));
                }
            }
            Err(error @ CallError::Refused(_)) => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut away, true) {
                    terminal.clear();
                    complain(&error.to_string());
                }
            }
        }
    }
}

async fn refresh(client: &Client, id: JobId, seq: &mut u64) -> Result<(Document, Vec<Line>), CallError> {
    let job = fetch(client, id).await?;
    let mut lines = Vec::new();
    pages(client, id, "all", seq, |page| lines.extend(page)).await?;
    Ok((job, lines))
}

/// Where the job is shown.
struct Terminal {
    screen: Screen,
    clock: LogClock,
    /// How many lines at the bottom are redrawn.
    drawn: usize,
    /// What was last said where nothing can be redrawn.
    said: Option<(Status, u8)>,
}

impl Terminal {
    fn new(screen: Screen) -> Self {
        Self { screen, clock: LogClock::default(), drawn: 0, said: None }
    }

    fn line(&mut self, line: &Line) {
        print(&format!("{}\n", log_line(line, &mut self.clock, self.screen)));
    }

    /// Takes the redrawn lines away, so that something else can be printed.
    fn clear(&mut self) {
        if self.drawn > 0 {
            print(&format!("\u{1b}[{}A\r\u{1b}[J", self.drawn));
            self.drawn = 0;
        }
    }

    fn status(&mut self, job: &Document, now: DateTime<Utc>) {
        if self.screen.terminal {
            self.clear();
            let text = status_lines(job, now, self.screen);
            self.drawn = text.lines().count();
            print(&text);
        } else if self
            .said
            .as_ref()
            .is_none_or(|(status, percent)| *status != job.status || job.percent() >= percent + 10)
        {
            self.said = Some((job.status, job.percent()));
            print(&format!("{} {}\n", job.status, job.percent_text()));
        }
    }

    fn end(&mut self, job: &Document, now: DateTime<Utc>) {
        self.clear();
        let outcome = self.screen.paint(job.status, job.status.name());
        print(&format!("{} {outcome} after {}\n", visible(job.title(), false), job.age(now)));
    }
}

/// What is redrawn: never wider than the terminal, because a wrapped line cannot be taken back.
fn status_lines(job: &Document, now: DateTime<Utc>, screen: Screen) -> String {
    let width = screen.width.unwrap_or(80).saturating_sub(1);
    let head = format!("{} · {} · {}", visible(job.title(), false), job.status, job.age(now));
    let step = job.current_step().map(|step| format!("  {}", visible(&step, false))).unwrap_or_default();
    let below = format!("{} {:>5}{step}", bar(job.progress, 24.min(width / 2)), job.percent_text());
    let cut = |text: &str| fit(text, width);
    format!("{}\n{}\n", screen.paint(job.status, &cut(&head)), cut(&below))
}
