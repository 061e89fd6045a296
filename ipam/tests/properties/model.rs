//! A world so small that every rule can be stated by looking at everything.
//!
//! Pools are sets of addresses, nothing is indexed, and no code of the crate decides anything here:
//! the rules are written a second time, as plainly as they can be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use landfall_ipam::{
    Block, Created, CrossNamespace, Family, FirstLast, LabelSelector, Lacking, Outcome, Pool,
    Reason, Refusal, ServiceId, ServiceRequest, TrafficPolicy,
};

/// Addresses `10.0.0.0` to `10.0.0.31`, or `2001:db8::` to `2001:db8::1f`.
pub(crate) fn address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => format!("10.0.0.{number}"),
        Family::V6 => format!("2001:db8::{number:x}"),
    }
    .parse()
    .expect("the text is an address")
}

/// For whom a pool is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum For {
    Everyone,
    Color(&'static str),
    Namespace(&'static str),
}

/// A piece of a pool: `2^size` addresses from a multiple of that on as a CIDR, or a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Cidr { family: Family, index: u8, size: u8 },
    Range { family: Family, start: u8, stop: u8 },
}

impl Piece {
    fn bounds(&self) -> (Family, u8, u8) {
        match *self {
            Self::Cidr {
                family,
                index,
                size,
            } => (family, index << size, (index << size) + (1 << size) - 1),
            Self::Range {
                family,
                start,
                stop,
            } => (family, start, stop),
        }
    }

    fn all(&self) -> BTreeSet<IpAddr> {
        let (family, first, last) = self.bounds();
        (first..=last)
            .map(|number| address(family, number))
            .collect()
    }

    fn block(&self) -> Block {
        let (family, first, last) = self.bounds();
        let (first, last) = (
            address(family, first).to_string(),
            address(family, last).to_string(),
        );
        match self {
            Self::Cidr { size, .. } => {
                let block = Block::from_cidr(&format!("{first}/{}", family.bits() - size));
                block.expect("the text is a CIDR")
            }
            Self::Range { .. } => Block::from_range(&first, &last).expect("the text is a range"),
        }
    }
}

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelPool {
    pub(crate) name: String,
    pub(crate) created: u64,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) first_last: FirstLast,
    pub(crate) who: For,
    pub(crate) disabled: bool,
}

impl ModelPool {
    /// The pool for the allocator; `None` when its pieces overlap.
    pub(crate) fn build(&self) -> Option<Pool> {
        let blocks = self.pieces.iter().map(Piece::block).collect();
        let labels = |key: &str, value: &str| {
            let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            LabelSelector::new(labels, Vec::new()).expect("the labels are right")
        };
        let selector = match self.who {
            For::Everyone => None,
            For::Color(color) => Some(labels("color", color)),
            For::Namespace(name) => Some(labels("io.kubernetes.service.namespace", name)),
        };
        let pool = Pool::new(&self.name, Created(self.created), blocks, self.first_last);
        Some(
            pool.ok()?
                .with_selector(selector)
                .with_disabled(self.disabled),
        )
    }

    fn all(&self) -> BTreeSet<IpAddr> {
        self.pieces.iter().flat_map(Piece::all).collect()
    }

    /// What may be handed out in principle.
    pub(crate) fn usable(&self) -> BTreeSet<IpAddr> {
        let mut usable = BTreeSet::new();
        for piece in &self.pieces {
            let mut all = piece.all();
            if self.first_last == FirstLast::Reserved
                && matches!(piece, Piece::Cidr { size, .. } if *size >= 2)
            {
                all.pop_first();
                all.pop_last();
            }
            usable.extend(all);
        }
        usable
    }

    pub(crate) fn admits(&self, service: &ServiceRequest) -> bool {
        service.pool.as_ref().is_none_or(|name| *name == self.name)
            && match self.who {
                For::Everyone => true,
                For::Color(color) => service.labels.get("color").is_some_and(|has| has == color),
                For::Namespace(name) => service.id.namespace() == name,
            }
    }
}

/// Everything there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    /// The oldest first.
    pub(crate) pools: Vec<ModelPool>,
    pub(crate) services: BTreeMap<ServiceId, ServiceRequest>,
    pub(crate) forbidden: BTreeSet<IpAddr>,
    /// What the allocator says each service has.
    pub(crate) held: BTreeMap<ServiceId, BTreeSet<IpAddr>>,
}

impl World {
    /// Names of the pools that conflict, each with the pool it conflicts with.
    pub(crate) fn conflicts(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut accepted: Vec<&ModelPool> = Vec::new();
        let mut conflicts = BTreeMap::new();
        for pool in &self.pools {
            let with: BTreeSet<String> = accepted
                .iter()
                .filter(|older| !older.all().is_disjoint(&pool.all()))
                .map(|older| older.name.clone())
                .collect();
            if with.is_empty() {
                accepted.push(pool);
            } else {
                conflicts.insert(pool.name.clone(), with);
            }
        }
        conflicts
    }

    /// Pools that may give something new to the service, the oldest first.
    pub(crate) fn giving(&self, service: &ServiceRequest) -> Vec<&ModelPool> {
        let conflicts = self.conflicts();
        self.pools
            .iter()
            .filter(|pool| {
                !pool.disabled && !conflicts.contains_key(&pool.name) && pool.admits(service)
            })
            .collect()
    }

    pub(crate) fn holders(&self, address: IpAddr) -> Vec<&ServiceRequest> {
        self.held
            .iter()
            .filter(|(_, held)| held.contains(&address))
            .map(|(id, _)| &self.services[id])
            .collect()
    }

    pub(crate) fn is_free(&self, address: IpAddr) -> bool {
        !self.forbidden.contains(&address) && self.holders(address).is_empty()
    }

    /// Whether the service may have the address, others left aside.
    pub(crate) fn is_legal_alone(&self, service: &ServiceRequest, address: IpAddr) -> bool {
        !self.forbidden.contains(&address)
            && service.families.wants(Family::of(address))
            && (service.requested.is_empty() || service.requested.contains(&address))
            && self
                .pools
                .iter()
                .any(|pool| pool.admits(service) && pool.usable().contains(&address))
    }

    /// Whether the address could newly be given to the service, shared or not.
    pub(crate) fn can_be_given(&self, service: &ServiceRequest, address: IpAddr) -> bool {
        self.is_legal_alone(service, address)
            && self
                .giving(service)
                .iter()
                .any(|pool| pool.usable().contains(&address))
            && self
                .holders(address)
                .iter()
                .all(|holder| holder.id == service.id || may_share(service, holder))
    }

    /// Whether there is a sharer whose whole set the service could take over for `family`.
    pub(crate) fn can_join_for(&self, service: &ServiceRequest, family: Family) -> bool {
        let own = &self.held[&service.id];
        self.held.iter().any(|(id, set)| {
            let sharer = &self.services[id];
            let wanted: Vec<IpAddr> = set
                .iter()
                .copied()
                .filter(|address| service.families.wants(Family::of(*address)))
                .collect();
            *id != service.id
                && service.key().is_some()
                && service.key() == sharer.key()
                && wanted.iter().any(|address| Family::of(*address) == family)
                && own.is_subset(set)
                && wanted
                    .iter()
                    .all(|a| own.contains(a) || self.can_be_given(service, *a))
        })
    }

    /// States why a refusal is not true, if it is not.
    pub(crate) fn disprove(
        &self,
        service: &ServiceRequest,
        refusal: &Refusal,
    ) -> Result<(), String> {
        let giving = self.giving(service);
        let truth = match refusal.lacking {
            Lacking::Address(address) => {
                if self.can_be_given(service, address) {
                    return Err(format!("{address} could be given"));
                }
                let others = self.holders(address);
                let others = || others.iter().filter(|holder| holder.id != service.id);
                let clash = others().any(|holder| !may_share(service, holder));
                let containing: Vec<&ModelPool> = self
                    .pools
                    .iter()
                    .filter(|pool| pool.usable().contains(&address))
                    .collect();
                match refusal.reason {
                    Reason::ReservedAddress => self.forbidden.contains(&address),
                    Reason::NoPool => {
                        !service.families.wants(Family::of(address))
                            || !giving.iter().any(|pool| containing.contains(pool))
                    }
                    Reason::PoolSelectorMismatch => {
                        !containing.is_empty()
                            && !containing.iter().any(|pool| pool.admits(service))
                    }
                    Reason::AlreadyAllocated => service.key().is_none() && clash,
                    Reason::AlreadyAllocatedIncompatibleService => service.key().is_some() && clash,
                    Reason::Satisfied | Reason::OutOfIps => false,
                }
            }
            Lacking::Family(family) => {
                let of = |pool: &ModelPool| -> Vec<IpAddr> {
                    let usable = pool.usable().into_iter();
                    usable
                        .filter(|address| Family::of(*address) == family)
                        .collect()
                };
                let offered: Vec<IpAddr> = giving.iter().flat_map(|pool| of(pool)).collect();
                if let Some(free) = offered.iter().find(|address| self.is_free(**address)) {
                    return Err(format!("{free} is free"));
                }
                if self.can_join_for(service, family) {
                    return Err("a set could be shared".to_owned());
                }
                match refusal.reason {
                    Reason::OutOfIps => !offered.is_empty(),
                    Reason::NoPool => offered.is_empty(),
                    Reason::PoolSelectorMismatch => self.pools.iter().any(|pool| {
                        service.pool.as_ref() == Some(&pool.name) && !pool.admits(service)
                    }),
                    _ => false,
                }
            }
        };
        if truth {
            Ok(())
        } else {
            Err("the reason is not true".to_owned())
        }
    }
}

/// The sharing rule.
pub(crate) fn may_share(a: &ServiceRequest, b: &ServiceRequest) -> bool {
    let consents = |one: &ServiceRequest, other: &ServiceRequest| match &one.cross_namespace {
        CrossNamespace::Never => one.id.namespace() == other.id.namespace(),
        CrossNamespace::Any => true,
        CrossNamespace::Only(names) => {
            one.id.namespace() == other.id.namespace() || names.contains(other.id.namespace())
        }
    };
    let endpoints = |service: &ServiceRequest| match &service.traffic_policy {
        TrafficPolicy::Cluster => None,
        TrafficPolicy::Local { endpoints } => Some(endpoints.clone()),
    };
    a.sharing_key.as_ref().is_some_and(|key| !key.is_empty())
        && a.sharing_key == b.sharing_key
        && a.ports.is_disjoint(&b.ports)
        && consents(a, b)
        && consents(b, a)
        && endpoints(a) == endpoints(b)
}

/// What an outcome says the service has.
pub(crate) fn addresses(outcome: &Outcome) -> BTreeSet<IpAddr> {
    outcome
        .addresses()
        .iter()
        .map(|assigned| assigned.address)
        .collect()
}
