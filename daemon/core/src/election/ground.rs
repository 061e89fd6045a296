//! What a node's right to answer rests on: the seam between the election and the proof that a node is
//! alone with its VIPs.
//!
//! On the ground *lease* ([`LeaseGround`]) the right is bounded by the node lease alone: the deadline
//! follows from the node's own renewals, and a peer has lapsed when its lease was not seen to change for
//! the duration it states. The ground *quorum* answers the same questions from heartbeat grants.

use std::time::Duration;

use super::moment::Moment;
use super::record::Term;
use crate::model::NodeName;

/// A peer's node lease as the election last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerLease<'a> {
    /// Whose lease it is.
    pub node: &'a NodeName,
    /// The term it states.
    pub term: Term,
    /// When it was last seen to change, on this node's clock.
    pub changed_at: Moment,
    /// How long it is good after it was written, as it states.
    pub duration: Duration,
}

/// Whether a peer's right to answer within a term is surely over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// It is over for good: a compare-and-swap on the lease as it was seen may fence that term.
    Over,
    /// It will be over at this moment, unless the lease changes before.
    At(Moment),
    /// It goes on as far as is known. [`Event::Ground`](super::Event::Ground) tells when that changes.
    Unknown,
}

/// The questions the election puts to its ground.
pub trait Ground {
    /// This node's lease was renewed in `term` by a write that began at `started`.
    fn renewed(&mut self, term: Term, started: Moment);

    /// This node goes on in `term`, by what it remembers: what the right rests on has to prove it anew.
    fn resumed(&mut self, _term: Term) {}

    /// This node has fallen silent and gave up every right of its term.
    fn silenced(&mut self);

    /// Until when this node's kernel may answer; nothing where it may not at all.
    fn deadline(&self) -> Option<Moment>;

    /// Whether the right of a peer has lapsed.
    fn lapse(&self, peer: &PeerLease<'_>, now: Moment) -> Lapse;

    /// Whether a peer is there to be given VIPs.
    fn is_live(&self, peer: &PeerLease<'_>, now: Moment) -> bool;

    /// Whether a live peer was heard so lately that a dead node's VIPs may be left to it: those that died in the same
    /// instant pass for live a little longer.
    fn is_fresh(&self, _node: &NodeName, _now: Moment) -> bool {
        true
    }

    /// When [`Ground::is_live`] may answer otherwise about this peer although its lease has not changed and
    /// nothing stirred the election.
    fn look_again_at(&self, peer: &PeerLease<'_>, now: Moment) -> Option<Moment>;

    /// Whether this node's present term is refused for good: it has to fall silent and begin another.
    /// Must no longer be so once [`Ground::renewed`] has told of a later term.
    fn is_refused(&self) -> bool;
}

/// The ground *lease*: the node lease alone.
#[derive(Clone, Copy, Debug)]
pub struct LeaseGround {
    /// How long after the start of a renewal's write this node may answer.
    span: Duration,
    deadline: Option<Moment>,
}

impl LeaseGround {
    /// A ground on which every renewal is good for `lease_duration` less `margin`.
    #[must_use]
    pub fn new(lease_duration: Duration, margin: Duration) -> Self {
        Self {
            span: lease_duration.saturating_sub(margin),
            deadline: None,
        }
    }
}

impl Ground for LeaseGround {
    fn renewed(&mut self, _term: Term, started: Moment) {
        self.deadline = self.deadline.max(Some(started + self.span));
    }

    fn silenced(&mut self) {
        self.deadline = None;
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    fn lapse(&self, peer: &PeerLease<'_>, now: Moment) -> Lapse {
        let at = peer.changed_at + peer.duration;
        if now < at { Lapse::At(at) } else { Lapse::Over }
    }

    fn is_live(&self, peer: &PeerLease<'_>, now: Moment) -> bool {
        now < peer.changed_at + peer.duration
    }

    fn look_again_at(&self, peer: &PeerLease<'_>, now: Moment) -> Option<Moment> {
        let at = peer.changed_at + peer.duration;
        (now < at).then_some(at)
    }

    fn is_refused(&self) -> bool {
        false
    }
}
