//! Addresses: blocks, nodes, pods that share one or have none of their own.

use crate::model::RuleAction;
use crate::model::{NodeName, Tier};
use crate::policy::PolicyChange;
use crate::policy::tests::fixtures::{
    Case, block, cluster, cluster_rule, egress, ingress, namespaces, pod, pods, policy, rule,
};
use crate::policy::tests::world::World;

#[test]
fn a_block_that_covers_a_pod_or_a_node_holds_it() {
    let mut case = Case::new();
    let peers = vec![block("10.0.0.2/32", &[]), block("192.168.0.0/24", &[])];
    case.policy(ingress("x/p", "app=a", vec![rule(peers, vec![])]));
    assert!(case.tcp("x/b", "x/a", 80) && case.tcp("192.168.0.2", "x/a", 80));
    assert!(!case.tcp("y/a", "x/a", 80) && !case.tcp("8.8.8.8", "x/a", 80));
}

#[test]
fn what_one_rule_excepts_another_may_accept() {
    let mut case = Case::new();
    let outer = rule(vec![block("10.0.0.0/8", &["10.0.0.0/24"])], vec![]);
    let inner = rule(vec![block("10.0.0.4/32", &[])], vec![]);
    case.policy(ingress("x/p", "app=a", vec![outer, inner]));
    assert!(case.tcp("10.1.0.1", "x/a", 80) && case.tcp("y/b", "x/a", 80));
    assert!(!case.tcp("y/a", "x/a", 80));
}

#[test]
fn what_a_block_excepts_a_selector_may_accept() {
    let mut case = Case::new();
    let peers = vec![block("0.0.0.0/0", &["10.0.0.0/8"]), pods("app=b")];
    case.policy(ingress("x/p", "app=a", vec![rule(peers, vec![])]));
    assert!(case.tcp("8.8.8.8", "x/a", 80) && case.tcp("x/b", "x/a", 80));
    assert!(!case.tcp("y/b", "x/a", 80));
}

#[test]
fn an_except_of_everything_leaves_nothing() {
    let mut case = Case::new();
    let peers = vec![block("10.0.0.0/8", &["10.0.0.0/8"])];
    case.policy(ingress("x/p", "app=a", vec![rule(peers, vec![])]));
    assert!(!case.tcp("10.1.0.1", "x/a", 80) && !case.tcp("x/b", "x/a", 80));
}

#[test]
fn a_rule_for_ipv6_alone_leaves_the_ipv4_of_a_dual_stack_pod_closed() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/six",
        "app=a",
        vec![rule(vec![block("::/0", &[])], vec![])],
    ));
    assert!(case.tcp("x/b#6", "x/a#6", 80) && case.tcp("2001:db8::1", "x/a#6", 80));
    assert!(!case.tcp("x/b", "x/a", 80) && !case.tcp("8.8.8.8", "x/a", 80));
}

#[test]
fn selectors_hold_for_both_addresses_of_a_dual_stack_pod() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    assert!(case.tcp("x/b", "x/a", 80) && case.tcp("x/b#6", "x/a#6", 80));
    assert!(!case.tcp("y/b#6", "x/a#6", 80));
}

#[test]
fn a_pod_in_its_nodes_network_is_that_node_and_no_pod() {
    let mut case = Case::new();
    let mut host = pod("x/b", "app=b", &["192.168.0.2"]);
    host.node = Some(NodeName::new("n2"));
    host.host_network = true;
    case.pod(host);
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods(""), namespaces("")], vec![])],
    ));
    assert!(!case.tcp("192.168.0.2", "x/a", 80));
    case.policy(ingress(
        "x/q",
        "app=a",
        vec![rule(vec![block("192.168.0.2/32", &[])], vec![])],
    ));
    assert!(case.tcp("192.168.0.2", "x/a", 80));
}

#[test]
fn policies_do_not_apply_to_a_pod_in_its_nodes_network() {
    let mut case = Case::new();
    let mut host = pod("x/h", "app=a", &["192.168.0.1"]);
    host.host_network = true;
    case.pod(host);
    case.policy(policy("x/deny", ""));
    assert!(case.tcp("y/a", "x/h", 80));
}

#[test]
fn a_finished_pods_address_is_the_next_pods() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    let mut finished = case.get("x/b");
    finished.finished = true;
    case.pod(finished);
    assert!(!case.tcp("10.0.0.2", "x/a", 80));
    case.pod(pod("y/c", "app=c", &["10.0.0.2"]));
    assert!(!case.tcp("y/c", "x/a", 80));
    case.pod(pod("x/c", "app=b", &["10.0.0.7"]));
    assert!(case.tcp("x/c", "x/a", 80));
}

#[test]
fn while_two_pods_have_an_address_it_is_the_first_ones() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    case.pod(pod("x/z", "app=z", &["10.0.0.2"]));
    assert!(case.tcp("10.0.0.2", "x/a", 80));
    case.followed
        .step(PolicyChange::Pod(case.get("x/b").name, None));
    assert!(!case.tcp("10.0.0.2", "x/a", 80));
}

#[test]
fn a_pod_is_not_kept_from_itself() {
    let mut case = Case::new();
    case.policy(policy("x/in", ""));
    case.policy(egress("x/out", "", vec![]));
    assert!(case.tcp("x/a", "x/a", 80) && case.tcp("x/a#6", "x/a#6", 80));
    assert!(!case.tcp("x/a", "x/b", 80));
}

#[test]
fn the_node_a_pod_runs_on_reaches_it_and_other_nodes_do_not() {
    let mut case = Case::new();
    case.policy(policy("x/deny", ""));
    assert!(case.tcp("192.168.0.1", "x/a", 80) && !case.tcp("192.168.0.2", "x/a", 80));
    let probing = ["10.0.0.254".parse().unwrap()];
    assert!(!case.tcp("10.0.0.254", "x/a", 80));
    case.followed
        .step(PolicyChange::OwnAddresses(probing.into()));
    assert!(case.tcp("10.0.0.254", "x/a", 80));
}

#[test]
fn the_way_out_to_its_own_node_is_open_or_not_by_a_setting() {
    for open in [true, false] {
        let mut case = Case::of(World::new("n1", open));
        case.policy(egress("x/out", "", vec![]));
        assert_eq!(case.tcp("x/a", "192.168.0.1", 10250), open);
        assert!(!case.tcp("x/a", "192.168.0.2", 10250));
    }
}

#[test]
fn a_pods_status_takes_no_nodes_address() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    case.pod(pod("x/b", "app=b", &["192.168.0.2"]));
    assert!(!case.tcp("192.168.0.2", "x/a", 80));
}

#[test]
fn a_node_that_goes_leaves_its_address_to_nobody() {
    let mut case = Case::new();
    let nodes = crate::model::ClusterPeer::Nodes(landfall_ipam::LabelSelector::default());
    let mut deny = cluster("no-nodes", Tier::Admin, 1);
    deny.egress = vec![cluster_rule(RuleAction::Deny, vec![nodes])];
    case.cluster(deny);
    assert!(!case.tcp("x/a", "192.168.0.2", 22));
    case.followed
        .step(PolicyChange::Node(NodeName::new("n2"), None));
    assert!(case.tcp("x/a", "192.168.0.2", 22));
}
