//! The election's end of the link to the quorum's thread, which [`QuorumLink`] uses.

use std::sync::{Arc, OnceLock};

use landfall_core::election::Term;
use landfall_core::node::{QuorumLink, QuorumPort};
use landfall_core::quorum::record::MemberRecord;
use landfall_core::quorum::{Event, View};
use tokio::sync::watch;

use super::gate::Gate;
use super::task::QuorumHandle;

/// The road to the quorum's thread and the gate.
#[derive(Debug)]
pub struct Port {
    gate: Arc<Gate>,
    /// Set once the quorum's thread runs.
    quorum: Arc<OnceLock<QuorumHandle>>,
    /// For those who want to see who the members are.
    members: watch::Sender<Option<MemberRecord>>,
}

/// The end of a link whose other end is put into `quorum` when its thread runs, and the record of members as the store
/// has it. `keyed` tells that heartbeats can be authenticated.
#[must_use]
pub fn link(
    gate: Arc<Gate>,
    quorum: Arc<OnceLock<QuorumHandle>>,
    keyed: bool,
) -> (QuorumLink<Port>, watch::Receiver<Option<MemberRecord>>) {
    let (members, seen) = watch::channel(None);
    let port = Port {
        gate,
        quorum,
        members,
    };
    (QuorumLink::new(port, keyed), seen)
}

impl QuorumPort for Port {
    fn is_running(&self) -> bool {
        self.quorum.get().is_some()
    }

    fn tell(&mut self, event: Event) {
        if let Event::Record {
            record: Some(record),
            ..
        } = &event
        {
            self.members.send_replace(Some(record.clone()));
        }
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
