//! What a service asks of the allocator.
//!
//! Owns the request's types. Fed by whoever reads Services (annotations already resolved); feeds
//! the allocator and the sharing rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::range::Family;
use crate::selector::Labelled;

/// Pseudo label that carries the service's name in a pool's `serviceSelector`.
pub const SERVICE_NAME_LABEL: &str = "io.kubernetes.service.name";
/// Pseudo label that carries the service's namespace in a pool's `serviceSelector`.
pub const SERVICE_NAMESPACE_LABEL: &str = "io.kubernetes.service.namespace";

/// Namespace and name of a Service; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    namespace: Arc<str>,
    name: Arc<str>,
}

impl ServiceId {
    /// The id of the service `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ServiceId {
    /// `namespace/name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// When an object was created, in seconds since the Unix epoch (`metadata.creationTimestamp`).
/// Objects of the same second are ordered by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Created(pub u64);

/// A service's place in every queue: the oldest first, then by namespace and name.
pub(crate) type Turn = (Created, ServiceId);

/// `spec.ipFamilyPolicy` with the families of `spec.ipFamilies`, the primary one inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FamilyRequest {
    /// One family; nothing else will do.
    SingleStack(Family),
    /// Both families, the primary one first; satisfied by either, takes the other when it can.
    PreferDualStack(Family),
    /// Both families, the primary one first; partly satisfied by one.
    RequireDualStack(Family),
}

impl FamilyRequest {
    /// The families wanted, the primary one first.
    pub fn wanted(self) -> impl Iterator<Item = Family> {
        let (first, second) = match self {
            Self::SingleStack(family) => (family, None),
            Self::PreferDualStack(first) | Self::RequireDualStack(first) => {
                (first, Some(first.other()))
            }
        };
        [Some(first), second].into_iter().flatten()
    }

    /// Whether `family` is one of those wanted.
    pub fn wants(self, family: Family) -> bool {
        self.wanted().any(|wanted| wanted == family)
    }
}

/// A transport protocol a Service can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    /// As in `spec.ports[].protocol`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A port of a service as clients see it; no two sharers of an address may have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    /// The protocol.
    pub protocol: Protocol,
    /// The number, `spec.ports[].port`.
    pub number: u16,
}

impl fmt::Display for ServicePort {
    /// `port/protocol`, as kubectl prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

/// Which other namespaces a service lets share its addresses. Sharing across namespaces needs the
/// permission of both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum CrossNamespace {
    /// None.
    #[default]
    Never,
    /// Any, `*`.
    Any,
    /// Those listed.
    Only(BTreeSet<String>),
}

impl CrossNamespace {
    /// Whether services of `namespace` may share.
    pub fn allows(&self, namespace: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Any => true,
            Self::Only(listed) => listed.contains(namespace),
        }
    }
}

/// `spec.externalTrafficPolicy`, as far as sharing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum TrafficPolicy {
    /// Every node forwards.
    #[default]
    Cluster,
    /// Only nodes with an endpoint answer, so all sharers of an address must have the same ones.
    Local {
        /// A canonical text of `spec.selector`; equal texts select equal endpoints. A service
        /// without a selector must put something only its own here.
        endpoints: String,
    },
}

/// One service's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Which service.
    pub id: ServiceId,
    /// Its age; older services come first wherever two want the same.
    pub created: Created,
    /// `metadata.labels`. Pools' selectors also see [`SERVICE_NAME_LABEL`] and
    /// [`SERVICE_NAMESPACE_LABEL`], which are not to be put here.
    pub labels: BTreeMap<String, String>,
    /// The families wanted.
    pub families: FamilyRequest,
    /// The addresses asked for by annotation or `spec.loadBalancerIP`. When there are any, they are
    /// the whole wish: nothing is added to them. Repetitions count once.
    pub requested: Vec<IpAddr>,
    /// Services with the same key may share addresses. An empty key is none.
    pub sharing_key: Option<String>,
    /// With whom addresses may be shared across namespaces.
    pub cross_namespace: CrossNamespace,
    /// The ports served.
    pub ports: BTreeSet<ServicePort>,
    /// The external traffic policy.
    pub traffic_policy: TrafficPolicy,
    /// The only pool to take addresses from, by name; its selector still has to match.
    pub pool: Option<String>,
    /// The addresses the service's status has now. Read when the allocator first hears of the
    /// service, at start-up above all; afterwards the allocator itself knows.
    pub current: Vec<IpAddr>,
}

impl ServiceRequest {
    /// A plain request: one IPv4 address from any pool, not shared.
    pub fn new(id: ServiceId, created: Created) -> Self {
        Self {
            id,
            created,
            labels: BTreeMap::new(),
            families: FamilyRequest::SingleStack(Family::V4),
            requested: Vec::new(),
            sharing_key: None,
            cross_namespace: CrossNamespace::Never,
            ports: BTreeSet::new(),
            traffic_policy: TrafficPolicy::Cluster,
            pool: None,
            current: Vec::new(),
        }
    }

    /// The sharing key, unless it is empty.
    pub fn key(&self) -> Option<&str> {
        self.sharing_key.as_deref().filter(|key| !key.is_empty())
    }

    pub(crate) fn turn(&self) -> Turn {
        (self.created, self.id.clone())
    }
}

impl Labelled for ServiceRequest {
    fn label(&self, key: &str) -> Option<&str> {
        match key {
            SERVICE_NAME_LABEL => Some(self.id.name()),
            SERVICE_NAMESPACE_LABEL => Some(self.id.namespace()),
            _ => self.labels.get(key).map(String::as_str),
        }
    }
}
