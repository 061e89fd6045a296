//! Garbage collection of flows, and their listing.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use landfall_ebpf::conntrack::{Collected, Conntrack, LiveEndpoint, TimeOuts, TrackedFlow};
use landfall_ebpf::loader::Loaded;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How often flows are looked through though no endpoint went.
const PERIOD: Duration = Duration::from_secs(10);

/// The flow tables, shared by their collector and those who list them. The lock is held over system calls, never over an
/// await.
pub struct Flows {
    conntrack: Mutex<Conntrack>,
    live: Mutex<Option<Arc<HashSet<LiveEndpoint>>>>,
    endpoints_gone: Notify,
    report: Mutex<FlowReport>,
}

/// What the last collection saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowReport {
    /// Flows there are.
    pub flows: u64,
    /// Flows taken away since the daemon started.
    pub removed: u64,
}

impl Flows {
    pub(super) fn take(loaded: &mut Loaded) -> anyhow::Result<Self> {
        Ok(Self {
            conntrack: Mutex::new(Conntrack::take(loaded, TimeOuts::default())?),
            live: Mutex::new(None),
            endpoints_gone: Notify::new(),
            report: Mutex::new(FlowReport::default()),
        })
    }

    /// Says which endpoints of this node are left; flows of others are taken away at once.
    pub(super) fn set_live(&self, live: HashSet<LiveEndpoint>) {
        let mut held = self.live.lock().expect("no holder panics");
        let gone = held
            .as_ref()
            .is_none_or(|before| before.iter().any(|endpoint| !live.contains(endpoint)));
        *held = Some(Arc::new(live));
        if gone {
            self.endpoints_gone.notify_one();
        }
    }

    /// Endpoints of this node that flows may still go to; nothing before the first plan.
    pub(in crate::effect) fn live(&self) -> Option<Arc<HashSet<LiveEndpoint>>> {
        self.live.lock().expect("no holder panics").clone()
    }

    /// All flows. Blocks over system calls.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&self) -> io::Result<Vec<TrackedFlow>> {
        self.conntrack.lock().expect("no holder panics").list()
    }

    /// What the last collection saw.
    pub fn report(&self) -> FlowReport {
        *self.report.lock().expect("no holder panics")
    }

    /// Collects until cancelled.
    pub async fn collect(self: Arc<Self>, cancel: CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.endpoints_gone.notified() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
            let flows = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || flows.collect_once()).await {
                Ok(Ok(collected)) => debug!(?collected, "flows collected"),
                Ok(Err(error)) => warn!(%error, "flows were not collected; it will be tried again"),
                Err(error) => warn!(%error, "collection of flows failed"),
            }
        }
    }

    fn collect_once(&self) -> io::Result<Collected> {
        let live = self.live.lock().expect("no holder panics").clone();
        let collected = self
            .conntrack
            .lock()
            .expect("no holder panics")
            .collect(live.as_deref())?;
        let mut report = self.report.lock().expect("no holder panics");
        report.flows = collected.kept;
        report.removed += collected.expired + collected.orphaned;
        Ok(collected)
    }
}
