//! What a node's right to answer rests on: the seam between the election and the proof that a node is
//! alone with its VIPs.
//!
//! On the ground *lease* ([`LeaseGround`]) the right is bounded by the node lease alone: the deadline
//! follows from the node's own renewals, a peer has lapsed when its lease was not seen to change for the
//! duration it states, and a service lease is written before its VIP is answered. The ground *quorum*
//! implements the same four questions from heartbeat grants.

use std::time::Duration;

use super::moment::Moment;

/// The questions the election puts to its ground.
pub trait Ground {
    /// This node's lease was renewed by a write that began at `started`, within the current term.
    fn renewed(&mut self, started: Moment);

    /// This node has fallen silent and gave up every right.
    fn silenced(&mut self);

    /// Until when this node's kernel may answer; nothing where it may not at all.
    fn deadline(&self) -> Option<Moment>;

    /// When the right of a peer has surely lapsed whose lease states `duration` and was last seen to
    /// change at `changed_at`. From then on a compare-and-swap on that lease may fence it.
    fn lapses_at(&self, changed_at: Moment, duration: Duration) -> Moment;

    /// Whether a service lease must be written before its VIP is answered.
    fn record_first(&self) -> bool;
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
    fn renewed(&mut self, started: Moment) {
        self.deadline = self.deadline.max(Some(started + self.span));
    }

    fn silenced(&mut self) {
        self.deadline = None;
    }

    fn deadline(&self) -> Option<Moment> {
        self.deadline
    }

    fn lapses_at(&self, changed_at: Moment, duration: Duration) -> Moment {
        changed_at + duration
    }

    fn record_first(&self) -> bool {
        true
    }
}
