//! Landfall's own kinds, and Cilium's of the same meaning, as the API encodes them.
//!
//! Owns the structs, their schemas and the CRDs that `landfall crds` prints. Fed by YAML and by
//! the API server; `source::convert` turns them into the model, the status task writes their
//! status. Every struct denies unknown fields: a misspelt field is an error that names it.

mod crd;
mod policy;
mod pool;
mod rule;
mod schema;
mod selector;
mod status;

pub use crd::crds;
pub use policy::{L2AnnouncementPolicy, L2AnnouncementPolicySpec};
pub use pool::{Choice, LoadBalancerIPPool, LoadBalancerIPPoolSpec, PoolBlock};
pub use selector::{LabelSelector, SelectorRequirement};
pub use status::{Condition, ConditionStatus, ObjectStatus};

/// The group of Landfall's own kinds.
pub const GROUP: &str = "landfall.dev";
/// The version of Landfall's own kinds.
pub const VERSION: &str = "v1alpha1";
/// The group of the kinds that Cilium's users bring along.
pub const CILIUM_GROUP: &str = "cilium.io";
/// The versions of Cilium's group that are read, the stored one last.
pub const CILIUM_VERSIONS: [&str; 2] = ["v2alpha1", "v2"];
