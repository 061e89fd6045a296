//! What the status of pools and policies should say; pure.
//!
//! Pools have the conditions that their printer columns read; both kinds say whether they are accepted: a schema lets some
//! wrong objects through, and what the source says of those belongs on the object.

use std::sync::Arc;

use landfall_core::model::{ObjectError, Severity};
use landfall_core::plan::Plan;
use landfall_core::plan::addresses::{PoolView, REASON_PENDING};
use landfall_core::plan::status;
use landfall_core::report::PoolReport;

use super::wish::{Wish, WishedCondition, Wishes};
use crate::objects::{CILIUM_GROUP, GROUP};
use crate::source::kubernetes_status::{LiveKey, LiveStatuses};

/// Kinds of pools, and of announcement policies.
const POOLS: [&str; 2] = ["LoadBalancerIPPool", "CiliumLoadBalancerIPPool"];
const POLICIES: [&str; 2] = ["L2AnnouncementPolicy", "CiliumL2AnnouncementPolicy"];
/// Reason of conditions that only carry a number, as in Cilium.
const NO_REASON: &str = "noreason";

/// What pools and policies should say. Nothing while some Service waits for its address: counts would be of a moment.
pub(super) fn wishes(plan: &Plan, complaints: &[&ObjectError], live: &LiveStatuses) -> Wishes {
    let mut services = plan.addresses.services.values();
    if services.any(|entry| *entry.reason == *REASON_PENDING) {
        return Wishes::new();
    }
    let reports = status::pools(plan);
    let mut wishes = Wishes::new();
    for key in live.keys() {
        let (pool, policy) = (POOLS.contains(&&*key.kind), POLICIES.contains(&&*key.kind));
        if !pool && !policy {
            continue;
        }
        let about: Vec<&ObjectError> = complaints
            .iter()
            .copied()
            .filter(|it| *it.object.kind == *key.kind && *it.object.name == *key.name)
            .collect();
        let mut conditions = vec![accepted(key, &about)];
        // Of twins with one name, the one that is complained of is not in force.
        let wrong = about.iter().any(|it| it.severity == Severity::Error);
        let twin = POOLS.iter().any(|kind| {
            let kind = Arc::from(*kind);
            kind != key.kind
                && live.contains_key(&LiveKey {
                    kind,
                    ..key.clone()
                })
        });
        if pool && !(wrong && twin) {
            let report = reports.iter().find(|report| *report.name == *key.name);
            let views = plan.addresses.pools.iter();
            let view = views.clone().find(|view| *view.pool.name() == *key.name);
            conditions.extend(report.zip(view).into_iter().flat_map(|it| counts(key, it)));
        }
        let ingress = Vec::new();
        wishes.insert(
            key.clone(),
            Wish {
                ingress,
                conditions,
            },
        );
    }
    wishes
}

/// Whether the object is used as it is written.
fn accepted(key: &LiveKey, about: &[&ObjectError]) -> WishedCondition {
    let sentence = |complaint: &&ObjectError| {
        let field = match complaint.field.as_str() {
            "" => String::new(),
            field => format!("{field}: "),
        };
        format!("{field}{}; {}", complaint.problem, complaint.remedy)
    };
    let errors = about.iter().filter(|it| it.severity == Severity::Error);
    let errors: Vec<String> = errors.map(sentence).collect();
    let kind = if is_twin(key) {
        format!("{GROUP}/Accepted")
    } else {
        "Accepted".to_owned()
    };
    let (status, reason, message) = if !errors.is_empty() {
        ("False", "invalid", errors.join(". "))
    } else if about.is_empty() {
        ("True", "accepted", String::new())
    } else {
        let warnings: Vec<String> = about.iter().map(sentence).collect();
        ("True", "accepted_with_warnings", warnings.join(". "))
    };
    condition(kind, status, reason, message)
}

/// The conditions of a pool that printer columns read.
fn counts(key: &LiveKey, (report, view): (&PoolReport, &PoolView)) -> Vec<WishedCondition> {
    let kind = |name: &str| {
        if is_twin(key) {
            format!("{CILIUM_GROUP}/{name}")
        } else {
            name.to_owned()
        }
    };
    let conflict = match &view.status.conflict {
        Some(conflict) => (
            "True",
            "cidr_overlap",
            format!(
                "{} overlaps {} of the older pool {}: narrow one of them; until then nothing new is allocated from this pool",
                conflict.block, conflict.with_block, conflict.with
            ),
        ),
        None => ("False", "resolved", String::new()),
    };
    let number = |name, count: String| condition(kind(name), "Unknown", NO_REASON, count);
    vec![
        condition(kind("PoolConflict"), conflict.0, conflict.1, conflict.2),
        number("IPsTotal", report.total.clone()),
        number("IPsAvailable", report.free.clone()),
        number("IPsUsed", report.used.to_string()),
    ]
}

/// Whether an object is one of Cilium's kinds, whose conditions have the group's prefix.
fn is_twin(key: &LiveKey) -> bool {
    key.kind.starts_with("Cilium")
}

fn condition(
    kind: String,
    status: &'static str,
    reason: &'static str,
    message: String,
) -> WishedCondition {
    WishedCondition {
        kind: kind.into(),
        status,
        reason: reason.into(),
        message: message.into(),
        passing: false,
    }
}

#[cfg(test)]
mod tests;
