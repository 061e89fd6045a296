//! The record of the members: one object in the store, changed by compare-and-swap.

use std::collections::BTreeSet;

use crate::election::rendezvous::ranked;
use crate::model::NodeName;

/// Numbers the versions of the record; grows by one with every write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What a node's right to answer rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroundKind {
    /// Its node lease: one or two members.
    Lease,
    /// Grants of a majority: three members or more.
    Quorum,
}

/// The members of one side of a change.
pub type Members = BTreeSet<NodeName>;

/// No more members than these grant.
pub const MAX_GRANTERS: usize = 7;

/// Who the members are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// The version.
    pub epoch: Epoch,
    /// The members, after the change where one is under way.
    pub members: Members,
    /// The members before, while a change is under way: the record is *joint*.
    pub previous: Option<Members>,
}

/// The ground that so many members stand on.
#[must_use]
pub fn ground_of(members: &Members) -> GroundKind {
    if members.len() < 3 {
        GroundKind::Lease
    } else {
        GroundKind::Quorum
    }
}

/// Who of `members` grants: all, or the seven that a rendezvous hash prefers.
#[must_use]
pub fn granters_of(members: &Members) -> Members {
    if members.len() <= MAX_GRANTERS {
        return members.clone();
    }
    let preferred = ranked("landfall-granters", members);
    preferred.into_iter().take(MAX_GRANTERS).cloned().collect()
}
