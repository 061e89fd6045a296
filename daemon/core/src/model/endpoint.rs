//! Pods and EndpointSlices: where a Service's traffic ends.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{NodeName, ObjectName, PodName, Port, Protocol, ServiceName};

/// One endpoint of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Its address. Slices list several only as a leftover of an old API; `convert` makes one endpoint of each.
    pub address: IpAddr,
    /// The node it runs on, where known.
    pub node: Option<NodeName>,
    /// `conditions.ready`, an absent one counting as true.
    pub ready: bool,
    /// `conditions.serving`: answers requests, perhaps while terminating.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
    /// Zone, for traffic distribution.
    pub zone: Option<Arc<str>>,
    /// Name of the pod behind it, for display.
    pub pod: Option<PodName>,
}

/// A port of an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointPort {
    /// The Service port's name it belongs to.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Number on the endpoint.
    pub port: Port,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Its own name.
    pub name: ObjectName,
    /// The Service it belongs to, by label `kubernetes.io/service-name`.
    pub service: ServiceName,
    /// Ports common to its endpoints.
    pub ports: Vec<EndpointPort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A named container port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPort {
    /// Name of the container port.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: Port,
}

/// A Pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: PodName,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.nodeName`.
    pub node: Option<NodeName>,
    /// `status.podIPs`; empty until the pod has its network.
    pub ips: Vec<IpAddr>,
    /// Condition `Ready`; a manifest without any condition counts as ready once it has an address.
    pub ready: bool,
    /// `metadata.deletionTimestamp` is set.
    pub terminating: bool,
    /// Phase `Succeeded` or `Failed`: its address may be another pod's by now.
    pub finished: bool,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// Named container ports.
    pub ports: Vec<PodPort>,
}
