//! Everybody ends the same job at once: the runner completes it, fails it and acknowledges an abort, an
//! operator force-fails it and asks it to stop, the sweep finds it stale.
//!
//! Ten thousand rounds a store. However they fall, the job has one terminal status, one entry of its log
//! says so, exactly one of those who wanted to end it was told that it did, and each of the others was
//! told in words that fit what happened. The judge sees only answers, log and job, so that the control can
//! hand it those of a store that reads, decides and writes in three steps.

use std::sync::{Arc, Mutex};

use longhaul::model::{
    Actor, Author, Command, Context, Event, EventKind, Feature, Job, JobId, NewJob, Reason, Refusal, Spec,
    Status, Stopped, Timestamp,
};
use longhaul::store::{CreateRules, PostgresSettings, PostgresStore, StoreError};
use longhaul::{JobStore, MemoryStore, SqliteStore};
use tokio::sync::Barrier;
use uuid::Uuid;

use super::cluster::Cluster;
use super::{Dice, seed, setting};

/// Rounds that run beside each other, so that they share the syncs of the disk.
const ABREAST: u64 = 32;
/// When the jobs begin, and an hour later, when everybody ends them: they are stale by then.
const BEGIN: Timestamp = Timestamp(1_795_364_405_123);
const END: Timestamp = Timestamp(BEGIN.0 + 3_600_000);

fn context(at: Timestamp) -> Context {
    Context { actor: Actor::user("anna"), at }
}

pub fn job(number: u64) -> NewJob {
    let spec = Spec::new(
        Feature::new(format!("race-{}", number % 3)).unwrap(),
        Author::new("anna").unwrap(),
        "user:anna",
    );
    NewJob { id: JobId(Uuid::from_u128(u128::from(number + 1) << 64)), spec, enqueue: false, run_at: None }
}

/// Everybody who races. Only the abort does not want to end the job itself.
fn racers() -> Vec<Command> {
    let reason = || Reason::new("enough").unwrap();
    vec![
        Command::Complete { epoch: Some(1), output: None },
        Command::Fail { epoch: Some(1), error: Some("broke".to_owned()), retryable: true },
        Command::AcknowledgeAbort { epoch: Some(1), how: Stopped::default() },
        Command::ForceFail { reason: reason() },
        Command::Sweep,
        Command::Abort { reason: reason() },
    ]
}

type Answer = (Command, Result<Arc<Job>, StoreError>);

/// Whether a round went as promised.
fn judge(answers: &[Answer], log: &[Event], job: &Job) -> Result<(), String> {
    let told = |what: &str| Err(format!("{what}\nanswers: {answers:?}\nlog: {log:?}\njob: {job:?}"));
    let ends = log.iter().filter(|event| {
        matches!(
            event.kind,
            EventKind::Completed { .. } | EventKind::Failed { .. } | EventKind::Aborted { .. }
        )
    });
    if ends.count() != 1 || !job.status.is_final() {
        return told("the log does not end once");
    }
    if !log.iter().zip(1..).all(|(event, seq)| event.seq == Some(seq)) {
        return told("the log has a gap");
    }
    let winners: Vec<_> = answers
        .iter()
        .filter(|(command, answer)| answer.is_ok() && !matches!(command, Command::Abort { .. }))
        .collect();
    let [(winner, Ok(won))] = &winners[..] else {
        return told("not exactly one was told that it ended the job");
    };
    let fenced = matches!(winner, Command::ForceFail { .. } | Command::Sweep);
    let status = match winner {
        Command::Complete { .. } => Status::Completed,
        Command::AcknowledgeAbort { .. } => Status::Aborted,
        _ => Status::Failed,
    };
    if (won.status, job.status) != (status, status) || won.epoch != job.epoch || job.fenced != fenced {
        return told("the winner was told something else than what is stored");
    }
    let mut late = 0;
    for (command, answer) in answers {
        let of_the_run = command.is_of_the_run();
        let fits = match answer {
            Ok(_) => true,
            Err(StoreError::Refused(Refusal::Fenced { given: 1, current: 2, .. })) => {
                late += 1;
                fenced && of_the_run
            }
            Err(StoreError::Refused(Refusal::Finished { status: said })) => {
                *said == status && !(fenced && of_the_run)
            }
            // Nobody had asked it to stop yet.
            Err(StoreError::Refused(Refusal::WrongState { status: Status::Running, .. })) => {
                matches!(command, Command::AcknowledgeAbort { .. })
            }
            // It looks first, and an ended job is not stale.
            Err(StoreError::Refused(Refusal::NotStale)) => matches!(command, Command::Sweep),
            Err(_) => false,
        };
        if !fits {
            return told(&format!("{command:?} was told {answer:?}"));
        }
    }
    if job.late_writes == late { Ok(()) } else { told("the late writes are not those that were refused") }
}

/// Lets everybody at one job, in an order of chance.
async fn round<S: JobStore>(stores: &[Arc<S>], number: u64, mut dice: Dice) -> Result<Command, String> {
    let store = &stores[number as usize % stores.len()];
    let id = store.create(job(number), CreateRules::default(), context(BEGIN)).await.unwrap().job.id;
    let mut racers = racers();
    dice.shuffle(&mut racers);
    let start = Arc::new(Barrier::new(racers.len()));
    let racing: Vec<_> = racers
        .into_iter()
        .zip(stores.iter().cycle())
        .map(|(command, store)| {
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                (command.clone(), store.transact(id, command, context(END)).await)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for racer in racing {
        answers.push(racer.await.unwrap());
    }
    let log = store.events(id, 0, 100).await.unwrap();
    let stored = store.get(id).await.unwrap().unwrap();
    judge(&answers, &log, &stored)?;
    let winner = answers
        .into_iter()
        .find(|(command, answer)| answer.is_ok() && !matches!(command, Command::Abort { .. }));
    Ok(winner.unwrap().0)
}

/// All rounds on one store, which several servers may have open: the racers are spread over them.
async fn race<S: JobStore>(stores: Vec<Arc<S>>, rounds: u64) {
    let seed = seed();
    let lanes: Vec<_> = (0..ABREAST)
        .map(|lane| {
            let stores = stores.clone();
            tokio::spawn(async move {
                let mut winners = Vec::new();
                for number in (lane..rounds).step_by(ABREAST as usize) {
                    match round(&stores, number, Dice(seed ^ number)).await {
                        Ok(winner) => winners.push(std::mem::discriminant(&winner)),
                        Err(problem) => panic!("round {number}, seed {seed}: {problem}"),
                    }
                }
                winners
            })
        })
        .collect();
    let mut winners = Vec::new();
    for lane in lanes {
        winners.extend(lane.await.unwrap());
    }
    for racer in racers().iter().filter(|racer| !matches!(racer, Command::Abort { .. })) {
        let kind = std::mem::discriminant(racer);
        assert!(winners.contains(&kind), "{racer:?} never came first, so these were no races");
    }
    let store = &stores[0];
    for _ in 0..1_000 {
        // What was written on another server is counted here a moment later.
        if store.counts().past() == rounds {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!((store.counts().active(), store.counts().past()), (0, rounds));
    let report = store.check(Box::new(|_, _| true)).await.unwrap();
    assert_eq!((report.jobs, report.problems), (rounds, Vec::new()));
    for store in &stores {
        store.close().await;
    }
}

fn rounds() -> u64 {
    setting("LONGHAUL_RACE_ROUNDS", 10_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_races_on_the_memory_store() {
    race(vec![Arc::new(MemoryStore::new(u32::MAX))], rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_races_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    race(vec![Arc::new(SqliteStore::open(&folder.path().join("jobs.db")).unwrap())], rounds()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_races_between_three_servers_on_postgresql() {
    let cluster = Cluster::shared();
    let address = cluster.address(&cluster.database());
    let mut stores = Vec::new();
    for name in ["a", "b", "c"] {
        let (address, node) = (address.clone(), Some(name.to_owned()));
        let settings = PostgresSettings { address, connections: 4, node };
        stores.push(Arc::new(PostgresStore::open(settings).await.unwrap()));
    }
    race(stores, rounds()).await;
}

/// What a store would be that reads a job, decides, and writes what came of it: three steps, and room
/// between them.
struct ThreeSteps(Mutex<(Job, Vec<Event>)>);

impl ThreeSteps {
    async fn transact(&self, command: Command) -> Result<Arc<Job>, StoreError> {
        let mut job = self.0.lock().unwrap().0.clone();
        let events = job.decide(command, &context(END))?;
        tokio::task::yield_now().await;
        events.iter().for_each(|event| drop(job.apply(event)));
        let mut stored = self.0.lock().unwrap();
        stored.0 = job.clone();
        stored.1.extend(events);
        Ok(Arc::new(job))
    }
}

/// The control: a store that decides outside its transaction is found out.
#[tokio::test]
async fn a_store_that_decides_outside_its_transaction_fails_the_race() {
    let mut failed = 0;
    for number in 0..100 {
        let (made, created) = Job::create(job(number), &context(BEGIN)).unwrap();
        let store = ThreeSteps(Mutex::new((made, vec![created])));
        let mut racers = racers();
        Dice(number).shuffle(&mut racers);
        let racing = racers.into_iter().map(|command| {
            let store = &store;
            async move { (command.clone(), store.transact(command).await) }
        });
        let answers = futures::future::join_all(racing).await;
        let stored = store.0.lock().unwrap();
        failed += u32::from(judge(&answers, &stored.1, &stored.0).is_err());
    }
    assert_eq!(failed, 100, "every race of it goes wrong");
}
