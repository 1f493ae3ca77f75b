//! Starting jobs, and looking at them.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Caller, Service, ServiceError, to_the_end};
use crate::engine::troubles;
use crate::model::{
    Author, Cursor, Execution, Feature, Invalid, Job, JobFilter, JobId, LineKind, LogFilter, NewJob,
    OutcomeCounts, PageSize, Permission, Refusal, Spec, SystemHealth, Tag, Timeouts, Timestamp, Title,
    Trouble, canonical,
};
use crate::store::{
    CreateRules, Created, FeatureCounts, IdempotencyKey, JobPage, LogFrom, LogPage, LogQuery, Newest,
    NodeRecord, fit_messages,
};
use crate::view::{Action, BoardAnswer, BoardView, JobAnswer, JobPageView, LogAnswer};

/// What a start asks for, as it came in: nothing of it is checked yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartRequest {
    /// The job's type.
    pub feature: String,
    /// Whom it is for; the caller where absent.
    pub author: Option<String>,
    /// What people call it.
    pub title: Option<String>,
    /// What it works on.
    pub input: Option<Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// How long it may take and be silent.
    pub timeouts: StartTimeouts,
    /// Refuse while one of the same feature has not ended.
    pub one_per_feature: bool,
    /// Every so many seconds its process promises to be heard of.
    pub heartbeat_every: Option<u32>,
    /// Seconds its process may take to stop.
    pub grace: Option<u32>,
    /// When it began by its runner's clock.
    pub began_at: Option<Timestamp>,
    /// Recognises the request when it comes again.
    pub idempotency_key: Option<String>,
}

/// Timeouts in seconds; 0 for none, absent for the installation's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartTimeouts {
    /// How long it may take.
    pub run: Option<u64>,
    /// How long it may be silent.
    pub activity: Option<u64>,
}

/// The most labels of a job.
const MAX_TAGS: usize = 20;
/// The most characters of an idempotency key.
const MAX_KEY_CHARS: usize = 200;
/// The rarest sign of life that can be promised, in seconds.
const MAX_HEARTBEAT: u32 = 3_600;
/// The longest time to stop that can be granted, in seconds.
const MAX_GRACE: u32 = 86_400;
/// The longest timeout that can be set: a year, in seconds.
const MAX_TIMEOUT: u64 = 366 * 86_400;

/// What tells a request from another that came with the same key: what was asked for, however it was written, and
/// whatever the settings were.
fn fingerprint(spec: &Spec, (timeouts, one_per_feature): (StartTimeouts, bool)) -> String {
    let tags: Vec<&str> = spec.tags.iter().map(Tag::as_str).collect();
    let request = json!({
        "feature": spec.feature.as_str(),
        "author": spec.author.as_str(),
        "title": spec.title.as_ref().map(Title::as_str),
        "tags": tags,
        "input": spec.input.as_ref().map(canonical),
        "timeout": timeouts.run,
        "activityTimeout": timeouts.activity,
        "onePerFeature": one_per_feature,
        "heartbeatEvery": spec.heartbeat_every,
        "grace": spec.grace,
        "at": spec.began_at,
    });
    let present = |fields: &serde_json::Map<String, Value>| -> Value {
        fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let request = request.as_object().map(present).unwrap_or(request);
    Sha256::digest(request.to_string()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Service {
    /// Starts a job that somebody else runs and reports on.
    pub async fn start_job(&self, caller: &Caller, request: StartRequest) -> Result<Created, ServiceError> {
        caller.must(Permission::Start)?;
        self.must_be_open()?;
        // A process that vouches for itself is ended by no clock that nobody set for it; it is said when it takes
        // long.
        let timeouts = match request.heartbeat_every {
            None => self.settings.limits.timeouts,
            Some(_) => Timeouts::NONE,
        };
        let (new, rules) = self.prepare(caller, request, timeouts, Execution::External)?;
        Ok(self.store.create(new, rules, self.context(caller)).await?)
    }

    /// Starts a built-in job, which this server runs.
    pub async fn run_built_in(
        &self,
        caller: &Caller,
        feature: &str,
        input: Option<Value>,
    ) -> Result<Created, ServiceError> {
        caller.must(Permission::Recover)?;
        self.must_be_open()?;
        let work = self.runner.find(feature).ok_or_else(|| {
            let known: Vec<&str> = self.runner.jobs().iter().map(|job| job.feature()).collect();
            ServiceError::NotFound(format!(
                "There is no built-in job `{feature}`. There are: {}.",
                known.join(", ")
            ))
        })?;
        let request = StartRequest {
            feature: feature.to_owned(),
            title: Some(work.title().to_owned()),
            input,
            one_per_feature: work.one_at_a_time(),
            ..StartRequest::default()
        };
        let (new, rules) = self.prepare(caller, request, work.timeouts(), Execution::InProcess)?;
        let (store, runner, context) =
            (Arc::clone(&self.store), Arc::clone(&self.runner), self.context(caller));
        // A job that was made is begun, also where the caller has disconnected meanwhile.
        to_the_end(async move {
            let created = store.create(new, rules, context).await?;
            if !created.replayed {
                runner.spawn(work, &created.job);
            }
            Ok(created)
        })
        .await
    }

    fn prepare(
        &self,
        caller: &Caller,
        request: StartRequest,
        timeouts: Timeouts,
        execution: Execution,
    ) -> Result<(NewJob, CreateRules), ServiceError> {
        let idempotency = match &request.idempotency_key {
            None => None,
            Some(key) if !key.is_empty() && key.chars().count() <= MAX_KEY_CHARS => {
                Some(format!("{}:{key}", caller.owner()))
            }
            Some(_) => {
                return Err(Invalid::new("Idempotency-Key", "must have 1 to 200 characters").into());
            }
        };
        let author = match request.author {
            Some(author) if author.trim() != caller.actor.name && !caller.act_as => {
                return Err(ServiceError::MayNotActAs { author });
            }
            Some(author) => Author::new(author)?,
            None => Author::new(caller.actor.name.as_str())?,
        };
        if request.tags.len() > MAX_TAGS {
            return Err(Invalid::new("tags", "may be 20 at most").into());
        }
        for (field, seconds) in
            [("timeout", request.timeouts.run), ("activityTimeout", request.timeouts.activity)]
        {
            if seconds.is_some_and(|seconds| seconds > MAX_TIMEOUT) {
                return Err(
                    Invalid::new(field, "must be a number of seconds up to a year, or 0 for none").into()
                );
            }
        }
        for (field, seconds, least, most) in [
            ("heartbeatEvery", request.heartbeat_every, 1, MAX_HEARTBEAT),
            ("grace", request.grace, 0, MAX_GRACE),
        ] {
            if seconds.is_some_and(|seconds| !(least..=most).contains(&seconds)) {
                return Err(Invalid::new(field, format!("must be {least} to {most} seconds")).into());
            }
        }
        let given = (request.timeouts, request.one_per_feature);
        let timeouts_given = timeouts.with_seconds(request.timeouts.run, request.timeouts.activity);
        let warn = self.settings.limits.timeouts;
        let warn_after = match request.heartbeat_every {
            // A limit that was set for it warns by itself.
            Some(_) => Timeouts {
                run: warn.run.filter(|_| timeouts_given.run.is_none()),
                activity: warn.activity.filter(|_| timeouts_given.activity.is_none()),
            },
            None => Timeouts::NONE,
        };
        let spec = Spec {
            title: request.title.map(Title::new).transpose()?,
            tags: request.tags.into_iter().map(Tag::new).collect::<Result<_, _>>()?,
            input: request.input.filter(|input| !input.is_null()),
            timeouts: timeouts_given,
            heartbeat_every: request.heartbeat_every,
            grace: request.grace,
            warn_after,
            began_at: request.began_at,
            execution,
            max_lines: self.settings.limits.max_lines,
            ..Spec::new(Feature::new(request.feature)?, author, caller.owner())
        };
        let idempotency =
            idempotency.map(|key| IdempotencyKey { key, fingerprint: fingerprint(&spec, given) });
        let rules = CreateRules {
            max_active: Some(self.settings.limits.max_active),
            // Who can end the jobs of others can make room.
            max_active_each: Some(self.settings.limits.share())
                .filter(|_| !caller.role.may(Permission::Recover)),
            one_per_feature: request.one_per_feature,
            idempotency,
        };
        Ok((NewJob { id: JobId(Uuid::now_v7()), spec, enqueue: false, run_at: None }, rules))
    }

    /// A page of jobs.
    pub async fn list_jobs(
        &self,
        caller: &Caller,
        filter: JobFilter,
        after: Option<Cursor>,
        size: PageSize,
    ) -> Result<JobPage, ServiceError> {
        caller.must(Permission::Read)?;
        filter.check()?;
        Ok(self.store.list(filter, after, size).await?)
    }

    /// A job as it stands.
    pub async fn get_job(&self, caller: &Caller, id: JobId) -> Result<Arc<Job>, ServiceError> {
        caller.must(Permission::Read)?;
        self.job(id).await
    }

    /// A job, from the board where it is there.
    pub(super) async fn job(&self, id: JobId) -> Result<Arc<Job>, ServiceError> {
        if let Some(job) = self.board.job(id) {
            return Ok(job);
        }
        Ok(self.store.get(id).await?.ok_or(Refusal::NotFound { id })?)
    }

    /// A part of a job's log.
    pub async fn read_log(
        &self,
        caller: &Caller,
        id: JobId,
        query: LogQuery,
    ) -> Result<LogPage, ServiceError> {
        caller.must(Permission::Read)?;
        query.filter.check()?;
        Ok(self.store.log(id, query).await?)
    }

    /// The newest messages of some jobs, `most` of each level.
    pub async fn newest_messages(
        &self,
        caller: &Caller,
        jobs: &[Arc<Job>],
        most: usize,
    ) -> Result<Vec<Newest>, ServiceError> {
        caller.must(Permission::Read)?;
        let mut newest = self.store.newest_messages(jobs, most).await?;
        fit_messages(jobs, &mut newest);
        Ok(newest)
    }

    /// The first error in a job's log.
    pub async fn first_error(&self, caller: &Caller, id: JobId) -> Result<Option<u64>, ServiceError> {
        let filter = LogFilter { kinds: vec![LineKind::Error], ..LogFilter::default() };
        let query = LogQuery { filter, from: LogFrom::After(0), limit: 1, count: false };
        Ok(self.read_log(caller, id, query).await?.lines.first().map(|line| line.seq))
    }

    /// The features there are, with their counters.
    pub async fn features(&self, caller: &Caller) -> Result<Vec<FeatureCounts>, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.store.features(100).await?)
    }

    /// How many jobs ended today, UTC.
    pub async fn ended_today(&self, caller: &Caller) -> Result<OutcomeCounts, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.store.ended_on(self.now().day()).await?)
    }

    /// The system's condition. Changes nothing.
    pub fn system_health(&self, caller: &Caller) -> Result<SystemHealth, ServiceError> {
        caller.must(Permission::Read)?;
        let active = self.board.active();
        Ok(SystemHealth::assess(
            active.iter().map(|job| &**job),
            &self.store.counts(),
            &self.settings.limits,
            &self.troubles(),
            self.now(),
        ))
    }

    /// The servers that share the store, by name; none where it is for one alone.
    pub fn nodes(&self, caller: &Caller) -> Result<Vec<NodeRecord>, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.store.nodes())
    }

    fn troubles(&self) -> Vec<Trouble> {
        let mut troubles = troubles(&*self.store, &self.timekeeper);
        troubles.extend(self.watch.troubles());
        troubles.sort_by_key(|trouble| !trouble.critical);
        troubles
    }

    /// The overview as it stands.
    pub fn board_view(&self, caller: &Caller) -> Result<BoardView, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.board.view(self.now(), self.troubles()))
    }

    /// What changed on the overview since `since`.
    pub fn board_poll(
        &self,
        caller: &Caller,
        boot: &str,
        build: &str,
        since: u64,
    ) -> Result<BoardAnswer, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.board.poll(boot, build, since, self.now(), self.troubles()))
    }

    /// A job's page as it stands.
    pub async fn job_page(
        &self,
        caller: &Caller,
        id: JobId,
        unfolded: bool,
    ) -> Result<JobPageView, ServiceError> {
        caller.must(Permission::Read)?;
        let job = self.job(id).await?;
        self.page_of(&job, unfolded).await
    }

    /// What a job works on, as JSON.
    pub async fn job_input(&self, caller: &Caller, id: JobId) -> Result<Option<String>, ServiceError> {
        caller.must(Permission::Read)?;
        Ok(self.job(id).await?.spec.input.as_ref().map(Value::to_string))
    }

    async fn page_of(&self, job: &Job, unfolded: bool) -> Result<JobPageView, ServiceError> {
        let actions = if job.counts.operator == 0 {
            Vec::new()
        } else {
            let filter = LogFilter { kinds: vec![LineKind::Operator], ..LogFilter::default() };
            let query = LogQuery { filter, from: LogFrom::End, limit: 50, count: false };
            let lines = self.store.log(job.id, query).await?.lines;
            lines.into_iter().map(|line| Action { at: line.at, text: line.text }).collect()
        };
        Ok(JobPageView::new(job, actions, self.now(), self.board.build(), self.board.sweep_plan(), unfolded))
    }

    /// What changed of a job since its revision `since`.
    pub async fn job_poll(
        &self,
        caller: &Caller,
        id: JobId,
        since: u64,
        unfolded: bool,
    ) -> Result<JobAnswer, ServiceError> {
        caller.must(Permission::Read)?;
        // Read before the job, so that a change in between is announced again instead of missed.
        let (boot, revision) = (self.board.boot().to_owned(), self.board.revision());
        let job = self.job(id).await?;
        let view = if job.revision == since { None } else { Some(self.page_of(&job, unfolded).await?) };
        Ok(JobAnswer { now: self.now(), boot, revision, view })
    }

    /// What came to a job's log after the entry `after`. Who only follows it is given the newest lines where more
    /// came than are kept on a page.
    pub async fn log_poll(
        &self,
        caller: &Caller,
        id: JobId,
        after: u64,
        follows: bool,
        filter: LogFilter,
    ) -> Result<LogAnswer, ServiceError> {
        const MOST: usize = 500;
        caller.must(Permission::Read)?;
        filter.check()?;
        let (boot, revision) = (self.board.boot().to_owned(), self.board.revision());
        let job = self.job(id).await?;
        let mut answer = LogAnswer { boot, revision, seq: job.seq, ..LogAnswer::default() };
        if follows && job.seq.saturating_sub(after) > LogAnswer::FOLLOWED as u64 {
            let query = LogQuery { filter, from: LogFrom::End, limit: LogAnswer::FOLLOWED, count: true };
            let page = self.store.log(id, query).await?;
            let before = page.lines.len();
            answer.lines = page.lines.into_iter().filter(|line| line.seq > after).collect();
            answer.seq = answer.lines.last().map_or(0, |line| line.seq).max(job.seq);
            answer.skipped_of = page.total.filter(|_| page.more && answer.lines.len() == before);
        } else if job.seq > after {
            let query = LogQuery { filter, from: LogFrom::After(after), limit: MOST, count: false };
            let page = self.store.log(id, query).await?;
            // The store may be ahead of the board.
            let last = page.lines.last().map_or(0, |line| line.seq);
            answer.seq = if page.more { last } else { last.max(job.seq) };
            (answer.lines, answer.more) = (page.lines, page.more);
        }
        Ok(answer)
    }
}
