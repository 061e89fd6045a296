//! The leases as this node has seen them, and since when: the only evidence the election judges by.
//!
//! Fed by the store's observations and by the outcomes of this node's own writes. A lease's revisions
//! only go up here, except where the store itself says that it went back (deleted and made anew).

use std::collections::{BTreeMap, HashMap};

use super::moment::Moment;
use super::name::{LeaseKind, LeaseName};
use super::record::{Holder, NodeLease, Record, Revision, ServiceLease, Term};
use crate::model::NodeName;

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

    /// The content, where it is there and can be read.
    #[must_use]
    pub fn present(&self) -> Option<&R> {
        self.record
            .as_ref()
            .filter(|_| self.revision.is_some() && !self.torn)
    }
}

/// What is known of a service lease's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The holder's term goes on, or is not known to be over.
    Holding,
    /// The holder's term is over: fenced, or followed by another.
    Over,
}

/// Every lease seen so far.
#[derive(Clone, Debug, Default)]
pub struct LeaseTable {
    nodes: BTreeMap<LeaseName, Seen<NodeLease>>,
    services: BTreeMap<LeaseName, Seen<ServiceLease>>,
    /// Spares making a node's lease name again and again.
    names: HashMap<NodeName, LeaseName>,
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

    /// Takes note of what the store was seen to hold at `revision`; older news is ignored. Tells whether
    /// anything but the count of renewals changed.
    pub fn observe(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> bool {
        let known = match name.kind() {
            LeaseKind::Node => self.nodes.get(name).and_then(|seen| seen.revision),
            LeaseKind::Service => self.services.get(name).and_then(|seen| seen.revision),
        };
        // Content known once can rot on the disk; its holder has to write it again.
        let rotten = content == Content::Torn && revision == known && !self.is_torn(name);
        if revision.is_some() && revision <= known && !rotten {
            return false;
        }
        self.install(name, revision, content, now)
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
    ) -> bool {
        let known = match name.kind() {
            LeaseKind::Node => self.nodes.get(name).and_then(|seen| seen.revision),
            LeaseKind::Service => self.services.get(name).and_then(|seen| seen.revision),
        };
        if known == expected && revision != known {
            return self.install(name, revision, content, now);
        }
        revision.is_some() && self.observe(name, revision, content, now)
    }

    fn install(
        &mut self,
        name: &LeaseName,
        revision: Option<Revision>,
        content: Content,
        now: Moment,
    ) -> bool {
        match (name.kind(), content) {
            (LeaseKind::Node, Content::Record(Record::Node(lease))) => {
                self.names
                    .entry(lease.node.clone())
                    .or_insert_with(|| name.clone());
                let seen = self
                    .nodes
                    .entry(name.clone())
                    .or_insert_with(|| Seen::absent(now));
                let known = seen.present();
                let changed = known.is_none_or(|known| {
                    known.term != lease.term
                        || known.fenced_by != lease.fenced_by
                        || known.payload != lease.payload
                        || known.incarnation != lease.incarnation
                });
                *seen = Seen {
                    revision,
                    record: Some(lease),
                    torn: false,
                    changed_at: now,
                };
                changed
            }
            (LeaseKind::Service, Content::Record(Record::Service(lease))) => {
                let seen = Seen {
                    revision,
                    record: Some(lease),
                    torn: false,
                    changed_at: now,
                };
                self.services.insert(name.clone(), seen);
                true
            }
            (kind, content) => {
                // A record of the wrong kind is as good as torn.
                let torn = content != Content::Absent;
                match kind {
                    LeaseKind::Node => mark(&mut self.nodes, name, revision, torn, now),
                    LeaseKind::Service => mark(&mut self.services, name, revision, torn, now),
                }
                true
            }
        }
    }

    fn is_torn(&self, name: &LeaseName) -> bool {
        self.nodes.get(name).is_some_and(|seen| seen.torn)
            || self.services.get(name).is_some_and(|seen| seen.torn)
    }

    /// Lets no node lease pass for unchanged since before `since`.
    pub fn excuse_nodes(&mut self, since: Moment) {
        for seen in self.nodes.values_mut() {
            seen.changed_at = seen.changed_at.max(since);
        }
    }

    /// Forgets a service lease that this node removed from the store.
    pub fn forget(&mut self, name: &LeaseName) {
        self.services.remove(name);
    }

    /// Starts the wait for the leases of holders that have none in the store: a holder without a node
    /// lease is given as long as one whose lease was just renewed.
    pub fn expect_holders(&mut self, now: Moment) {
        let holders = self
            .services
            .values()
            .filter_map(|seen| seen.record.as_ref()?.holder.as_ref());
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

    /// The greatest term of `node` that any lease mentions.
    #[must_use]
    pub fn greatest_term(&self, node: &NodeName) -> Option<Term> {
        let own = self
            .node(node)
            .and_then(|seen| seen.record.as_ref())
            .map(|lease| lease.term);
        let services = self
            .services
            .values()
            .filter_map(|seen| seen.record.as_ref()?.holder.as_ref());
        let held = services
            .filter(|holder| holder.node == *node)
            .map(|holder| holder.term)
            .max();
        own.max(held)
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
