//! Signals.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The signals the agent listens to.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes them over from the kernel's defaults.
    pub(super) fn install() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the agent shall stop.
    pub(super) async fn stop_asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return info!(signal = "SIGTERM", "stopping"),
                _ = self.interrupt.recv() => return info!(signal = "SIGINT", "stopping"),
                _ = self.hangup.recv() => warn!(
                    "SIGHUP changes nothing: manifests are followed as they change, settings are \
                     read at start; restart the agent to apply them, the data path stays"
                ),
            }
        }
    }

    /// From now on a second signal ends the process at once.
    pub(super) async fn exit_on_second(mut self, done: CancellationToken) {
        tokio::select! {
            () = done.cancelled() => return,
            () = self.stop_asked() => {}
        }
        warn!("second signal: leaving at once, leases run out by themselves");
        // 128 + SIGTERM, as a shell reports it.
        std::process::exit(143);
    }
}
