//! What the rest of the agent sees of the quorum: a snapshot, cheap to make and to send to another thread.

use std::collections::BTreeMap;
use std::time::Duration;

use super::event::PeerLease;
use super::record::Epoch;
use crate::election::{Moment, Term};
use crate::model::NodeName;

/// Whether a peer's right to answer within a term is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// It is over for good.
    Over,
    /// It will be over at this moment, unless the lease changes before.
    At(Moment),
    /// It goes on as far as is known; [`super::Action::ViewChanged`] tells when that changes.
    Unknown,
}

/// What is known of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerView {
    /// When it was heard last.
    pub heard_at: Option<Moment>,
    /// Whether it said then that it has the right to answer.
    pub entitled: bool,
    /// A majority of the granters hears it, where this node itself exchanges no heartbeats with it.
    pub vouched: bool,
    /// The last term that is refused by a majority of the granters of every rule in force.
    pub lapsed: Option<Term>,
}

/// The quorum at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The node's own term.
    pub term: Option<Term>,
    /// Until when the node may answer within it.
    pub deadline: Option<Moment>,
    /// How long the grant that the deadline stands on was good when its heartbeat was sent.
    pub granted_for: Duration,
    /// The term can gain no right any more: the node has to begin another.
    pub refused: bool,
    /// The record in force.
    pub epoch: Option<Epoch>,
    /// A change of members is under way.
    pub joint: bool,
    /// Grants of a majority are needed.
    pub by_quorum: bool,
    /// Renewals of the node lease are needed.
    pub by_lease: bool,
    /// All that is known of the others, and of the node's own terms.
    pub peers: BTreeMap<NodeName, PeerView>,
    /// The record in force names this node.
    pub member: bool,
    pub(super) me: Option<NodeName>,
    pub(super) window: Duration,
    /// How old the last word of a peer may be that a dead node's VIPs are left to.
    pub(super) fresh: Duration,
}

impl View {
    /// Until when the node may answer; nothing where it may not at all.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    /// Whether the node's present term can gain no right any more.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether the right of `node` within the term that `lease` states is over.
    ///
    /// Judging a peer takes a right of one's own: who has none may have been taken out of the record without knowing it,
    /// and then the rules it knows are not those that its peers stand on. A node's own earlier terms are judged without.
    #[must_use]
    pub fn lapse(&self, node: &NodeName, lease: &PeerLease, now: Moment) -> Lapse {
        let own = self.me.as_ref() == Some(node);
        if !own && self.deadline.is_none_or(|deadline| deadline <= now) {
            return Lapse::Unknown;
        }
        // Whom no record names has no right, and its lease at most; that it is not named it knows best itself.
        let (by_quorum, by_lease) = if own && !self.member {
            (false, true)
        } else {
            (self.by_quorum, self.by_lease)
        };
        let lapsed = self.peers.get(node).and_then(|peer| peer.lapsed);
        if by_quorum && lapsed < Some(lease.term) {
            return Lapse::Unknown;
        }
        let at = lease.changed_at + lease.duration;
        if by_lease && now < at {
            return Lapse::At(at);
        }
        Lapse::Over
    }

    /// Whether `node` is there to be given VIPs.
    #[must_use]
    pub fn is_live(&self, node: &NodeName, lease: &PeerLease, now: Moment) -> bool {
        if self.me.as_ref() == Some(node) {
            return self.deadline.is_some_and(|deadline| now < deadline);
        }
        let valid = !lease.fenced && now < lease.changed_at + lease.duration;
        (!self.by_lease || valid) && (!self.by_quorum || self.is_heard(node, lease.term, now))
    }

    /// Whether `node` was heard a few heartbeats ago at most. Nodes that were cut off in one instant lapse one after the
    /// other, and the last of them pass for live until then.
    #[must_use]
    pub fn is_fresh(&self, node: &NodeName, now: Moment) -> bool {
        if self.me.as_ref() == Some(node) || !self.by_quorum {
            return true;
        }
        let Some(peer) = self.peers.get(node) else {
            return false;
        };
        peer.vouched || peer.heard_at.is_some_and(|at| now < at + self.fresh)
    }

    fn is_heard(&self, node: &NodeName, term: Term, now: Moment) -> bool {
        let Some(peer) = self.peers.get(node) else {
            return false;
        };
        let heard = peer.heard_at.is_some_and(|at| now < at + self.window);
        peer.lapsed < Some(term) && (peer.vouched || (heard && peer.entitled))
    }
}
