//! `POST /api/admin/jobs/run`: jobs this server runs, how they end, and that they really end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longhaul::clock::Clock as _;
use longhaul::engine::{AdminJob, JobError, RunContext};
use longhaul::model::{Actor, Author, Context, Execution, Feature, JobId, NewJob, Spec};
use longhaul::store::CreateRules;
use longhaul::{JobStore as _, SqliteStore};
use serde_json::{Value, json};

use crate::support::{Client, Started, TestApp, eventually};

const RUN: &str = "/api/admin/jobs/run";

async fn ended(client: &Client, job: &Started) -> Value {
    eventually("the job ends", || async {
        let job = client.job(job).await;
        job["endTime"].is_string().then_some(job)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_built_in_job_runs_to_its_end() {
    let (app, _, viewer, reporter, operator, _) = TestApp::with().init_sqlite().await;
    reporter.completed("something-to-export").await;
    for feature in ["backup", "integrity-check", "history-export", "retention", "demo-condensation"] {
        let job = operator.run(json!({"feature": feature, "input": {"pace": 50}})).await;
        let ended = ended(&viewer, &job).await;
        assert_eq!(
            (&ended["status"], &ended["error"]),
            (&json!("completed"), &json!(null)),
            "{feature}: {ended}"
        );
        assert_eq!((&ended["progress"], &ended["author"]), (&json!(1.0), &json!("operator")), "{feature}");
        assert!(!ended["infoMessages"].as_array().unwrap().is_empty(), "{feature} says what it does");
        assert!(!ended["steps"].as_array().unwrap().is_empty(), "{feature} shows how far it is");
        match feature {
            "backup" => {
                let copy = SqliteStore::open(Path::new(ended["output"]["file"].as_str().unwrap())).unwrap();
                assert_eq!(copy.counts().past(), 1, "the copy opens and holds what was there");
            }
            "integrity-check" => assert_eq!(ended["output"]["problems"], 0),
            "history-export" => {
                let text = std::fs::read_to_string(ended["output"]["file"].as_str().unwrap()).unwrap();
                let lines: Vec<Value> =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                assert_eq!(lines[0]["header"]["format"], "longhaul-jobs");
                let job = lines.iter().find(|line| line["job"]["spec"]["feature"] == "something-to-export");
                assert_eq!(job.unwrap()["job"]["status"], "completed");
                assert!(lines.last().unwrap()["end"]["jobs"].as_u64().unwrap() >= 1, "the file is whole");
            }
            _ => {}
        }
    }
    assert_eq!(app.service.board().active().len(), 0);
}

#[tokio::test]
async fn a_job_that_is_none_is_not_found_and_one_of_a_kind_runs_once() {
    let (app, _, _, reporter, operator, _) =
        TestApp::with().jobs(vec![Arc::new(Waits::default())]).init().await;
    reporter.post(RUN, json!({"feature": "waits"})).await.assert_refused(403, "forbidden");
    let before = app.everything().await;
    let unknown = operator.post(RUN, json!({"feature": "nothing"})).await;
    unknown.assert_refused(404, "not_found");
    assert!(unknown.json()["error"].as_str().unwrap().contains("waits"), "it says what there is");
    assert_eq!(app.everything().await, before);
    let reply = operator.post(RUN, json!({"feature": "waits", "input": [1]})).await;
    assert_eq!((reply.status().as_u16(), &reply.json()["message"]), (201, &json!("Job started for waits")));
    assert!(reply.header("location").ends_with("/progress"));
    operator.post(RUN, json!({"feature": "waits"})).await.assert_refused(409, "duplicate_job");
}

#[tokio::test]
async fn nobody_but_the_server_reports_on_its_jobs_unless_an_admin() {
    let (_, _, _, reporter, operator, admin) =
        TestApp::with().jobs(vec![Arc::new(Waits::default())]).init().await;
    let job = operator.run(json!({"feature": "waits"})).await;
    reporter.post(&job.at("progress"), json!({"progress": 0.5})).await.assert_refused(403, "not_your_job");
    assert_eq!(admin.post(&job.at("progress"), json!({"progress": 0.5})).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_force_failed_run_that_does_not_listen_is_stopped_within_a_second() {
    let waits = Arc::new(Waits::default());
    let (app, _, viewer, _, operator, _) = TestApp::with().jobs(vec![Arc::clone(&waits) as _]).init().await;
    let job = operator.run(json!({"feature": "waits"})).await;
    eventually("it runs", || async { waits.running.load(Ordering::SeqCst).then_some(()) }).await;
    let asked = std::time::Instant::now();
    operator.post(&job.at("force-fail"), json!({"reason": "hung"})).await;
    eventually("the run is dropped", || async { (!waits.running.load(Ordering::SeqCst)).then_some(()) })
        .await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(viewer.job(&job).await["error"], "Job force-failed: hung");
    assert_eq!(viewer.job(&job).await["lateWrites"], 0);
    assert!(app.service.board().active().is_empty());
    operator.run(json!({"feature": "waits"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demonstration_that_hangs_is_stopped_too() {
    let (app, _, viewer, _, operator, _) = TestApp::init().await;
    let job =
        operator.run(json!({"feature": "demo-condensation", "input": {"hang": true, "pace": 50}})).await;
    eventually("it hangs in its third question", || async {
        let job = viewer.job(&job).await;
        (job["steps"][1]["steps"][2]["progress"].as_f64() >= Some(0.4)).then_some(())
    })
    .await;
    operator.post(&job.at("force-fail"), json!({"reason": "hung"})).await;
    let patience = Duration::from_secs(10);
    tokio::time::timeout(Duration::from_secs(1), app.service.stop(patience)).await.expect("no run is left");
    let seen = viewer.job(&job).await;
    assert_eq!((&seen["status"], &seen["lateWrites"]), (&json!("failed"), &json!(0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_stops_when_it_is_force_failed_is_not_called_a_zombie() {
    let (app, _, viewer, _, operator, _) = TestApp::init().await;
    let job = operator.run(json!({"feature": "demo-condensation", "input": {"pace": 50}})).await;
    eventually("it is under way", || async {
        (viewer.job(&job).await["steps"][1]["progress"].as_f64() > Some(0.0)).then_some(())
    })
    .await;
    operator.post(&job.at("force-fail"), json!({"reason": "not needed"})).await;
    let patience = Duration::from_secs(10);
    tokio::time::timeout(Duration::from_secs(1), app.service.stop(patience)).await.expect("no run is left");
    let seen = viewer.job(&job).await;
    assert_eq!((&seen["error"], &seen["lateWrites"]), (&json!("Job force-failed: not needed"), &json!(0)));
    assert!(seen["verdict"].is_null(), "nobody is sent to stop a process that has stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_asked_to_stop_stops() {
    let (_, _, viewer, _, operator, _) = TestApp::init().await;
    let job = operator.run(json!({"feature": "demo-condensation", "input": {"pace": 5000}})).await;
    assert_eq!(operator.post(&job.at("abort"), json!({"reason": "enough"})).await.status(), 202);
    assert_eq!(ended(&viewer, &job).await["status"], "aborted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_fails_or_panics_fails_its_own_job_and_no_other() {
    let waits = Arc::new(Waits::default());
    let jobs: Vec<Arc<dyn AdminJob>> = vec![Arc::clone(&waits) as _, Arc::new(Panics), Arc::new(Fails)];
    let (_, _, viewer, _, operator, _) = TestApp::with().jobs(jobs).init().await;
    let other = operator.run(json!({"feature": "waits"})).await;
    let panicked = operator.run(json!({"feature": "panics"})).await;
    assert_eq!(ended(&viewer, &panicked).await["error"], "The job panicked: five is not a number of ducks");
    let failed = operator.run(json!({"feature": "fails"})).await;
    let failed = ended(&viewer, &failed).await;
    assert_eq!((&failed["status"], &failed["error"]), (&json!("failed"), &json!("no ducks")));
    assert_eq!(failed["epoch"], 1, "it ended by itself");
    assert_eq!(viewer.job(&other).await["status"], "running");
    assert_eq!(viewer.get("/healthz").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_cleanup_stops_runs_in_this_process() {
    let waits = Arc::new(Waits::default());
    let (_, _, _, _, operator, _) = TestApp::with().jobs(vec![Arc::clone(&waits) as _]).init().await;
    operator.run(json!({"feature": "waits"})).await;
    eventually("it runs", || async { waits.running.load(Ordering::SeqCst).then_some(()) }).await;
    operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "all of it"})).await;
    eventually("the run is dropped", || async { (!waits.running.load(Ordering::SeqCst)).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_cannot_be_made_fails_and_says_why() {
    let (app, _, viewer, _, operator, _) = TestApp::with().init_sqlite().await;
    // A file where the folder should be.
    std::fs::write(&app.files, "in the way").unwrap();
    for feature in ["backup", "history-export"] {
        let job = operator.run(json!({"feature": feature})).await;
        let ended = ended(&viewer, &job).await;
        assert_eq!(ended["status"], "failed");
        assert!(ended["error"].as_str().unwrap().contains("cannot be used"), "{ended}");
    }
}

/// Neither works nor listens. Tells whether it is still there.
#[derive(Default)]
struct Waits {
    running: Arc<AtomicBool>,
}

struct There(Arc<AtomicBool>);

impl Drop for There {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl AdminJob for Waits {
    fn feature(&self) -> &'static str {
        "waits"
    }
    fn title(&self) -> &'static str {
        "Waits for ever"
    }
    fn summary(&self) -> &'static str {
        "Waits."
    }
    async fn run(&self, _: RunContext) -> Result<Value, JobError> {
        self.running.store(true, Ordering::SeqCst);
        let _there = There(Arc::clone(&self.running));
        std::future::pending().await
    }
}

struct Panics;

#[async_trait]
impl AdminJob for Panics {
    fn feature(&self) -> &'static str {
        "panics"
    }
    fn title(&self) -> &'static str {
        "Panics"
    }
    fn summary(&self) -> &'static str {
        "Panics."
    }
    async fn run(&self, _: RunContext) -> Result<Value, JobError> {
        panic!("{} is not a number of ducks", "five");
    }
}

/// Begins a request and leaves after a moment: the connection is gone, and the server lets the request go.
async fn leaves(client: &Client, path: &str, body: Value, after: Duration) {
    let request = client.request("POST", path).json(&body).send();
    let _ = tokio::time::timeout(after, request).await;
}

/// What was made is run, whenever whoever asked for it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_client_leaves_is_run() {
    let (app, .., operator, _) = TestApp::with().init_sqlite().await;
    for after in (0..60).map(|step| Duration::from_micros(step * 150)) {
        leaves(&operator, "/api/admin/jobs/run", json!({"feature": "retention"}), after).await;
        eventually("nothing is left that nobody runs", async || {
            (app.jobs.active().await.unwrap().is_empty()).then_some(())
        })
        .await;
    }
    assert!(app.jobs.counts().past() > 0, "some were begun");
}

/// An emergency cleanup ends all jobs or none, whoever stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cleanup_whose_client_leaves_is_finished() {
    let (app, _, _, reporter, operator, _) = TestApp::with().init_sqlite().await;
    let mut ended = 0;
    for after in (0..40).map(|step| Duration::from_micros(step * 250)) {
        for _ in 0..10 {
            reporter.start("import").await;
        }
        leaves(&operator, "/api/admin/jobs/emergency-cleanup", json!({"reason": "r"}), after).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        let left = eventually("it is over", async || {
            let left = app.jobs.active().await.unwrap().len();
            (left == 0 || left == 10).then_some(left)
        })
        .await;
        ended += usize::from(left == 0);
        operator.post("/api/admin/jobs/emergency-cleanup", json!({"reason": "the rest"})).await;
    }
    assert!(ended > 0, "some were begun");
}

/// A run that was made and never begun is ended by the sweep, on a store of one server too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_nobody_works_on_is_ended() {
    let (app, _, viewer, ..) = TestApp::with().init_sqlite().await;
    let spec = Spec {
        execution: Execution::InProcess,
        ..Spec::new(Feature::new("backup").unwrap(), Author::new("anna").unwrap(), "user:anna")
    };
    let id = JobId(uuid::Uuid::from_u128(7 << 64));
    let new = NewJob { id, spec, enqueue: false, run_at: None };
    let context = Context { actor: Actor::user("anna"), at: app.clock.now() };
    app.jobs.create(new, CreateRules::default(), context).await.unwrap();
    tokio::spawn(app.service.sweeper().run(app.closing.clone()));
    let job = Started { id: id.to_string(), epoch: 1 };
    eventually("it is ended", async || {
        app.clock.advance(Duration::from_secs(20));
        (viewer.job(&job).await["status"] == "failed").then_some(())
    })
    .await;
    assert_eq!(viewer.job(&job).await["error"], "Interrupted by a restart");
}

struct Fails;

#[async_trait]
impl AdminJob for Fails {
    fn feature(&self) -> &'static str {
        "fails"
    }
    fn title(&self) -> &'static str {
        "Fails"
    }
    fn summary(&self) -> &'static str {
        "Fails."
    }
    async fn run(&self, _: RunContext) -> Result<Value, JobError> {
        Err(JobError::Failed("no ducks".to_owned()))
    }
}
