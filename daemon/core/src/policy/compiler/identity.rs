//! What selectors and named ports can tell of a pod: namespace, labels, named ports. Replicas share one identity, so the tables
//! grow with the number of workloads, not of pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Pod, Port, Protocol};

use super::ports::Span;

/// A named port of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NamedPort {
    pub(super) name: Arc<str>,
    pub(super) protocol: Protocol,
    pub(super) port: Port,
}

/// What tells pods apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct IdentityKey {
    pub(super) namespace: Arc<str>,
    pub(super) labels: BTreeMap<String, String>,
    /// Sorted, each once.
    pub(super) ports: Vec<NamedPort>,
}

impl IdentityKey {
    pub(super) fn of(pod: &Pod) -> Self {
        Self {
            namespace: Arc::clone(&pod.name.namespace),
            labels: pod.labels.clone(),
            ports: named_ports(pod),
        }
    }

    /// The ports of this name; `protocol`, where given, must be theirs.
    pub(super) fn resolve(
        &self,
        name: &str,
        protocol: Option<Protocol>,
    ) -> impl Iterator<Item = Span> {
        resolve(&self.ports, name, protocol)
    }
}

/// A pod's named ports, sorted, each once.
pub(super) fn named_ports(pod: &Pod) -> Vec<NamedPort> {
    let ports = pod.ports.iter().map(|port| NamedPort {
        name: Arc::clone(&port.name),
        protocol: port.protocol,
        port: port.port,
    });
    ports.collect::<BTreeSet<_>>().into_iter().collect()
}

/// The ports of this name; `protocol`, where given, must be theirs. Containers of one pod may use a name twice.
pub(super) fn resolve(
    ports: &[NamedPort],
    name: &str,
    protocol: Option<Protocol>,
) -> impl Iterator<Item = Span> {
    let wanted = ports.iter().filter(move |port| {
        *port.name == *name && protocol.is_none_or(|protocol| protocol == port.protocol)
    });
    wanted.map(|port| Span {
        protocol: port.protocol,
        first: port.port.get(),
        last: port.port.get(),
    })
}
