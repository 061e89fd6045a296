//! Services as planners see them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use landfall_ipam::Block;

use super::ServiceName;

/// A transport port; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(pub NonZeroU16);

impl Port {
    /// The port for `number`, or nothing for 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number in host byte order.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Transport protocols a Service port may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
}

impl Protocol {
    /// The IANA protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// An IP family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// The family of `address`.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpFamilyPolicy {
    /// One family, the first of `ip_families`.
    SingleStack,
    /// Both where both can be had.
    PreferDualStack,
    /// Both or nothing.
    RequireDualStack,
}

/// `spec.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    /// Reachable inside the cluster only.
    ClusterIp,
    /// ClusterIP and a port on every node.
    NodePort,
    /// NodePort and a LoadBalancer address.
    LoadBalancer,
    /// A DNS alias; nothing to forward.
    ExternalName,
}

/// `externalTrafficPolicy` and `internalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any ready endpoint.
    Cluster,
    /// Only endpoints of the node that received the packet.
    Local,
}

/// A Service port's target on the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number, the same on every endpoint.
    Number(Port),
    /// A container port's name, resolved per endpoint.
    Name(Arc<str>),
}

/// One of a Service's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty where the Service has a single unnamed port.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// The port of the frontend.
    pub port: Port,
    /// The port of the endpoints.
    pub target: TargetPort,
    /// The node port, where one is assigned.
    pub node_port: Option<Port>,
}

/// A Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Seconds since the Unix epoch of its creation (a file's Service: of when it was first seen). Orders sharers and waiters.
    pub created: u64,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// `spec.loadBalancerClass`.
    pub class: Option<Arc<str>>,
    /// `spec.clusterIPs`; empty for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `spec.ipFamilies` in order, defaulted.
    pub ip_families: Vec<IpFamily>,
    /// `spec.ipFamilyPolicy`, defaulted.
    pub ip_family_policy: IpFamilyPolicy,
    /// Addresses asked for by annotation or `spec.loadBalancerIP`.
    pub requested_ips: Vec<IpAddr>,
    /// Pool asked for by annotation.
    pub requested_pool: Option<String>,
    /// Sharing key, where the Service may share its addresses.
    pub sharing_key: Option<String>,
    /// Namespaces it may share with besides its own; `*` for all.
    pub sharing_namespaces: Vec<String>,
    /// `spec.loadBalancerSourceRanges`; empty admits everybody.
    pub source_ranges: Vec<Block>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.selector`; empty where endpoints are given by slices.
    pub selector: BTreeMap<String, String>,
    /// `spec.externalTrafficPolicy`.
    pub external_traffic_policy: TrafficPolicy,
    /// `spec.internalTrafficPolicy`.
    pub internal_traffic_policy: TrafficPolicy,
    /// Session affinity by client address, with its timeout.
    pub affinity: Option<Duration>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.healthCheckNodePort`.
    pub health_check_node_port: Option<Port>,
    /// LoadBalancer addresses in its status that are ours to keep.
    pub assigned: Vec<IpAddr>,
}
