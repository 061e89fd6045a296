//! Nodes and Namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use landfall_ipam::Labelled;

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

/// The label with a namespace's name, which the API server puts on every namespace.
const METADATA_NAME: &str = "kubernetes.io/metadata.name";

/// A namespace's labels as selectors see them: with its name among them, also where the object is not known or lacks it.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceLabels<'a> {
    /// The namespace's name.
    pub name: &'a str,
    /// The object's labels, where the object is known.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl Labelled for NamespaceLabels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        let own = self.labels.and_then(|labels| labels.get(key));
        own.map(String::as_str)
            .or_else(|| (key == METADATA_NAME).then_some(self.name))
    }
}
