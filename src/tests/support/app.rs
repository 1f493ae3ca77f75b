//! An application for one test: its own store, its own clock, five people.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longhaul::clock::{Clock, ManualClock};
use longhaul::engine::AdminJob;
use longhaul::http::AppState;
use longhaul::model::{Limits, Role, Timestamp};
use longhaul::server::{ConnectionLimits, Site, build, build_id, serve};
use longhaul::service::accounts::{add_token, add_user, remove_token, set_password};
use longhaul::service::{NewToken, Service, ServiceSettings};
use longhaul::settings::{Settings, SettingsArgs};
use longhaul::store::{AccountChange, AccountStore, By};
use longhaul::{JobStore, MemoryStore, SqliteStore, jobs};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Client, Credential, EventReader};

/// 2026-11-22T16:20:05.123Z, where every test's clock begins.
pub const NOW: Timestamp = Timestamp(1_795_364_405_123);

/// How an application differs from the usual one.
pub struct Builder {
    limits: Limits,
    public: String,
    trusted: Vec<ipnet::IpNet>,
    jobs: Vec<Arc<dyn AdminJob>>,
    session_lasts: Duration,
}

impl Builder {
    /// Allows so many active jobs.
    pub fn max_active(mut self, max_active: u32) -> Self {
        self.limits.max_active = max_active;
        self
    }

    /// Is reached by browsers at this address.
    pub fn public_url(mut self, url: &str) -> Self {
        self.public = url.to_owned();
        self
    }

    /// Believes proxies in this network.
    pub fn trusted(mut self, network: &str) -> Self {
        self.trusted.push(network.parse().unwrap());
        self
    }

    /// Has these built-in jobs instead of its own.
    pub fn jobs(mut self, jobs: Vec<Arc<dyn AdminJob>>) -> Self {
        self.jobs = jobs;
        self
    }

    /// An application in memory.
    pub async fn init(self) -> (TestApp, Client, Client, Client, Client, Client) {
        let store = Arc::new(MemoryStore::default());
        self.over(store, Arc::new(ManualClock::new(NOW)), PathBuf::from("nowhere"), None).await
    }

    /// Keeps ended jobs for so long.
    pub fn history_lasts(mut self, span: Duration) -> Self {
        self.limits.max_age = Some(span);
        self
    }

    /// An application over a database file.
    pub async fn init_sqlite(self) -> (TestApp, Client, Client, Client, Client, Client) {
        self.init_sqlite_in(tempfile::tempdir().unwrap()).await
    }

    /// An application over the database file `longhaul.db` in a folder.
    pub async fn init_sqlite_in(
        self,
        folder: tempfile::TempDir,
    ) -> (TestApp, Client, Client, Client, Client, Client) {
        let folder = Arc::new(folder);
        let store = Arc::new(SqliteStore::open(&folder.path().join("longhaul.db")).unwrap());
        let files = folder.path().join("files");
        self.over(store, Arc::new(ManualClock::new(NOW)), files, Some(folder)).await
    }

    async fn over<S: JobStore + AccountStore>(
        self,
        store: Arc<S>,
        clock: Arc<ManualClock>,
        files: PathBuf,
        folder: Option<Arc<tempfile::TempDir>>,
    ) -> (TestApp, Client, Client, Client, Client, Client) {
        let mut settings = Settings::new(&SettingsArgs::default()).unwrap();
        settings.public = self.public;
        settings.trusted_proxies = self.trusted;
        settings.limits = self.limits;
        let service = Service::new(
            Arc::clone(&store) as Arc<dyn JobStore>,
            Arc::clone(&store) as Arc<dyn AccountStore>,
            Arc::clone(&clock) as Arc<dyn Clock>,
            self.jobs,
            ServiceSettings {
                limits: self.limits,
                sweep_every: Duration::from_secs(300),
                files: files.clone(),
                session_lasts: self.session_lasts,
                build: build_id(),
            },
        )
        .await
        .unwrap();
        let closing = CancellationToken::new();
        let state = AppState::new(Arc::clone(&service), Arc::new(settings), closing.clone());
        let app = TestApp {
            router: build(state),
            accounts: Arc::clone(&store) as Arc<dyn AccountStore>,
            jobs: store,
            service,
            clock,
            closing,
            files,
            folder,
        };
        let anon = app.client(None);
        let viewer = app.token("viewer", Role::Viewer).await;
        let reporter = app.token("reporter", Role::Reporter).await;
        let operator = app.token("operator", Role::Operator).await;
        let admin = app.token("admin", Role::Admin).await;
        (app, anon, viewer, reporter, operator, admin)
    }
}

/// An application.
pub struct TestApp {
    /// The services, for what no request can do.
    pub service: Arc<Service>,
    /// The time, moved by hand.
    pub clock: Arc<ManualClock>,
    /// Where built-in jobs put files.
    pub files: PathBuf,
    /// Ends streams, as a stopping server does.
    pub closing: CancellationToken,
    /// Where users and tokens live.
    pub accounts: Arc<dyn AccountStore>,
    /// Where jobs live.
    pub jobs: Arc<dyn JobStore>,
    router: Site,
    folder: Option<Arc<tempfile::TempDir>>,
}

impl TestApp {
    /// An application in memory, somebody without credentials, and the holders of a token of each role.
    pub async fn init() -> (Self, Client, Client, Client, Client, Client) {
        Self::with().init().await
    }

    /// An application that is different in something.
    pub fn with() -> Builder {
        Builder {
            limits: Limits::MEMORY,
            public: String::new(),
            trusted: Vec::new(),
            jobs: jobs::all(),
            session_lasts: Duration::from_secs(7 * 86_400),
        }
    }

    /// Stops as a server does that nobody waits for, and starts again over the same file and by the same
    /// clock. Old tokens do not work any more; here is the new admin's.
    pub async fn restart(self) -> (Self, Client) {
        self.restart_as(Self::with()).await
    }

    /// The same, as an application that is set up otherwise.
    pub async fn restart_as(self, builder: Builder) -> (Self, Client) {
        self.service.stop(Duration::ZERO).await;
        let folder = self.folder.clone().unwrap();
        let (clock, files) = (Arc::clone(&self.clock), self.files.clone());
        drop(self);
        let store = Arc::new(SqliteStore::open(&folder.path().join("longhaul.db")).unwrap());
        for token in store.tokens().await.unwrap() {
            store.change(AccountChange::RemoveToken { hash: token.hash }, By::Owner).await.unwrap();
        }
        let (app, .., admin) = builder.over(store, clock, files, Some(folder)).await;
        (app, admin)
    }

    /// Somebody with these credentials.
    pub fn client(&self, credential: Option<Credential>) -> Client {
        Client::new(self.router.clone(), credential)
    }

    /// The holder of a new token.
    pub async fn token(&self, name: &str, role: Role) -> Client {
        self.token_that(NewToken { name: name.to_owned(), role, act_as: false, lasts: None }).await
    }

    /// The holder of a new token of some kind.
    pub async fn token_that(&self, new: NewToken) -> Client {
        let secret = add_token(&*self.accounts, new, self.clock.now()).await.unwrap();
        self.client(Some(Credential::Bearer(secret.0)))
    }

    /// Adds a user with a password.
    pub async fn user(&self, name: &str, role: Role, password: &str) {
        add_user(&*self.accounts, name, role, self.clock.now()).await.unwrap();
        set_password(&*self.accounts, name, password.to_owned()).await.unwrap();
    }

    /// A browser in which a user has signed in.
    pub async fn signed_in(&self, name: &str, role: Role) -> Client {
        self.user(name, role, "correct horse").await;
        let reply = self
            .client(None)
            .form("/rpc/session/sign-in", &[("name", name), ("password", "correct horse")])
            .await;
        self.client(Some(Credential::Cookie(reply.cookie())))
    }

    /// Moves the clock.
    pub fn minutes_pass(&self, minutes: u64) {
        self.clock.advance(Duration::from_secs(minutes * 60));
    }

    /// Everything there is to see, to show that something changed nothing: jobs, logs, users, tokens.
    pub async fn everything(&self) -> Value {
        let admin = self.token("somebody-who-looks", Role::Admin).await;
        let list = admin.get("/api/admin/jobs?includePast=true&limit=200").await.json();
        let mut jobs = Vec::new();
        for job in list["jobs"].as_array().unwrap() {
            let id = job["id"].as_str().unwrap();
            let log = admin.get(&format!("/api/admin/jobs/{id}/messages?level=all&limit=1000")).await.json();
            jobs.push(json!({"job": job, "log": log}));
        }
        remove_token(&*self.accounts, "somebody-who-looks", self.clock.now()).await.unwrap();
        let users: Vec<_> =
            self.accounts.users().await.unwrap().iter().map(|user| format!("{user:?}")).collect();
        let tokens: Vec<_> =
            self.accounts.tokens().await.unwrap().iter().map(|token| format!("{token:?}")).collect();
        json!({"jobs": jobs, "users": users, "tokens": tokens})
    }

    /// Listens on a socket, for what needs one.
    pub async fn listen(&self) -> SocketAddr {
        self.listen_within(ConnectionLimits::of(1_000)).await.0
    }

    /// The same, with other limits; and what ends when the server has.
    pub async fn listen_within(&self, limits: ConnectionLimits) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (site, closing) = (self.router.clone(), self.closing.clone());
        (address, tokio::spawn(serve(listener, site, limits, closing)))
    }

    /// Opens the stream of changes over a socket.
    pub async fn events(&self, client: &Client, query: &str, last_id: Option<&str>) -> EventReader {
        EventReader::open(self.listen().await, client, query, last_id).await
    }
}
