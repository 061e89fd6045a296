//! From the API's objects to the model; pure.
//!
//! Owns every rule about what an object may say. Fed by the manifest directory, the API server and
//! `landfall check`; feeds the reconciler with objects that planners need not doubt. Each function
//! looks at one object alone and returns it, or every error found in it, with warnings besides.

mod addresses;
mod annotations;
mod endpoint_slice;
mod metadata;
mod node;
mod ownership;
mod pod;
mod policy;
mod pool;
mod ports;
mod selector;
mod service;

pub(super) use annotations::request_field;
pub use endpoint_slice::endpoint_slice;
pub use node::{namespace, node};
pub(super) use ownership::INGRESS;
pub use pod::pod;
pub use policy::policy;
pub use pool::pool;
pub use service::service;

use super::class::ClassPolicy;

/// What a conversion needs to know besides the object.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// Where the object was read, for complaints.
    pub origin: &'a str,
    /// The kind as written, for complaints: the twins of a kind convert alike.
    pub kind: &'a str,
    /// Creation time of an object without `metadata.creationTimestamp`, in seconds since the epoch.
    pub first_seen: u64,
    /// Which LoadBalancer Services are ours.
    pub class: ClassPolicy,
    /// Whose addresses in a Service's status are ours to keep.
    pub status: StatusWriter,
}

/// Whose addresses in a Service's status are ours to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusWriter {
    /// Whoever wrote the status: a file has no other controller.
    Anyone,
    /// This field manager alone, by `metadata.managedFields`.
    Manager(&'static str),
}
