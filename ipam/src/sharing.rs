//! When two services may have the same address.
//!
//! Owns the rule, which is symmetric: the same key that is not empty, no port in common, one
//! namespace or the consent of both, the same external traffic policy, and with `Local` the same
//! endpoints. Fed by requests; feeds the allocator and the words of its refusals. The rule is that
//! of MetalLB's `allow-shared-ip` and Cilium's `sharing-key`.

use std::fmt;

use crate::request::{ServicePort, ServiceRequest, TrafficPolicy};

/// The first reason found why two services cannot share an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatibility {
    /// One of them has no sharing key, or their keys differ.
    Key,
    /// They live in different namespaces and not both allow that.
    Namespace,
    /// Both serve this port.
    Port(ServicePort),
    /// Their external traffic policies differ.
    TrafficPolicy,
    /// Both are `Local` and select different endpoints.
    Endpoints,
}

/// Why `a` and `b` cannot have the same address; `None` when they can.
pub fn incompatibility(a: &ServiceRequest, b: &ServiceRequest) -> Option<Incompatibility> {
    if a.key().is_none() || a.key() != b.key() {
        return Some(Incompatibility::Key);
    }
    let allows = |one: &ServiceRequest, other: &ServiceRequest| {
        one.cross_namespace.allows(other.id.namespace())
    };
    if a.id.namespace() != b.id.namespace() && !(allows(a, b) && allows(b, a)) {
        return Some(Incompatibility::Namespace);
    }
    let (few, many) = if a.ports.len() < b.ports.len() {
        (a, b)
    } else {
        (b, a)
    };
    if let Some(&port) = few.ports.iter().find(|port| many.ports.contains(port)) {
        return Some(Incompatibility::Port(port));
    }
    match (&a.traffic_policy, &b.traffic_policy) {
        (TrafficPolicy::Cluster, TrafficPolicy::Cluster) => None,
        (TrafficPolicy::Local { endpoints: a }, TrafficPolicy::Local { endpoints: b }) => {
            (a != b).then_some(Incompatibility::Endpoints)
        }
        _ => Some(Incompatibility::TrafficPolicy),
    }
}

impl fmt::Display for Incompatibility {
    /// A clause that goes on after "... because", and names the field to change.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str(
                "they do not have the same sharing key; give both the same landfall.dev/sharing-key",
            ),
            Self::Namespace => f.write_str(
                "they are in different namespaces; name each other's namespace in \
                 landfall.dev/sharing-cross-namespace on both",
            ),
            Self::Port(port) => {
                write!(f, "both serve {port}; change spec.ports of one of them")
            }
            Self::TrafficPolicy => f.write_str(
                "their spec.externalTrafficPolicy differs; set the same on both",
            ),
            Self::Endpoints => f.write_str(
                "with externalTrafficPolicy Local sharers need the same endpoints; make their \
                 spec.selector equal",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
