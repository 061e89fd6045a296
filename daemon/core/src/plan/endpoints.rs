//! A Service's endpoints, from the Pods it selects or from its EndpointSlices.
//!
//! Fed by Services, Pods and EndpointSlices; feeds the service table and, for `externalTrafficPolicy:
//! Local`, the announcement planner.
//!
//! # Where endpoints come from
//!
//! | Service | [`EndpointRule::PodsFirst`] (manifests) | [`EndpointRule::SlicesOnly`] (Kubernetes) |
//! |---|---|---|
//! | without selector | its EndpointSlices | its EndpointSlices |
//! | with selector that a Pod of its namespace matches | those Pods, and nothing else | its EndpointSlices |
//! | with selector that no Pod matches | its EndpointSlices | its EndpointSlices |
//!
//! "Matches" asks for labels alone: a Service whose Pods have all finished has no endpoints rather than
//! those of a stale slice. A slice is a Service's by label `kubernetes.io/service-name`. From a Pod the rules
//! are those of Kubernetes' endpointslice controller (`pkg/controller/endpointslice`): finished Pods and
//! those without an address are left out, terminating ones stay as such, `publishNotReadyAddresses` makes
//! all ready, a named target port is looked up in each Pod by name and protocol.

mod index;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::model::{
    DesiredState, EndpointSlice, IpFamily, NodeName, Pod, Port, Service, ServicePort, TargetPort,
};

pub use self::index::EndpointIndex;

/// Where endpoints of Services with a selector come from; see the module's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointRule {
    /// From Pods where any matches, else from EndpointSlices: nobody derives slices from a directory's Pods.
    #[default]
    PodsFirst,
    /// From EndpointSlices, which the API server's controllers derive.
    SlicesOnly,
}

/// An endpoint of one Service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub address: IpAddr,
    /// Its port, resolved.
    pub port: Port,
    /// The node it runs on, where known.
    pub node: Option<NodeName>,
    /// Takes new connections.
    pub ready: bool,
    /// Answers, perhaps while terminating.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
}

/// The endpoints of one Service: a list per entry of `spec.ports`, in that order, each sorted by address
/// and port without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceEndpoints {
    /// By position in [`Service::ports`].
    pub ports: Vec<Vec<Target>>,
}

impl ServiceEndpoints {
    /// All endpoints, port after port.
    pub fn iter(&self) -> impl Iterator<Item = &Target> {
        self.ports.iter().flatten()
    }
}

/// Resolves the endpoints of `service`, with an index that is up to date with `state`.
pub fn resolve(index: &EndpointIndex, state: &DesiredState, service: &Service) -> ServiceEndpoints {
    let mut ports: Vec<Vec<Target>> = vec![Vec::new(); service.ports.len()];
    let mut from_pods = false;
    for pod in index.pods_of(state, service) {
        from_pods = true;
        for (service_port, targets) in service.ports.iter().zip(&mut ports) {
            add_pod(service, service_port, pod, targets);
        }
    }
    if !from_pods {
        for slice in index.slices_of(state, &service.name) {
            for (service_port, targets) in service.ports.iter().zip(&mut ports) {
                add_slice(service, service_port, slice, targets);
            }
        }
    }
    for targets in &mut ports {
        // Of an endpoint that is listed twice (slices overlap while they are rearranged) the best word counts.
        targets.sort_by(|a, b| rank(a).cmp(&rank(b)));
        targets.dedup_by_key(|target| (target.address, target.port));
    }
    ServiceEndpoints { ports }
}

type Rank<'a> = (
    IpAddr,
    Port,
    Reverse<bool>,
    Reverse<bool>,
    bool,
    Reverse<Option<&'a NodeName>>,
);

fn rank(target: &Target) -> Rank<'_> {
    (
        target.address,
        target.port,
        Reverse(target.ready),
        Reverse(target.serving),
        target.terminating,
        Reverse(target.node.as_ref()),
    )
}

fn wants(service: &Service, address: IpAddr) -> bool {
    service.ip_families.is_empty() || service.ip_families.contains(&IpFamily::of(address))
}

fn add_pod(service: &Service, port: &ServicePort, pod: &Pod, targets: &mut Vec<Target>) {
    if pod.finished {
        return;
    }
    let number = match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Name(name) => {
            let named = pod.ports.iter();
            let mut named = named.filter(|p| p.name == *name && p.protocol == port.protocol);
            named.next().map(|p| p.port)
        }
    };
    let Some(number) = number else { return };
    for address in pod
        .ips
        .iter()
        .copied()
        .filter(|address| wants(service, *address))
    {
        targets.push(Target {
            address,
            port: number,
            node: pod.node.clone(),
            ready: service.publish_not_ready || (pod.ready && !pod.terminating),
            serving: service.publish_not_ready || pod.ready,
            terminating: pod.terminating,
        });
    }
}

fn add_slice(
    service: &Service,
    port: &ServicePort,
    slice: &EndpointSlice,
    targets: &mut Vec<Target>,
) {
    let mut ports = slice.ports.iter();
    let Some(slice_port) = ports.find(|p| p.name == port.name && p.protocol == port.protocol)
    else {
        return;
    };
    let endpoints = slice.endpoints.iter();
    for endpoint in endpoints.filter(|endpoint| wants(service, endpoint.address)) {
        targets.push(Target {
            address: endpoint.address,
            port: slice_port.port,
            node: endpoint.node.clone(),
            // A slice written by hand may list a terminating endpoint as ready; it gets nothing new, unless
            // the Service publishes whatever there is.
            ready: endpoint.ready && (service.publish_not_ready || !endpoint.terminating),
            serving: endpoint.serving,
            terminating: endpoint.terminating,
        });
    }
}
