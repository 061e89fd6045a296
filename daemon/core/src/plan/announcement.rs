//! Announcement: which VIPs there are, under which lease, who may contend for each, and on which interfaces.
//!
//! Fed by the address planner, policies, Nodes, interfaces of this node and its peers, and the endpoints of
//! Services with `externalTrafficPolicy: Local`; feeds the election ([`Announcements::desired_vips`]) and the
//! announce effect ([`Vip::addresses`]).
//!
//! # Leases
//!
//! An address goes with one lease, that of the oldest Service that has it; so Services that share an address
//! share its lease, and an address is never under two. All nodes take age and owner from the shared record:
//! what is not in the record is not announced. A Service whose addresses are shared with different Services
//! contends for several leases.
//!
//! # Who may announce an address
//!
//! A node for which all of this holds:
//! - a policy selects a Service that has the address, is for addresses of that kind (`loadBalancerIPs`,
//!   `externalIPs`), and selects the node. Service selectors see `io.kubernetes.service.name` and `.namespace`;
//! - an interface the policy asks for is up: by regular expression those of any kind but bridge ports and
//!   devices of a CNI; without one, uplinks whose on-link subnet holds the address;
//! - the node is not excluded from load balancers;
//! - with `externalTrafficPolicy: Local`, it has a ready endpoint, or one that serves while it terminates
//!   where no node has a ready one;
//! - the address is not a node's own.
//!
//! Of a lease with several addresses, only nodes contend that can announce the most of them.

mod ground;
mod leases;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::{Labelled, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL};

use crate::election::{DesiredVips, LeaseName};
use crate::model::{
    AssignmentRecord, DesiredState, LinkIndex, NodeName, Service, ServiceName, TrafficPolicy,
};
use crate::plan::addresses::AddressPlan;
use crate::plan::endpoints::ServiceEndpoints;

pub use self::ground::Ground;

/// The announcement planner's part of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcements {
    /// Every VIP, by its lease, whether or not anybody can announce it.
    pub vips: BTreeMap<LeaseName, Arc<Vip>>,
}

/// The addresses that go with one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The Services that have any of the addresses, the oldest first.
    pub services: Vec<ServiceName>,
    /// The addresses, and on which interfaces this node would announce each, or why it cannot.
    pub addresses: BTreeMap<IpAddr, Result<Vec<LinkIndex>, Hindrance>>,
    /// The nodes that may contend for the lease.
    pub candidates: BTreeSet<NodeName>,
}

/// Why this node does not announce an address. Ordered from what keeps it off first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hindrance {
    /// The address is a node's own.
    NodeAddress,
    /// No policy selects the Service.
    NoPolicy,
    /// The policies that do are not for addresses of this kind.
    KindNotAnnounced,
    /// The policies that are do not select this node.
    NodeNotSelected,
    /// This node is excluded from load balancers.
    NodeExcluded,
    /// No interface is asked for by the policies, or none is on the address's subnet.
    NoInterface,
    /// Those that are have no carrier.
    InterfaceDown,
    /// `externalTrafficPolicy: Local`, and no endpoint here.
    NoLocalEndpoint,
}

impl fmt::Display for Hindrance {
    /// A sentence without a full stop, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NodeAddress => {
                "the address is a node's own and is never announced; ask for another one"
            }
            Self::NoPolicy => {
                "no L2AnnouncementPolicy selects the Service; add one, or widen spec.serviceSelector"
            }
            Self::KindNotAnnounced => {
                "no policy that selects the Service announces addresses of this kind; set \
                 spec.loadBalancerIPs or spec.externalIPs to true"
            }
            Self::NodeNotSelected => {
                "no policy for the Service selects this node; widen spec.nodeSelector"
            }
            Self::NodeExcluded => {
                "label node.kubernetes.io/exclude-from-external-load-balancers keeps this node out"
            }
            Self::NoInterface => {
                "no interface of this node matches spec.interfaces, or is on the address's subnet \
                 where spec.interfaces is empty; name one in spec.interfaces"
            }
            Self::InterfaceDown => "the interfaces for it have no carrier; check the link",
            Self::NoLocalEndpoint => {
                "externalTrafficPolicy is Local and no ready endpoint runs on this node"
            }
        })
    }
}

impl Announcements {
    /// The VIPs somebody can announce with those who can: the election's input.
    pub fn desired_vips(&self) -> DesiredVips {
        let vips = self
            .vips
            .iter()
            .filter(|(_, vip)| !vip.candidates.is_empty());
        vips.map(|(lease, vip)| (lease.clone(), vip.candidates.clone()))
            .collect()
    }

    /// The addresses this node would announce, by lease, and on which interfaces: the announce effect's input.
    pub fn interfaces_here(&self) -> BTreeMap<LeaseName, BTreeMap<IpAddr, BTreeSet<LinkIndex>>> {
        let of_vip = |vip: &Vip| -> BTreeMap<IpAddr, BTreeSet<LinkIndex>> {
            let able = vip.addresses.iter().filter_map(|(address, here)| {
                Some((*address, here.as_ref().ok()?.iter().copied().collect()))
            });
            able.collect()
        };
        let vips = self
            .vips
            .iter()
            .map(|(lease, vip)| (lease.clone(), of_vip(vip)));
        vips.filter(|(_, addresses)| !addresses.is_empty())
            .collect()
    }
}

/// A Service's labels together with the two that selectors see besides.
struct WithPseudoLabels<'a>(&'a Service);

impl Labelled for WithPseudoLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        match key {
            SERVICE_NAME_LABEL => Some(&self.0.name.name),
            SERVICE_NAMESPACE_LABEL => Some(&self.0.name.namespace),
            _ => self.0.labels.get(key).map(String::as_str),
        }
    }
}

/// Keeps the announcements in step with the rest of the plan.
#[derive(Debug, Default)]
pub(super) struct AnnouncementPlanner {
    leases: leases::LeaseIndex,
    /// Nodes that can serve a Service with traffic policy `Local`.
    local: BTreeMap<ServiceName, BTreeSet<NodeName>>,
    plan: Arc<Announcements>,
}

impl AnnouncementPlanner {
    pub(super) fn plan(&self) -> &Arc<Announcements> {
        &self.plan
    }

    /// Takes in the endpoints of one Service; `None` when it is gone.
    pub(super) fn set_endpoints(
        &mut self,
        name: &ServiceName,
        service: Option<(&Service, &ServiceEndpoints)>,
    ) {
        let local = service
            .filter(|(service, _)| service.external_traffic_policy == TrafficPolicy::Local)
            .map(|(_, endpoints)| local_nodes(endpoints));
        match local {
            Some(nodes) => self.local.insert(name.clone(), nodes),
            None => self.local.remove(name),
        };
    }

    /// Brings the leases of the addresses of `touched` up to date with the record; returns every lease that
    /// they had or have an address of.
    pub(super) fn set_holders(
        &mut self,
        state: &DesiredState,
        addresses: &AddressPlan,
        record: Option<&AssignmentRecord>,
        touched: &BTreeSet<ServiceName>,
    ) -> BTreeSet<LeaseName> {
        let mut concerned = BTreeSet::new();
        for name in touched {
            let holds = state.services.get(name).zip(addresses.services.get(name));
            let entry = holds.map(|(service, entry)| {
                let external = &service.external_ips;
                let assigned = entry.addresses.iter().map(|assigned| assigned.address);
                let recorded = entry.external_ips.iter().copied();
                let vips = assigned.chain(recorded.filter(|ip| external.contains(ip)));
                (entry.created, vips.collect::<BTreeSet<IpAddr>>())
            });
            self.leases.set(
                name,
                entry,
                record.map(|record| &record.leases),
                &mut concerned,
            );
        }
        concerned
    }

    /// Plans the given leases anew, or all of them.
    pub(super) fn update(
        &mut self,
        state: &DesiredState,
        addresses: &AddressPlan,
        ground: &Ground,
        leases: Option<&BTreeSet<LeaseName>>,
    ) {
        let all: BTreeSet<LeaseName>;
        let leases = match leases {
            Some(leases) => leases,
            None => {
                let known = self.leases.names().chain(self.plan.vips.keys());
                all = known.cloned().collect();
                &all
            }
        };
        for lease in leases {
            let vip = self.vip(state, addresses, ground, lease);
            if self.plan.vips.get(lease).map(|vip| &**vip) == vip.as_ref() {
                continue;
            }
            let vips = &mut Arc::make_mut(&mut self.plan).vips;
            match vip {
                Some(vip) => vips.insert(lease.clone(), Arc::new(vip)),
                None => vips.remove(lease),
            };
        }
    }

    fn vip(
        &self,
        state: &DesiredState,
        addresses: &AddressPlan,
        ground: &Ground,
        lease: &LeaseName,
    ) -> Option<Vip> {
        let mut sharers: BTreeSet<(u64, ServiceName)> = BTreeSet::new();
        let mut here = BTreeMap::new();
        let mut counts: BTreeMap<NodeName, usize> = BTreeMap::new();
        for (address, holders) in self.leases.addresses(lease) {
            sharers.extend(holders.iter().cloned());
            let claims: Vec<ground::Claim<'_>> = holders
                .iter()
                .filter_map(|(_, name)| {
                    let service = state.services.get(name)?;
                    let entry = addresses.services.get(name)?;
                    let assigned = entry.addresses.iter().any(|a| a.address == address);
                    let local = self.local.get(name);
                    Some(ground.claim(&WithPseudoLabels(service), assigned, local))
                })
                .collect();
            here.insert(address, ground.interfaces(address, &claims));
            for node in ground.announcers(address, &claims) {
                *counts.entry(node.clone()).or_default() += 1;
            }
        }
        if here.is_empty() {
            return None;
        }
        let most = counts.values().copied().max().unwrap_or_default();
        let candidates = counts.into_iter().filter(|(_, count)| *count == most);
        Some(Vip {
            services: sharers.into_iter().map(|(_, name)| name).collect(),
            addresses: here,
            candidates: candidates.map(|(node, _)| node).collect(),
        })
    }
}

/// Nodes with a ready endpoint; where there is none, those with one that serves while it terminates.
fn local_nodes(endpoints: &ServiceEndpoints) -> BTreeSet<NodeName> {
    let with = |terminating: bool| -> BTreeSet<NodeName> {
        let usable = endpoints.iter().filter(|target| {
            if terminating {
                target.serving && target.terminating
            } else {
                target.ready
            }
        });
        usable.filter_map(|target| target.node.clone()).collect()
    };
    let ready = with(false);
    if ready.is_empty() { with(true) } else { ready }
}
