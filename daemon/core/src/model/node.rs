//! Nodes and Namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::NodeName;

/// A Node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `status.addresses` of type InternalIP and ExternalIP.
    pub addresses: Vec<IpAddr>,
}

impl Node {
    /// Whether label `node.kubernetes.io/exclude-from-external-load-balancers` keeps it from announcing.
    pub fn excluded_from_load_balancers(&self) -> bool {
        self.labels
            .contains_key("node.kubernetes.io/exclude-from-external-load-balancers")
    }
}

/// A Namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}
