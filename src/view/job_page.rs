//! One job in full.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::board::{JobRow, SweepPlan};
use super::format::{duration, thousands};
use crate::model::{
    Execution, Job, LogCounts, LogLine, MoreTime, Status, StepTree, Tail, Timestamp, minutes, shorten,
    span_words,
};

/// What state a step is in, told by glyph, word and hue together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Being worked on.
    Running,
    /// Done.
    Done,
    /// Begun and not done when the job ended.
    Stopped,
    /// The one that was being worked on when the job failed.
    Failed,
}

/// A row of the step tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// The step's path; with a suffix for a row that stands for several.
    pub key: String,
    /// What people read.
    pub label: String,
    /// How deep it lies, from 0.
    pub depth: u8,
    /// Whole percents.
    pub percent: u8,
    /// Its state.
    pub state: StepState,
    /// Beside the label: how many parts are done, how long it took.
    pub note: String,
    /// It is made of other steps.
    pub has_parts: bool,
    /// The row stands for this many steps that are not shown.
    pub folded: u32,
}

/// A line of the facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The value is an id or data.
    pub mono: bool,
    /// It is a moment: this one, rather than `value`.
    pub at: Option<Timestamp>,
    /// Somebody will want to paste it elsewhere.
    pub copy: bool,
}

/// Something a person did to the job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// When.
    pub at: Timestamp,
    /// Who did what, and why.
    pub text: String,
}

/// A job's page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobPageView {
    /// What the overview shows of it too.
    pub row: JobRow,
    /// The server's time.
    pub now: Timestamp,
    /// Which build of the program.
    pub build: String,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Which try this is.
    pub attempt: u32,
    /// The most tries.
    pub max_attempts: u32,
    /// What went wrong.
    pub error: Option<String>,
    /// Its steps, as many as are worth showing.
    pub steps: Vec<StepRow>,
    /// How many steps there are.
    pub step_count: u32,
    /// What is known of it.
    pub facts: Vec<Fact>,
    /// How many lines its log has.
    pub counts: LogCounts,
    /// Who did what, oldest first.
    pub actions: Vec<Action>,
    /// The newest entry of its log.
    pub seq: u64,
    /// Somebody wants it kept.
    pub pinned: bool,
    /// When stale jobs are ended, where this server does that.
    pub sweep: Option<SweepPlan>,
}

/// What a poll of a job brings. Flat, as [`BoardAnswer`](super::BoardAnswer) is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobAnswer {
    /// The server's time.
    pub now: Timestamp,
    /// Which run of the server answers.
    pub boot: String,
    /// The board's revision that is in this answer at least.
    pub revision: u64,
    /// The job as it now stands; `None` where nothing changed.
    pub view: Option<JobPageView>,
}

/// What a poll of a job's log brings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogAnswer {
    /// Which run of the server answers.
    pub boot: String,
    /// The board's revision that is in this answer at least.
    pub revision: u64,
    /// New lines that match the filter, oldest first.
    pub lines: Vec<LogLine>,
    /// The log was read up to this entry.
    pub seq: u64,
    /// More came than fit: ask again.
    pub more: bool,
    /// Lines that came before these were left out, for who only follows: how many match the filter in all.
    pub skipped_of: Option<u64>,
}

impl LogAnswer {
    /// Who follows a log sees this many lines of it at most.
    pub const FOLLOWED: usize = 300;
}

impl JobPageView {
    /// Builds the page of a job. `unfolded` shows every step.
    pub fn new(
        job: &Job,
        actions: Vec<Action>,
        now: Timestamp,
        build: &str,
        sweep: Option<SweepPlan>,
        unfolded: bool,
    ) -> Self {
        Self {
            row: JobRow::from(job),
            now,
            build: build.to_owned(),
            ended_at: job.ended_at,
            attempt: job.attempt,
            max_attempts: job.spec.max_attempts,
            error: job.error.as_deref().map(str::to_owned),
            steps: step_rows(job, unfolded),
            step_count: u32::try_from(job.steps.steps().len()).unwrap_or(u32::MAX),
            facts: facts(job),
            counts: job.counts,
            actions,
            seq: job.seq,
            pinned: job.pinned,
            sweep,
        }
    }
}

/// On each level, this many steps around the one being worked on are shown.
const SHOWN_BEFORE: usize = 3;
const SHOWN_AFTER: usize = 5;
/// A level of up to this many is shown whole.
const SHOWN_WHOLE: usize = 12;
/// The most rows of an unfolded tree.
const MAX_ROWS: usize = 2_000;

fn step_rows(job: &Job, unfolded: bool) -> Vec<StepRow> {
    let mut rows = Vec::new();
    add_level(job, job.steps.top(), 0, unfolded, &mut rows);
    if job.status == Status::Failed {
        // Where it failed: the innermost steps that were begun and not done.
        for row in rows.iter_mut().filter(|row| row.state == StepState::Stopped && !row.has_parts) {
            row.state = StepState::Failed;
        }
    }
    rows
}

fn add_level(job: &Job, level: &[usize], depth: u8, unfolded: bool, rows: &mut Vec<StepRow>) {
    let steps = job.steps.steps();
    let (from, to) = if unfolded || level.len() <= SHOWN_WHOLE {
        (0, level.len())
    } else {
        let now = level.iter().position(|&index| !steps[index].is_done()).unwrap_or(level.len());
        let from = now.saturating_sub(SHOWN_BEFORE);
        (from, (now + SHOWN_AFTER).max(SHOWN_BEFORE + SHOWN_AFTER).min(level.len()))
    };
    let fold = |part: &[usize], what: &str, rows: &mut Vec<StepRow>| {
        let Some(&first) = part.first() else { return };
        rows.push(StepRow {
            key: format!("{}*{what}", job.steps.path(first)),
            label: format!("{} more", part.len()),
            depth,
            percent: 0,
            state: StepState::Waiting,
            note: String::new(),
            has_parts: false,
            folded: u32::try_from(part.len()).unwrap_or(u32::MAX),
        });
    };
    fold(&level[..from], "before", rows);
    for &index in &level[from..to] {
        if rows.len() >= MAX_ROWS {
            return;
        }
        rows.push(step_row(job, index, depth));
        let step = &steps[index];
        // What is done is one line, unless it is asked for.
        if !step.children.is_empty()
            && (unfolded || !step.is_done() || job.steps.steps().len() <= SHOWN_WHOLE)
        {
            add_level(job, &step.children, depth.saturating_add(1), unfolded, rows);
        }
    }
    fold(&level[to..], "after", rows);
}

fn step_row(job: &Job, index: usize, depth: u8) -> StepRow {
    let tree: &StepTree = &job.steps;
    let step = &tree.steps()[index];
    let state = if step.is_done() {
        StepState::Done
    } else if step.started_at.is_none() {
        StepState::Waiting
    } else if job.status.is_final() {
        StepState::Stopped
    } else {
        StepState::Running
    };
    let took = step.started_at.zip(step.ended_at).map(|(start, end)| duration(end.since(start)));
    let parts = (!step.children.is_empty()).then(|| {
        let done = step.children.iter().filter(|&&child| tree.steps()[child].is_done()).count();
        format!("{done} of {}", step.children.len())
    });
    let note = match (parts, took) {
        (Some(parts), Some(took)) => format!("{parts} · {took}"),
        (Some(note), None) | (None, Some(note)) => note,
        (None, None) => String::new(),
    };
    StepRow {
        key: tree.path(index),
        label: step.label().to_owned(),
        depth,
        percent: ((step.progress * 100.0 + 1e-9).floor() as u8).min(100),
        state,
        note,
        has_parts: !step.children.is_empty(),
        folded: 0,
    }
}

/// The most characters of input and output that a page shows; the API has them whole.
const DATA_CHARS: usize = 2_000;

/// Where a command runs, out of an input as `longhaul exec` gives it, and what else is in the input.
fn process_of(input: Option<&Value>) -> (Vec<(&'static str, String)>, Option<Value>) {
    let Some(Value::Object(fields)) = input else { return (Vec::new(), input.cloned()) };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(words) => words
            .iter()
            .map(|word| word.as_str().map(quoted))
            .collect::<Option<Vec<_>>>()
            .map(|words| words.join(" ")),
        _ => None,
    };
    // Another program's `host` may be what it works on.
    if !matches!(fields.get("command"), Some(Value::Array(_))) {
        return (Vec::new(), input.cloned());
    }
    let mut rest = fields.clone();
    let known = [("Command", "command"), ("Host", "host"), ("Process", "pid")];
    let process = known.into_iter().filter_map(|(name, key)| {
        let value = text(rest.get(key)?)?;
        rest.remove(key);
        Some((name, value))
    });
    let process = process.collect();
    rest.retain(|_, value| !value.is_null());
    (process, (!rest.is_empty()).then_some(Value::Object(rest)))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn facts(job: &Job) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut push = |name: &str, value: String, mono: bool, at: Option<Timestamp>, copy: bool| {
        facts.push(Fact { name: name.to_owned(), value, mono, at, copy });
    };
    let spec = &job.spec;
    push("Job", job.id.to_string(), true, None, true);
    push("Feature", spec.feature.as_str().to_owned(), false, None, false);
    push("Author", spec.author.as_str().to_owned(), false, None, false);
    push("Started", String::new(), false, Some(job.start_time()), false);
    if let Some(at) = job.ended_at {
        push("Ended", String::new(), false, Some(at), false);
        push("Took", duration(at.since(job.start_time())), false, None, false);
    }
    let (process, input) = process_of(spec.input.as_ref());
    for (name, value) in process {
        push(name, shorten(&value, DATA_CHARS).into_owned(), true, None, true);
    }
    let mut add = |name: &str, value: String, mono: bool| push(name, value, mono, None, mono);
    let runs = match spec.execution {
        Execution::External => "elsewhere, and reports",
        Execution::InProcess => "in this server",
        Execution::Worker => "a worker",
    };
    add("Runs", format!("{runs} · epoch {}", job.epoch), false);
    let span = |limit: Option<std::time::Duration>, what: &str| match limit {
        Some(limit) if limit.as_secs() < 60 => format!("{} s {what}", limit.as_secs()),
        Some(limit) => format!("{} min {what}", minutes(limit)),
        None => format!("no {what} limit"),
    };
    add(
        "Limits",
        format!("{}, {}", span(spec.timeouts.run, "run"), span(spec.timeouts.activity, "silence")),
        false,
    );
    if let Some(MoreTime { at, until }) = job.more_time {
        let what = until.map_or("none any more, since ".to_owned(), |until| {
            format!("none for {}, from ", span_words(until.since(at)))
        });
        push("More time", what, false, Some(at), false);
    }
    let mut add = |name: &str, value: String, mono: bool| push(name, value, mono, None, mono);
    if job.pinned {
        add("Kept", "pinned: no limit of history removes it".to_owned(), false);
    }
    if !job.dropped.is_none() {
        let (first, last) = (thousands(spec.max_lines.into()), thousands(Tail::LINES));
        add(
            "Log",
            format!("{} left out: it keeps the first {first} of each and the last {last}", job.dropped),
            false,
        );
    }
    if !spec.tags.is_empty() {
        let tags: Vec<&str> = spec.tags.iter().map(crate::model::Tag::as_str).collect();
        add("Tags", tags.join(", "), false);
    }
    for (name, data) in [("Input", input.as_ref()), ("Output", job.output.as_deref())] {
        if let Some(data) = data {
            add(name, shorten(&data.to_string(), DATA_CHARS).into_owned(), true);
        }
    }
    if job.late_writes > 0 {
        add("Late writes", format!("{} refused after the run was ended", job.late_writes), false);
    }
    facts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_and_its_process_are_facts_and_the_rest_of_the_input_stays() {
        let input = json!({"command": ["./import.sh", "--day", "27 Nov", "it's"], "host": "b4", "pid": 33});
        let (process, rest) = process_of(Some(&input));
        assert_eq!(
            process,
            [
                ("Command", r"./import.sh --day '27 Nov' 'it'\''s'".to_owned()),
                ("Host", "b4".to_owned()),
                ("Process", "33".to_owned())
            ]
        );
        assert_eq!(rest, None);
        let more = json!({"command": ["ls"], "host": null, "rows": 5});
        assert_eq!(process_of(Some(&more)), (vec![("Command", "ls".to_owned())], Some(json!({"rows": 5}))));
        for other in [json!({"host": "to copy to", "pid": 1}), json!([1]), json!({"command": [1], "x": 2})] {
            assert_eq!(process_of(Some(&other)), (Vec::new(), Some(other.clone())));
        }
        assert_eq!(process_of(None), (Vec::new(), None));
    }
}
