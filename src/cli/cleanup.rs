//! `longhaul cleanup`, the stale sweep now, and `longhaul emergency-cleanup`, which ends every job.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::Args;
use serde_json::{Value, json};

use super::client::{CallError, Client, ClientArgs, PATIENCE};
use super::exit::Exit;
use super::output::{Screen, Table, complain, print, print_json};

/// What `cleanup` is told.
#[derive(Clone, Debug, Args)]
pub struct CleanupArgs {
    /// Print the server's JSON
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What `emergency-cleanup` is told.
#[derive(Clone, Debug, Args)]
pub struct EmergencyCleanupArgs {
    /// Only say which jobs would be ended
    #[arg(long)]
    pub dry_run: bool,
    /// Why. It is recorded in the jobs' logs
    #[arg(long, short, required_unless_present = "dry_run")]
    pub reason: Option<String>,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Print the server's JSON
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs `longhaul cleanup`.
///
/// # Errors
/// Where the server did not answer, or refused.
pub async fn run(args: CleanupArgs) -> Result<Exit, CallError> {
    let client = args.client.client(PATIENCE)?;
    let result: Value = client.post("/api/admin/jobs/cleanup", &json!({})).await?;
    if args.json {
        print_json(&result);
        return Ok(Exit::Done);
    }
    match cleaned(&result) {
        Some(0) => print("No job is stale.\n"),
        Some(count) => print(&format!("{count} stale jobs were failed.\n{}", jobs_table(&result))),
        None => print("The stale sweep ran.\n"),
    }
    Ok(Exit::Done)
}

/// Runs `longhaul emergency-cleanup`.
///
/// # Errors
/// Where the server did not answer, or refused.
pub async fn run_emergency(args: EmergencyCleanupArgs) -> Result<Exit, CallError> {
    let client = args.client.client(PATIENCE)?;
    let reason = args.reason.as_deref().unwrap_or("dry run");
    if args.dry_run {
        let preview = emergency(&client, reason, true).await?;
        if args.json {
            print_json(&preview);
        } else {
            print(&describe(&preview, "would be ended"));
        }
        return Ok(Exit::Done);
    }
    if !args.yes {
        if !io::stdin().is_terminal() {
            complain(
                "nobody is there to confirm that every job is to be ended; say --yes, or look first with --dry-run",
            );
            return Ok(Exit::Usage);
        }
        let preview = emergency(&client, reason, true).await?;
        let count = cleaned(&preview).unwrap_or(0);
        if !is_confirmed(&preview, count, &mut io::stdin().lock(), &mut io::stderr()) {
            complain("nothing was done");
            return Ok(Exit::Failed);
        }
    }
    let result = emergency(&client, reason, false).await?;
    if args.json {
        print_json(&result);
    } else {
        print(&describe(&result, "ended"));
    }
    Ok(Exit::Done)
}

async fn emergency(client: &Client, reason: &str, dry_run: bool) -> Result<Value, CallError> {
    let body = json!({"reason": reason, "dryRun": dry_run});
    client.post("/api/admin/jobs/emergency-cleanup", &body).await
}

/// Asks for the number of jobs. Who types it must have read the list; a `yes` could be typed without.
fn is_confirmed(preview: &Value, count: u64, from: &mut impl BufRead, to: &mut impl Write) -> bool {
    let _ = write!(
        to,
        "{}Their processes may go on; what they report is refused.\nType `end {count} jobs` to go on: ",
        describe(preview, "will be ended")
    );
    let _ = to.flush();
    let mut answer = String::new();
    from.read_line(&mut answer).is_ok() && answer.trim() == format!("end {count} jobs")
}

/// How many jobs were ended, or would be: a dry run has ended none, and lists them.
fn cleaned(result: &Value) -> Option<u64> {
    let listed = result["jobs"].as_array().map(|jobs| jobs.len() as u64);
    if is_dry(result) { listed } else { result["cleanedJobs"].as_u64().or(listed) }
}

fn is_dry(result: &Value) -> bool {
    result["dryRun"] == true
}

fn describe(result: &Value, what: &str) -> String {
    let count = cleaned(result).unwrap_or(0);
    let jobs = if count == 1 { "job" } else { "jobs" };
    let mut text = format!("{count} {jobs} {what}.\n{}", jobs_table(result));
    let left = (result["activeJobsRemaining"].as_u64(), result["pastJobsRemaining"].as_u64());
    if let (false, (Some(active), Some(past))) = (is_dry(result), left) {
        text.push_str(&format!("Now there are {active} active and {past} past jobs.\n"));
    }
    text
}

/// The jobs of a result, with whatever it says of each: a refusal is said, not hidden.
fn jobs_table(result: &Value) -> String {
    let jobs = match result["jobs"].as_array() {
        Some(jobs) if !jobs.is_empty() => jobs,
        _ => return String::new(),
    };
    let mut table = Table::new(&["ID", "FEATURE", "TITLE", ""]);
    for job in jobs {
        let text = |name: &str| job[name].as_str().unwrap_or_default();
        let title = Some(text("title")).filter(|title| *title != text("feature")).unwrap_or_default();
        let outcome = match (text("outcome"), text("detail")) {
            // The line above says this for all jobs already.
            ("would_fail" | "failed", _) => text("error").to_owned(),
            ("ended_meanwhile", status) => format!("had ended meanwhile ({status})"),
            ("not_done", why) => format!("NOT ENDED: {why}"),
            _ => text("error").to_owned(),
        };
        table.row(&[text("id"), text("feature"), title, &outcome]);
    }
    table.render(Screen::of_stdout().width, |_, _, cell| cell.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emergency_is_confirmed_by_naming_how_many_jobs_it_ends() {
        let preview = json!({"dryRun": true, "cleanedJobs": 0, "activeJobsRemaining": 2, "pastJobsRemaining": 9,
            "jobs": [{"id": "a", "feature": "import\u{1b}", "title": "T", "outcome": "would_fail"}, {"id": "b", "feature": "export"}]});
        let mut shown = Vec::new();
        assert!(is_confirmed(&preview, 2, &mut "end 2 jobs\n".as_bytes(), &mut shown));
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("2 jobs will be ended") && shown.contains("import\\e"), "{shown}");
        for no in ["yes\n", "end 3 jobs\n", "\n", ""] {
            assert!(!is_confirmed(&preview, 2, &mut no.as_bytes(), &mut Vec::new()), "{no:?}");
        }
    }
}
