//! Planners: pure functions from the model to what effects shall bring about.
//!
//! [`plan()`] is the whole function. [`Planner`] computes the same step by step: told of each change, it
//! plans anew only what the change concerns, and leaves the rest of the [`Plan`] the same `Arc`s.
//!
//! Inside: `endpoints` and `addresses` feed `service_table` and `announcement`; `status` puts everything into
//! words for people; `chronicle` follows plans and observations and says of each Service what holds and what happened.

pub mod addresses;
pub mod announcement;
pub mod chronicle;
pub mod endpoints;
#[cfg(test)]
mod fixtures;
mod fold;
mod planner;
pub mod service_table;
pub mod status;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    Change, DesiredState, Link, NodeName, ObjectError, Observation, Observed, SourceId,
};

use self::addresses::AddressPlan;
use self::announcement::Announcements;
use self::endpoints::EndpointRule;
use self::service_table::{FrontendConflict, ServiceTable};

pub use self::planner::Planner;

/// What a plan depends on besides objects and observations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// This node.
    pub node: NodeName,
    /// Where endpoints of Services with a selector come from.
    pub endpoints: EndpointRule,
    /// Sources that must have synced before a plan is complete.
    pub sources: BTreeSet<SourceId>,
}

/// What effects shall bring about. Parts that did not change are the same `Arc`s as in the plan before.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Every source has synced or is remembered, and so is the record of assignments. While false, parts lack what a source
    /// has yet to tell of, and are not to be carried out; nothing is allocated either.
    pub complete: bool,
    /// This node's interfaces.
    pub links: Arc<Vec<Link>>,
    /// For the data path.
    pub table: Arc<ServiceTable>,
    /// Assignments, pools, and the record to be written.
    pub addresses: AddressPlan,
    /// For the election and the announce effect.
    pub announcements: Arc<Announcements>,
    /// Frontends that two Services claim.
    pub conflicts: Arc<Vec<FrontendConflict>>,
    /// What sources complain about.
    pub errors: Arc<BTreeMap<SourceId, Vec<ObjectError>>>,
    /// Sources that have not synced.
    pub missing: BTreeSet<SourceId>,
    /// Sources of which the plan has what the node remembers: they could not be read yet. While there are any, nothing is
    /// allocated.
    pub recalled: BTreeSet<SourceId>,
}

/// Plans for a state whose sources have all synced.
pub fn plan(settings: &PlanSettings, state: &DesiredState, observed: &Observed) -> Plan {
    let mut planner = Planner::new(settings.clone());
    for change in fold::changes(state) {
        planner.fold(change);
    }
    for source in &settings.sources {
        planner.fold(Change::Synced(*source));
    }
    planner.observe(Observation::Peers(observed.peers.clone()));
    planner.observe(Observation::Dead(observed.dead.clone()));
    if let Some(assignments) = &observed.assignments {
        planner.observe(Observation::Assignments(assignments.clone()));
    }
    planner.observe(Observation::Allocating(observed.allocating));
    planner.plan().clone()
}
