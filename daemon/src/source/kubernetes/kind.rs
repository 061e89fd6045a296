//! The kinds that are watched, and what the API server calls them.

use std::fmt;

use landfall_core::model::{NodeName, ObjectName};

use super::object::Place;
use crate::objects::{CILIUM_GROUP, GROUP, VERSION};
use crate::source::object::ObjectKey;

/// Services and slices that another proxy serves, or that nobody does, as kube-proxy leaves them alone too.
const SERVED_BY_US: &str =
    "!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";
/// Slices that belong to such a Service.
const SLICES: &str = "kubernetes.io/service-name,!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name";

/// A kind that is watched. Of twins Landfall's own comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    /// Services.
    Service,
    /// EndpointSlices.
    EndpointSlice,
    /// Nodes.
    Node,
    /// Landfall's pools.
    Pool,
    /// Landfall's announcement policies.
    Policy,
    /// Cilium's pools.
    CiliumPool,
    /// Cilium's announcement policies.
    CiliumPolicy,
}

impl WatchedKind {
    /// What every API server has.
    pub(super) const BUILT_IN: [Self; 3] = [Self::Service, Self::EndpointSlice, Self::Node];
    /// Landfall's own kinds.
    pub(super) const OWN: [Self; 2] = [Self::Pool, Self::Policy];
    /// Their twins.
    pub(super) const CILIUM: [Self; 2] = [Self::CiliumPool, Self::CiliumPolicy];

    /// The kinds that are watched; Cilium's where they are ours.
    pub(super) fn all(cilium: bool) -> impl Iterator<Item = Self> {
        let twins = Self::CILIUM.into_iter().filter(move |_| cilium);
        Self::BUILT_IN.into_iter().chain(Self::OWN).chain(twins)
    }

    /// The kind's name, such as `Service`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Node => "Node",
            Self::Pool => "LoadBalancerIPPool",
            Self::Policy => "L2AnnouncementPolicy",
            Self::CiliumPool => "CiliumLoadBalancerIPPool",
            Self::CiliumPolicy => "CiliumL2AnnouncementPolicy",
        }
    }

    pub(super) fn group(self) -> &'static str {
        match self {
            Self::Service | Self::Node => "",
            Self::EndpointSlice => "discovery.k8s.io",
            Self::Pool | Self::Policy => GROUP,
            Self::CiliumPool | Self::CiliumPolicy => CILIUM_GROUP,
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Node => "nodes",
            Self::Pool => "loadbalancerippools",
            Self::Policy => "l2announcementpolicies",
            Self::CiliumPool => "ciliumloadbalancerippools",
            Self::CiliumPolicy => "ciliuml2announcementpolicies",
        }
    }

    /// The version of a kind that every server has; custom kinds are discovered.
    pub(super) fn version(self) -> &'static str {
        if self.group() == GROUP { VERSION } else { "v1" }
    }

    /// Whether a definition has to be installed for it.
    pub(super) fn is_custom(self) -> bool {
        Self::OWN.contains(&self) || Self::CILIUM.contains(&self)
    }

    /// Whether it is one of Cilium's, which most clusters do without.
    pub(super) fn is_cilium(self) -> bool {
        Self::CILIUM.contains(&self)
    }

    fn is_namespaced(self) -> bool {
        matches!(self, Self::Service | Self::EndpointSlice)
    }

    /// By which labels the server sorts out what is not for us.
    pub(super) fn labels(self) -> Option<&'static str> {
        match self {
            Self::Service => Some(SERVED_BY_US),
            Self::EndpointSlice => Some(SLICES),
            _ => None,
        }
    }

    /// The path of all its objects in the API.
    pub(super) fn collection(self, version: &str) -> String {
        let root = self.root();
        format!("/{root}/{}/{}", self.api_version(version), self.plural())
    }

    fn root(self) -> &'static str {
        if self.group().is_empty() {
            "api"
        } else {
            "apis"
        }
    }

    pub(super) fn api_version(self, version: &str) -> String {
        match self.group() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        }
    }

    /// The name of its definition.
    pub(super) fn definition(self) -> String {
        format!("{}.{}", self.plural(), self.group())
    }

    /// An object's path in the API.
    pub(super) fn path(self, api_version: &str, place: &Place) -> String {
        let (root, plural) = (self.root(), self.plural());
        if self.is_namespaced() {
            let Place { namespace, name } = place;
            format!("/{root}/{api_version}/namespaces/{namespace}/{plural}/{name}")
        } else {
            format!("/{root}/{api_version}/{plural}/{}", place.name)
        }
    }

    /// The key under which the model has an object. A kind and its twin share it.
    pub(super) fn key(self, place: &Place) -> ObjectKey {
        let name = &*place.name;
        let namespaced = || ObjectName::new(&*place.namespace, name);
        match self {
            Self::Service => ObjectKey::Service(namespaced()),
            Self::EndpointSlice => ObjectKey::EndpointSlice(namespaced()),
            Self::Node => ObjectKey::Node(NodeName::new(name)),
            Self::Pool | Self::CiliumPool => ObjectKey::Pool(name.to_owned()),
            Self::Policy | Self::CiliumPolicy => ObjectKey::Policy(name.to_owned()),
        }
    }

    /// The kinds that have objects under the same keys, the kind itself among them.
    pub(super) fn twins(self) -> &'static [Self] {
        match self {
            Self::Service => &[Self::Service],
            Self::EndpointSlice => &[Self::EndpointSlice],
            Self::Node => &[Self::Node],
            Self::Pool | Self::CiliumPool => &[Self::Pool, Self::CiliumPool],
            Self::Policy | Self::CiliumPolicy => &[Self::Policy, Self::CiliumPolicy],
        }
    }

    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::all(true).find(|kind| kind.name() == name)
    }
}

impl WatchedKind {
    /// Agents write its status.
    pub(super) fn has_status(self) -> bool {
        self == Self::Service || self.is_custom()
    }
}

impl fmt::Display for WatchedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
