//! Status: a plan in words, made when somebody asks.
//!
//! Fed by a [`Plan`]; feeds the admin socket, the command line and metrics with the rows of
//! [`report`](crate::report), and with complaints that name object, field and remedy.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Plan;
use super::addresses::{REASON_PENDING, REASON_RECORD_FULL};
use super::announcement::Hindrance;
use super::chronicle::{Accounts, SATISFIED};
use crate::model::{Assignment, ObjectError, ObjectRef, ServiceName, Severity};
use crate::report::{AddressReport, Counts, PoolReport, ServiceReport, VipReport};

/// Where complaints of the planners come from.
const ORIGIN: &str = "plan";

/// A Service of ours, or one with external addresses.
pub fn service(plan: &Plan, accounts: &Accounts, name: &ServiceName) -> Option<ServiceReport> {
    let entry = plan.addresses.services.get(name)?;
    let addresses = entry.addresses.iter().map(|assigned| AddressReport {
        address: assigned.address,
        pool: assigned.pool.to_string(),
    });
    Some(ServiceReport {
        addresses: addresses.collect(),
        external_ips: entry.external_ips.clone(),
        account: accounts.get(name).cloned().unwrap_or_default(),
    })
}

/// Every pool, the oldest first.
pub fn pools(plan: &Plan) -> Vec<PoolReport> {
    let mut used: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
    for assigned in plan
        .addresses
        .services
        .values()
        .flat_map(|entry| &entry.addresses)
    {
        used.entry(&assigned.pool)
            .or_default()
            .insert(assigned.address);
    }
    let rows = plan.addresses.pools.iter().map(|view| {
        let status = &view.status;
        let used = used
            .get(view.pool.name())
            .map_or(0, |addresses| addresses.len() as u64);
        PoolReport {
            name: view.pool.name().to_owned(),
            blocks: view.pool.blocks().iter().map(ToString::to_string).collect(),
            disabled: status.disabled,
            conflicts_with: status
                .conflict
                .as_ref()
                .map(|conflict| conflict.with.to_string()),
            total: status.total.to_string(),
            used,
            reserved: status.reserved.to_string(),
            free: status
                .available
                .saturating_sub(u128::from(used))
                .to_string(),
        }
    });
    rows.collect()
}

/// Every VIP, by lease.
pub fn vips(plan: &Plan) -> Vec<VipReport> {
    let name_of = |index| {
        let link = plan.links.iter().find(|link| link.index == index);
        link.map_or_else(|| "?".to_owned(), |link| link.name.to_string())
    };
    let rows = plan.announcements.vips.iter().map(|(lease, vip)| {
        let able = vip.addresses.iter().filter_map(|(address, here)| {
            let links = here.as_ref().ok()?;
            Some((*address, links.iter().copied().map(name_of).collect()))
        });
        let unable = vip
            .addresses
            .iter()
            .filter_map(|(address, here)| Some((*address, here.as_ref().err()?.to_string())));
        VipReport {
            lease: lease.to_string(),
            services: vip.services.iter().map(ToString::to_string).collect(),
            interfaces: able.collect(),
            hindrances: unable.collect(),
            candidates: vip.candidates.iter().map(ToString::to_string).collect(),
        }
    });
    rows.collect()
}

/// Figures for a glance.
pub fn counts(plan: &Plan) -> Counts {
    let ours = plan
        .addresses
        .services
        .values()
        .filter(|entry| !entry.reason.is_empty());
    let satisfied = ours.clone().filter(|entry| is_satisfied(entry)).count();
    let full = |entry: &&std::sync::Arc<Assignment>| *entry.reason == *REASON_RECORD_FULL;
    let left_out = ours.clone().filter(full).count();
    let backends = plan
        .table
        .frontends
        .values()
        .map(|frontend| frontend.backends.len())
        .sum();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Counts {
        ours: count(ours.count()),
        satisfied: count(satisfied),
        left_out: count(left_out),
        frontends: count(plan.table.frontends.len()),
        backends: count(backends),
    }
}

/// Everything that needs a person: what sources complain about, requests that are not satisfied, VIPs that
/// nobody can announce, pools in conflict, frontends claimed twice.
pub fn complaints(plan: &Plan) -> Vec<ObjectError> {
    let mut all: Vec<ObjectError> = plan.errors.values().flatten().cloned().collect();
    for (name, entry) in plan.addresses.services.iter() {
        let pending = *entry.reason == *REASON_PENDING;
        if !entry.reason.is_empty() && !is_satisfied(entry) && !pending {
            let refusal = (
                entry.message.to_string(),
                format!("condition IPAMRequestSatisfied says {}", entry.reason),
            );
            all.push(complaint(
                "Service",
                name.to_string(),
                "",
                refusal,
                Severity::Error,
            ));
        }
    }
    for view in plan.addresses.pools.iter() {
        if let Some(conflict) = &view.status.conflict {
            let words = (
                format!(
                    "{} overlaps {} of the older pool {}",
                    conflict.block, conflict.with_block, conflict.with
                ),
                "narrow one of them; until then nothing new is allocated from this pool".to_owned(),
            );
            let name = view.pool.name().to_owned();
            all.push(complaint(
                "LoadBalancerIPPool",
                name,
                "spec.blocks",
                words,
                Severity::Error,
            ));
        }
    }
    for vip in plan.announcements.vips.values() {
        let own = vip
            .addresses
            .iter()
            .filter(|(_, here)| **here == Err(Hindrance::NodeAddress));
        let own: Vec<String> = own.map(|(address, _)| address.to_string()).collect();
        for service in vip.services.iter().map(ToString::to_string) {
            if !own.is_empty() {
                let words = (
                    format!(
                        "{} is a node's own address and is not announced",
                        own.join(", ")
                    ),
                    "ask for another address".to_owned(),
                );
                all.push(complaint("Service", service, "", words, Severity::Error));
            } else if vip.candidates.is_empty() {
                all.push(complaint(
                    "Service",
                    service,
                    "",
                    unannounced(vip),
                    Severity::Warning,
                ));
            }
        }
    }
    for conflict in plan.conflicts.iter() {
        let key = &conflict.frontend;
        let words = (
            format!(
                "{} port {}/{} belongs to the older Service {}",
                key.address, key.port, key.protocol, conflict.holder
            ),
            "use another port or address".to_owned(),
        );
        let name = conflict.refused.to_string();
        all.push(complaint(
            "Service",
            name,
            "spec.ports",
            words,
            Severity::Error,
        ));
    }
    all
}

fn unannounced(vip: &super::announcement::Vip) -> (String, String) {
    let mut hindrances = vip
        .addresses
        .values()
        .filter_map(|here| here.as_ref().err());
    let addresses: Vec<String> = vip.addresses.keys().map(ToString::to_string).collect();
    let remedy = hindrances
        .next()
        .map(ToString::to_string)
        .unwrap_or_default();
    (
        format!("no node can announce {}", addresses.join(", ")),
        format!("here, {remedy}"),
    )
}

fn is_satisfied(entry: &Assignment) -> bool {
    *entry.reason == *SATISFIED
}

fn complaint(
    kind: &str,
    name: String,
    field: &str,
    (problem, remedy): (String, String),
    severity: Severity,
) -> ObjectError {
    ObjectError {
        origin: ORIGIN.to_owned(),
        object: ObjectRef {
            kind: kind.to_owned(),
            name,
        },
        field: field.to_owned(),
        problem,
        remedy,
        severity,
    }
}
