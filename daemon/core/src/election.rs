//! Who answers for which VIP: one sans-IO machine per node, run by the lease effect.
//!
//! Fed by the planner ([`Event::Desired`]), the lease store (observations and outcomes of writes) and the
//! announce effect (confirmations); feeds the store with compare-and-swaps and the kernel with a deadline
//! and a table of VIPs ([`Action`]). Knows no clock but the `now` it is given.
//!
//! # Why there are never two answers
//!
//! A node answers for a VIP while its kernel's deadline has not passed *and* the VIP is in its table. It
//! puts a VIP in only on a service lease that names it in its present term, and its deadline comes only
//! from a renewal of its node lease, counted from that write's start ([`ground`]). A service lease goes
//! from one node to another in two ways only:
//!
//! 1. **The holder gives it**, after its kernel has confirmed to answer no more (`claim`).
//! 2. **The holder's term is over**: a peer watched the holder's node lease stand still for the whole
//!    duration, by its own clock, and then fenced it by compare-and-swap on the very revision it had
//!    watched. The holder's last deadline followed from that revision's write, so it has passed; and no
//!    later renewal can succeed. Or the holder itself began a new term, which it writes only once it is
//!    silent (`tenure`).
//!
//! Everything else (hash, cap, who looks first, stale views) decides only how fast and how evenly.
//! Deleting or damaging leases by hand while their holders live is survived as well (a holder writes its
//! lease again), as long as no agent that never saw them starts before that, and no write that expects
//! the deleted lease never to have been is still under way: such a write would succeed.
//!
//! # Load
//!
//! One write per node and renewal; a service lease is written when it changes hands (twice when it is
//! given); fences only for nodes that hold something. Nobody polls.

mod claim;
mod contest;
pub mod ground;
mod intake;
mod leaving;
mod message;
mod moment;
mod name;
mod record;
pub mod rendezvous;
mod settings;
mod table;
mod tenure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::claim::Claim;
use self::ground::{Ground, LeaseGround};
use self::tenure::{Around, Step, Tenure};
use crate::model::NodeName;

pub use self::message::{Action, DesiredVips, Event, Outcome, RequestId, Write};
pub use self::moment::Moment;
pub use self::name::{LeaseKind, LeaseName};
pub use self::record::{
    BootId, Cause, Fence, Holder, Incarnation, NodeLease, Record, Revision, ServiceLease, Term,
};
pub use self::settings::{Identity, Settings, SettingsError};
pub use self::table::{Content, LeaseTable, Seen, Standing};
pub use self::tenure::Membership;

/// What the agent is on its way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    Draining,
    Stopping,
    Stopped,
}

/// A write under way.
#[derive(Clone, Debug)]
struct Pending {
    write: Write,
    began: Moment,
}

/// The election as one node runs it.
#[derive(Debug)]
pub struct Election<G = LeaseGround> {
    me: Identity,
    settings: Settings,
    ground: G,
    table: LeaseTable,
    tenure: Tenure,
    payload: Arc<str>,
    desired: Option<DesiredVips>,
    claims: BTreeMap<LeaseName, Claim>,
    pending: BTreeMap<RequestId, Pending>,
    next_request: u64,
    /// Fences under way or failed of late, and when to try again.
    fencing: BTreeMap<LeaseName, Moment>,
    mode: Mode,
    fit: bool,
    synced: bool,
    silencing: bool,
    /// Nothing free is taken before this, so that nodes that start together share from the start.
    settled_at: Moment,
    /// Peers whose leases are good, and this node while its own is.
    live: BTreeSet<NodeName>,
    /// When a lease changed hands or a node came or went, as seen here.
    quiet_since: Moment,
    /// Something happened that the contest for VIPs depends on.
    stirred: bool,
    /// When the contest is to be looked at again without anything having changed.
    contest_due: Option<Moment>,
    /// The deadline last handed to the kernel.
    pushed: Option<Moment>,
    wake: Option<Moment>,
    unix: u64,
}

impl Election<LeaseGround> {
    /// An election on the ground *lease*, with nothing known yet.
    #[must_use]
    pub fn new(me: Identity, settings: Settings, now: Moment) -> Self {
        let ground = LeaseGround::new(settings.lease_duration, settings.margin());
        Self::on(ground, me, settings, now)
    }
}

impl<G: Ground> Election<G> {
    /// An election on `ground`, with nothing known yet.
    #[must_use]
    pub fn on(ground: G, me: Identity, settings: Settings, now: Moment) -> Self {
        Self {
            me,
            settings,
            ground,
            table: LeaseTable::default(),
            tenure: Tenure::new(now),
            payload: Arc::from(""),
            desired: None,
            claims: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_request: 0,
            fencing: BTreeMap::new(),
            mode: Mode::Serving,
            fit: true,
            synced: false,
            silencing: false,
            settled_at: now,
            live: BTreeSet::new(),
            quiet_since: now,
            stirred: false,
            contest_due: None,
            pushed: None,
            wake: None,
            unix: 0,
        }
    }

    /// Every lease as this node sees it.
    #[must_use]
    pub fn table(&self) -> &LeaseTable {
        &self.table
    }

    /// Where the node stands with its own lease.
    #[must_use]
    pub fn membership(&self) -> Membership {
        self.tenure.membership
    }

    /// The nodes whose leases are good, this one included while its own is.
    #[must_use]
    pub fn live(&self) -> &BTreeSet<NodeName> {
        &self.live
    }

    /// The VIPs in the kernel's table by this election's word.
    pub fn held(&self) -> impl Iterator<Item = &LeaseName> {
        self.claims
            .iter()
            .filter(|(_, claim)| claim.held)
            .map(|(name, _)| name)
    }

    /// Until when the kernel may answer.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.ground.deadline()
    }

    /// Sets what service leases are stamped with, seconds since the Unix epoch. For display only.
    pub fn set_wall_clock(&mut self, unix: u64) {
        self.unix = unix;
    }

    /// When [`Event::Tick`] is due, unless something else comes first.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Moment> {
        self.wake
    }

    /// Takes in one event. `now` must have been read before the event's actions can begin.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Action> {
        self.handle_all([event], now)
    }

    /// Takes in events that are there together, and decides once.
    pub fn handle_all(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        now: Moment,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        for event in events {
            self.take_in(event, now);
        }
        self.wake = None;
        if self.mode == Mode::Stopped || self.membership() == Membership::Superseded {
            return actions;
        }
        if !self.synced {
            if self.mode == Mode::Stopping {
                self.mode = Mode::Stopped;
                actions.push(Action::Stopped);
            }
            return actions;
        }
        self.give_up_waiting(now);
        self.keep_tenure(now, &mut actions);
        if self.membership() == Membership::Superseded {
            actions.push(Action::Superseded);
            return actions;
        }
        self.push_deadline(&mut actions);
        self.contest(now, &mut actions);
        self.finish_stop(now, &mut actions);
        actions
    }

    fn is_own(&self, name: &LeaseName) -> bool {
        *name == LeaseName::of_node(&self.me.node)
    }

    fn keep_tenure(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let resign = self.mode == Mode::Stopping && self.silent_for_good();
        let before = self.tenure.term();
        let around = Around {
            me: &self.me,
            settings: &self.settings,
            table: &self.table,
            ground: &self.ground,
            payload: &self.payload,
        };
        let step = self.tenure.step(&around, resign, now);
        if before.is_some() && self.tenure.term().is_none() {
            self.stirred = true;
        }
        match step {
            Step::Wait(until) => self.wake_at(until),
            Step::Silence => self.silence(actions),
            Step::Write(expected, lease) => {
                if lease.fenced_by.is_none() && self.tenure.term().is_none() {
                    let cold = self.tenure.silent && self.settled_at <= self.tenure.since;
                    let pause = if cold {
                        self.settings.lease_renew_deadline
                    } else {
                        Default::default()
                    };
                    self.settled_at = now + pause;
                }
                let name = LeaseName::of_node(&self.me.node);
                self.wake_at(Some(now + self.settings.lease_renew_deadline));
                self.write(name, expected, Some(Record::Node(lease)), now, actions);
            }
        }
    }

    fn push_deadline(&mut self, actions: &mut Vec<Action>) {
        let deadline = self.ground.deadline();
        if let (Some(deadline), true) = (deadline, deadline > self.pushed && !self.silencing) {
            self.pushed = Some(deadline);
            actions.push(Action::SetDeadline(deadline));
        }
    }

    fn write(
        &mut self,
        name: LeaseName,
        expected: Option<Revision>,
        record: Option<Record>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let write = Write {
            request,
            name,
            expected,
            record,
        };
        self.pending.insert(
            request,
            Pending {
                write: write.clone(),
                began: now,
            },
        );
        actions.push(Action::Cas(write));
        request
    }

    fn wake_at(&mut self, at: Option<Moment>) {
        self.wake = match (self.wake, at) {
            (Some(wake), Some(at)) => Some(wake.min(at)),
            (wake, at) => wake.or(at),
        };
    }
}
