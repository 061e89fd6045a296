//! Which Service has which addresses: the record that all daemons share.
//!
//! Where there is no API server to keep assignments in Services' status, the node that allocates keeps
//! them in one record of the lease store, changed by compare-and-swap. Every node acts on what the record
//! says, the allocating one included, so that two nodes never act on different assignments of one revision.

use std::cmp::Ordering;
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
        let mut changed: BTreeSet<ServiceName> = BTreeSet::new();
        // Both are sorted: side by side, most entries are the same allocation.
        let (mut ours, mut theirs) = (
            self.services.iter().peekable(),
            other.services.iter().peekable(),
        );
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            let one = ours.next_if(|_| order.is_le());
            let two = theirs.next_if(|_| order.is_ge());
            match (one, two) {
                (Some((_, one)), Some((_, two))) if Arc::ptr_eq(one, two) || one == two => {}
                (Some((name, _)), _) | (None, Some((name, _))) => {
                    changed.insert(name.clone());
                }
                (None, None) => break,
            }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> impl Strategy<Value = AssignmentRecord> {
        let services = proptest::collection::btree_map(0_u8..6, (0_u64..2, 0_u8..3), 0..6);
        let leases = proptest::collection::btree_map(0_u8..3, 0_u8..3, 0..2);
        (services, leases).prop_map(|(services, leases)| {
            let address = |index: u8| IpAddr::from([192, 0, 2, index]);
            let name = |index: u8| ServiceName::new("default", format!("s{index}"));
            let entry = |(created, ip): (u64, u8)| Assignment {
                created,
                addresses: Vec::new(),
                external_ips: vec![address(ip)],
                reason: "".into(),
                message: "".into(),
            };
            AssignmentRecord {
                services: services
                    .into_iter()
                    .map(|(index, parts)| (name(index), Arc::new(entry(parts))))
                    .collect(),
                leases: leases
                    .into_iter()
                    .map(|(ip, owner)| (address(ip), name(owner)))
                    .collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn exactly_those_changed_whose_entry_or_whose_addresses_lease_differs(
            one in record(), two in record(),
        ) {
            let leases_of = |record: &AssignmentRecord, name: &ServiceName| {
                let entry = record.services.get(name);
                let vips: Vec<IpAddr> = entry.iter().flat_map(|entry| entry.vips()).collect();
                vips.iter().any(|ip| one.leases.get(ip) != two.leases.get(ip))
            };
            let names: BTreeSet<ServiceName> =
                one.services.keys().chain(two.services.keys()).cloned().collect();
            let expected: BTreeSet<ServiceName> = names
                .into_iter()
                .filter(|name| {
                    one.services.get(name) != two.services.get(name)
                        || leases_of(&one, name)
                        || leases_of(&two, name)
                })
                .collect();
            prop_assert_eq!(one.changed(&two), expected);
        }
    }
}
