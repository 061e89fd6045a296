//! What effects report back to the reconciler.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{AssignmentRecord, Link, NodeName};
use crate::election::Revision;

/// What effects reported back, folded. Owned by the reconciler alone.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Nodes whose agents and kernel programs are reachable, with what they publish of themselves.
    pub peers: BTreeMap<NodeName, Vec<Link>>,
    /// Nodes whose kernel programs are out of reach: their endpoints are left out while there are others.
    pub dead: BTreeSet<NodeName>,
    /// The record of assignments as the store has it; nothing until it was read.
    pub assignments: Option<ObservedAssignments>,
    /// Whether this node is the one that allocates.
    pub allocating: bool,
}

/// The record of assignments as it was found in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedAssignments {
    /// Its revision; nothing where there was none.
    pub revision: Option<Revision>,
    /// The record; empty where there was none.
    pub record: Arc<AssignmentRecord>,
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
    /// Whether this node holds the allocator's lease.
    Allocating(bool),
}
