//! `longhaul health`: the requirement's `getSystemHealth`, for a terminal and for a monitor.

use clap::Args;
use serde::Deserialize as _;
use serde_json::Value;

use super::client::{CallError, ClientArgs, PATIENCE};
use super::exit::Exit;
use super::output::{Screen, print, print_json};
use crate::model::{HealthStatus, Status, visible};

/// What `health` is told.
#[derive(Clone, Debug, Args)]
pub struct HealthArgs {
    /// Print the server's JSON
    #[arg(long)]
    pub json: bool,
    /// Which server, and as whom.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Runs `longhaul health`.
///
/// # Errors
/// Where the server did not answer, or refused.
pub async fn run(args: HealthArgs) -> Result<Exit, CallError> {
    let client = args.client.client(PATIENCE)?;
    let health: Value = client.get("/api/admin/jobs/health", &[]).await?;
    let Ok(status) = HealthStatus::deserialize(&health["status"]) else {
        let why = "it names no status of health".to_owned();
        return Err(CallError::Strange { server: client.server().to_owned(), why });
    };
    if args.json {
        print_json(&health);
    } else {
        print(&render(&health, status, Screen::of_stdout()));
    }
    Ok(match status {
        HealthStatus::Healthy => Exit::Done,
        HealthStatus::Degraded => Exit::Degraded,
        HealthStatus::Critical => Exit::Critical,
    })
}

fn render(health: &Value, status: HealthStatus, screen: Screen) -> String {
    let colour = match status {
        HealthStatus::Healthy => Status::Completed,
        HealthStatus::Degraded => Status::Aborting,
        HealthStatus::Critical => Status::Failed,
    };
    let number =
        |name: &str| health[name].as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string());
    let mut text = format!("{}\n", screen.paint(colour, status.name()));
    text.push_str(&format!("  active  {} of {}\n", number("activeJobs"), number("maxActiveJobs")));
    for (label, name) in [("queued", "queuedJobs"), ("past", "pastJobs"), ("stale", "staleJobs")] {
        text.push_str(&format!("  {label:<6}  {}\n", number(name)));
    }
    for warning in health["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("  ! {}\n", visible(warning, false)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn health_is_a_word_numbers_and_what_to_look_at() {
        let health = json!({"status": "degraded", "activeJobs": 2, "maxActiveJobs": 50, "queuedJobs": 0,
            "pastJobs": 7, "staleJobs": 1, "warnings": ["Job x is silent"]});
        let screen = Screen { terminal: false, width: None, colour: false };
        assert_eq!(
            render(&health, HealthStatus::Degraded, screen),
            "degraded\n  active  2 of 50\n  queued  0\n  past    7\n  stale   1\n  ! Job x is silent\n"
        );
    }
}
