//! The frontends of one Service.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Backend, Frontend, FrontendKey, FrontendKind};
use crate::model::{IpFamily, NodeName, Service, ServiceType, TrafficPolicy};
use crate::plan::endpoints::{ServiceEndpoints, Target};

/// Every frontend `service` asks for, without repetition: its addresses times its ports. `assigned` are its
/// LoadBalancer addresses. Endpoints on nodes in `dead` are left out while there are others.
pub fn frontends(
    service: &Service,
    assigned: &[IpAddr],
    endpoints: &ServiceEndpoints,
    dead: &BTreeSet<NodeName>,
) -> Vec<(FrontendKey, Frontend)> {
    let mut wanted: Vec<(FrontendKey, Frontend)> = Vec::new();
    if service.service_type == ServiceType::ExternalName {
        return wanted;
    }
    // Where one address is several things, what clients outside reach counts, with its source ranges.
    let of_kind = |kind, addresses: &[IpAddr]| {
        addresses
            .iter()
            .map(move |address| (kind, *address))
            .collect::<Vec<_>>()
    };
    let addresses = [
        of_kind(FrontendKind::LoadBalancer, assigned),
        of_kind(FrontendKind::ExternalIp, &service.external_ips),
        of_kind(FrontendKind::ClusterIp, &service.cluster_ips),
    ];
    let mut seen = BTreeSet::new();
    for (kind, address) in addresses.into_iter().flatten() {
        for (port, targets) in service.ports.iter().zip(&endpoints.ports) {
            let key = FrontendKey {
                address,
                port: port.port,
                protocol: port.protocol,
            };
            if !seen.insert(key) {
                continue;
            }
            let policy = match kind {
                FrontendKind::ClusterIp => service.internal_traffic_policy,
                FrontendKind::LoadBalancer | FrontendKind::ExternalIp => {
                    service.external_traffic_policy
                }
            };
            let local_only = policy == TrafficPolicy::Local;
            let family = IpFamily::of(address);
            let targets: Vec<&Target> = targets
                .iter()
                .filter(|target| IpFamily::of(target.address) == family)
                .collect();
            let chosen = choose(&targets, local_only, dead);
            let (taking, draining): (Vec<_>, Vec<_>) = targets
                .iter()
                .zip(&chosen)
                .partition(|(_, chosen)| **chosen);
            let backends = |list: Vec<(&&Target, &bool)>| {
                list.into_iter()
                    .map(|(target, _)| backend(target))
                    .collect::<Vec<_>>()
            };
            let source_ranges = match kind {
                FrontendKind::LoadBalancer => service.source_ranges.clone(),
                FrontendKind::ClusterIp | FrontendKind::ExternalIp => Vec::new(),
            };
            let frontend = Frontend {
                service: service.name.clone(),
                port_name: port.name.clone(),
                kind,
                backends: backends(taking),
                draining: backends(draining),
                source_ranges,
                affinity: service.affinity,
                local_only,
            };
            wanted.push((key, frontend));
        }
    }
    wanted
}

fn backend(target: &Target) -> Backend {
    Backend {
        address: target.address,
        port: target.port,
        node: target.node.clone(),
    }
}

/// Marks the endpoints for new connections.
fn choose(targets: &[&Target], local_only: bool, dead: &BTreeSet<NodeName>) -> Vec<bool> {
    let alive = |target: &Target| !target.node.as_ref().is_some_and(|node| dead.contains(node));
    let usable = |target: &Target| target.ready || (target.serving && target.terminating);
    let any_alive = targets.iter().any(|target| usable(target) && alive(target));
    let counts = |target: &Target| usable(target) && (!any_alive || alive(target));
    // KEP-1669: terminating endpoints that still serve, where none is ready. A node that takes from its own
    // endpoints alone asks that question of its own alone.
    if local_only {
        let with_ready: BTreeSet<Option<&NodeName>> = targets
            .iter()
            .filter(|target| counts(target) && target.ready)
            .map(|target| target.node.as_ref())
            .collect();
        let chosen = |target: &Target| target.ready || !with_ready.contains(&target.node.as_ref());
        return targets
            .iter()
            .map(|target| counts(target) && chosen(target))
            .collect();
    }
    let any_ready = targets.iter().any(|target| counts(target) && target.ready);
    targets
        .iter()
        .map(|target| counts(target) && (target.ready || !any_ready))
        .collect()
}
