//! Every metric there is: name, kind, labels and meaning. The README's table is compared with this.

use metrics::{Unit, counter, describe_counter, describe_gauge};

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// Its labels; each has as many values as the node has pools, interfaces or maps, or fewer.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

const fn gauge(
    name: &'static str,
    unit: Unit,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit,
        labels,
        help,
    }
}

/// The agent's version.
pub const BUILD_INFO: Metric = gauge(
    "landfall_build_info",
    Unit::Count,
    &["version"],
    "Always 1; the label tells the version",
);
/// When the agent started.
pub const START_TIME: Metric = gauge(
    "landfall_start_time_seconds",
    Unit::Seconds,
    &[],
    "When the agent started, Unix time",
);
/// Whether a source is synced.
pub const SOURCE_SYNCED: Metric = gauge(
    "landfall_source_synced",
    Unit::Count,
    &["source"],
    "1 where the source has delivered everything it had at start",
);
/// Things that need a person.
pub const COMPLAINTS: Metric = gauge(
    "landfall_complaints",
    Unit::Count,
    &["severity"],
    "Wrong objects and faults that need a person; `landfall status` lists them",
);
/// Services that are ours.
pub const SERVICES: Metric = gauge(
    "landfall_services",
    Unit::Count,
    &[],
    "LoadBalancer Services that are ours",
);
/// Services with their addresses.
pub const SERVICES_SATISFIED: Metric = gauge(
    "landfall_services_satisfied",
    Unit::Count,
    &[],
    "LoadBalancer Services of ours with all the addresses they need",
);
/// Services that the record has no room for.
pub const SERVICES_LEFT_OUT: Metric = gauge(
    "landfall_services_left_out",
    Unit::Count,
    &[],
    "LoadBalancer Services of ours that the record of assignments has no room for, on the node that allocates",
);
/// Frontends.
pub const FRONTENDS: Metric = gauge(
    "landfall_frontends",
    Unit::Count,
    &[],
    "Frontends: address, port and protocol",
);
/// Backends.
pub const BACKENDS: Metric = gauge(
    "landfall_backends",
    Unit::Count,
    &[],
    "Backends, each counted once a frontend",
);
/// Addresses of a pool in use.
pub const POOL_USED: Metric = gauge(
    "landfall_pool_addresses_used",
    Unit::Count,
    &["pool"],
    "Addresses of the pool given to Services",
);
/// Addresses of a pool left.
pub const POOL_FREE: Metric = gauge(
    "landfall_pool_addresses_free",
    Unit::Count,
    &["pool"],
    "Addresses of the pool left",
);
/// Leases held here.
pub const LEASES_HELD: Metric = gauge(
    "landfall_leases_held",
    Unit::Count,
    &[],
    "Service leases this node holds",
);
/// Leases there are.
pub const LEASES: Metric = gauge(
    "landfall_leases",
    Unit::Count,
    &[],
    "Service leases there are, whoever holds them",
);
/// Age of the node lease.
pub const NODE_LEASE_AGE: Metric = gauge(
    "landfall_node_lease_age_seconds",
    Unit::Seconds,
    &[],
    "Since the last renewal of this node's own lease",
);
/// Addresses announced here.
pub const ANNOUNCED: Metric = gauge(
    "landfall_announced_addresses",
    Unit::Count,
    &["interface"],
    "Addresses this node announces on the interface",
);
/// Entries of a map.
pub const MAP_ENTRIES: Metric = gauge(
    "landfall_map_entries",
    Unit::Count,
    &["map"],
    "Entries in the kernel map",
);
/// Capacity of a map.
pub const MAP_CAPACITY: Metric = gauge(
    "landfall_map_capacity",
    Unit::Count,
    &["map"],
    "Entries the kernel map has room for",
);
/// Whether the data path is attached.
pub const INTERFACE_ATTACHED: Metric = gauge(
    "landfall_interface_attached",
    Unit::Count,
    &["interface", "attached"],
    "1 where the data path is attached to the interface, 0 where it was refused",
);

/// Packets by verdict.
pub const PACKETS: Metric = Metric {
    name: "landfall_packets_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["verdict"],
    help: "Packets by what the kernel programs did with them",
};

/// Self-proofs by result.
pub const SELF_PROOFS: Metric = Metric {
    name: "landfall_self_proofs_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["result"],
    help: "Findings of peers that asked for this node's addresses: `proved`, `vip_denied` or `wire_denied`",
};

/// VIPs that came here, by cause.
pub const HANDOVERS: Metric = Metric {
    name: "landfall_handovers_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["cause"],
    help: "VIPs that came to this node: `first`, `takeover`, `handover`, `drained`, `unable` or `continued`",
};
/// Whether this node may answer.
pub const RIGHT: Metric = gauge(
    "landfall_right_to_answer",
    Unit::Count,
    &[],
    "1 where this node may answer for what it holds",
);
/// Members by state.
pub const MEMBERS: Metric = gauge(
    "landfall_members",
    Unit::Count,
    &["state"],
    "Nodes of the cluster as this one sees them: `self`, `heard`, `silent` or `refused`",
);
/// How old the grants are.
pub const GRANT_AGE: Metric = gauge(
    "landfall_grant_age_seconds",
    Unit::Seconds,
    &[],
    "Since the oldest heartbeat (or, of one or two nodes, renewal) that the present deadline stands on; NaN without a right",
);
/// How close the deadline came.
pub const DEADLINE_SLACK: Metric = gauge(
    "landfall_deadline_slack_seconds",
    Unit::Seconds,
    &[],
    "The least that was left of the deadline in the last minute when it was pushed on, 0 where it had passed; NaN where it was not pushed",
);
/// Addresses in conflict.
pub const CONFLICTS: Metric = gauge(
    "landfall_address_conflicts",
    Unit::Count,
    &[],
    "Addresses of leases held here that other machines on the LAN use",
);
/// Whether the store is of use.
pub const STORE_SYNCED: Metric = gauge(
    "landfall_lease_store_synced",
    Unit::Count,
    &[],
    "1 where all leases were read and nothing has failed since",
);
/// Whether a kind of the API's objects is read.
pub const KIND_SYNCED: Metric = gauge(
    "landfall_kind_synced",
    Unit::Count,
    &["kind"],
    "1 where all objects of the kind were read from the API server, or it has none of it",
);
/// Whether reading a kind fails.
pub const KIND_TROUBLED: Metric = gauge(
    "landfall_kind_troubled",
    Unit::Count,
    &["kind"],
    "1 where the kind cannot be read from the API server at present; its last state stays in force",
);
/// Objects of a kind.
pub const KIND_OBJECTS: Metric = gauge(
    "landfall_kind_objects",
    Unit::Count,
    &["kind"],
    "Objects of the kind as the API server told of them last, or as they are remembered",
);
/// Failures to read a kind.
pub const KIND_ERRORS: Metric = Metric {
    name: "landfall_kind_errors_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["kind"],
    help: "Lists and watches of the kind that failed, each attempt by itself",
};
/// Writes of status.
pub const STATUS_WRITES: Metric = Metric {
    name: "landfall_status_writes_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["outcome"],
    help: "Applies of status to the API's objects: `written`, `gone`, `conflict`, `refused`, or `away` where the API server was of no use",
};
/// Objects whose status waits.
pub const STATUS_WAITING: Metric = gauge(
    "landfall_status_waiting",
    Unit::Count,
    &[],
    "Objects whose status is to be written",
);
/// Writes of Events.
pub const EVENT_WRITES: Metric = Metric {
    name: "landfall_event_writes_total",
    kind: Kind::Counter,
    unit: Unit::Count,
    labels: &["outcome"],
    help: "Events told to the API server: `written`, `refused`, `away` where it was of no use, or `dropped` where too many waited",
};

/// All of them.
pub const ALL: &[Metric] = &[
    BUILD_INFO,
    START_TIME,
    SOURCE_SYNCED,
    COMPLAINTS,
    SERVICES,
    SERVICES_SATISFIED,
    SERVICES_LEFT_OUT,
    FRONTENDS,
    BACKENDS,
    POOL_USED,
    POOL_FREE,
    LEASES_HELD,
    LEASES,
    NODE_LEASE_AGE,
    ANNOUNCED,
    MAP_ENTRIES,
    MAP_CAPACITY,
    INTERFACE_ATTACHED,
    PACKETS,
    SELF_PROOFS,
    HANDOVERS,
    RIGHT,
    MEMBERS,
    GRANT_AGE,
    DEADLINE_SLACK,
    CONFLICTS,
    STORE_SYNCED,
    KIND_SYNCED,
    KIND_TROUBLED,
    KIND_OBJECTS,
    KIND_ERRORS,
    STATUS_WRITES,
    STATUS_WAITING,
    EVENT_WRITES,
];

/// Labels of counters that are there from the start, so that the first of a kind is an increase.
const FROM_THE_START: [(Metric, &str, &[&str]); 2] = [
    (
        SELF_PROOFS,
        "result",
        &["proved", "vip_denied", "wire_denied"],
    ),
    (
        HANDOVERS,
        "cause",
        &[
            "first",
            "takeover",
            "handover",
            "drained",
            "unable",
            "continued",
        ],
    ),
];

/// Tells the recorder what each metric means.
pub(super) fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.unit, metric.help),
        }
    }
    for (metric, label, values) in FROM_THE_START {
        for value in values {
            counter!(metric.name, label => *value).increment(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_of_a_hand_over_is_counted_from_the_start() {
        let causes =
            landfall_core::election::Cause::ALL.map(landfall_core::election::Cause::as_str);
        assert_eq!(FROM_THE_START[1].2, causes);
    }

    #[test]
    fn the_readme_lists_exactly_these_metrics() {
        let readme = include_str!("../../../README.md");
        let listed: Vec<&str> = readme
            .lines()
            .filter(|l| l.starts_with("| `landfall_"))
            .collect();
        let expected: Vec<String> = ALL
            .iter()
            .map(|metric| {
                let labels: Vec<String> = metric
                    .labels
                    .iter()
                    .map(|label| format!("`{label}`"))
                    .collect();
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                };
                format!(
                    "| `{}` | {kind} | {} | {} |",
                    metric.name,
                    labels.join(", "),
                    metric.help
                )
            })
            .map(|line| line.replace("|  |", "| |"))
            .collect();
        assert_eq!(
            listed,
            expected,
            "the table for README.md:\n{}",
            expected.join("\n")
        );
    }
}
