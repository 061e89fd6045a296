//! Which Service has which addresses: the record that all daemons share.
//!
//! Where there is no API server to keep assignments in Services' status, the node that allocates keeps
//! them in one record of the lease store, changed by compare-and-swap. Every node acts on what the record
//! says, the allocating one included, so that two nodes never act on different assignments of one revision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ObjectName, ServiceName};

/// Every assignment of one cluster. Its serde form is what the store keeps: lists in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct AssignmentRecord {
    /// What each Service has; Services that wait are listed without addresses.
    pub services: BTreeMap<ServiceName, Arc<Assignment>>,
    /// The Service whose lease an address goes with, where that is not the oldest one that has it. A lease
    /// keeps its name for as long as its address is in use without a break: while the record spreads, one
    /// address must not be under two leases.
    pub leases: BTreeMap<IpAddr, ServiceName>,
}

/// What one Service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The Service's age as all daemons use it, seconds since the Unix epoch: files are first seen at
    /// different times by different daemons.
    pub created: u64,
    /// LoadBalancer addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AssignedAddress>,
    /// `spec.externalIPs`, listed here so that their leases have one name everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_ips: Vec<IpAddr>,
    /// Reason of the condition `IPAMRequestSatisfied`; empty where the Service asks for no address.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub reason: Arc<str>,
    /// Message of that condition; empty where nothing is missing.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub message: Arc<str>,
}

/// An assigned address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AssignedAddress {
    /// The address.
    pub address: IpAddr,
    /// The pool it is of.
    pub pool: Arc<str>,
}

impl Assignment {
    /// Every address that goes with a lease: assigned ones, then external ones.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> {
        let assigned = self.addresses.iter().map(|assigned| assigned.address);
        assigned.chain(self.external_ips.iter().copied())
    }
}

impl AssignmentRecord {
    /// Services whose entries differ between `self` and `other`, and holders of addresses whose lease does.
    pub fn changed(&self, other: &Self) -> BTreeSet<ServiceName> {
        let differs = |one: &Self, name: &ServiceName, entry: &Arc<Assignment>| {
            let twin = one.services.get(name);
            !twin.is_some_and(|twin| Arc::ptr_eq(twin, entry) || twin == entry)
        };
        let mut changed: BTreeSet<ServiceName> = BTreeSet::new();
        for (one, two) in [(self, other), (other, self)] {
            let entries = one.services.iter();
            changed.extend(
                entries
                    .filter(|(name, entry)| differs(two, name, entry))
                    .map(|(name, _)| name.clone()),
            );
        }
        if self.leases != other.leases {
            let moved: BTreeSet<IpAddr> = (self.leases.keys().chain(other.leases.keys()).copied())
                .filter(|address| self.leases.get(address) != other.leases.get(address))
                .collect();
            for (name, entry) in self.services.iter().chain(&other.services) {
                if entry.vips().any(|address| moved.contains(&address)) {
                    changed.insert(name.clone());
                }
            }
        }
        changed
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    services: Vec<StoredService>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leases: Vec<StoredLease>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredService {
    namespace: Arc<str>,
    name: Arc<str>,
    #[serde(flatten)]
    assignment: Assignment,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredLease {
    address: IpAddr,
    namespace: Arc<str>,
    name: Arc<str>,
}

impl From<AssignmentRecord> for Stored {
    fn from(record: AssignmentRecord) -> Self {
        let services = record
            .services
            .into_iter()
            .map(|(service, assignment)| StoredService {
                namespace: service.namespace,
                name: service.name,
                assignment: Arc::unwrap_or_clone(assignment),
            });
        let leases = record
            .leases
            .into_iter()
            .map(|(address, service)| StoredLease {
                address,
                namespace: service.namespace,
                name: service.name,
            });
        Self {
            services: services.collect(),
            leases: leases.collect(),
        }
    }
}

impl From<Stored> for AssignmentRecord {
    fn from(stored: Stored) -> Self {
        let services = stored.services.into_iter().map(|service| {
            let name = ObjectName {
                namespace: service.namespace,
                name: service.name,
            };
            (name, Arc::new(service.assignment))
        });
        let leases = stored.leases.into_iter().map(|lease| {
            (
                lease.address,
                ObjectName {
                    namespace: lease.namespace,
                    name: lease.name,
                },
            )
        });
        Self {
            services: services.collect(),
            leases: leases.collect(),
        }
    }
}
