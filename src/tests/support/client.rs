//! Somebody who sends requests: a program with a token, or a browser with a cookie.

use axum::body::Body;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST};
use axum::http::{Request, StatusCode};
use longhaul::http::PeerAddress;
use longhaul::server::Site;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::{Reply, encode};

/// What somebody shows.
#[derive(Clone)]
pub enum Credential {
    /// A bearer token.
    Bearer(String),
    /// A cookie, `name=value`.
    Cookie(String),
}

/// Somebody.
#[derive(Clone)]
pub struct Client {
    router: Site,
    credential: Option<Credential>,
}

/// A job that was just started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its id.
    pub id: String,
    /// Its epoch.
    pub epoch: u64,
}

impl Started {
    /// The address of something of the job: `job.at("progress")`.
    pub fn at(&self, what: &str) -> String {
        format!("/api/admin/jobs/{}/{what}", self.id)
    }

    /// The job's page.
    pub fn page(&self) -> String {
        format!("/admin/jobs/{}", self.id)
    }
}

/// A request being put together.
pub struct Sending {
    router: Site,
    request: axum::http::request::Builder,
    body: Body,
}

impl Sending {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        // There is one `Host`.
        if let (true, Some(headers)) = (name == "host", self.request.headers_mut()) {
            headers.remove(HOST);
        }
        self.request = self.request.header(name, value);
        self
    }

    /// Comes from this address.
    pub fn from(mut self, address: &str) -> Self {
        self.request = self.request.extension(PeerAddress(address.parse().unwrap()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// Sends it.
    pub async fn send(self) -> Reply {
        Reply::read(self.answer().await).await
    }

    /// Sends it and lets the body of the answer go, which a stream never ends.
    pub async fn head(self) -> Reply {
        Reply::without_body(self.answer().await)
    }

    async fn answer(self) -> axum::response::Response {
        let request: Request<Body> = self.request.body(self.body).unwrap();
        self.router.oneshot(request).await.unwrap()
    }
}

impl Client {
    pub fn new(router: Site, credential: Option<Credential>) -> Self {
        Self { router, credential }
    }

    /// The same person, at another application.
    pub fn at(&self, app: &super::TestApp) -> Self {
        app.client(self.credential.clone())
    }

    /// What it shows, as a header.
    pub fn credential_header(&self) -> Option<(&'static str, String)> {
        match &self.credential {
            None => None,
            Some(Credential::Bearer(token)) => Some((AUTHORIZATION.as_str(), format!("Bearer {token}"))),
            Some(Credential::Cookie(cookie)) => Some((COOKIE.as_str(), cookie.clone())),
        }
    }

    /// A request of any kind.
    pub fn request(&self, method: &str, path: &str) -> Sending {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "longhaul.test");
        if let Some((name, value)) = self.credential_header() {
            request = request.header(name, value);
        }
        Sending { router: self.router.clone(), request, body: Body::empty() }
    }

    /// Asks for something.
    pub async fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send().await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.request("POST", path).json(&body).send().await
    }

    /// Sends nothing.
    pub async fn post_nothing(&self, path: &str) -> Reply {
        self.request("POST", path).send().await
    }

    /// Sends text that is called JSON.
    pub async fn post_text(&self, path: &str, text: impl Into<String>) -> Reply {
        let text: String = text.into();
        self.request("POST", path).header("content-type", "application/json").body(text).send().await
    }

    /// Removes something.
    pub async fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path).send().await
    }

    /// Opens a page, as a browser does.
    pub async fn page(&self, path: &str) -> Reply {
        self.request("GET", path).header(ACCEPT.as_str(), "text/html,application/xhtml+xml").send().await
    }

    /// Sends a form, as a browser without JavaScript does.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.request("POST", path)
            .header(ACCEPT.as_str(), "text/html,application/xhtml+xml")
            .header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(fields_of(fields))
            .send()
            .await
    }

    /// Calls a server function, as an island does.
    pub async fn call(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        self.request("POST", path)
            .header(ACCEPT.as_str(), "application/json")
            .header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")
            .body(fields_of(fields))
            .send()
            .await
    }

    /// Polls a server function, as an island does.
    pub async fn poll(&self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let path = format!("{path}?{}", fields_of(fields));
        self.request("GET", &path).header(ACCEPT.as_str(), "application/json").send().await
    }

    /// Starts a job.
    pub async fn start(&self, feature: &str) -> Started {
        self.start_with(json!({"feature": feature})).await
    }

    /// Starts a job with a body of some kind.
    pub async fn start_with(&self, body: Value) -> Started {
        let reply = self.post("/api/admin/jobs/start", body).await;
        assert_eq!(reply.status(), StatusCode::CREATED, "{}", reply.text());
        let started = reply.json();
        Started {
            id: started["jobId"].as_str().unwrap().to_owned(),
            epoch: started["epoch"].as_u64().unwrap(),
        }
    }

    /// Starts a job that ends well at once.
    pub async fn completed(&self, feature: &str) -> Started {
        let job = self.start(feature).await;
        assert_eq!(self.post_nothing(&job.at("complete")).await.status(), 200);
        job
    }

    /// Runs a built-in job.
    pub async fn run(&self, body: Value) -> Started {
        let reply = self.post("/api/admin/jobs/run", body).await;
        assert_eq!(reply.status(), 201, "{}", reply.text());
        let started = reply.json();
        Started { id: started["jobId"].as_str().unwrap().to_owned(), epoch: 1 }
    }

    /// A job as it stands.
    pub async fn job(&self, job: &Started) -> Value {
        let reply = self.get(&job.at("progress")).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()
    }

    /// The features of the jobs on a list, in its order.
    pub async fn listed(&self, query: &str) -> Vec<String> {
        let reply = self.get(&format!("/api/admin/jobs?{query}")).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let list = reply.json();
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter().map(|job| job["feature"].as_str().unwrap().to_owned()).collect()
    }

    /// The texts of a job's messages, oldest first.
    pub async fn log(&self, job: &Started, level: &str) -> Vec<String> {
        let reply = self.get(&job.at(&format!("messages?level={level}&limit=1000"))).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let page = reply.json();
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

fn fields_of(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}
