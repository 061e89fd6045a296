//! Ports and protocols.

use crate::model::{PortMatch, Protocol};
use crate::policy::Transport;
use crate::policy::tests::fixtures::{
    Case, block, egress, ingress, named, namespaces, pods, ports, rule, tcp, with_port,
};

const TCP: Option<Protocol> = Some(Protocol::Tcp);

#[test]
fn a_policy_that_selects_no_ports_selects_all_of_them_and_icmp() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    assert!(case.tcp("x/b", "x/a", 1) && case.udp("x/b", "x/a", 65535) && case.icmp("x/b", "x/a"));
}

#[test]
fn icmp_does_not_match_a_rule_that_names_ports() {
    let mut case = Case::new();
    let all_tcp = vec![PortMatch::Protocol(Protocol::Tcp)];
    case.policy(ingress("x/p", "app=a", vec![rule(vec![], all_tcp)]));
    assert!(case.tcp("x/b", "x/a", 80) && !case.udp("x/b", "x/a", 80) && !case.icmp("x/b", "x/a"));
}

#[test]
fn udp_and_tcp_on_one_port_number_are_two_things() {
    let mut case = Case::new();
    let both = vec![tcp(53), ports(Protocol::Udp, 5353, 5353)];
    case.policy(ingress("x/dns", "app=a", vec![rule(vec![], both)]));
    assert!(case.tcp("x/b", "x/a", 53) && case.udp("x/b", "x/a", 5353));
    assert!(!case.udp("x/b", "x/a", 53) && !case.tcp("x/b", "x/a", 5353));
}

#[test]
fn sctp_is_a_protocol_of_its_own() {
    let mut case = Case::new();
    let sctp = vec![ports(Protocol::Sctp, 80, 80)];
    case.policy(ingress("x/p", "app=a", vec![rule(vec![], sctp)]));
    assert!(case.passes("x/b", "x/a", Transport::Port(Protocol::Sctp, 80)));
    assert!(!case.tcp("x/b", "x/a", 80));
}

#[test]
fn a_range_of_ports_includes_both_its_ends() {
    let mut case = Case::new();
    let range = vec![ports(Protocol::Tcp, 1000, 2047)];
    case.policy(ingress("x/p", "app=a", vec![rule(vec![], range)]));
    for (port, passes) in [
        (999, false),
        (1000, true),
        (1500, true),
        (2047, true),
        (2048, false),
    ] {
        assert_eq!(case.tcp("x/b", "x/a", port), passes, "port {port}");
    }
}

#[test]
fn the_range_of_all_ports_has_its_ends() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![], vec![ports(Protocol::Tcp, 1, 65535)])],
    ));
    assert!(case.tcp("x/b", "x/a", 1) && case.tcp("x/b", "x/a", 65535));
    assert!(!case.tcp("x/b", "x/a", 0));
}

#[test]
fn a_named_port_that_two_pods_map_differently_is_each_pods_own_on_the_way_in() {
    let mut case = Case::new();
    case.pod(with_port(case.get("x/a"), "http", Protocol::Tcp, 80));
    case.pod(with_port(case.get("x/b"), "http", Protocol::Tcp, 8080));
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![], vec![named("http", TCP)])],
    ));
    assert!(case.tcp("y/a", "x/a", 80) && case.tcp("y/a", "x/b", 8080));
    assert!(!case.tcp("y/a", "x/a", 8080) && !case.tcp("y/a", "x/b", 80));
}

#[test]
fn a_named_port_that_two_pods_map_differently_is_each_pods_own_on_the_way_out() {
    for peer in [
        vec![],
        vec![namespaces("team=b")],
        vec![namespaces("")],
        vec![block("10.0.0.0/24", &[])],
    ] {
        let mut case = Case::new();
        case.pod(with_port(case.get("y/a"), "http", Protocol::Tcp, 80));
        case.pod(with_port(case.get("y/b"), "http", Protocol::Tcp, 8080));
        case.policy(egress(
            "x/p",
            "",
            vec![rule(peer, vec![named("http", TCP)])],
        ));
        assert!(case.tcp("x/a", "y/a", 80) && case.tcp("x/a", "y/b", 8080));
        assert!(!case.tcp("x/a", "y/a", 8080) && !case.tcp("x/a", "y/b", 80));
        assert!(!case.tcp("x/a", "8.8.8.8", 80) && !case.tcp("x/a", "10.0.0.99", 80));
    }
}

#[test]
fn a_named_port_in_a_block_follows_the_pod_that_has_the_address() {
    let mut case = Case::new();
    case.pod(with_port(case.get("y/a"), "http", Protocol::Tcp, 80));
    let in_block = rule(
        vec![block("10.0.0.0/24", &["10.0.0.4/32"])],
        vec![named("http", TCP)],
    );
    case.policy(egress("x/p", "", vec![in_block]));
    assert!(case.tcp("x/a", "y/a", 80));
    let mut moved = case.get("y/a");
    moved.ips = vec!["10.0.0.9".parse().unwrap()];
    case.pod(moved);
    assert!(case.tcp("x/a", "y/a", 80) && !case.tcp("x/a", "10.0.0.3", 80));
    case.pod(with_port(case.get("y/b"), "http", Protocol::Tcp, 80));
    assert!(!case.tcp("x/a", "y/b", 80), "excepted");
}

#[test]
fn a_named_port_that_a_pod_does_not_have_matches_nothing_of_it() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![], vec![named("http", TCP)])],
    ));
    assert!(!case.tcp("y/a", "x/a", 80) && !case.icmp("y/a", "x/a"));
}

#[test]
fn a_named_port_of_another_protocol_does_not_match() {
    let mut case = Case::new();
    case.pod(with_port(case.get("x/a"), "dns", Protocol::Udp, 53));
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![], vec![named("dns", TCP)])],
    ));
    assert!(!case.tcp("y/a", "x/a", 53) && !case.udp("y/a", "x/a", 53));
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![], vec![named("dns", None)])],
    ));
    assert!(!case.tcp("y/a", "x/a", 53) && case.udp("y/a", "x/a", 53));
}
