//! The leases as this node has seen them, and since when: the only evidence the election judges by.
//!
//! Fed by the store's observations and by the outcomes of this node's own writes. A lease's revisions
//! only go up here, except where the store itself says that it went back (deleted and made anew).

mod possession;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::moment::Moment;
use super::name::{LeaseKind, LeaseName};
use super::record::{Holder, NodeLease, Record, Revision, ServiceLease, Term};
use crate::model::NodeName;

pub use self::possession::Possession;

/// What the store was found to hold under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A record.
    Record(Record),
    /// Something that is not a record: a torn file, an object someone else changed.
    Torn,
    /// Nothing.
    Absent,
}

/// One lease as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<R> {
    /// The revision to expect of the store; nothing where the lease is not there.
    pub revision: Option<Revision>,
    /// The last content known, kept when the lease was deleted or torn after it.
    pub record: Option<R>,
    /// Whether the present content cannot be read.
    pub torn: bool,
    /// When this node saw the lease change, on its own clock.
    pub changed_at: Moment,
}

impl<R> Seen<R> {
    fn absent(now: Moment) -> Self {
        Self {
            revision: None,
            record: None,
            torn: false,
            changed_at: now,
        }
    }

    fn record(revision: Option<Revision>, record: R, now: Moment) -> Self {
        Self {
            revision,
            record: Some(record),
            torn: false,
            changed_at: now,
        }
    }

    /// The content, where it is there and can be read.
    #[must_use]
    pub fn present(&self) -> Option<&R> {
        self.record
            .as_ref()
            .filter(|_| self.revision.is_some() && !self.torn)
    }
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The holder's term goes on, or is not known to be over.
    Holding,
    /// The holder's term is over: fenced, or followed by another.
    Over,
}

/// What an observation changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing but a count of renewals.
    Nothing,
    /// A service lease, but not who has the VIP: a change of hands known before was recorded.
    Recorded,
    /// Something else, such as the end of a term.
    Told,
    /// Who has a VIP.
    Moved,
}

/// Every lease seen so far.
#[derive(Clone, Debug, Default)]
pub struct LeaseTable {
    nodes: BTreeMap<LeaseName, Seen<NodeLease>>,
    services: BTreeMap<LeaseName, Seen<ServiceLease>>,
    possessions: BTreeMap<LeaseName, Possession>,
    /// Spares making a node's lease name again and again.
    names: HashMap<NodeName, LeaseName>,
    /// The greatest term of each node that any lease mentioned.
    terms: HashMap<NodeName, Term>,
    payload_changes: u64,
    possession_changes: u64,
    changes: u64,
}

impl LeaseTable {
    /// All node leases.
    pub fn nodes(&self) -> impl Iterator<Item = (&LeaseName, &Seen<NodeLease>)> {
        self.nodes.iter()
    }

    /// All service leases.
    pub fn services(&self) -> impl Iterator<Item = (&LeaseName, &Seen<ServiceLease>)> {
        self.services.iter()
    }

    /// The service lease `name`.
    #[must_use]
    pub fn service(&self, name: &LeaseName) -> Option<&Seen<ServiceLease>> {
        self.services.get(name)
    }

    /// The lease of `node`.
    #[must_use]
    pub fn node(&self, node: &NodeName) -> Option<&Seen<NodeLease>> {
        match self.names.get(node) {
            Some(name) => self.nodes.get(name),
            None => self.nodes.get(&LeaseName::of_node(node)),
        }
    }

    /// Grows whenever some node's payload changed.
    #[must_use]
    pub fn payload_changes(&self) -> u64 {
        self.payload_changes
    }

    /// Grows whenever some VIP came to another holder, or its lease was forgotten.
    #[must_use]
    pub fn possession_changes(&self) -> u64 {
        self.possession_changes
    }

    /// Goes by `told` from now on.
    pub(super) fn replace(&mut self, mut told: Self) {
        told.payload_changes += self.payload_changes;
        told.possession_changes += self.possession_changes;
        told.changes += self.changes;
        *self = told;
    }

    /// Grows whenever a lease has changed in more than the count of its renewals.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Takes note of what the store was seen to hold at `revision`; older news is ignored. Tells what
    /// changed.
    pub fn observe(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> Change {
        let known = self.revision(name);
        // Content known once can rot on the disk; its holder has to write it again.
        let rotten = content == Content::Torn && revision == known && !self.is_torn(name);
        if revision.is_some() && revision <= known && !rotten {
            return Change::Nothing;
        }
        self.change(name, revision, content, now)
    }

    /// Takes note of what a failed write for `expected` found instead. The store was read after the
    /// write, so this counts even where the revision is lower, if it was this view that failed.
    pub fn correct(
        &mut self,
        name: &LeaseName,
        expected: Option<Revision>,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> Change {
        let known = self.revision(name);
        if known == expected && revision != known {
            return self.change(name, revision, content, now);
        }
        if revision.is_none() {
            return Change::Nothing;
        }
        self.observe(name, revision, content, now)
    }

    fn revision(&self, name: &LeaseName) -> Option<Revision> {
        match name.kind() {
            LeaseKind::Node => self.nodes.get(name)?.revision,
            LeaseKind::Service => self.services.get(name)?.revision,
            LeaseKind::Members => None,
        }
    }

    fn is_torn(&self, name: &LeaseName) -> bool {
        self.nodes.get(name).is_some_and(|seen| seen.torn)
            || self.services.get(name).is_some_and(|seen| seen.torn)
    }

    fn change(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> Change {
        let payloads = self.payload_changes;
        let change = self.install(name, revision, content, now);
        self.changes += u64::from(change != Change::Nothing || payloads != self.payload_changes);
        change
    }

    fn install(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> Change {
        match (name.kind(), content) {
            (LeaseKind::Members, _) => Change::Nothing,
            (LeaseKind::Node, Content::Record(Record::Node(lease))) => {
                self.install_node(name, revision, lease, now)
            }
            (LeaseKind::Service, Content::Record(Record::Service(lease))) => {
                if let Some(holder) = &lease.holder {
                    self.heard_of(holder);
                }
                let seen = Seen::record(revision, lease, now);
                self.services.insert(name.clone(), seen);
                if self.resolve(name, now) {
                    Change::Moved
                } else {
                    Change::Recorded
                }
            }
            // A record of the wrong kind is as good as torn.
            (LeaseKind::Node, content) => {
                mark(
                    &mut self.nodes,
                    name,
                    revision,
                    content != Content::Absent,
                    now,
                );
                Change::Told
            }
            (LeaseKind::Service, content) => {
                mark(
                    &mut self.services,
                    name,
                    revision,
                    content != Content::Absent,
                    now,
                );
                Change::Told
            }
        }
    }

    fn install_node(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        mut lease: NodeLease,
        now: Moment,
    ) -> Change {
        self.names
            .entry(lease.node.clone())
            .or_insert_with(|| name.clone());
        self.heard_of(&Holder {
            node: lease.node.clone(),
            term: lease.term,
        });
        let known = self.nodes.get(name).and_then(|seen| seen.record.as_ref());
        let known_payload = known.map(|known| &known.payload);
        self.payload_changes += u64::from(known_payload != Some(&lease.payload));
        let before = known
            .map(|known| Arc::clone(&known.bequests))
            .unwrap_or_default();
        if before == lease.bequests {
            lease.bequests = Arc::clone(&before);
        }
        let present = self.nodes.get(name).and_then(Seen::present);
        let changed = present.is_none_or(|known| {
            known.term != lease.term
                || known.fenced_by != lease.fenced_by
                || known.payload != lease.payload
                || known.incarnation != lease.incarnation
        });
        let after = Arc::clone(&lease.bequests);
        self.nodes
            .insert(name.clone(), Seen::record(revision, lease, now));
        let mut moved = false;
        if !Arc::ptr_eq(&before, &after) {
            for (_, _, bequest) in after.iter() {
                if let Some(heir) = &bequest.heir {
                    self.heard_of(heir);
                }
            }
            for vip in before.differing(&after).collect::<BTreeSet<_>>() {
                moved |= self.resolve(vip, now);
            }
        }
        match (moved, changed) {
            (true, _) => Change::Moved,
            (false, true) => Change::Told,
            (false, false) => Change::Nothing,
        }
    }

    fn heard_of(&mut self, holder: &Holder) {
        match self.terms.get_mut(&holder.node) {
            Some(term) => *term = holder.term.max(*term),
            None => _ = self.terms.insert(holder.node.clone(), holder.term),
        }
    }

    /// Lets no node lease pass for unchanged since before `since`.
    pub fn excuse_nodes(&mut self, since: Moment) {
        for seen in self.nodes.values_mut() {
            seen.changed_at = seen.changed_at.max(since);
        }
    }

    /// Forgets a service lease that is no longer in the store, and who had the VIP.
    pub fn forget(&mut self, name: &LeaseName) {
        self.changes += 1;
        self.services.remove(name);
        self.possession_changes += u64::from(self.possessions.remove(name).is_some());
    }

    /// Forgets every service lease that was gone from the store by `since`, and still is.
    pub fn forget_absent(&mut self, since: Moment) {
        let gone = |seen: &Seen<ServiceLease>| seen.revision.is_none() && seen.changed_at <= since;
        let absent = self.services.iter().filter(|(_, seen)| gone(seen));
        let absent: Vec<_> = absent.map(|(name, _)| name.clone()).collect();
        for name in absent {
            self.forget(&name);
        }
    }

    /// Starts the wait for the leases of holders that have none in the store: a holder without a node
    /// lease is given as long as one whose lease was just renewed.
    pub fn expect_holders(&mut self, now: Moment) {
        let holders = self
            .possessions
            .values()
            .filter_map(|found| found.holder.as_ref());
        for holder in holders {
            if !self.names.contains_key(&holder.node) {
                let name = LeaseName::of_node(&holder.node);
                self.nodes
                    .entry(name.clone())
                    .or_insert_with(|| Seen::absent(now));
                self.names.insert(holder.node.clone(), name);
            }
        }
    }

    /// Whether `holder`'s term goes on as far as can be told.
    #[must_use]
    pub fn standing(&self, holder: &Holder) -> Standing {
        let lease = self
            .node(&holder.node)
            .and_then(|seen| seen.record.as_ref());
        match lease {
            Some(lease) if lease.term > holder.term => Standing::Over,
            Some(lease) if lease.term == holder.term && lease.fenced_by.is_some() => Standing::Over,
            _ => Standing::Holding,
        }
    }

    /// The greatest term of `node` that any lease mentioned.
    #[must_use]
    pub fn greatest_term(&self, node: &NodeName) -> Option<Term> {
        self.terms.get(node).copied()
    }
}

fn mark<R>(
    seen: &mut BTreeMap<LeaseName, Seen<R>>,
    name: &LeaseName,
    revision: Option<Revision>,
    torn: bool,
    now: Moment,
) {
    let seen = seen
        .entry(name.clone())
        .or_insert_with(|| Seen::absent(now));
    seen.revision = revision;
    seen.torn = torn;
    seen.changed_at = now;
}
