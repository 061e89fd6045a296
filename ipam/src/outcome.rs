//! What became of a request: addresses, and the reasons for those that are missing.
//!
//! Owns the reason codes of the condition `IPAMRequestSatisfied` and what is reported after every
//! event. Fed by the allocator; feeds conditions, events and the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::range::Family;
use crate::request::ServiceId;

/// Reason codes of the condition `IPAMRequestSatisfied`; Cilium's, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Everything wanted is there.
    Satisfied,
    /// No enabled pool without conflict can serve this.
    NoPool,
    /// The requested address is in pools, none of which is for this service.
    PoolSelectorMismatch,
    /// The requested address belongs to another service, and this one has no sharing key.
    AlreadyAllocated,
    /// The requested address belongs to another service with which it cannot be shared.
    AlreadyAllocatedIncompatibleService,
    /// Every pool for this service is full.
    OutOfIps,
    /// The requested address is a node's own. Not one of Cilium's.
    ReservedAddress,
}

impl Reason {
    /// The code as it stands in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Satisfied => "satisfied",
            Self::NoPool => "no_pool",
            Self::PoolSelectorMismatch => "pool_selector_mismatch",
            Self::AlreadyAllocated => "already_allocated",
            Self::AlreadyAllocatedIncompatibleService => "already_allocated_incompatible_service",
            Self::OutOfIps => "out_of_ips",
            Self::ReservedAddress => "reserved_address",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What could not be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lacking {
    /// Any address of this family.
    Family(Family),
    /// This requested address.
    Address(IpAddr),
}

/// Why something could not be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What could not be given.
    pub lacking: Lacking,
    /// The code; never [`Reason::Satisfied`].
    pub reason: Reason,
    /// A sentence that names the field at fault and the remedy.
    pub message: String,
}

/// An address a service has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Assigned {
    /// The address.
    pub address: IpAddr,
    /// The name of the pool it belongs to: the first by age, then name, that contains the address
    /// and is for the service.
    pub pool: Arc<str>,
}

/// What became of a request. Addresses stand in the order of the families wanted, then ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was required is there.
    Satisfied {
        /// The addresses; never empty.
        addresses: Vec<Assigned>,
        /// With `PreferDualStack`, why the other family is not there; else empty.
        unmet: Vec<Refusal>,
    },
    /// Some of what was required is there.
    Partial {
        /// The addresses; never empty.
        addresses: Vec<Assigned>,
        /// Why the rest is not; never empty.
        refusals: Vec<Refusal>,
    },
    /// Nothing is there.
    Refused {
        /// Why; never empty.
        refusals: Vec<Refusal>,
    },
}

impl Outcome {
    /// The addresses the service has.
    pub fn addresses(&self) -> &[Assigned] {
        match self {
            Self::Satisfied { addresses, .. } | Self::Partial { addresses, .. } => addresses,
            Self::Refused { .. } => &[],
        }
    }

    /// Why anything is missing.
    pub fn refusals(&self) -> &[Refusal] {
        match self {
            Self::Satisfied { unmet, .. } => unmet,
            Self::Partial { refusals, .. } | Self::Refused { refusals } => refusals,
        }
    }

    /// Whether all that was required is there.
    pub const fn is_satisfied(&self) -> bool {
        matches!(self, Self::Satisfied { .. })
    }

    /// The condition's reason: that of the first refusal unless satisfied.
    pub fn reason(&self) -> Reason {
        if self.is_satisfied() {
            return Reason::Satisfied;
        }
        self.refusals()
            .first()
            .map_or(Reason::NoPool, |refusal| refusal.reason)
    }

    /// The condition's message: every refusal's sentence; empty when nothing is missing.
    pub fn message(&self) -> String {
        let sentences: Vec<_> = self
            .refusals()
            .iter()
            .map(|refusal| refusal.message.as_str())
            .collect();
        sentences.join(" ")
    }
}

/// What an event changed for one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceChange {
    /// Addresses it has no longer.
    pub lost: BTreeSet<IpAddr>,
    /// Addresses it has now.
    pub gained: BTreeSet<IpAddr>,
    /// Its outcome now; `None` when the service was removed.
    pub outcome: Option<Outcome>,
}

/// What one event changed; everything not named is as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services whose addresses, reason or message changed.
    pub services: BTreeMap<ServiceId, ServiceChange>,
    /// Pools that came, went, or whose counts or conflict changed, by name.
    pub pools: BTreeSet<Arc<str>>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.pools.is_empty()
    }
}
