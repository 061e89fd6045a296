use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{l2, lease, pool, service, status};
use crate::api::snapshot::*;

fn at(seconds: u64) -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Compares with `golden/NAME.txt`, as a pipe sees it: without colours. With `UPDATE_GOLDEN=1` the
/// file is written instead, to be read in the diff.
fn golden(name: &str, text: &str) {
    let text = anstream::adapter::strip_str(text).to_string();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/render/golden");
    let path = dir.join(format!("{name}.txt"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).expect("the tree is writable");
    }
    let expected = std::fs::read_to_string(&path).expect("the golden file exists");
    assert_eq!(
        text,
        expected,
        "{} differs; UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}

fn backend(address: &str, node: &str, state: &str) -> Backend {
    Backend {
        address: address.parse().expect("an address"),
        port: 80,
        node: Some(node.into()),
        state: state.into(),
    }
}

fn frontends() -> Vec<Frontend> {
    let svc1 = Frontend {
        id: 1,
        address: "10.10.200.1".parse().expect("an address"),
        port: 80,
        protocol: "TCP".into(),
        kind: "LoadBalancer".into(),
        service: "default/svc1".into(),
        port_name: "svc1-webport".into(),
        traffic_policy: "Cluster".into(),
        source_ranges: Vec::new(),
        backends: vec![
            backend("10.244.1.2", "node1", "active"),
            backend("10.244.2.3", "node2", "active"),
            backend("10.244.3.4", "node3", "terminating"),
        ],
    };
    let dns = Frontend {
        id: 2,
        address: "2001:db8::53".parse().expect("an address"),
        port: 53,
        protocol: "UDP".into(),
        service: "dns/resolver".into(),
        port_name: String::new(),
        traffic_policy: "Local".into(),
        source_ranges: vec!["2001:db8::/32".into(), "fd00::/8".into()],
        backends: Vec::new(),
        ..svc1.clone()
    };
    vec![svc1, dns]
}

#[test]
fn services_are_listed_as_ciliums_users_know_them() {
    golden("service-list", &service::table(&frontends(), false));
}

fn announcements() -> Vec<Announcement> {
    vec![
        Announcement {
            address: "10.10.200.1".parse().expect("an address"),
            services: vec!["default/svc1".into()],
            node: "node1".into(),
            interface: Some("ens3".into()),
            responder: Some("kernel".into()),
            since: Some(at(1_000)),
            answers: Some(12),
        },
        Announcement {
            address: "10.10.200.2".parse().expect("an address"),
            services: vec!["default/svc2".into(), "default/svc3".into()],
            node: "node2".into(),
            interface: None,
            responder: None,
            since: None,
            answers: None,
        },
    ]
}

#[test]
fn the_wide_list_of_services_adds_names_policies_and_nodes() {
    golden("service-list-wide", &service::table(&frontends(), true));
}

#[test]
fn addresses_are_listed_with_who_announces_them() {
    golden("l2-list", &l2::table(&announcements(), at(1_192)));
}

#[test]
fn pools_are_listed_with_their_state() {
    let blue = Pool {
        name: "blue".into(),
        blocks: vec!["10.10.200.0/29".into(), "2001:db8::/64".into()],
        disabled: false,
        conflicts_with: None,
        total: "18446744073709551622".into(),
        used: 3,
        free: "18446744073709551619".into(),
    };
    let late = Pool {
        name: "late".into(),
        blocks: vec!["10.10.200.0/30".into()],
        conflicts_with: Some("blue".into()),
        total: "4".into(),
        used: 0,
        free: "4".into(),
        ..blue.clone()
    };
    let full = Pool {
        name: "full".into(),
        conflicts_with: None,
        free: "0".into(),
        ..late.clone()
    };
    golden("pool-list", &pool::table(&[blue, late, full]));
}

#[test]
fn leases_are_listed_with_their_holders() {
    let ours = Lease {
        name: "landfall-l2-default.svc1".into(),
        kind: "service".into(),
        holder: Some("node1".into()),
        ours: true,
        valid: true,
        since: Some(at(1_000)),
        transitions: 2,
        cause: Some("takeover".into()),
        recorded: true,
        addresses: vec!["10.10.200.1".parse().expect("an address")],
    };
    let pending = Lease {
        name: "landfall-l2-default.svc2".into(),
        since: None,
        recorded: false,
        addresses: vec!["10.10.200.2".parse().expect("an address")],
        ..ours.clone()
    };
    let lapsed = Lease {
        name: "landfall-node-node2".into(),
        kind: "node".into(),
        holder: Some("node2".into()),
        ours: false,
        valid: false,
        cause: None,
        addresses: Vec::new(),
        ..ours.clone()
    };
    golden(
        "lease-list-wide",
        &lease::table(&[ours, pending, lapsed], at(1_005), true),
    );
}

fn member(node: &str, state: &str, heard_ms_ago: Option<u64>) -> Member {
    Member {
        node: node.into(),
        grants: true,
        state: state.into(),
        heard_ms_ago,
    }
}

#[test]
fn a_service_is_described_with_its_conditions_and_what_happened_to_it() {
    use crate::objects::{Condition, ConditionStatus};
    let condition = |type_: &str, status, reason: &str, message: &str| Condition {
        type_: type_.into(),
        status,
        reason: reason.into(),
        message: message.into(),
        last_transition_time: "1970-01-01T00:16:40Z".into(),
        observed_generation: None,
    };
    let event = |kind: &str, reason: &str, message: &str, count| Event {
        kind: kind.into(),
        reason: reason.into(),
        message: message.into(),
        count,
        first_timestamp: at(1_000),
        last_timestamp: at(1_180),
        reporting_instance: "node1".into(),
    };
    let told = Service {
        namespace: "default".into(),
        name: "svc1".into(),
        addresses: vec![Address {
            address: "10.10.200.1".parse().expect("an address"),
            pool: "blue".into(),
        }],
        external_ips: vec!["192.0.2.7".parse().expect("an address")],
        announced: announcements()[..1].to_vec(),
        frontends: frontends()[..1].to_vec(),
        conditions: vec![
            condition(
                "landfall.dev/IPAMRequestSatisfied",
                ConditionStatus::True,
                "satisfied",
                "",
            ),
            condition(
                "landfall.dev/Announced",
                ConditionStatus::False,
                "address_conflict",
                "02:00:00:00:00:09 has 10.10.200.1 on ens3; it is not announced while that lasts",
            ),
        ],
        events: vec![
            event("Normal", "IPAllocated", "10.10.200.1 from pool blue", 1),
            event(
                "Warning",
                "AddressConflict",
                "02:00:00:00:00:09 has 10.10.200.1 on ens3",
                3,
            ),
        ],
    };
    golden(
        "service-describe",
        &service::description(&told, at(1_192), false),
    );
    let bare = Service {
        addresses: Vec::new(),
        external_ips: Vec::new(),
        announced: Vec::new(),
        frontends: Vec::new(),
        events: Vec::new(),
        ..told
    };
    golden(
        "service-describe-bare",
        &service::description(&bare, at(1_192), false),
    );
}

fn healthy() -> Status {
    Status {
        version: "0.1.0".into(),
        node: "node1".into(),
        started: at(1_000),
        now: at(1_192),
        sources: vec![Source {
            name: "manifests".into(),
            from: "/etc/landfall/manifests".into(),
            synced: true,
        }],
        services: ServiceCounts {
            ours: 3,
            satisfied: 3,
            left_out: 0,
            frontends: 3,
            backends: 9,
        },
        leases: LeaseStore {
            store: "/var/lib/landfall/leases".into(),
            held: 1,
            total: 3,
            renewed_ms_ago: Some(400),
            synced: true,
        },
        ground: Ground {
            kind: "quorum".into(),
            epoch: Some(5),
            changing: false,
            term: Some(1_000),
            refused: false,
            holds_ms: Some(262),
            grant_age_ms: Some(38),
            least_slack_ms: Some(241),
            members: vec![
                member("node1", "self", None),
                member("node2", "heard", Some(12)),
                member("node3", "refused", Some(192_000)),
            ],
        },
        datapath: Datapath {
            pinned: Some("/sys/fs/bpf/landfall/1".into()),
            interfaces: vec![Interface {
                name: "ens3".into(),
                attached: Some("xdp".into()),
                forwarding: "l2-dsr".into(),
                up: true,
                problem: None,
            }],
            maps: vec![MapFill {
                name: "frontends".into(),
                entries: 3,
                capacity: 65_536,
            }],
            verdicts: Vec::new(),
        },
        drained: false,
        announced: announcements()[..1].to_vec(),
        conflicts: 0,
        api: None,
        complaints: Vec::new(),
    }
}

#[test]
fn the_status_of_a_healthy_agent_fits_a_glance() {
    assert!(healthy().healthy());
    golden("status-healthy", &status::screen(&healthy(), false));
}

#[test]
fn the_status_of_an_ailing_agent_ends_with_what_to_do() {
    let mut ailing = healthy();
    ailing.services.satisfied = 2;
    ailing.leases.renewed_ms_ago = None;
    ailing.ground.holds_ms = None;
    ailing.ground.refused = true;
    ailing.ground.members.truncate(1);
    ailing.datapath.pinned = None;
    ailing.datapath.interfaces[0].attached = None;
    ailing.datapath.interfaces[0].problem = Some("XDP refused: EBUSY".into());
    ailing.datapath.maps[0].entries = 65_000;
    ailing.complaints = vec![
        Complaint {
            origin: "/etc/landfall/manifests/a.yaml#2".into(),
            object: "Service default/old".into(),
            field: "spec.loadBalancerIP".into(),
            problem: "is deprecated".into(),
            remedy: "use annotation landfall.dev/ips".into(),
            severity: Level::Warning,
        },
        Complaint {
            origin: "/etc/landfall/manifests/a.yaml#1".into(),
            object: "Service default/bad".into(),
            field: "spec.ports[0].port".into(),
            problem: "70000 is no port".into(),
            remedy: "write a number from 1 to 65535".into(),
            severity: Level::Error,
        },
    ];
    assert!(!ailing.healthy());
    golden("status-ailing", &status::screen(&ailing, false));
}

#[test]
fn colours_are_there_for_a_terminal() {
    assert!(status::screen(&healthy(), false).contains("\u{1b}["));
}

#[test]
fn ages_are_told_in_two_units() {
    for (seconds, text) in [
        (0.4, "0.4s"),
        (12.0, "12s"),
        (192.0, "3m12s"),
        (7_260.0, "2h1m"),
        (90_000.0, "1d1h"),
    ] {
        assert_eq!(
            crate::cli::format::age(Duration::from_secs_f64(seconds)),
            text
        );
    }
}

#[test]
fn the_kernels_frontends_are_listed_with_how_endpoints_are_reached() {
    use crate::cli::bpf::{KernelBackend, KernelFrontend};
    let reached = |address: &str, node, reached: &str| KernelBackend {
        address: address.parse().expect("an address"),
        port: 8080,
        node,
        reached: reached.into(),
    };
    let frontend = KernelFrontend {
        id: 7,
        address: "10.10.200.1".parse().expect("an address"),
        port: 80,
        protocol: 6,
        flags: 1,
        backends: vec![
            reached("10.244.1.2", 0, "local"),
            reached("10.244.2.3", 1, "l2-dsr"),
            reached("10.244.3.4", 2, "snat"),
        ],
    };
    golden("bpf-lb-list", &super::lb::table(&[frontend]));
}

#[test]
fn connections_are_listed_from_client_to_backend() {
    let flow = crate::cli::bpf::KernelFlow {
        protocol: 17,
        client: "2001:db8::7".parse().expect("an address"),
        client_port: 40_000,
        frontend: "2001:db8::53".parse().expect("an address"),
        frontend_port: 53,
        backend: "fd00::2".parse().expect("an address"),
        backend_port: 5353,
        state: "established".into(),
        idle_s: 4,
    };
    golden("bpf-ct-list", &super::conntrack::table(&[flow]));
}
