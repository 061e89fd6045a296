//! The quorum as the election's ground: the latest view, and what the election has said since.

use crate::election::ground::{Ground, Lapse, PeerLease};
use crate::election::{Moment, Term};
use crate::model::NodeName;
use crate::quorum::{self, View};

/// The election's [`Ground`] by the quorum's view.
#[derive(Debug, Default)]
pub struct QuorumGround {
    pub(super) view: View,
    /// The term the election renewed last; nothing since it fell silent.
    term: Option<Term>,
    pub(super) renewals: Vec<(Term, Moment)>,
}

impl QuorumGround {
    fn is_current(&self) -> bool {
        self.term.is_some() && self.view.term == self.term
    }
}

impl Ground for QuorumGround {
    fn resumed(&mut self, term: Term) {
        self.term = Some(term);
    }

    fn renewed(&mut self, term: Term, started: Moment) {
        self.term = Some(term);
        self.renewals.push((term, started));
    }

    fn silenced(&mut self) {
        self.term = None;
    }

    fn deadline(&self) -> Option<Moment> {
        self.view.deadline().filter(|_| self.is_current())
    }

    fn lapse(&self, peer: &PeerLease<'_>, now: Moment) -> Lapse {
        match self.view.lapse(peer.node, &seen(peer), now) {
            quorum::Lapse::Over => Lapse::Over,
            quorum::Lapse::At(at) => Lapse::At(at),
            quorum::Lapse::Unknown => Lapse::Unknown,
        }
    }

    fn is_live(&self, peer: &PeerLease<'_>, now: Moment) -> bool {
        self.view.is_live(peer.node, &seen(peer), now)
    }

    fn is_fresh(&self, node: &NodeName, now: Moment) -> bool {
        self.view.is_fresh(node, now)
    }

    fn look_again_at(&self, peer: &PeerLease<'_>, now: Moment) -> Option<Moment> {
        // By quorum, a peer that is heard no more is news of the view's.
        let at = peer.changed_at + peer.duration;
        (self.view.by_lease && now < at).then_some(at)
    }

    fn is_refused(&self) -> bool {
        self.view.is_refused() && self.is_current()
    }
}

fn seen(peer: &PeerLease<'_>) -> quorum::PeerLease {
    quorum::PeerLease {
        term: peer.term,
        fenced: false,
        changed_at: peer.changed_at,
        duration: peer.duration,
    }
}
