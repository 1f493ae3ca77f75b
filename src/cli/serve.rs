//! `longhaul serve`: the server.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::log;
use crate::clock::SystemClock;
use crate::http::AppState;
use crate::jobs;
use crate::server::{self, ConnectionLimits, build, build_id, has_assets};
use crate::service::{Service, ServiceSettings};
use crate::settings::{Database, Settings, SettingsArgs};
use crate::store::{AccountStore, JobStore, MemoryStore, PostgresSettings, PostgresStore, SqliteStore};

/// Runs a server until it is told to stop.
pub async fn run(args: &SettingsArgs) -> ExitCode {
    let served = match Settings::new(args) {
        Ok(settings) => serve(settings).await,
        Err(error) => Err(error.into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("longhaul: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    log::of_server(&settings)?;
    match settings.database.clone() {
        Database::Memory => {
            let store = Arc::new(MemoryStore::new(settings.limits.max_past));
            serve_store(settings, Arc::clone(&store) as Arc<dyn JobStore>, store).await
        }
        Database::Sqlite(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder)?;
            }
            let store = Arc::new(SqliteStore::open(&path)?);
            serve_store(settings, Arc::clone(&store) as Arc<dyn JobStore>, store).await
        }
        Database::Postgres(address) => {
            let store = Arc::new(
                PostgresStore::open(PostgresSettings {
                    address,
                    connections: settings.database_connections,
                    node: Some(settings.node.clone()),
                })
                .await?,
            );
            let accounts = Arc::new(store.accounts());
            serve_store(settings, store, accounts).await
        }
    }
}

async fn serve_store(
    mut settings: Settings,
    store: Arc<dyn JobStore>,
    accounts: Arc<dyn AccountStore>,
) -> anyhow::Result<()> {
    // The port is taken before anything is changed: one that is in use is the commonest mistake.
    let listener = TcpListener::bind(settings.listen).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {}: {error}. Choose another with --listen.", settings.listen)
    })?;
    // The system may have chosen the port.
    settings.listen = listener.local_addr()?;
    let connections = ConnectionLimits::of(server::make_room(settings.max_connections));
    let service = Service::new(
        store,
        accounts,
        Arc::new(SystemClock),
        jobs::all(),
        ServiceSettings {
            limits: settings.limits,
            sweep_every: settings.sweep_every,
            files: settings.files.clone(),
            session_lasts: settings.session_lasts,
            build: build_id(),
        },
    )
    .await?;
    service.set_first_credentials(settings.admin_password.clone(), settings.bootstrap_token.clone()).await?;
    let link = service.first_link().await?;

    let closing = CancellationToken::new();
    let patience = settings.stop_within;
    greet(&settings, link.as_deref());
    let app = AppState::new(Arc::clone(&service), Arc::new(settings), closing.clone());
    let sweeper = tokio::spawn(service.keep_sweeping(closing.clone()));

    let told = told_to_stop()?;
    let stopping = (Arc::clone(&service), closing.clone());
    tokio::spawn(async move {
        told.await;
        tracing::info!("Stopping: no more work is taken");
        stopping.0.stop_taking_work();
        stopping.1.cancel();
    });
    let server = server::serve(listener, build(app), connections, closing.clone());
    let closed = closing.clone();
    tokio::select! {
        () = server => {}
        () = async {
            closed.cancelled().await;
            tokio::time::sleep(patience / 2).await;
        } => tracing::warn!("Some connections were still open"),
    }
    closing.cancel();
    // A sweep that still waits for the store is not waited for beyond this; it ends with its connection.
    let _ = tokio::time::timeout(patience.max(Duration::from_secs(1)), sweeper).await;
    service.stop(patience.max(Duration::from_millis(100))).await;
    tracing::info!("Stopped");
    Ok(())
}

/// Resolves when the process is asked to stop.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn greet(settings: &Settings, link: Option<&str>) {
    let url = settings.public_url();
    tracing::info!(listen = %settings.listen, "Longhaul listens");
    if !settings.listen.ip().is_loopback() && !settings.secure_cookie() {
        tracing::warn!(
            "Listening beyond this machine over plain http: passwords travel readable. Put a proxy with TLS in \
             front and set --public-url https://…"
        );
    }
    if !has_assets() {
        tracing::warn!(
            "The browser's part was not built in: pages work, but do not move. Build with cargo-leptos."
        );
    }
    match link {
        Some(link) => println!(
            "\n  Longhaul is ready. Open this link once to choose a password and sign in:\n\n    {url}/login?link={link}\n"
        ),
        None => println!("\n  Longhaul is ready at {url}\n"),
    }
}
