//! What the status of objects should say; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_core::model::{ObjectError, ServiceName, Severity};
use landfall_core::plan::Plan;
use landfall_core::plan::addresses::REASON_PENDING;
use landfall_core::plan::chronicle::{ANNOUNCED, Accounts, IPAM_REQUEST_SATISFIED, NO_ADDRESS};
use landfall_core::report::{Condition, ConditionStatus};

use super::ground;
use crate::source::kubernetes_status::{LiveKey, LiveStatus, LiveStatuses};

/// What one object's status should say, as far as it is ours to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    /// The addresses of a Service; none where it has none, or is not ours (any more).
    pub(super) ingress: Vec<IpAddr>,
    /// Its conditions, of types that differ.
    pub(super) conditions: Vec<WishedCondition>,
}

/// A condition as it should be; its time follows from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WishedCondition {
    pub(super) kind: Arc<str>,
    pub(super) status: &'static str,
    pub(super) reason: Arc<str>,
    pub(super) message: Arc<str>,
    /// It may pass by itself, as while a node's VIPs move to others or agents restart: written once it has lasted.
    pub(super) passing: bool,
}

/// Wishes by object. Objects that are not in it are to be left as they are.
pub(super) type Wishes = BTreeMap<LiveKey, Wish>;

impl Wish {
    /// Whether all that is ours is to be removed.
    pub(super) fn is_release(&self) -> bool {
        self.ingress.is_empty() && self.conditions.is_empty()
    }
}

/// What every object's status should say, by a plan that goes by synced sources and their record of assignments.
pub(super) fn wishes(plan: &Plan, accounts: &Accounts, live: &LiveStatuses) -> Wishes {
    let complaints: Vec<&ObjectError> = plan.errors.values().flatten().collect();
    let wrong: BTreeSet<&str> = complaints
        .iter()
        .filter(|it| it.severity == Severity::Error && it.object.kind == "Service")
        .map(|it| it.object.name.as_str())
        .collect();
    let mut wishes = Wishes::new();
    let services = live.iter().filter(|(key, _)| *key.kind == *"Service");
    for (key, status) in services {
        let name = ServiceName {
            namespace: Arc::clone(&key.namespace),
            name: Arc::clone(&key.name),
        };
        // What cannot be read now may be in the model no more, and keeps what it has until it can.
        if let Some(wish) = service(plan, accounts, &name, status)
            .filter(|wish| !wish.is_release() || !wrong.contains(name.to_string().as_str()))
        {
            wishes.insert(key.clone(), wish);
        }
    }
    wishes.extend(ground::wishes(plan, &complaints, live));
    wishes
}

fn service(
    plan: &Plan,
    accounts: &Accounts,
    name: &ServiceName,
    live: &LiveStatus,
) -> Option<Wish> {
    let entry = plan.addresses.services.get(name);
    let Some(entry) = entry.filter(|entry| !entry.reason.is_empty()) else {
        return live.ours.then(Wish::default);
    };
    if *entry.reason == *REASON_PENDING {
        return None;
    }
    let account = accounts.get(name)?;
    let request = |it: &&Condition| it.kind == IPAM_REQUEST_SATISFIED;
    let request = account.status.iter().find(request)?;
    // The account is of another plan than this, and the next look sees both of one.
    if (&request.reason, &request.message) != (&entry.reason, &entry.message) {
        return None;
    }
    let addresses = entry.addresses.iter();
    Some(Wish {
        ingress: addresses.map(|assigned| assigned.address).collect(),
        conditions: account.status.iter().map(condition).collect(),
    })
}

fn condition(condition: &Condition) -> WishedCondition {
    let holds = condition.status == ConditionStatus::True;
    WishedCondition {
        kind: condition.kind.into(),
        status: match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        },
        reason: Arc::clone(&condition.reason),
        message: Arc::clone(&condition.message),
        passing: condition.kind == ANNOUNCED && !holds && *condition.reason != *NO_ADDRESS,
    }
}
