//! What sources tell the reconciler.

use std::fmt;
use std::sync::Arc;

use landfall_ipam::Pool;

use super::{
    EndpointSlice, L2AnnouncementPolicy, Link, Namespace, Node, NodeName, ObjectName, Pod, PodName,
    Service, ServiceName,
};

/// A change of one object: `Some` is its new state, `None` its end.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most changes are Services or Pods, which are moved into the state as they are"
)]
pub enum Change {
    /// A Service.
    Service(ServiceName, Option<Service>),
    /// An EndpointSlice, by its own name.
    EndpointSlice(ObjectName, Option<EndpointSlice>),
    /// A Pod.
    Pod(PodName, Option<Pod>),
    /// A Node.
    Node(NodeName, Option<Node>),
    /// A Namespace.
    Namespace(Arc<str>, Option<Namespace>),
    /// A pool.
    Pool(String, Option<Pool>),
    /// An announcement policy.
    Policy(String, Option<L2AnnouncementPolicy>),
    /// All interfaces of this node, whenever any of them changed.
    Links(Vec<Link>),
    /// All current complaints of one source about its objects; replaces that source's previous list.
    Errors(SourceId, Vec<ObjectError>),
    /// The source cannot be read yet, and has delivered what the node remembers of it.
    Recalled(SourceId),
    /// The source has delivered everything it had at start.
    Synced(SourceId),
}

/// Which source speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceId {
    /// The manifest directory.
    Manifests,
    /// The Kubernetes API.
    Kubernetes,
    /// The kernel's interfaces.
    Links,
    /// The record of assignments.
    Assignments,
}

/// How much an [`ObjectError`] takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The object is used, with a reservation.
    Warning,
    /// The object (or file) is not used; its last good state stays in force.
    Error,
}

/// The object an error is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind, such as `Service`; empty where the file could not be parsed that far.
    pub kind: String,
    /// `namespace/name`, or `name`; empty where unknown.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// A complaint about one object: where, what, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectError {
    /// File it was read from, with the document's number in it; the API's path for objects from there.
    pub origin: String,
    /// The object.
    pub object: ObjectRef,
    /// Path of the field, such as `spec.blocks[0].cidr`; empty where the whole object is meant.
    pub field: String,
    /// What is wrong, in one sentence without a full stop.
    pub problem: String,
    /// What to write instead.
    pub remedy: String,
    /// What follows of it.
    pub severity: Severity,
}

impl fmt::Display for ObjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.object.kind.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.problem, self.remedy)
    }
}
