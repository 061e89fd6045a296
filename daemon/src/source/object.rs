//! An object of any kind, and the key under which the model has it.

use std::sync::Arc;

use landfall_core::model::{
    Change, EndpointSlice, L2AnnouncementPolicy, Namespace, Node, NodeName, ObjectName, Pod,
    PodName, Service, ServiceName,
};
use landfall_ipam::Pool;

/// Names an object in the model. A kind and its `cilium.io` twin share their names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A Service.
    Service(ServiceName),
    /// An EndpointSlice.
    EndpointSlice(ObjectName),
    /// A Pod.
    Pod(PodName),
    /// A Node.
    Node(NodeName),
    /// A Namespace.
    Namespace(Arc<str>),
    /// A pool.
    Pool(String),
    /// An announcement policy.
    Policy(String),
}

/// A converted object.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A Service.
    Service(Box<Service>),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A Pod.
    Pod(Box<Pod>),
    /// A Node.
    Node(Node),
    /// A Namespace.
    Namespace(Namespace),
    /// A pool.
    Pool(Pool),
    /// An announcement policy.
    Policy(L2AnnouncementPolicy),
}

impl Object {
    /// The key under which the model has it.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Service(it) => ObjectKey::Service(it.name.clone()),
            Self::EndpointSlice(it) => ObjectKey::EndpointSlice(it.name.clone()),
            Self::Pod(it) => ObjectKey::Pod(it.name.clone()),
            Self::Node(it) => ObjectKey::Node(it.name.clone()),
            Self::Namespace(it) => ObjectKey::Namespace(it.name.clone()),
            Self::Pool(it) => ObjectKey::Pool(it.name().to_owned()),
            Self::Policy(it) => ObjectKey::Policy(it.name.clone()),
        }
    }

    /// Its creation, or first sight, where its kind has one; seconds since the Unix epoch.
    pub fn created(&self) -> Option<u64> {
        match self {
            Self::Service(service) => Some(service.created),
            Self::Pool(pool) => Some(pool.created().0),
            _ => None,
        }
    }

    /// The change that brings it.
    pub fn change(self) -> Change {
        match self {
            Self::Service(it) => Change::Service(it.name.clone(), Some(*it)),
            Self::EndpointSlice(it) => Change::EndpointSlice(it.name.clone(), Some(it)),
            Self::Pod(it) => Change::Pod(it.name.clone(), Some(*it)),
            Self::Node(it) => Change::Node(it.name.clone(), Some(it)),
            Self::Namespace(it) => Change::Namespace(it.name.clone(), Some(it)),
            Self::Pool(it) => Change::Pool(it.name().to_owned(), Some(it)),
            Self::Policy(it) => Change::Policy(it.name.clone(), Some(it)),
        }
    }
}

impl ObjectKey {
    /// The change that ends the object.
    pub fn end(self) -> Change {
        match self {
            Self::Service(name) => Change::Service(name, None),
            Self::EndpointSlice(name) => Change::EndpointSlice(name, None),
            Self::Pod(name) => Change::Pod(name, None),
            Self::Node(name) => Change::Node(name, None),
            Self::Namespace(name) => Change::Namespace(name, None),
            Self::Pool(name) => Change::Pool(name, None),
            Self::Policy(name) => Change::Policy(name, None),
        }
    }
}
