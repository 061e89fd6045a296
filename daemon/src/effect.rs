//! Effects: each compares its part of the plan with what is really there and brings it about.

pub mod announce;
pub mod assignments;
pub mod datapath;
pub mod history;
pub mod lease;
pub mod liveness;
pub mod membership;
pub mod moved;
pub mod payload;
pub mod quorum;
