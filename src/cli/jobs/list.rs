//! `longhaul jobs list`.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::Document;
use super::{ListArgs, connect};
use crate::cli::client::{CallError, Client};
use crate::cli::exit::Exit;
use crate::cli::output::{Screen, Table, bar, print, print_json};
use crate::model::{PageSize, Status};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    jobs: Vec<Value>,
    #[serde(default)]
    next_cursor: Option<String>,
}

pub async fn run(args: ListArgs) -> Result<Exit, CallError> {
    let client = connect(&args.client)?;
    let (jobs, more) = collect(&client, &args).await?;
    if args.json {
        print_json(&json!({"jobs": jobs}));
    } else {
        print(&render(&jobs, more, &args, client.now(), Screen::of_stdout()));
    }
    Ok(Exit::Done)
}

/// The jobs wanted, and whether there are more. The server's pages put jobs that have not ended first; for
/// `--past` those are read over.
async fn collect(client: &Client, args: &ListArgs) -> Result<(Vec<Value>, bool), CallError> {
    let most = args.limit as usize;
    let wants_past = args.past || args.all || args.status.is_some_and(Status::is_final);
    let mut query =
        vec![("includePast", wants_past.to_string()), ("limit", most.min(PageSize::MAX).to_string())];
    let filters = [
        ("feature", args.feature.clone()),
        ("status", args.status.map(|status| status.to_string())),
        ("author", args.author.clone()),
        ("tag", args.tag.clone()),
        ("q", args.search.clone()),
    ];
    query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let mut jobs = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = query.clone();
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: Page = client.get("/api/admin/jobs", &query).await?;
        jobs.extend(page.jobs.into_iter().filter(|job| !args.past || has_ended(job)));
        if jobs.len() >= most || page.next_cursor.is_none() {
            let more = jobs.len() > most || page.next_cursor.is_some();
            jobs.truncate(most);
            return Ok((jobs, more));
        }
        cursor = page.next_cursor;
    }
}

fn has_ended(job: &Value) -> bool {
    job["status"].as_str().and_then(|status| status.parse::<Status>().ok()).is_some_and(Status::is_final)
}

fn render(jobs: &[Value], more: bool, args: &ListArgs, now: DateTime<Utc>, screen: Screen) -> String {
    let documents: Vec<Document> = jobs.iter().filter_map(|job| Document::deserialize(job).ok()).collect();
    if documents.is_empty() {
        let narrowed = args.feature.is_some()
            || args.author.is_some()
            || args.tag.is_some()
            || args.search.is_some()
            || args.status.is_some();
        return match (args.past || args.all, narrowed) {
            (_, true) => "No job fits.\n".to_owned(),
            (true, false) => "There are no jobs.\n".to_owned(),
            (false, false) => {
                "No job is running or waiting. See those that have ended with --past.\n".to_owned()
            }
        };
    }
    let mut table = Table::new(&["ID", "STATUS", "PROGRESS", "AGE", "AUTHOR", "FEATURE", "TITLE"]);
    for job in &documents {
        let progress = format!("{} {:>5}", bar(job.progress, 8), job.percent_text());
        table.row(&[
            &job.id,
            job.status.name(),
            &progress,
            &job.age(now),
            &job.author,
            &job.feature,
            job.title.as_deref().filter(|title| *title != job.feature).unwrap_or(""),
        ]);
    }
    let mut text = table.render(screen.width, |row, column, cell| match column {
        1 => screen.paint(documents[row].status, cell),
        _ => cell.to_owned(),
    });
    if more {
        text.push_str("… and more. Raise --limit, or narrow the list.\n");
    }
    text
}
