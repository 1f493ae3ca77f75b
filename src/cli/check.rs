//! `longhaul check`: do the logs, the jobs and the counters of the database agree? Changes nothing, and works
//! beside a server.

use clap::Args;

use super::database::{DatabaseArgs, progress_line};
use super::output::print;

/// `longhaul check`.
#[derive(Clone, Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Answers whether all is in order.
pub async fn run(args: CheckArgs) -> anyhow::Result<bool> {
    let store = args.database.jobs_to_read().await?;
    let report = store.check(progress_line("Checking")).await?;
    for problem in &report.problems {
        print(&format!("{problem}\n"));
    }
    let outcome = match report.problems.len() {
        0 => "all in order".to_owned(),
        1 => "1 problem".to_owned(),
        problems => format!("{problems} problems"),
    };
    print(&format!("{} jobs with {} log entries: {outcome}.\n", report.jobs, report.events));
    Ok(report.problems.is_empty())
}
