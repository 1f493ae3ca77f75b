//! What a command prints, and what its job's log and numbers have of it. Time is the tests' own.

use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use super::fake::Fake;
use super::{Screen, Workspace};
use crate::cli::exec::lines::Directives;
use crate::cli::exec::notices::Notices;
use crate::cli::exec::reader::Reader;
use crate::cli::exec::record::{End, Message, Progress, Record, RunnerTime, Start, StartRequest};
use crate::cli::exec::recorder::{Moment, Recorder, Source};
use crate::cli::exec::spool::Spool;
use crate::model::{ProgressSource, StepSpec};

/// A command's outputs, and what is recorded of them.
struct Heard {
    folder: TempDir,
    key: Uuid,
    readers: [Reader; 2],
    recorder: Option<Recorder>,
    now: Moment,
}

impl Heard {
    fn new() -> Self {
        Self::with(Directives::default())
    }

    fn with(directives: Directives) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = Uuid::now_v7();
        let start = Start { key, server: String::new(), request: StartRequest::default() };
        let spool = Spool::create(Some(folder.path()), true, &start, Notices::new(Screen::new()));
        let readers = [Reader::new(Source::Stdout), Reader::new(Source::Stderr)];
        Self {
            folder,
            key,
            readers,
            recorder: Some(Recorder::new(spool, directives, true)),
            now: Moment::now(),
        }
    }

    fn print(&mut self, text: &str) {
        self.print_on(Source::Stdout, text);
    }

    fn print_on(&mut self, source: Source, text: &str) {
        let recorder = self.recorder.as_mut().unwrap();
        if source == Source::Stderr {
            self.readers[0].settle(self.now, recorder);
        }
        self.readers[source as usize].feed(text.as_bytes(), self.now, recorder);
        self.wait(1);
    }

    /// Lets so many milliseconds pass, in which nothing comes.
    fn wait(&mut self, ms: u64) {
        let recorder = self.recorder.as_mut().unwrap();
        let end = self.now.instant + Duration::from_millis(ms);
        while let Some(due) = self.readers.iter().filter_map(Reader::due).chain(recorder.due()).min()
            && due <= end
        {
            self.now.instant = self.now.instant.max(due);
            for reader in &mut self.readers {
                reader.tick(self.now, recorder);
            }
            recorder.tick(self.now);
        }
        self.now.instant = end;
        recorder.tick(self.now);
    }

    fn end(&mut self, end: End) {
        let mut recorder = self.recorder.take().unwrap();
        for reader in &mut self.readers {
            reader.finish(self.now, &mut recorder);
        }
        recorder.finish(end, self.now);
    }

    fn records(&self) -> Vec<Record> {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{}.jsonl", self.key))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The log, so far.
    fn log(&self) -> Vec<String> {
        let texts = self.records().into_iter().filter_map(|record| match record {
            Record::Message(message) => Some(message.message.into_string()),
            _ => None,
        });
        texts.collect()
    }

    /// The last number of a step, or of the job as a whole, in percent; and whether it was guessed.
    fn number(&self, step: Option<&str>) -> Option<(i64, bool)> {
        let mut numbers = self.records().into_iter().filter_map(|record| match record {
            Record::Progress(Progress { step: of, progress, progress_source, .. })
                if of.as_deref() == step =>
            {
                Some(((progress * 100.0).round() as i64, progress_source == ProgressSource::Guessed))
            }
            _ => None,
        });
        numbers.next_back()
    }

    /// The paths of all steps.
    fn steps(&self) -> Vec<String> {
        fn path(spec: &StepSpec) -> String {
            match spec.steps.first() {
                Some(within) => format!("{}/{}", spec.id, path(within)),
                None => spec.id.clone(),
            }
        }
        let mut steps = Vec::new();
        for record in self.records() {
            if let Record::Steps(specs) = record {
                steps.extend(specs.iter().map(path).filter(|path| !steps.contains(path)).collect::<Vec<_>>());
            }
        }
        steps
    }
}

fn failed() -> End {
    End::Failed { error: "Exited with code 1".to_owned(), retryable: true }
}

#[test]
fn whatever_draws_a_line_again_moves_the_bar_and_leaves_its_last_state() {
    type Draw = fn(u32) -> String;
    let draws: [(&str, Draw); 8] = [
        ("backspaces", |i| format!("{i:3}%\x08\x08\x08\x08")),
        ("returns", |i| format!("{i:3}%\r")),
        ("returns before", |i| format!("\r{i:3}%")),
        ("a column", |i| format!("\x1b[G{i:3}%")),
        ("an erased line", |i| format!("\x1b[2K\r{i:3}%")),
        ("the row above", |i| format!("{}{i:3}%\n", if i > 0 { "\x1b[1A\x1b[K" } else { "" })),
        ("a place", |i| format!("\x1b[5;3H\x1b[K{i:3}%")),
        ("a saved place", |i| format!("{}{i:3}%", if i > 0 { "\x1b8" } else { "\x1b7" })),
    ];
    for (name, draw) in draws {
        let mut heard = Heard::new();
        for i in 0..=60 {
            heard.print(&draw(i));
            heard.wait(50);
        }
        heard.wait(500);
        assert_eq!(heard.number(None), Some((60, true)), "{name}");
        assert!(heard.log().len() <= 1, "{name}: {:?}", heard.log());
        heard.end(failed());
        let log = heard.log();
        assert_eq!(log.last().map(|text| text.trim()), Some("60%"), "{name}");
        assert!(log.len() <= 2 && log.iter().all(|text| !text.contains(['\x1b', '\x08'])), "{name}: {log:?}");
    }
}

#[test]
fn the_last_state_before_a_crash_is_in_the_log_before_the_error() {
    let mut heard = Heard::new();
    for i in 0..430 {
        heard.print(&format!("copying {i}/1000 to tape\r"));
    }
    heard.print_on(Source::Stderr, "Traceback: no tape\n");
    heard.end(failed());
    assert_eq!(heard.log(), ["copying 0/1000 to tape", "copying 429/1000 to tape", "Traceback: no tape"]);
    assert_eq!(heard.number(Some("copying to tape")), Some((43, true)));

    let mut heard = Heard::new();
    for i in 0..430 {
        heard.print_on(Source::Stderr, &format!("\r\x1b[Kcopying {i}/1000"));
    }
    heard.end(failed());
    assert_eq!(heard.log(), ["copying 0/1000", "copying 429/1000"]);
}

#[test]
fn several_bars_at_once_have_a_last_state_each_and_a_step_each() {
    let mut heard = Heard::new();
    heard.print("base: waiting\napp: waiting\n");
    for i in 1..=80 {
        heard.print(&format!("\x1b[2A\r\x1b[Kbase: {}/100\n\r\x1b[Kapp: {}%\n", i + 20, i / 2));
        heard.wait(20);
    }
    heard.print("broken\n");
    heard.end(failed());
    assert_eq!(heard.steps(), ["base", "app"]);
    assert_eq!((heard.number(Some("base")), heard.number(Some("app"))), (Some((99, true)), Some((40, true))));
    let log = heard.log();
    assert_eq!(log[..2], ["base: waiting", "app: waiting"]);
    assert_eq!(log[log.len() - 3..], ["base: 100/100", "app: 40%", "broken"], "{log:?}");
    assert!(log.len() <= 7, "{log:?}");
}

#[test]
fn an_unfinished_line_that_rests_is_in_the_log_once_and_its_rest_completes_it() {
    let mut heard = Heard::new();
    heard.print("begun\nReally drop? ");
    heard.wait(900);
    assert_eq!(heard.log(), ["begun"]);
    heard.wait(300);
    assert_eq!(heard.log(), ["begun", "Really drop? "]);
    heard.wait(60_000);
    heard.print_on(Source::Stderr, "nobody answers\n");
    heard.print("And the rest? ");
    heard.wait(1_200);
    heard.print("dropped\n");
    heard.end(End::Completed);
    assert_eq!(heard.log(), ["begun", "Really drop? ", "nobody answers", "And the rest? ", "dropped"]);
}

#[test]
fn what_rests_is_not_given_out_as_an_order_and_dots_are_one_line() {
    let mut heard = Heard::new();
    heard.print("::prog");
    heard.wait(5_000);
    assert_eq!(heard.log(), [""; 0]);
    heard.print("ress 0.5\n");
    assert_eq!(heard.number(None), Some((50, false)));
    for _ in 0..45 {
        heard.print(".");
        heard.wait(1_100);
    }
    heard.print(" done\n");
    heard.end(End::Completed);
    let log = heard.log();
    assert!(log.len() <= 3, "{log:?}");
    assert_eq!(log.concat(), format!("{} done", ".".repeat(45)));

    // A question behind an erased bar.
    let mut heard = Heard::new();
    heard.print("copying 1%\rcopying 2%\r\x1b[KOverwrite a.txt? [y/N] ");
    heard.wait(1_500);
    assert_eq!(heard.log(), ["copying 1%", "copying 2%", "Overwrite a.txt? [y/N]"]);
    heard.end(End::Completed);
    assert_eq!(heard.log().len(), 3);
}

#[test]
fn a_number_is_believed_when_it_rose_twice_and_each_phase_is_a_step() {
    let mut heard = Heard::new();
    heard.print("coverage 87%\n");
    heard.wait(60_000);
    assert!(heard.records().iter().all(|record| !matches!(record, Record::Progress(_))));
    for i in [25, 50, 75, 100] {
        heard.print(&format!("Counting objects: {i:3}% ({i}/100)\r"));
    }
    heard.print("Counting objects: 100% (100/100), done.\n");
    for i in 1..=20 {
        heard.print(&format!("Receiving objects: {i:3}% ({i}/100), 1.2 MiB | 500 KiB/s\r"));
        heard.wait(200);
    }
    assert_eq!(heard.steps(), ["Counting objects", "Receiving objects"]);
    assert_eq!(heard.number(Some("Counting objects")), Some((100, true)));
    assert_eq!(heard.number(Some("Receiving objects")), Some((20, true)));
    assert_eq!(heard.number(None), None);
    // Declared before the first one is done: else all that is known would be done.
    let records = heard.records();
    let declared = records.iter().rposition(|record| matches!(record, Record::Steps(_))).unwrap();
    let done =
        records.iter().position(|record| matches!(record, Record::Progress(p) if p.progress >= 1.0)).unwrap();
    assert!(declared < done);
}

#[test]
fn phases_without_a_name_and_within_a_step_have_a_place_too() {
    let mut heard = Heard::new();
    for i in [1, 50, 100, 1, 30, 60] {
        heard.print(&format!("{i}%\n"));
        heard.wait(200);
    }
    assert_eq!(heard.steps(), ["part 1", "part 2"]);
    assert_eq!(heard.number(Some("part 1")), Some((100, true)));
    assert_eq!(heard.number(Some("part 2")), Some((60, true)));

    let mut heard = Heard::new();
    heard.print("::step fetch\nTaking 1/4\nTaking 2/4\nTaking 3/4\n::step build/all\n[1/8] CC a\n[2/8] CC b\n[4/8] LD c\n");
    heard.wait(200);
    assert_eq!(heard.steps(), ["fetch", "fetch/Taking", "build/all"]);
    assert_eq!(heard.number(Some("fetch/Taking")), Some((100, true)));
    assert_eq!(heard.number(Some("build/all")), Some((50, true)));
    heard.end(End::Completed);
    assert_eq!(heard.number(Some("build/all")), Some((100, false)));
}

#[test]
fn what_the_command_says_itself_takes_the_place_of_what_was_guessed() {
    let mut heard = Heard::new();
    heard.print("Taking 1/4\nTaking 2/4\nTaking 3/4\n::progress 0.2\nTaking 4/4\n");
    assert_eq!(heard.number(Some("progress")), Some((20, false)));
    let weightless = heard.records().into_iter().any(|record| {
        matches!(record, Record::Steps(specs) if specs[0].id == "Taking" && specs[0].weight == Some(0.0))
    });
    assert!(weightless);
    assert_eq!(heard.number(Some("Taking")), Some((75, true)));
}

#[test]
fn what_others_wrote_drives_nothing_behind_a_fence_or_where_orders_are_off() {
    let hostile = "::progress 1\n::step owned\n::error gone\n";
    let mut heard = Heard::with(Directives::new(true));
    heard.print(hostile);
    heard.end(End::Completed);
    assert_eq!(heard.log(), ["::progress 1", "::step owned", "::error gone"]);
    assert_eq!((heard.number(None), heard.steps().len()), (None, 0));

    let mut heard = Heard::new();
    heard.print(&format!("::stop-commands::k3y\n{hostile}"));
    heard.print_on(Source::Stderr, "::step owned\r::step too\n");
    heard.print("::k3y::\n::step mine\n");
    heard.end(End::Completed);
    assert_eq!(heard.steps(), ["mine"]);
    assert_eq!(heard.log()[..3], ["::progress 1", "::step owned", "::error gone"]);
}

#[test]
fn an_order_on_a_line_that_is_drawn_again_is_obeyed_once() {
    let mut heard = Heard::new();
    heard.print("::error a\r::error b\n::progress 0.25\r::progress 0.3\r");
    heard.end(failed());
    assert_eq!(heard.log(), ["a", "b"]);
    assert_eq!(heard.number(None), Some((30, false)));
}

#[test]
fn lines_and_the_end_bear_the_time_at_which_they_came() {
    let mut heard = Heard::new();
    let at = |heard: &mut Heard, time: &str| {
        heard.now.time = time.parse().ok().and_then(RunnerTime::of);
    };
    at(&mut heard, "2026-11-27T10:00:00.123Z");
    heard.print("one\n");
    at(&mut heard, "2026-11-27T10:00:03Z");
    heard.print("::progress 0.5\ntwo\n");
    at(&mut heard, "2026-11-27T11:00:03.5Z");
    heard.end(End::Completed);
    let times: Vec<_> = heard
        .records()
        .into_iter()
        .filter_map(|record| match record {
            Record::Message(Message { at, .. }) | Record::Progress(Progress { at, .. }) => at,
            Record::End(ended) => ended.at,
            _ => None,
        })
        .map(|at| format!("{at:?}"))
        .collect();
    let expected = ["10:00:00.123", "10:00:03.000", "10:00:03.000", "11:00:03.500"];
    assert_eq!(times, expected.map(|time| format!("2026-11-27T{time}Z")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_what_a_terminal_would_show() {
    let (fake, place) = (Fake::up(), Workspace::new());
    let script = r"printf '\033[31mre\033[0md\n\033]8;;http://x\033\\page\033]8;;\033\\\nNAME\b\b\b\bname\n'; printf 'x %s\r' 1 2 3; exit 3";
    let mut run = place.shell(&fake, &[], script);
    assert_eq!(run.code().await, 3);
    assert_eq!(fake.world().job().texts(), ["red", "page", "NAME", "name", "x 1", "x 3"]);
    assert!(run.out.text().starts_with("\x1b[31mre\x1b[0md\n"), "what is passed through is untouched");
}
