//! A server that knows just what `exec` calls, remembers what it was told, and can be made to misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use uuid::Uuid;

/// A test that waits longer than this has failed.
pub const TOO_LONG: Duration = Duration::from_secs(15);

/// A job, as the server knows it.
#[derive(Debug, Default)]
pub struct FakeJob {
    pub id: Uuid,
    pub key: String,
    pub request: Value,
    pub status: String,
    pub epoch: u64,
    /// Level and text.
    pub messages: Vec<(String, String)>,
    /// The steps the messages named.
    pub message_steps: Vec<Option<String>>,
    pub top_key: u64,
    /// Declared steps, by path.
    pub steps: Vec<String>,
    pub numbers: Vec<(Option<String>, f64)>,
    /// How many steps there were when the first one was done.
    pub declared_when_done: usize,
    pub heartbeats: usize,
    /// Those that told of output.
    pub active_heartbeats: usize,
    pub abort_requested: bool,
    pub end: Option<Value>,
    pub ended_at: Option<Value>,
    pub error: Option<String>,
    pub cause: Option<&'static str>,
    /// Writes that were refused because the job had ended.
    pub late_writes: usize,
}

impl FakeJob {
    pub fn texts(&self) -> Vec<&str> {
        self.messages.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The last number, of the job or of a step.
    pub fn number(&self, step: Option<&str>) -> Option<f64> {
        self.numbers.iter().rev().find(|(of, _)| of.as_deref() == step).map(|(_, value)| *value)
    }

    /// Ends it as the sweep ends jobs that nothing is heard of.
    pub fn fail_for_silence(&mut self) {
        self.force_fail();
        self.cause = Some("inactive");
    }

    pub fn force_fail(&mut self) {
        self.error = Some("Job force-failed: hung".to_owned());
        self.cause = Some("force_failed");
        self.status = "failed".to_owned();
        self.epoch += 1;
    }
}

/// Everything the server knows, and how it is to behave.
#[derive(Debug, Default)]
pub struct World {
    pub jobs: Vec<FakeJob>,
    /// So many answers to writes are lost after the write was recorded.
    pub lose_answers: usize,
    pub answers_lost: usize,
    /// How starts are refused.
    pub refuse_start: Option<(u16, &'static str)>,
    /// Only starts with this key are refused so.
    pub refuse_only: Option<String>,
    /// A list with a message of this text is refused.
    pub poison: Option<&'static str>,
    pub requests: usize,
    /// A gateway answers everything with this status, type and text, and passes nothing on.
    pub gateway: Option<(u16, &'static str, &'static str)>,
}

impl World {
    /// The only job there is.
    pub fn job(&self) -> &FakeJob {
        assert_eq!(self.jobs.len(), 1, "{:?}", self.jobs);
        &self.jobs[0]
    }
}

struct ServerState {
    world: Mutex<World>,
    changed: watch::Sender<()>,
}

/// The server.
pub struct Fake {
    shared: Arc<ServerState>,
    address: SocketAddr,
    runtime: Option<Runtime>,
    /// Holds the port while the server has never been up.
    reserved: Option<TcpSocket>,
}

impl Fake {
    /// A server that runs.
    pub fn up() -> Self {
        let mut fake = Self::down();
        fake.revive();
        fake
    }

    /// A server that does not run yet: its port refuses connections, and nobody else gets it.
    pub fn down() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            shared: Arc::new(ServerState { world: Mutex::default(), changed: watch::Sender::new(()) }),
            address: socket.local_addr().unwrap(),
            runtime: None,
            reserved: Some(socket),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts it, with everything it knew.
    pub fn revive(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = self.reserved.take().unwrap_or_else(|| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            socket
        });
        let listener = {
            let _inside = runtime.enter();
            socket.listen(64).unwrap()
        };
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.shared));
        runtime.spawn(async move { axum::serve(listener, app).await });
        self.runtime = Some(runtime);
    }

    /// Ends it as `kill -9` would: connections break, and the port refuses new ones.
    pub async fn kill(&mut self) {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(TOO_LONG)).await.unwrap();
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }

    /// Waits until what it knows is as wanted.
    pub async fn until(&self, wanted: impl Fn(&World) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            while !wanted(&self.world()) {
                changed.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(TOO_LONG, waiting).await.is_err() {
            panic!("the server never got to know it: {:#?}", self.world());
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(
    State(shared): State<Arc<ServerState>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let (result, is_lost) = {
        let mut world = shared.world.lock().unwrap();
        world.requests += 1;
        if let Some((status, kind, text)) = world.gateway {
            drop(world);
            shared.changed.send_replace(());
            let status = StatusCode::from_u16(status).unwrap();
            let mut answer = (status, [(CONTENT_TYPE, kind)], text).into_response();
            if status.is_redirection() {
                let elsewhere = HeaderValue::from_static("https://sign-in.example/?next=/");
                answer.headers_mut().insert(LOCATION, elsewhere);
            }
            return answer;
        }
        let result = handle(&mut world, &method, uri.path(), &headers, &body);
        let may_be_lost = method == Method::POST && !uri.path().ends_with("/heartbeat") && result.is_ok();
        let is_lost = may_be_lost && world.lose_answers > 0;
        world.lose_answers -= usize::from(is_lost);
        world.answers_lost += usize::from(is_lost);
        (result, is_lost)
    };
    shared.changed.send_replace(());
    if is_lost {
        // Takes the connection down with it.
        std::panic::resume_unwind(Box::new(()));
    }
    match result {
        Ok(value) => Json(value).into_response(),
        Err((status, code)) => {
            let body = json!({"error": format!("Refused: {code}."), "code": code});
            (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
        }
    }
}

type Refusal = (u16, &'static str);

fn handle(
    world: &mut World,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Value,
) -> Result<Value, Refusal> {
    if path == "/api/admin/jobs/start" {
        return start(world, headers["idempotency-key"].to_str().unwrap(), body);
    }
    let poison = world.poison;
    let mut parts = path.strip_prefix("/api/admin/jobs/").ok_or((404, "not_found"))?.split('/');
    let id: Uuid = parts.next().and_then(|id| id.parse().ok()).ok_or((404, "not_found"))?;
    let job = world.jobs.iter_mut().find(|job| job.id == id).ok_or((404, "job_not_found"))?;
    let verb = parts.next().unwrap_or_default();
    if method == Method::GET {
        let because = (job.cause == Some("force_failed")).then_some("admin force-failed it.");
        return Ok(
            json!({"status": job.status, "error": job.error, "cause": job.cause, "endedBecause": because}),
        );
    }
    let items = body.as_array().map_or(std::slice::from_ref(body), Vec::as_slice);
    let refused = if items.iter().any(|item| item["epoch"] != job.epoch) {
        Some("stale_epoch")
    } else {
        (job.status != "running" && job.status != "aborting").then_some("job_finished")
    };
    if let Some(code) = refused {
        job.late_writes += 1;
        return Err((409, code));
    }
    match verb {
        "message" => return messages(job, items, poison),
        "progress" => progress(job, body)?,
        "heartbeat" => {
            job.heartbeats += 1;
            job.active_heartbeats += usize::from(body["active"] == true);
            if job.abort_requested {
                job.status = "aborting".to_owned();
            }
            return Ok(json!({"abortRequested": job.abort_requested}));
        }
        "complete" => end(job, "completed", body),
        "fail" => end(job, "failed", body),
        "aborted" if job.status == "aborting" => end(job, "aborted", body),
        "aborted" => return Err((409, "wrong_state")),
        _ => return Err((404, "not_found")),
    }
    Ok(json!({"jobId": job.id, "status": job.status, "message": "Recorded"}))
}

fn start(world: &mut World, key: &str, body: &Value) -> Result<Value, Refusal> {
    if let Some(refusal) = world.refuse_start
        && world.refuse_only.as_deref().is_none_or(|only| only == key)
    {
        return Err(refusal);
    }
    if let Some(job) = world.jobs.iter().find(|job| job.key == key) {
        assert_eq!(job.request, *body, "the same key came with another request");
        return Ok(json!({"jobId": job.id, "epoch": job.epoch}));
    }
    let id = Uuid::now_v7();
    world.jobs.push(FakeJob {
        id,
        key: key.to_owned(),
        request: body.clone(),
        status: "running".to_owned(),
        epoch: 1,
        ..FakeJob::default()
    });
    Ok(json!({"jobId": id, "epoch": 1, "message": "started"}))
}

fn messages(job: &mut FakeJob, items: &[Value], poison: Option<&str>) -> Result<Value, Refusal> {
    for item in items {
        let text = item["message"].as_str().ok_or((400, "invalid_value"))?;
        if poison == Some(text) || text.is_empty() || text.len() > 64 * 1024 {
            return Err((400, "invalid_value"));
        }
        if item["step"].as_str().is_some_and(|step| !job.steps.iter().any(|known| known == step)) {
            return Err((400, "unknown_step"));
        }
    }
    for item in items {
        let key = item["key"].as_u64().ok_or((400, "invalid_value"))?;
        if key > job.top_key {
            job.top_key = key;
            let text = |name: &str| item[name].as_str().map(str::to_owned);
            job.messages.push((text("type").unwrap(), text("message").unwrap()));
            job.message_steps.push(text("step"));
        }
    }
    Ok(json!({"seq": job.messages.len()}))
}

fn progress(job: &mut FakeJob, body: &Value) -> Result<(), Refusal> {
    fn declare(job: &mut FakeJob, steps: &Value, above: &str) {
        for step in steps.as_array().into_iter().flatten() {
            let path = format!("{above}{}", step["id"].as_str().unwrap());
            declare(job, &step["steps"], &format!("{path}/"));
            if !job.steps.contains(&path) {
                job.steps.push(path);
            }
        }
    }
    if body["steps"].is_array() {
        declare(job, &body["steps"], "");
        return Ok(());
    }
    let step = body["step"].as_str().map(str::to_owned);
    let value = body["progress"]
        .as_f64()
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or((400, "invalid_value"))?;
    match &step {
        None if !job.steps.is_empty() => return Err((400, "step_needed")),
        Some(step) if !job.steps.contains(step) => return Err((400, "unknown_step")),
        Some(step) if value < 1.0 && job.steps.iter().any(|path| path.starts_with(&format!("{step}/"))) => {
            return Err((400, "step_has_parts"));
        }
        _ => {}
    }
    if value >= 1.0 && job.declared_when_done == 0 {
        job.declared_when_done = job.steps.len();
    }
    job.numbers.push((step, value));
    Ok(())
}

fn end(job: &mut FakeJob, status: &str, body: &Value) {
    job.status = status.to_owned();
    let mut body = body.clone();
    job.ended_at = body.as_object_mut().and_then(|body| body.remove("at"));
    job.end = Some(body);
}
