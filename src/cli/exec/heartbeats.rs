//! What runs beside a command and its reports: signs of life, and warnings of limits that are near.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::backlog::JobRef;
use super::child::Order;
use super::link::{Link, failed_for_silence, why_over};
use super::notices::{Notices, span_text};
use super::undelivered::{NOT_FOUND, Undelivered};
use crate::cli::client::Client;

/// Says that the command lives, for as long as it does, and hears what the server wants of it. While reports
/// wait for the server, what an end of the job means is for whoever delivers them to find out.
pub async fn heartbeats(
    client: Client,
    mut job: watch::Receiver<Option<JobRef>>,
    link: Arc<Link>,
    every: Duration,
    orders: mpsc::UnboundedSender<Order>,
) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        abort_requested: bool,
    }
    let job = match job.wait_for(Option::is_some).await.map(|job| *job) {
        Ok(Some(job)) => job,
        _ => return,
    };
    let path = format!("/api/admin/jobs/{}/heartbeat", job.job_id);
    loop {
        tokio::time::sleep(every).await;
        let printed = link.printed.swap(false, Ordering::Relaxed);
        let body =
            if printed { json!({"epoch": job.epoch, "active": true}) } else { json!({"epoch": job.epoch}) };
        let order = match client.post::<Answer>(&path, &body).await {
            Ok(answer) => {
                link.unreached.store(false, Ordering::Relaxed);
                if !answer.abort_requested {
                    continue;
                }
                Order::Abort
            }
            Err(error) => match Undelivered::of(error) {
                Undelivered::Over { code, sentence }
                    if code != NOT_FOUND && !link.waits.load(Ordering::Relaxed) =>
                {
                    match if link.was_cut() { failed_for_silence(&client, job).await } else { Ok(false) } {
                        Ok(false) => Order::Over(why_over(&client, job, sentence).await),
                        // Whoever delivers finds out with the next report, and tells of it.
                        Ok(true) => return,
                        Err(_) => continue,
                    }
                }
                Undelivered::Away(_) => {
                    link.unreached.store(true, Ordering::Relaxed);
                    link.printed.fetch_or(printed, Ordering::Relaxed);
                    continue;
                }
                _ => continue,
            },
        };
        if orders.send(order).is_err() {
            return;
        }
    }
}

/// Says on the terminal when a limit that was asked for is near: how long the command may take, and how long it
/// may print nothing. Never ends.
pub async fn warn_of_limits(
    (run, silence): (Option<Duration>, Option<Duration>),
    link: Arc<Link>,
    notices: Notices,
) {
    /// From here on a limit is worth a warning.
    const WARN_AT: f64 = 0.8;
    let given = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
    let began = Instant::now();
    let of_run = async {
        let Some(limit) = given(run) else { return };
        tokio::time::sleep_until(began + limit.mul_f64(WARN_AT)).await;
        notices.say(&format!(
            "the command has run for {}; its limit of {} ends it in {} (--timeout sets it)",
            span_text(began.elapsed()),
            span_text(limit),
            span_text(limit.saturating_sub(began.elapsed()))
        ));
    };
    let of_silence = async {
        let Some(limit) = given(silence) else { return };
        let mut warned_of = None;
        loop {
            let last = link.last_printed().unwrap_or(began);
            let due = last + limit.mul_f64(WARN_AT);
            if Instant::now() < due {
                tokio::time::sleep_until(due).await;
            } else if warned_of == Some(last) {
                tokio::time::sleep(limit.mul_f64(1.0 - WARN_AT).min(Duration::from_secs(1))).await;
            } else {
                warned_of = Some(last);
                notices.say(&format!(
                    "the command has printed nothing for {}; its limit of {} ends it in {} (--activity-timeout sets it)",
                    span_text(last.elapsed()),
                    span_text(limit),
                    span_text(limit.saturating_sub(last.elapsed()))
                ));
            }
        }
    };
    tokio::join!(of_run, of_silence);
}
