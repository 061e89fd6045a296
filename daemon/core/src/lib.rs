//! Landfall's model and planners: everything that decides and nothing that acts.
//!
//! The way of the data: a source turns objects into [`model::Change`]s, the reconciler folds them into one
//! [`model::DesiredState`], the planners in [`plan`] turn that and what was [observed](model::Observed) into a `Plan`, and
//! effects carry the plan out. Nothing here knows of tokio, kube or aya: the manifest is the wall.

pub mod election;
pub mod model;
pub mod node;
pub mod plan;
pub mod policy;
pub mod quorum;
pub mod report;
#[cfg(test)]
mod simulation;
