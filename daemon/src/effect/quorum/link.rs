//! The election's end of the link to the quorum's thread, which [`QuorumLink`] uses.

use std::sync::{Arc, OnceLock};

use landfall_core::election::Term;
use landfall_core::node::{QuorumLink, QuorumPort};
use landfall_core::quorum::{Event, View};

use super::gate::Gate;
use super::task::QuorumHandle;

/// The road to the quorum's thread and the gate.
#[derive(Debug)]
pub struct Port {
    gate: Arc<Gate>,
    /// Set once the quorum's thread runs.
    quorum: Arc<OnceLock<QuorumHandle>>,
}

/// The end of a link whose other end is put into `quorum` when its thread runs. `keyed` tells that heartbeats can be
/// authenticated.
#[must_use]
pub fn link(gate: Arc<Gate>, quorum: Arc<OnceLock<QuorumHandle>>, keyed: bool) -> QuorumLink<Port> {
    QuorumLink::new(Port { gate, quorum }, keyed)
}

impl QuorumPort for Port {
    fn is_running(&self) -> bool {
        self.quorum.get().is_some()
    }

    fn tell(&mut self, event: Event) {
        if let Some(quorum) = self.quorum.get() {
            quorum.tell(event);
        }
    }

    fn view(&self) -> View {
        self.quorum
            .get()
            .map(QuorumHandle::view)
            .unwrap_or_default()
    }

    fn open(&mut self, term: Term) {
        self.gate.open(term);
    }

    fn shut(&mut self) {
        self.gate.shut();
    }
}
