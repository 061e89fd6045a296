//! What effects report back to the reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{AnnounceReport, AssignmentRecord, Link, MacAddress, NodeName, ServiceName};
use crate::election::{Cause, LeaseName, Revision};

/// What effects reported back, folded. Owned by the reconciler alone.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Nodes whose agents and kernel programs are reachable, with what they publish of themselves.
    pub peers: BTreeMap<NodeName, Vec<Link>>,
    /// Nodes whose kernel programs are out of reach: their endpoints are left out while there are others.
    pub dead: BTreeSet<NodeName>,
    /// The record of assignments as the store has it; nothing until it was read.
    pub assignments: Option<ObservedAssignments>,
    /// Services that this node, while it allocates, found no room for in the record.
    pub left_out: Arc<BTreeSet<ServiceName>>,
    /// Whether this node is the one that allocates.
    pub allocating: bool,
    /// Who holds which lease.
    pub holdings: Holdings,
    /// Where this node stands with the addresses of the leases that it holds.
    pub announced: Arc<AnnounceReport>,
    /// Addresses that peers hold and other machines on the LAN have.
    pub conflicts: PeerConflicts,
}

/// Addresses in conflict by the word of the peers that hold them: who says so, and which machine has it.
pub type PeerConflicts = Arc<BTreeMap<IpAddr, (NodeName, MacAddress)>>;

/// Who holds which lease, as the election sees it. Parts that did not change are the same `Arc`s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// The leases of this node, and why each came here.
    pub held: Arc<BTreeMap<LeaseName, Cause>>,
    /// The holder of every lease that has one, whether that lives or not.
    pub holders: Arc<BTreeMap<LeaseName, NodeName>>,
    /// Nodes whose right to answer goes on as far as is known.
    pub live: Arc<BTreeSet<NodeName>>,
}

/// The record of assignments as it was found in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedAssignments {
    /// Its revision; nothing where there was none.
    pub revision: Option<Revision>,
    /// The record; empty where there was none.
    pub record: Arc<AssignmentRecord>,
    /// The store cannot be read yet, and this is what the node remembers of it.
    pub recalled: bool,
    /// The store was read and has no record that could be used: this is what is known of it, to be written again.
    pub lost: bool,
}

/// One report of an effect. Each replaces the previous one of its kind.
#[derive(Clone, Debug)]
pub enum Observation {
    /// All reachable peers, this node left out.
    Peers(BTreeMap<NodeName, Vec<Link>>),
    /// All nodes whose kernel programs are out of reach.
    Dead(BTreeSet<NodeName>),
    /// The record of assignments was read or written.
    Assignments(ObservedAssignments),
    /// All Services that this node, while it allocates, found no room for in the record.
    LeftOut(Arc<BTreeSet<ServiceName>>),
    /// Whether this node holds the allocator's lease.
    Allocating(bool),
    /// Who holds which lease.
    Holdings(Holdings),
    /// Where this node stands with the addresses of its leases.
    Announced(Arc<AnnounceReport>),
    /// All addresses that peers hold and other machines on the LAN have.
    Conflicts(PeerConflicts),
}
