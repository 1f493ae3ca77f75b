//! Brings a run's spool to the server, in order and once, however often the server goes away.
//!
//! A report whose answer was lost is sent again. That is safe: the start has an idempotency key, messages
//! carry keys that only grow, numbers never fall, steps may be declared twice, and an end that was taken
//! answers that the job has ended, which is then looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::backlog::{Backlog, Bundle, JobRef};
use super::link::{Link, failed_for_silence, why_over};
use super::notices::Notices;
use super::record::{End, Ended, Message, Progress, Record, RunnerTime, Start};
use super::undelivered::{NOT_FOUND, Undelivered, takes_nothing};
use crate::cli::client::{Acknowledged, CallError, Client};
use crate::model::{Level, Status};

/// How long things take. The defaults are for people; tests are in more of a hurry.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long one request may take.
    pub patience: Duration,
    /// How long the command may be held up by the question whether it may run.
    pub start_patience: Duration,
    /// The first pause before trying again.
    pub least_pause: Duration,
    /// The longest pause before trying again.
    pub most_pause: Duration,
    /// How long what is being done may take once somebody wants an end, and how long a wait needs no word.
    pub farewell: Duration,
    /// How long the end waits for a server that is away.
    pub drain: Duration,
    /// The same where the server was away from the start, or a signal wants an end.
    pub hurried_drain: Duration,
    /// How long earlier runs' reports may hold up the end of this one: not so long that anybody notices.
    pub leftovers: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(10),
            start_patience: Duration::from_secs(2),
            least_pause: Duration::from_millis(250),
            most_pause: Duration::from_secs(5),
            farewell: Duration::from_millis(500),
            drain: Duration::from_secs(30),
            hurried_drain: Duration::from_secs(2),
            leftovers: Duration::from_millis(200),
        }
    }
}

/// What became of a run's reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The server has them all, and the spool is gone.
    Delivered,
    /// The job was ended from outside. The rest is not wanted.
    Over(String),
    /// The job was failed for its silence, while it was the server that could not be spoken to. That is no
    /// reason to stop the command.
    Unheard,
    /// The server will never make this job, or has forgotten it.
    Refused(String),
    /// The server takes nothing at the moment: what it does instead, as a phrase that follows its name.
    /// The spool is as it was.
    Away(String),
    /// The server does not take this job's reports for now, in its words. The spool is as it was.
    Held(String),
    /// The spool cannot be read.
    Unreadable(String),
}

/// Delivers one run.
pub struct Delivery {
    client: Client,
    start: Start,
    backlog: Backlog,
    job: watch::Sender<Option<JobRef>>,
    notices: Notices,
    pace: Pace,
    /// Tries again until it is told to stop; otherwise once.
    persistent: bool,
    link: Arc<Link>,
    said_refused: bool,
}

impl Delivery {
    /// Will deliver `backlog`, which belongs to the run that `start` began.
    pub fn new(client: Client, start: Start, backlog: Backlog, notices: Notices, pace: Pace) -> Self {
        Self {
            client,
            start,
            job: watch::Sender::new(backlog.job()),
            backlog,
            notices,
            pace,
            persistent: true,
            link: Arc::default(),
            said_refused: false,
        }
    }

    /// The same, giving up as soon as the server is away.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.persistent = false;
        self
    }

    /// Tells of the job, once there is one.
    pub fn job(&self) -> watch::Receiver<Option<JobRef>> {
        self.job.subscribe()
    }

    /// What heartbeats and the delivery tell each other.
    pub fn link(&self) -> Arc<Link> {
        Arc::clone(&self.link)
    }

    /// Asks the server for the job.
    ///
    /// # Errors
    /// Where it was not made, or no answer says that it was.
    pub async fn start(&mut self) -> Result<(), CallError> {
        if self.backlog.job().is_none() {
            let key = self.start.key.to_string();
            let job: JobRef =
                self.client.post_keyed("/api/admin/jobs/start", &key, &self.start.request).await?;
            self.backlog.set_job(job);
            self.job.send_replace(Some(job));
        }
        Ok(())
    }

    /// The run will not take place.
    pub fn cancel(self) {
        self.backlog.remove();
    }

    /// Delivers until everything is delivered, or nothing more can be.
    pub async fn run(mut self) -> Fate {
        match self.deliver_all().await {
            Ok(()) => {
                self.backlog.remove();
                Fate::Delivered
            }
            Err(fate) => {
                match &fate {
                    Fate::Over(_) if !self.backlog.has_lines() => {
                        self.backlog.discard();
                        self.backlog.remove();
                    }
                    Fate::Unheard => {
                        let aside = self.backlog.set_aside();
                        self.notices.say(&format!(
                            "the server failed the job because it heard nothing while it could not be reached; the command is not stopped for that, and its reports are kept in {aside}"
                        ));
                    }
                    Fate::Over(why) | Fate::Refused(why) => {
                        let aside = self.backlog.set_aside();
                        self.notices.say(&format!(
                            "the server does not take these reports ({why}); they are in {aside}"
                        ));
                    }
                    Fate::Delivered | Fate::Away(_) | Fate::Held(_) | Fate::Unreadable(_) => {}
                }
                fate
            }
        }
    }

    async fn deliver_all(&mut self) -> Result<(), Fate> {
        self.insist(None).await?;
        loop {
            match self.backlog.next().await {
                Ok(Some(batch)) => {
                    self.insist(Some(&batch)).await?;
                    self.backlog.delivered(&batch);
                }
                Ok(None) => return Ok(()),
                Err(error) => return Err(Fate::Unreadable(error.to_string())),
            }
        }
    }

    /// Makes the job, or delivers a batch, however often it takes.
    async fn insist(&mut self, batch: Option<&Bundle>) -> Result<(), Fate> {
        let mut pause = self.pace.least_pause;
        loop {
            let sent = match batch {
                None => self.start().await.map_err(Undelivered::of),
                Some(batch) => self.send(batch).await,
            };
            let sent = match sent {
                // A run of now waits for either.
                Err(Undelivered::Held { sentence }) if self.persistent => {
                    Err(Undelivered::Away(takes_nothing(&sentence)))
                }
                sent => sent,
            };
            match sent {
                Ok(()) => {
                    self.say_back();
                    return Ok(());
                }
                Err(Undelivered::Away(why)) if self.persistent => {
                    self.say_away(&why);
                    let jitter = rand::random_range(0.5..1.0);
                    tokio::time::sleep(pause.mul_f64(jitter)).await;
                    pause = (pause * 2).min(self.pace.most_pause);
                }
                Err(Undelivered::Away(why)) => return Err(Fate::Away(why)),
                Err(Undelivered::Held { sentence }) => return Err(Fate::Held(sentence)),
                // A server that forgot the job (its memory store was restarted) is no reason to stop the
                // command.
                Err(Undelivered::Over { code, sentence }) if code != NOT_FOUND => {
                    let was_cut = batch.is_some() && self.link.was_cut();
                    match if was_cut { self.failed_for_silence().await } else { Ok(false) } {
                        Ok(true) => return Err(Fate::Unheard),
                        Err(Undelivered::Away(_)) => {
                            tokio::time::sleep(pause).await;
                            pause = (pause * 2).min(self.pace.most_pause);
                        }
                        Ok(false) | Err(_) => {
                            let why = match self.backlog.job() {
                                Some(job) => why_over(&self.client, job, sentence).await,
                                None => sentence,
                            };
                            return Err(Fate::Over(why));
                        }
                    }
                }
                Err(Undelivered::Over { sentence, .. } | Undelivered::Refused { sentence, .. }) => {
                    return Err(Fate::Refused(sentence));
                }
            }
        }
    }

    async fn send(&mut self, batch: &Bundle) -> Result<(), Undelivered> {
        let Some(job) = self.backlog.job() else {
            return Ok(());
        };
        if !batch.messages.is_empty() {
            self.send_messages(job, &batch.messages).await?;
        }
        for progress in &batch.progress {
            self.send_progress(job, progress).await?;
        }
        match &batch.last {
            Some(Record::Steps(steps)) => {
                let body = json!({"steps": steps, "epoch": job.epoch});
                let sent = self.post(job, "progress", &body).await;
                self.forgive(sent)
            }
            Some(Record::End(end)) => self.send_end(job, end).await,
            _ => Ok(()),
        }
    }

    /// One message that the server cannot take must not hold up the others: where a list is refused, it is
    /// sent without the steps, which may be what is wrong with it, and then one by one.
    async fn send_messages(&mut self, job: JobRef, messages: &[Message]) -> Result<(), Undelivered> {
        let item = |message, with_step| Item::new(message, job.epoch, with_step);
        for with_step in [true, false] {
            let items: Vec<_> = messages.iter().map(|message| item(message, with_step)).collect();
            match self.post(job, "message", &items).await {
                Err(Undelivered::Refused { code, .. }) if code.ends_with("_step") && with_step => {}
                Err(Undelivered::Refused { .. }) => break,
                sent => return sent,
            }
        }
        for message in messages {
            let sent = self.post(job, "message", &item(message, false)).await;
            self.forgive(sent)?;
        }
        Ok(())
    }

    async fn send_progress(&mut self, job: JobRef, progress: &Progress) -> Result<(), Undelivered> {
        #[derive(serde::Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            progress: &'a Progress,
            epoch: u32,
        }
        let body = Body { progress, epoch: job.epoch };
        let sent = self.post(job, "progress", &body).await;
        self.forgive(sent)
    }

    async fn send_end(&mut self, job: JobRef, end: &Ended) -> Result<(), Undelivered> {
        let (verb, body) = end.call(job.epoch);
        match self.post(job, verb, &body).await {
            Err(Undelivered::Over { code, sentence }) => match (code.as_str(), &end.how) {
                // The request to stop was taken back, or the job never heard of it.
                ("wrong_state", End::Aborted { how, .. }) => {
                    let how = End::Failed { error: how.clone(), retryable: true };
                    let failed = Ended { how, at: end.at };
                    let (verb, body) = failed.call(job.epoch);
                    self.post(job, verb, &body).await
                }
                ("job_finished" | "stale_epoch", _) => self.look_at_end(job, &end.how, &sentence).await,
                _ => Err(Undelivered::Over { code, sentence }),
            },
            sent => self.forgive(sent),
        }
    }

    /// The job has ended already: by this very report, whose answer was lost, or otherwise.
    async fn look_at_end(&mut self, job: JobRef, end: &End, sentence: &str) -> Result<(), Undelivered> {
        #[derive(Deserialize)]
        struct Ended {
            status: Status,
        }
        let path = format!("/api/admin/jobs/{}/progress", job.job_id);
        let ended: Ended = self.client.get(&path, &[]).await.map_err(Undelivered::of)?;
        if ended.status != end.status() {
            self.notices.say(&format!(
                "the command's end was not recorded, the job is {} already ({sentence})",
                ended.status
            ));
        }
        Ok(())
    }

    async fn failed_for_silence(&self) -> Result<bool, Undelivered> {
        match self.backlog.job() {
            Some(job) => failed_for_silence(&self.client, job).await,
            None => Ok(false),
        }
    }

    async fn post(&self, job: JobRef, verb: &str, body: &impl serde::Serialize) -> Result<(), Undelivered> {
        let path = format!("/api/admin/jobs/{}/{verb}", job.job_id);
        let _: Acknowledged = self.client.post(&path, body).await.map_err(Undelivered::of)?;
        Ok(())
    }

    /// A report the server will never take is dropped, and said to be, once: the rest matters more.
    fn forgive(&mut self, sent: Result<(), Undelivered>) -> Result<(), Undelivered> {
        match sent {
            Err(Undelivered::Refused { sentence, .. }) => {
                if !std::mem::replace(&mut self.said_refused, true) {
                    self.notices.say(&format!("the server did not take a report: {sentence}"));
                }
                Ok(())
            }
            sent => sent,
        }
    }

    /// Says, once for each time, that the server takes nothing at the moment, and what it does instead.
    pub fn say_away(&mut self, what: &str) {
        if self.persistent && !self.link.waits.swap(true, Ordering::Relaxed) {
            let kept = match self.backlog.path() {
                Some(path) => format!("kept in {} and delivered later", path.display()),
                None => "kept until exec ends; name a folder with --spool to keep them longer".to_owned(),
            };
            self.notices.say(&format!(
                "server {} {what}; the command runs, and its reports are {kept}",
                self.client.server()
            ));
        }
    }

    fn say_back(&mut self) {
        if self.link.waits.swap(false, Ordering::Relaxed) {
            self.notices.say(&format!("server {} is back", self.client.server()));
        }
    }
}

/// A message as it is sent.
#[derive(serde::Serialize)]
struct Item<'a> {
    key: u64,
    #[serde(rename = "type")]
    level: Level,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<RunnerTime>,
    epoch: u32,
}

impl<'a> Item<'a> {
    fn new(message: &'a Message, epoch: u32, with_step: bool) -> Self {
        Self {
            key: message.key,
            level: message.level,
            message: message.message.as_str(),
            step: message.step.as_deref().filter(|_| with_step),
            at: message.at,
            epoch,
        }
    }
}
