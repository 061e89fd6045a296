//! Reports made from what planners and effects publish. Pure.

mod ground;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use landfall_core::election::{
    Holder, LeaseName, LeaseTable, Moment, Seen, ServiceLease, Standing,
};
use landfall_core::model::{AnnounceReport, LinkIndex, NodeName, VipState};
use landfall_core::plan::service_table::{self, FrontendKind, ServiceTable};
use landfall_core::report::{self, Account};
use landfall_ebpf::abi::counter::Counter;

use super::snapshot::{
    Announcement, Backend, Complaint, Datapath, Event, Frontend, Interface, Lease, Level, MapFill,
    Timestamp, Verdicts,
};
use crate::effect::datapath::DatapathReport;
use crate::effect::moved::MovedReport;
use crate::objects::{Condition, ConditionStatus};

pub use ground::ground;

/// The service table in the order of its keys, numbered from 1.
pub fn frontends(table: &ServiceTable) -> Vec<Frontend> {
    let mut frontends: Vec<Frontend> = Vec::with_capacity(table.frontends.len());
    for (id, (key, frontend)) in (1..).zip(&table.frontends) {
        let active = frontend.backends.iter().map(|one| backend(one, "active"));
        let draining = frontend
            .draining
            .iter()
            .map(|one| backend(one, "terminating"));
        frontends.push(Frontend {
            id,
            address: key.address,
            port: key.port.get(),
            protocol: key.protocol.to_string(),
            kind: match frontend.kind {
                FrontendKind::ClusterIp => "ClusterIP",
                FrontendKind::LoadBalancer => "LoadBalancer",
                FrontendKind::ExternalIp => "ExternalIP",
            }
            .to_owned(),
            service: frontend.service.to_string(),
            port_name: frontend.port_name.to_string(),
            traffic_policy: if frontend.local_only {
                "Local"
            } else {
                "Cluster"
            }
            .to_owned(),
            source_ranges: frontend
                .source_ranges
                .iter()
                .map(ToString::to_string)
                .collect(),
            backends: active.chain(draining).collect(),
        });
    }
    frontends
}

fn backend(backend: &service_table::Backend, state: &str) -> Backend {
    Backend {
        address: backend.address,
        port: backend.port.get(),
        node: backend.node.as_ref().map(ToString::to_string),
        state: state.to_owned(),
    }
}

/// Every lease as this node sees it, nodes first. `addresses` are those that go with each lease. The holder is
/// the one who may answer, be it recorded in the service lease yet or told by node leases alone.
///
/// A node lease counts as valid while it was seen to change within its own duration.
pub fn leases(
    table: &LeaseTable,
    me: &NodeName,
    now: Moment,
    addresses: &BTreeMap<LeaseName, Vec<IpAddr>>,
) -> Vec<Lease> {
    let mut leases = Vec::new();
    for (name, seen) in table.nodes() {
        let Some(record) = &seen.record else { continue };
        let fresh = now.since(seen.changed_at) <= record.duration;
        leases.push(Lease {
            name: name.as_str().to_owned(),
            kind: "node".to_owned(),
            holder: record.fenced_by.is_none().then(|| record.node.to_string()),
            ours: record.node == *me,
            valid: fresh && record.fenced_by.is_none(),
            since: None,
            transitions: 0,
            cause: None,
            recorded: true,
            addresses: Vec::new(),
        });
    }
    for (name, seen) in table.services() {
        leases.extend(service_lease(
            table,
            name,
            seen,
            me,
            now,
            addresses.get(name),
        ));
    }
    leases
}

fn service_lease(
    table: &LeaseTable,
    name: &LeaseName,
    seen: &Seen<ServiceLease>,
    me: &NodeName,
    now: Moment,
    addresses: Option<&Vec<IpAddr>>,
) -> Option<Lease> {
    let record = seen.present()?;
    let found = table.possession(name)?;
    let holds = |holder: &Holder| {
        let lease = table.node(&holder.node);
        let fresh = lease.and_then(|lease| {
            let record = lease.record.as_ref()?;
            Some(now.since(lease.changed_at) <= record.duration)
        });
        table.standing(holder) == Standing::Holding && fresh == Some(true)
    };
    Some(Lease {
        name: name.as_str().to_owned(),
        kind: if name.carries_addresses() {
            "service"
        } else {
            "allocator"
        }
        .to_owned(),
        holder: found.holder.as_ref().map(|holder| holder.node.to_string()),
        ours: found
            .holder
            .as_ref()
            .is_some_and(|holder| holder.node == *me),
        valid: found.holder.as_ref().is_some_and(holds),
        since: (found.recorded && found.holder.is_some())
            .then(|| Timestamp(UNIX_EPOCH + Duration::from_secs(record.acquired_unix))),
        transitions: found.transition,
        cause: Some(found.cause.to_string()),
        recorded: found.recorded,
        addresses: addresses.cloned().unwrap_or_default(),
    })
}

/// The data path: where it is attached, how full its maps are, what it did.
pub fn datapath(
    report: &DatapathReport,
    counters: &[(Counter, u64)],
    pinned: Option<PathBuf>,
) -> Datapath {
    let forwarding = forwarding(report);
    let interfaces = report.uplinks.iter().map(|uplink| Interface {
        name: uplink.name.clone(),
        attached: uplink.hook.map(str::to_owned),
        forwarding: forwarding.to_owned(),
        up: uplink.up,
        problem: uplink.problem.clone(),
    });
    let maps = report
        .fills
        .iter()
        .map(|(name, entries, capacity)| MapFill {
            name: (*name).to_owned(),
            entries: *entries,
            capacity: *capacity,
        });
    let verdicts = counters.iter().map(|(counter, packets)| Verdicts {
        verdict: counter.name().to_owned(),
        packets: *packets,
    });
    Datapath {
        pinned,
        interfaces: interfaces.collect(),
        maps: maps.collect(),
        verdicts: verdicts.collect(),
    }
}

/// How other nodes are reached; the kinds side by side where there are several, and none without other nodes.
fn forwarding(report: &DatapathReport) -> String {
    let kinds: BTreeSet<&str> = report.reached.values().copied().collect();
    if kinds.is_empty() {
        return "-".to_owned();
    }
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}

/// What is wrong with the data path.
pub fn datapath_complaints(report: &DatapathReport) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (key, refusal) in &report.refused {
        let frontend = SocketAddr::new(key.address, key.port.get());
        complaints.push(Complaint {
            object: format!("Service {}", refusal.service),
            ..complaint(
                "data path",
                &format!(
                    "frontend {frontend}/{} is not served: {}",
                    key.protocol, refusal.problem
                ),
                "free room in the maps, or give them more of it",
            )
        });
    }
    for uplink in report.uplinks.iter().filter(|uplink| uplink.hook.is_none()) {
        let problem = uplink.problem.as_deref().unwrap_or("nothing is attached");
        complaints.push(Complaint {
            object: format!("interface {}", uplink.name),
            ..complaint(
                "data path",
                problem,
                "set datapath.attach to another way, or to \"auto\"",
            )
        });
    }
    for filtered in &report.filtered {
        let (family, interface, reached) = (filtered.family, &filtered.interface, filtered.reached);
        complaints.push(Complaint {
            object: format!("node {}", filtered.node),
            severity: Level::Warning,
            ..complaint(
                "data path",
                &format!(
                    "{family} packets with clients' addresses do not get through to it over {interface}; it is reached by {reached}"
                ),
                "let switch or hypervisor pass source addresses that are not the sender's own, or set datapath.mode to \"snat\"",
            )
        });
    }
    let others = report.problems.iter();
    complaints.extend(others.map(|problem| complaint("data path", problem, "see the agent's log")));
    complaints
}

/// What stands in the way of flows that no longer match the tables.
pub fn moved_complaints(report: &MovedReport) -> Vec<Complaint> {
    if report.entries < MovedReport::ROOM {
        return Vec::new();
    }
    let problem = format!(
        "the map of moved flows is full at {} entries, {} found no room; they may break when tables change again",
        report.entries, report.no_room
    );
    let remedy = "change endpoints more slowly, or let connections end before others move";
    vec![Complaint {
        severity: Level::Warning,
        ..complaint("data path", &problem, remedy)
    }]
}

/// What this node announces. `services` are those behind each lease, `answers` those sent so far.
pub fn announcements(
    report: &AnnounceReport,
    node: &NodeName,
    services: &BTreeMap<LeaseName, Vec<String>>,
    answers: &BTreeMap<(LinkIndex, IpAddr), u64>,
) -> Vec<Announcement> {
    let announced = report
        .vips
        .iter()
        .filter(|vip| vip.state == VipState::Announcing);
    announced
        .map(|vip| Announcement {
            address: vip.ip,
            services: services.get(&vip.lease).cloned().unwrap_or_default(),
            node: node.to_string(),
            interface: Some(vip.interface.clone()),
            responder: Some(vip.responder.to_owned()),
            since: Some(Timestamp(vip.since)),
            answers: Some(answers.get(&(vip.index, vip.ip)).copied().unwrap_or(0)),
        })
        .collect()
}

/// What holds of a Service, as Kubernetes' conditions are written.
pub fn conditions(account: &Account) -> Vec<Condition> {
    let conditions = account.conditions.iter().map(|condition| Condition {
        type_: condition.kind.to_owned(),
        status: match condition.status {
            report::ConditionStatus::True => ConditionStatus::True,
            report::ConditionStatus::False => ConditionStatus::False,
            report::ConditionStatus::Unknown => ConditionStatus::Unknown,
        },
        reason: condition.reason.to_string(),
        message: condition.message.to_string(),
        last_transition_time: humantime::format_rfc3339_seconds(condition.last_transition)
            .to_string(),
        observed_generation: None,
    });
    conditions.collect()
}

/// What happened to a Service, as `node` tells of it.
pub fn events(account: &Account, node: &NodeName) -> Vec<Event> {
    let events = account.events.iter().map(|event| Event {
        kind: match event.kind {
            report::EventKind::Normal => "Normal",
            report::EventKind::Warning => "Warning",
        }
        .to_owned(),
        reason: event.reason.to_owned(),
        message: event.message.to_string(),
        count: event.count,
        first_timestamp: Timestamp(event.first),
        last_timestamp: Timestamp(event.last),
        reporting_instance: node.to_string(),
    });
    events.collect()
}

/// How many addresses of leases held here other machines on the LAN use.
pub fn conflicts(report: &AnnounceReport) -> u64 {
    let taken = report.vips.iter();
    let taken = taken.filter(|vip| matches!(vip.state, VipState::Conflict(_)));
    taken.map(|vip| vip.ip).collect::<BTreeSet<_>>().len() as u64
}

/// What is wrong with announcing.
pub fn announce_complaints(report: &AnnounceReport) -> Vec<Complaint> {
    let conflicts = report.vips.iter().filter_map(|vip| match vip.state {
        VipState::Conflict(mac) => Some(Complaint {
            object: format!("address {}", vip.ip),
            ..complaint(
                "announcement",
                &format!("{mac} has it on {}; it is not announced", vip.interface),
                "take the address from that machine, or out of the pool",
            )
        }),
        VipState::Probing | VipState::Announcing => None,
    });
    let unproved = report.unproved.iter().map(|unproved| {
        let interface = &unproved.interface;
        let (object, problem) = match unproved.ip {
            Some(ip) => (
                format!("address {ip}"),
                format!("other nodes do not hear this node answer for it on {interface}; it is left to them"),
            ),
            None => (
                format!("interface {interface}"),
                "other nodes hear nothing that this node answers there; what it announced is left to them".to_owned(),
            ),
        };
        Complaint {
            object,
            ..complaint(
                "announcement",
                &problem,
                "look at the switch port: ARP inspection, port security, a filter; this node tries again by itself",
            )
        }
    });
    let others = report.problems.iter();
    let others = others.map(|problem| complaint("announcement", problem, "see the agent's log"));
    conflicts.chain(unproved).chain(others).collect()
}

fn complaint(origin: &str, problem: &str, remedy: &str) -> Complaint {
    Complaint {
        origin: origin.to_owned(),
        object: String::new(),
        field: String::new(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
        severity: Level::Error,
    }
}

#[cfg(test)]
mod tests;
