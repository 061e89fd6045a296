//! Which services are announced, by which nodes, on which interfaces.

use landfall_ipam::LabelSelector;

/// An `L2AnnouncementPolicy`, or its `cilium.io` twin.
#[derive(Clone, Debug)]
pub struct L2AnnouncementPolicy {
    /// Its name.
    pub name: String,
    /// Services it covers; absent covers all. Sees the synthetic labels `io.kubernetes.service.{name,namespace}`.
    pub service_selector: Option<LabelSelector>,
    /// Nodes that may announce; absent means all.
    pub node_selector: Option<LabelSelector>,
    /// Interfaces by regular expression, as written and compiled; empty means those whose on-link subnet holds the address.
    pub interfaces: Vec<regex::Regex>,
    /// Whether `spec.externalIPs` of a Service are announced.
    pub external_ips: bool,
    /// Whether LoadBalancer addresses of a Service are announced.
    pub load_balancer_ips: bool,
}

impl PartialEq for L2AnnouncementPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.service_selector == other.service_selector
            && self.node_selector == other.node_selector
            && self.external_ips == other.external_ips
            && self.load_balancer_ips == other.load_balancer_ips
            && self.interfaces.len() == other.interfaces.len()
            && self
                .interfaces
                .iter()
                .zip(&other.interfaces)
                .all(|(a, b)| a.as_str() == b.as_str())
    }
}
