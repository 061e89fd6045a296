//! Who answers for which VIP: one sans-IO machine per node, run by the lease effect.
//!
//! Fed by the planner ([`Event::Desired`]), the lease store (observations and outcomes of writes) and the
//! announce effect (confirmations); feeds the store with compare-and-swaps and the kernel with a deadline
//! and a table of VIPs ([`Action`]). Knows no clock but the `now` it is given.
//!
//! # Why there are never two answers
//!
//! A node answers for a VIP while its kernel's deadline has not passed *and* the VIP is in its table. It
//! puts a VIP in only where it is the holder in its present term, and its deadline comes from the
//! [`ground`] alone. Who the holder is, two kinds of objects tell: the service lease, as of its
//! *transition*, and from there the [bequests](Bequests) in one holder's node lease after the other's
//! ([`Possession`]). A VIP leaves its holder in these ways only:
//!
//! 1. **The holder gives it**, by a bequest that it writes after its kernel has confirmed to answer no
//!    more (`claim`).
//! 2. **The holder is fenced**: its right to answer has lapsed by the ground, and a peer wrote a fence into
//!    its node lease by compare-and-swap on the revision that it had judged, with bequests of all it held.
//! 3. **The holder's term is over and there is no bequest**: the VIP is vacant, and taken by
//!    compare-and-swap on the service lease. (A node begins a new term only once it is silent, `tenure`.)
//!
//! Both of the first are a compare-and-swap on one object, so a gift and a fence cannot pass each other,
//! and the third expects the revision of the service lease that it judged by. So for each transition there
//! is at most one holder. The heir answers at once, and writes the service lease as the record afterwards.
//!
//! Everything else (hash, cap, who looks first, stale views) decides only how fast and how evenly.
//! Deleting or damaging leases by hand while somebody holds their VIPs is survived as well (the holder
//! writes them again, or its heir where it died meanwhile), as long as no agent that never saw them starts
//! before that, and no write that expects the deleted lease never to have been is still under way: such a
//! write would succeed.
//!
//! # Load
//!
//! One write per node and renewal, and one for each batch of VIPs that change hands; a service lease is
//! written once when its VIP has changed hands, which nobody waits for. Nobody polls.

mod bequest;
mod claim;
mod contest;
mod dark;
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
mod will;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::claim::Claim;
use self::ground::{Ground, LeaseGround};
use self::tenure::{Around, Step, Tenure};
use crate::model::NodeName;

pub use self::bequest::{Bequest, Bequests};
pub use self::dark::Memory;
pub use self::message::{Action, DesiredVips, Event, Outcome, RequestId, Write};
pub use self::moment::Moment;
pub use self::name::{LeaseKind, LeaseName};
pub use self::record::{
    BootId, Cause, Fence, Holder, Incarnation, NodeLease, Record, Revision, ServiceLease, Term,
};
pub use self::settings::{Identity, Settings, SettingsError};
pub use self::table::{Change, Content, LeaseTable, Possession, Seen, Standing};
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
    /// Peers whose right is over and whose lease has no fence, and since when.
    lapsed: BTreeMap<LeaseName, Moment>,
    /// Bequests in the own lease that nobody needs any more, and since when.
    spent: BTreeMap<(LeaseName, u64), Moment>,
    /// Since when offers wait for the own lease to be written.
    offers_since: Option<Moment>,
    /// VIPs are to be given away as soon as the own lease can be written.
    gated: bool,
    /// What was remembered then of leases gone from the store may be out of date.
    doubtful: Option<Moment>,
    /// All that was in the store then has been seen.
    view_of: Option<Moment>,
    /// The node goes by what it remembers, and this is what the store has told since.
    dark: Option<LeaseTable>,
    /// There were node leases in the store: one without any is not that store.
    expects_nodes: bool,
    /// Bequests that a process before may have written: every write of the term carries them.
    inherited: Bequests,
    mode: Mode,
    fit: bool,
    synced: bool,
    silencing: bool,
    /// Nothing free is taken before this, so that nodes that start together share from the start.
    settled_at: Moment,
    /// Peers whose leases are good, and this node while its own is.
    live: Arc<BTreeSet<NodeName>>,
    /// When a lease changed hands or a node came or went, as seen here.
    quiet_since: Moment,
    /// Peers that were live once and are not.
    lost: BTreeSet<NodeName>,
    /// Nothing is handed over for an even share before this, as a node that was lost is back and may go again.
    steady_from: Moment,
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
            lapsed: BTreeMap::new(),
            spent: BTreeMap::new(),
            offers_since: None,
            gated: false,
            doubtful: None,
            view_of: None,
            dark: None,
            expects_nodes: false,
            inherited: Bequests::default(),
            mode: Mode::Serving,
            fit: true,
            synced: false,
            silencing: false,
            settled_at: now,
            live: Arc::default(),
            quiet_since: now,
            lost: BTreeSet::new(),
            steady_from: now,
            stirred: false,
            contest_due: None,
            pushed: None,
            wake: None,
            unix: 0,
        }
    }

    /// What the right to answer rests on.
    pub fn ground(&self) -> &G {
        &self.ground
    }

    /// What the right to answer rests on, for the daemon to replace; followed by [`Event::Ground`].
    pub fn ground_mut(&mut self) -> &mut G {
        &mut self.ground
    }

    /// The ground and the leases together, for whoever carries news between them.
    pub fn ground_and_table(&mut self) -> (&mut G, &LeaseTable) {
        (&mut self.ground, &self.table)
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
    pub fn live(&self) -> &Arc<BTreeSet<NodeName>> {
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
            } else if self.dark.is_some() {
                self.refresh_live(now);
                self.hold_again(&mut actions);
                self.push_deadline(&mut actions);
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
        // What had to wait for the own lease to be written need not wait longer.
        self.stirred |= self.gated && !self.tenure.is_writing();
        self.contest(now, &mut actions);
        if self.offers_since.is_some() {
            self.keep_tenure(now, &mut actions);
        }
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
            self.inherited = Bequests::default();
        }
        match step {
            Step::Wait(until) => self.wake_at(until),
            Step::Silence => self.silence(actions),
            Step::Write(expected, mut lease) => {
                lease.bequests = self.bequeath(&lease.bequests, now);
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
