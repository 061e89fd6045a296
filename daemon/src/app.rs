//! The agent: what runs, in which order it starts, and in which it stops.
//!
//! Start: settings, log, then from the kernel up to the person who looks (`rooms`):
//!
//! 1. the data path is loaded on its pinned maps, and goes on with what an earlier agent left in it;
//! 2. the lease store and the election's thread;
//! 3. effects, reconciler, sources;
//! 4. `looking`: admin socket and metrics endpoint.
//!
//! Stop (SIGTERM, SIGINT, or a task that failed):
//!
//! 1. sources end, so that nothing new begins;
//! 2. leases are handed over, while the announce effect still takes addresses out of the kernel's table;
//! 3. effects and their threads end; programs, maps and links stay;
//! 4. `looking` goes last, so that stopping can be looked at too.
//!
//! A second signal ends the process at once: leases and the kernel's deadline run out by themselves,
//! and the pinned programs forward on.

mod drain;
mod home;
mod notify;
mod options;
mod reports;
mod rooms;
mod signals;
mod stage;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::api::server::Server;
use crate::api::snapshot::Snapshot;
use crate::config::{Loaded, MetricsListen, Settings};
use crate::telemetry::{self, exporter};

use home::Home;
use reports::Reports;
use rooms::Rooms;
use signals::Signals;
use stage::Stage;

/// How long a stage may take to stop before the next one is stopped regardless.
const PATIENCE: Duration = Duration::from_secs(4);

/// Runs the agent until it is told to stop.
///
/// # Errors
/// When something without which nothing works cannot be had, or when a task failed.
pub fn main(loaded: Loaded) -> anyhow::Result<()> {
    let Loaded {
        settings,
        effective,
    } = loaded;
    telemetry::install_log(&settings.log)?;
    for (key, value) in effective
        .iter()
        .filter(|(_, value)| value.origin != "default")
    {
        info!(key, value = %value.value, origin = value.origin, "setting in effect");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("landfall")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(run(Arc::new(settings)));
    // A thread that hangs in the kernel must not keep the process.
    runtime.shutdown_timeout(PATIENCE);
    ended
}

async fn run(settings: Arc<Settings>) -> anyhow::Result<()> {
    let mut signals = Signals::install().context("cannot listen to signals")?;
    let failed = CancellationToken::new();
    let home = Home::find(&settings).await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = settings.node.name,
        "agent starting"
    );

    // Before anything counts.
    let metrics = exporter::install()?;
    let rooms = Rooms::start(&settings, &home, &failed).await?;
    let reports: Arc<dyn Snapshot> = Arc::new(Reports::new(Arc::clone(&settings), home, &rooms));
    let looking = Stage::new("looking", &failed);
    serve_metrics(&settings, metrics, &looking, &reports).await;
    let server = Server::bind(&settings.api.socket)?;
    looking.spawn(
        "admin socket",
        server.run(Arc::clone(&reports), looking.token()),
    );

    notify::ready("serving");
    info!(socket = %settings.api.socket.display(), "agent ready");
    tokio::select! {
        () = signals.stop_asked() => {}
        () = failed.cancelled() => {}
    }
    let done = CancellationToken::new();
    let _second = tokio::spawn(signals.exit_on_second(done.clone()));

    notify::stopping("handing over");
    let has_failed = failed.is_cancelled();
    rooms.stop(PATIENCE).await;
    looking.stop(PATIENCE).await;
    done.cancel();
    if has_failed {
        bail!("a task failed; the log says which");
    }
    info!("agent stopped; the data path stays");
    Ok(())
}

/// The metrics endpoint, where one is wanted and can be had.
async fn serve_metrics(
    settings: &Settings,
    handle: PrometheusHandle,
    looking: &Stage,
    reports: &Arc<dyn Snapshot>,
) {
    let MetricsListen::At(address) = settings.metrics.listen else {
        return;
    };
    match exporter::Exporter::bind(address, handle).await {
        Ok(endpoint) => {
            looking.spawn(
                "metrics",
                endpoint.run(Arc::clone(reports), looking.token()),
            );
        }
        Err(error) => error!(
            %address, %error,
            "metrics are not served; set metrics.listen to a free address, or to \"off\""
        ),
    }
}
