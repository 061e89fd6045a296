//! Effects: each compares its part of the plan with what is really there and brings it about.

pub mod lease;
