//! Fills a database with finished jobs that look like real ones, to see how Longhaul behaves with a long
//! history:
//!
//! ```sh
//! cargo run --release --features ssr --example generate -- --jobs 1000000 --database sqlite://million.db
//! ```
//!
//! Every job is made by the model's own rules, command by command, so that the result passes `longhaul
//! check`. The same seed and moment make the same jobs. It writes through the store's import, so any
//! database will do. It makes no open jobs, and no working hours: jobs
//! end at any time of the day alike.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use longhaul::model::{
    Actor, Author, Command, Context, Event, EventKind, Feature, Job, JobId, Level, MessageText, NewJob,
    Reason, Report, ReportItem, Spec, StepSpec, Stopped, Tag, Timestamp, Title,
};
use longhaul::store::{ImportedJob, JobStore, PostgresSettings, PostgresStore, SqliteStore};
use uuid::Builder;

#[derive(Parser)]
struct Args {
    /// How many finished jobs
    #[arg(long, default_value_t = 10_000)]
    jobs: u64,
    /// sqlite://FILE, made where it is missing, or postgres://USER@HOST/NAME
    #[arg(long)]
    database: String,
    /// Which jobs: the same seed makes the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Give them labels: two in three have one, and one in a thousand has a rare one
    #[arg(long)]
    tags: bool,
    /// How long their logs are: none, short (three lines) or real (a dozen on average, some hundreds)
    #[arg(long, default_value = "real")]
    logs: String,
    /// One more job, the newest, with a log of this many lines
    #[arg(long, default_value_t = 0)]
    long_log: u64,
    /// Over how many days they are spread
    #[arg(long, default_value_t = 80)]
    days: u64,
    /// When the newest ended, in milliseconds since 1970; now where nothing is said
    #[arg(long)]
    until: Option<i64>,
}

/// Jobs in one transaction.
const BATCH: u64 = 2_000;

const FEATURES: [(&str, &str); 12] = [
    ("nightly-import", "Import of the night"),
    ("argument-condensation", "Condense the arguments"),
    ("search-reindex", "Rebuild the search index"),
    ("newsletter", "Send the newsletter"),
    ("invoice-run", "Invoices of the month"),
    ("image-thumbnails", "Thumbnails"),
    ("backup", "Back up the store"),
    ("data-export", "Export for the archive"),
    ("video-transcode", "Transcode uploads"),
    ("user-sync", "Synchronise users"),
    ("report-pdf", "Reports as PDF"),
    ("cache-warmup", "Warm the caches"),
];
const ERRORS: [&str; 6] = [
    "Connection to db.internal:5432 refused",
    "No space left on device",
    "Row 1834: `list_number` is required and must not be blank",
    "HTTP 503 from https://api.example.org/v2/complete after 3 attempts",
    "Exit code 137",
    "Timed out waiting for the lock on `candidates`",
];
const TAGS: [&str; 8] = ["nightly", "llm", "import", "customer-7", "by-hand", "pilot", "election", "slow"];
const WORDS: [&str; 16] = [
    "candidates",
    "answers",
    "questions",
    "rows",
    "documents",
    "pages",
    "files",
    "members",
    "invoices",
    "images",
    "municipalities",
    "constituencies",
    "tokens",
    "records",
    "accounts",
    "messages",
];

/// SplitMix64. Written here, because a library's generator may change with its version, and a seed must
/// always make the same jobs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    /// A number below `limit`; small ones are more likely.
    fn skewed(&mut self, limit: u64) -> u64 {
        let (a, b) = (self.below(limit), self.below(limit));
        a * b / limit.max(1)
    }
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A job on its way through its life.
struct Life {
    job: Job,
    log: Vec<Event>,
    now: i64,
    actor: Actor,
}

impl Life {
    fn begin(random: &mut Random, at: i64) -> Outcome<Self> {
        let (feature, title) = FEATURES[random.skewed(FEATURES.len() as u64) as usize];
        let person = format!(
            "{}.{}@example.org",
            random.of(&["anna", "maria", "otto", "li", "noor"]),
            random.below(60)
        );
        let actor =
            if random.below(4) == 0 { Actor::user(person.as_str()) } else { Actor::token("scheduler") };
        let owner = format!("{}:{}", if random.below(4) == 0 { "user" } else { "token" }, actor.name);
        let title = (random.below(2) == 0).then(|| format!("{title} {}", random.below(1_000)));
        let mut bytes = [0; 10];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]);
        }
        let title = title.map(Title::new).transpose()?;
        let spec = Spec { title, ..Spec::new(Feature::new(feature)?, Author::new(person)?, owner) };
        let id = Builder::from_unix_timestamp_millis(u64::try_from(at).unwrap_or(0), &bytes).into_uuid();
        let new = NewJob { id: JobId(id), spec, enqueue: false, run_at: None };
        let (job, created) = Job::create(new, &Context { actor: actor.clone(), at: Timestamp(at) })?;
        Ok(Self { job, log: vec![created], now: at, actor })
    }

    /// Gives labels to a job to which nothing has happened yet.
    fn label(&mut self, tags: &[Tag]) {
        Arc::make_mut(&mut self.job.spec).tags = tags.to_vec();
        for event in &mut self.log {
            if let EventKind::Created { spec, .. } = &mut event.kind {
                spec.tags = tags.to_vec();
            }
        }
    }

    fn then(&mut self, wait: u64, command: Command) -> Outcome<()> {
        self.now += wait as i64;
        let context = Context { actor: self.actor.clone(), at: Timestamp(self.now) };
        for event in self.job.decide(command, &context)? {
            self.job.apply(&event);
            if event.seq.is_some() {
                self.log.push(event);
            }
        }
        Ok(())
    }

    fn report(&mut self, wait: u64, items: Vec<ReportItem>) -> Outcome<()> {
        self.then(wait, Command::Report(Report { epoch: Some(1), items }))
    }
}

fn said(random: &mut Random, level: Level, step: Option<&str>) -> Outcome<ReportItem> {
    let (number, of, what) = (random.below(5_000), 5_000 + random.below(5_000), random.of(&WORDS));
    let text = match level {
        Level::Info => format!("Processed {number} of {of} {what}"),
        Level::Warning => {
            format!("Skipped {what} {number}: confidence {}.{} is low", random.below(1), random.below(100))
        }
        Level::Error => format!("{what} {number}: {}", random.of(&ERRORS)),
    };
    Ok(ReportItem::Message { level, text: MessageText::new(text)?, step: step.map(str::to_owned), key: None })
}

/// The labels of a job, from its id: jobs are the same with them and without.
fn tags(id: JobId) -> Outcome<Vec<Tag>> {
    let mut random = Random(id.0.as_u128() as u64);
    let mut tags = Vec::new();
    if random.below(3) > 0 {
        tags.push(Tag::new(TAGS[random.skewed(TAGS.len() as u64) as usize])?);
    }
    if random.below(1_000) == 0 {
        tags.push(Tag::new("seldom")?);
    }
    Ok(tags)
}

fn job(random: &mut Random, at: i64, logs: &str, tagged: bool) -> Outcome<ImportedJob> {
    let mut life = Life::begin(random, at)?;
    if tagged {
        life.label(&tags(life.job.id)?);
    }
    let lines = match logs {
        "none" => 0,
        "short" => 3,
        _ => match random.below(100) {
            0..70 => 2 + random.below(7),
            70..97 => 8 + random.below(32),
            _ => 40 + random.below(260),
        },
    };
    let steps = logs == "real" && random.below(3) == 0;
    if steps {
        let declared = [StepSpec::new("load"), StepSpec::new("work").weight(8.0), StepSpec::new("save")];
        life.report(20, vec![ReportItem::Steps(declared.to_vec())])?;
    }
    for line in 0..lines {
        let level = match random.below(50) {
            0 => Level::Error,
            1..4 => Level::Warning,
            _ => Level::Info,
        };
        let mut items = vec![said(random, level, steps.then_some("work"))?];
        if steps {
            let value = (line + 1) as f64 / lines as f64;
            items.push(ReportItem::Progress { step: Some("work".to_owned()), value });
        }
        let wait = 50 + random.skewed(20_000);
        life.report(wait, items)?;
    }
    let wait = 100 + random.skewed(60_000);
    match random.below(100) {
        0..6 => {
            let error = Some(random.of(&ERRORS).to_owned());
            life.then(wait, Command::Fail { epoch: Some(1), error, retryable: false })?;
        }
        6 => life.then(wait, Command::ForceFail { reason: Reason::new("it hangs")? })?,
        7 => {
            life.then(wait, Command::Abort { reason: Reason::new("not needed any more")? })?;
            life.then(400, Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() })?;
        }
        _ => life.then(wait, Command::Complete { epoch: Some(1), output: None })?,
    }
    Ok(ImportedJob { job: Arc::new(life.job), log: life.log })
}

fn long(random: &mut Random, at: i64, lines: u64) -> Outcome<ImportedJob> {
    let mut life = Life::begin(random, at)?;
    for line in 0..lines {
        let level = if line % 1_000 == 999 { Level::Warning } else { Level::Info };
        let item = said(random, level, None)?;
        life.report(1, vec![item])?;
    }
    life.then(10, Command::Complete { epoch: Some(1), output: None })?;
    Ok(ImportedJob { job: Arc::new(life.job), log: life.log })
}

async fn open(database: &str) -> Outcome<Arc<dyn JobStore>> {
    if let Some(path) = database.strip_prefix("sqlite://") {
        return Ok(Arc::new(SqliteStore::open(path.as_ref())?));
    }
    let settings = PostgresSettings { address: database.to_owned(), connections: 2, node: None };
    Ok(Arc::new(PostgresStore::open(settings).await?))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let args = Args::parse();
    let store = open(&args.database).await?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as i64;
    let until = args.until.unwrap_or(now);
    let span = args.days as i64 * 86_400_000;
    let began = Instant::now();

    let (send, made) = sync_channel::<Outcome<Vec<ImportedJob>>>(4);
    let maker = std::thread::spawn(move || {
        let mut random = Random(args.seed);
        let mut first = 0;
        while first < args.jobs {
            let last = (first + BATCH).min(args.jobs);
            let batch = (first..last)
                .map(|number| {
                    let at =
                        until - span + (number as i128 * i128::from(span) / i128::from(args.jobs)) as i64;
                    // The longest last an hour.
                    job(&mut random, at - 3_600_000, &args.logs, args.tags)
                })
                .collect();
            if send.send(batch).is_err() {
                return;
            }
            first = last;
        }
        if args.long_log > 0 {
            let _ = send.send(long(&mut random, until - 3_600_000, args.long_log).map(|job| vec![job]));
        }
    });
    let (mut jobs, mut entries, mut said) = (0_u64, 0_u64, Instant::now());
    for batch in made {
        let batch = batch?;
        jobs += batch.len() as u64;
        entries += batch.iter().map(|job| job.log.len() as u64).sum::<u64>();
        store.import(batch).await?;
        if said.elapsed() > Duration::from_secs(5) {
            said = Instant::now();
            eprintln!("{jobs} jobs, {:.0} a second", jobs as f64 / began.elapsed().as_secs_f64());
        }
    }
    maker.join().map_err(|_| "the maker of jobs panicked")?;
    store.close().await;
    let took = began.elapsed().as_secs_f64();
    println!(
        "{jobs} jobs with {entries} log entries in {took:.1} s: {:.0} jobs a second",
        jobs as f64 / took
    );
    Ok(())
}
