//! How long this node may answer at all: members, heartbeats, grants, verdicts.
//!
//! One sans-IO machine per node, on a thread of its own. `docs/decisions/0005-ground-quorum.md` says how it works and why
//! it is safe.

pub mod message;
pub mod record;
