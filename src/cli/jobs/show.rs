//! `longhaul jobs show`: one job on one screen.

use std::collections::VecDeque;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::document::{Document, Line, Step, Truncated};
use super::log::pages;
use super::{ShowArgs, connect, path, resolve};
use crate::cli::client::{CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::output::{
    LogClock, Screen, bar, between, columns_of, moment, padded, percent, print, print_json, span,
};
use crate::model::{Dropped, JobId, Status, shorten, visible};

pub async fn run(args: ShowArgs) -> Result<Exit, CallError> {
    let client = connect(&args.client)?;
    let id = resolve(&client, &args.id).await?;
    let json: Value = client.get(&path(id, "progress"), &[]).await?;
    if args.json {
        print_json(&json);
        return Ok(Exit::Done);
    }
    match Document::deserialize(&json) {
        Ok(job) => {
            let lines = last_lines(&client, id, &job, args.lines).await?;
            print(&render(&job, &lines, client.now(), Screen::of_stdout()));
            Ok(Exit::Done)
        }
        Err(error) => Err(CallError::Strange { server: client.server().to_owned(), why: error.to_string() }),
    }
}

/// The newest messages, oldest first: those the job's document holds, or where more are wanted, from the log.
pub async fn last_lines(
    client: &Client,
    id: JobId,
    job: &Document,
    most: usize,
) -> Result<Vec<Line>, CallError> {
    if let Some(last) = job.last_lines(most) {
        return Ok(last);
    }
    let mut last = VecDeque::new();
    pages(client, id, "info,warning,error", &mut 0, |lines| {
        last.extend(lines);
        last.drain(..last.len().saturating_sub(most));
    })
    .await?;
    Ok(last.into())
}

fn render(job: &Document, last: &[Line], now: DateTime<Utc>, screen: Screen) -> String {
    let mut text = String::new();
    let shown = |value: &str| visible(value, false).into_owned();
    let _ = writeln!(
        text,
        "{}  {}",
        screen.bold(&shown(job.title())),
        screen.paint(job.status, job.status.name())
    );
    let mut fact = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<10}{value}");
    };
    fact("id", &shown(&job.id));
    fact("feature", &shown(&job.feature));
    fact("author", &shown(&job.author));
    if !job.tags.is_empty() {
        fact("tags", &shown(&job.tags.join(", ")));
    }
    fact("progress", &format!("{} {}", bar(job.progress, 20), job.percent_text()));
    fact("started", &format!("{}, {} ago", moment(job.start_time), span(between(job.start_time, now))));
    match job.end_time {
        Some(end) => fact("ended", &format!("{}, after {}", moment(end), job.age(now))),
        None => {
            for (name, at) in [("activity", job.last_activity_time), ("heartbeat", job.heartbeat_time)] {
                if let Some(at) = at {
                    fact(name, &format!("{} ago", span(between(at, now))));
                }
            }
        }
    }
    if let (Some(attempt), Some(most @ 2..)) = (job.attempt, job.max_attempts) {
        fact("attempt", &format!("{attempt} of {most}"));
    }
    if let Some(epoch) = job.epoch.filter(|epoch| *epoch > 1) {
        fact("epoch", &epoch.to_string());
    }
    for (name, value) in [("input", &job.input), ("output", &job.output)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_null()) {
            fact(name, &shorten(&shown(&value.to_string()), 400));
        }
    }
    if let Some(error) = &job.error {
        fact("error", &shown(error));
    }
    if let Some(abort) = &job.abort {
        fact("abort", &shown(&format!("asked for by {}: {}", abort.by, abort.reason)));
    }
    if let Some(given) = &job.more_time {
        let until = given.until.map_or("no limit ends it".to_owned(), |until| {
            format!("no limit ends it before {}", moment(until))
        });
        fact("more time", &until);
    }
    if let Some(verdict) = &job.verdict {
        fact("verdict", &shown(&verdict.text));
    }
    if job.pinned {
        fact("kept", "pinned: no limit of history removes it");
    }
    if job.late_writes > 0 {
        // Whether its process still runs is the verdict's to say, while that is known.
        fact("fenced", &format!("{} late writes were refused after the run was ended", job.late_writes));
    }
    let Truncated { info, warning, error } = job.dropped;
    if info + warning + error > 0 {
        let left_out = Dropped { info, warning, error };
        fact("left out", &format!("{left_out} between the first and the last: its log is full"));
    }
    if !job.steps.is_empty() {
        text.push_str("\nSteps\n");
        let width = labels_width(&job.steps, 0).min(40);
        draw_steps(&mut text, &job.steps, 0, width, job.status, screen);
    }
    let total = job.messages();
    if !last.is_empty() {
        let _ = writeln!(text, "\nLog, the last {} of {total} messages", last.len());
        let mut clock = LogClock::default();
        for line in last {
            let _ = writeln!(text, "{}", log_line(line, &mut clock, screen));
        }
    }
    text
}

fn labels_width(steps: &[Step], depth: usize) -> usize {
    steps
        .iter()
        .map(|step| {
            (depth * 2 + columns_of(&visible(step.label(), false))).max(labels_width(&step.steps, depth + 1))
        })
        .max()
        .unwrap_or(0)
}

fn draw_steps(text: &mut String, steps: &[Step], depth: usize, width: usize, job: Status, screen: Screen) {
    for step in steps {
        let (glyph, status) = match (step.progress >= 1.0, step.started_at) {
            (true, _) => ('✓', Status::Completed),
            (false, Some(_)) if job == Status::Failed => ('✗', Status::Failed),
            (false, Some(_)) if job == Status::Aborted => ('■', Status::Aborted),
            (false, Some(_)) => ('▸', Status::Running),
            (false, None) => ('·', Status::Queued),
        };
        let room = width.saturating_sub(depth * 2).max(1);
        let label = padded(&visible(step.label(), false), room);
        let took = match (step.started_at, step.ended_at) {
            (Some(from), Some(to)) => format!("  {}", span(between(from, to))),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "  {:indent$}{} {label}  {} {:>3} %{took}",
            "",
            screen.paint(status, &glyph.to_string()),
            bar(step.progress, 16),
            percent(step.progress),
            indent = depth * 2,
        );
        draw_steps(text, &step.steps, depth + 1, width, job, screen);
    }
}

/// A line of the log as a terminal shows it, behind that of its day where it is the first of it.
pub fn log_line(line: &Line, clock: &mut LogClock, screen: Screen) -> String {
    let kind = format!("{:<8}", visible(&line.kind, false));
    let kind = match line.kind.as_str() {
        "warning" => screen.paint(Status::Aborting, &kind),
        "error" => screen.paint(Status::Failed, &kind),
        "system" | "operator" => screen.paint(Status::Queued, &kind),
        _ => kind,
    };
    let step = match &line.step {
        Some(step) => format!("[{}] ", visible(step, false)),
        None => String::new(),
    };
    let (day, time) = clock.at(line.timestamp);
    let day = day.map(|day| screen.bold(&day) + "\n").unwrap_or_default();
    format!("{day}{time} {kind} {step}{}", visible(&line.message, false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Screen = Screen { terminal: false, width: None, colour: false };

    #[test]
    fn a_job_is_shown_with_its_tree_and_its_last_lines() {
        let job: Document = serde_json::from_value(json!({
            "id": "0198c0de-0000-7000-8000-000000000001", "feature": "import", "title": "Nightly \u{1b}[2J",
            "author": "anna", "status": "running", "progress": 0.5, "startTime": "2026-07-24T10:00:00.000Z",
            "lastActivityTime": "2026-07-24T10:04:55.000Z", "lateWrites": 3, "dropped": {"info": 7, "warning": 0, "error": 1}, "somethingNew": true, "truncated": {"info": 1, "warning": 0, "error": 0},
            "steps": [
                {"id": "load", "weight": 1.0, "progress": 1.0, "startedAt": "2026-07-24T10:00:00.000Z", "endedAt": "2026-07-24T10:00:42.000Z"},
                {"id": "work", "weight": 1.0, "progress": 0.25, "startedAt": "2026-07-24T10:01:00.000Z", "steps": [
                    {"id": "parse", "progress": 0.5, "startedAt": "2026-07-24T10:01:00.000Z"},
                    {"id": "write", "progress": 0.0},
                ]},
            ],
            "infoMessages": [
                {"message": "one", "timestamp": "2026-07-24T10:00:01.000Z", "seq": 2},
                {"message": "three", "timestamp": "2026-07-24T10:00:03.000Z", "seq": 4},
            ],
            "warningMessages": [{"message": "two", "timestamp": "2026-07-24T10:00:02.000Z", "seq": 3}],
        }))
        .unwrap();
        let now = "2026-07-24T10:05:00Z".parse().unwrap();
        let text = render(&job, &job.last_lines(2).unwrap(), now, PLAIN);
        assert!(text.starts_with("Nightly \\e[2J  running\n"), "{text}");
        assert!(text.contains("  activity  5 s ago\n"), "{text}");
        assert!(
            text.contains("  left out  7 infos and 1 error between the first and the last: its log is full"),
            "{text}"
        );
        assert!(text.contains("  fenced    3 late writes"), "{text}");
        assert!(text.contains("✓ load     ████████████████ 100 %  42 s\n"), "{text}");
        assert!(text.contains("    ▸ parse  ████████░░░░░░░░  50 %\n"), "{text}");
        assert!(text.contains("    · write  ░░░░░░░░░░░░░░░░   0 %\n"), "{text}");
        assert!(text.contains("the last 2 of 4 messages"), "{text}");
        let (two, three) = (text.find("warning  two").unwrap(), text.find("info     three").unwrap());
        assert!(two < three && !text.contains("one"), "{text}");
        assert!(text.contains("── Friday, 2026-07-24, times in UTC"), "{text}");
        // Where an info is missing, nobody knows what stands before the first one that is there.
        assert!(job.last_lines(3).is_some() && job.last_lines(4).is_none());
        assert_eq!(job.current_step().as_deref(), Some("work › parse"));
        assert_eq!(job.percent_text(), "50 %");
    }

    #[test]
    fn a_guess_is_said_to_be_one_and_what_is_at_its_end_is_finishing() {
        let job = |progress: f64, source: &str, status: &str| {
            let json = json!({
                "id": "1", "feature": "f", "status": status, "progress": progress, "progressSource": source,
                "startTime": "2026-07-24T10:00:00.000Z",
            });
            serde_json::from_value::<Document>(json).unwrap().percent_text()
        };
        assert_eq!(job(0.4, "guessed", "running"), "about 40 %");
        assert_eq!(job(0.4, "guessed", "failed"), "about 40 %");
        assert_eq!(job(1.0, "guessed", "completed"), "100 %");
        assert_eq!(job(1.0, "reported", "running"), "99 %, finishing");
        assert_eq!(job(0.4, "reported", "running"), "40 %");
    }
}
