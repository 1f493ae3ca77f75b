//! The four calls of a job's life over HTTP: start, progress, message, complete.
//!
//! Connections in a closed loop: each sends its next call when the last was answered, so a slow server is
//! asked less, and the rate is one figure with the delays.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::http::Http;
use crate::server::Service;

/// What a round of load measured.
pub struct Measured {
    pub lifecycles: u64,
    /// Also those of the warm-up and of the moment after the end.
    pub acknowledged: u64,
    pub errors: u64,
    pub span: Duration,
    /// Whole lifecycles, and single calls, in microseconds.
    pub whole: Histogram<u64>,
    pub call: Histogram<u64>,
}

impl Measured {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds make sense");
        Self {
            lifecycles: 0,
            acknowledged: 0,
            errors: 0,
            span: Duration::ZERO,
            whole: histogram(),
            call: histogram(),
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.lifecycles += other.lifecycles;
        self.acknowledged += other.acknowledged;
        self.errors += other.errors;
        self.span = self.span.max(other.span);
        self.whole.add(&other.whole).expect("the same bounds");
        self.call.add(&other.call).expect("the same bounds");
    }

    pub fn rate(&self) -> f64 {
        self.lifecycles as f64 / self.span.as_secs_f64()
    }
}

fn micros(span: Duration) -> u64 {
    span.as_micros().clamp(1, 60_000_000) as u64
}

/// Loads a service for so long, after a warm-up that does not count.
pub async fn load(service: &Service, connections: usize, warm_up: Duration, span: Duration) -> Measured {
    let begin = Instant::now() + warm_up;
    let workers: Vec<_> = (0..connections)
        .map(|number| {
            let connect = service.connect();
            async move {
                let http = connect.await;
                tokio::spawn(work(http, number, begin, begin + span)).await.expect("a worker ends")
            }
        })
        .collect();
    let mut all = Measured::new();
    for measured in futures::future::join_all(workers).await {
        all.add(&measured);
    }
    all.span = span;
    all
}

async fn work(mut http: Http, number: usize, begin: Instant, end: Instant) -> Measured {
    let mut measured = Measured::new();
    let start = format!("{{\"feature\":\"load-{}\"}}", number % 8).into_bytes();
    let mut round = 0_u64;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return measured;
        }
        round += 1;
        let mut last = begun;
        let mut calls = [0_u64; 4];
        let mut took = |place: usize| {
            let now = Instant::now();
            calls[place] = micros(now - last);
            last = now;
        };
        let id = match http.post("/api/admin/jobs/start", &start).await {
            Ok(answer) if answer.status == 201 => {
                let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
                body["jobId"].as_str().map(str::to_owned)
            }
            _ => None,
        };
        took(0);
        let mut failed = id.is_none();
        if let Some(id) = id {
            let message =
                format!("{{\"type\":\"info\",\"message\":\"Row {round} of the import was stored\"}}");
            let rest = [
                ("progress", b"{\"progress\":0.5}".to_vec()),
                ("message", message.into_bytes()),
                ("complete", b"{}".to_vec()),
            ];
            for (place, (what, body)) in rest.iter().enumerate() {
                let answer = http.post(&format!("/api/admin/jobs/{id}/{what}"), body).await;
                failed |= !answer.is_ok_and(|answer| answer.status == 200);
                took(place + 1);
            }
        }
        let ended = Instant::now();
        if failed {
            measured.errors += 1;
            continue;
        }
        measured.acknowledged += 1;
        if begun < begin || ended > end {
            continue;
        }
        measured.lifecycles += 1;
        let _ = measured.whole.record(micros(ended - begun));
        for call in calls {
            let _ = measured.call.record(call);
        }
    }
}
