//! Whom policies select, and who their peers are.

use crate::model::{Namespace, PolicyTypes};
use crate::policy::PolicyChange;
use crate::policy::tests::fixtures::{
    Case, block, both, egress, ingress, labels, name, namespaces, pods, policy, rule, tcp,
};

#[test]
fn without_policies_everything_passes() {
    let case = Case::new();
    assert!(
        case.tcp("x/a", "y/b", 80) && case.udp("8.8.8.8", "x/a", 53) && case.icmp("y/a", "x/a")
    );
}

#[test]
fn a_policy_without_rules_denies_everything_in_its_direction_and_nothing_in_the_other() {
    let mut case = Case::new();
    case.policy(policy("x/deny", "app=a"));
    assert!(!case.tcp("x/b", "x/a", 80) && !case.icmp("8.8.8.8", "x/a"));
    assert!(case.tcp("x/a", "x/b", 80) && case.tcp("x/a", "8.8.8.8", 80));
}

#[test]
fn an_empty_rule_accepts_everyone_and_every_protocol() {
    let mut case = Case::new();
    case.policy(ingress("x/all", "", vec![rule(vec![], vec![])]));
    for from in ["x/b", "y/a", "8.8.8.8", "192.168.0.2"] {
        assert!(
            case.tcp(from, "x/a", 80) && case.icmp(from, "x/a"),
            "{from}"
        );
    }
}

#[test]
fn an_empty_pod_selector_selects_all_pods_of_the_policys_namespace_and_no_others() {
    let mut case = Case::new();
    case.policy(policy("x/deny", ""));
    assert!(!case.tcp("y/a", "x/a", 80) && !case.tcp("y/a", "x/b", 80));
    assert!(case.tcp("x/a", "y/a", 80) && case.tcp("x/a", "y/b", 80));
}

#[test]
fn an_empty_pod_selector_in_a_peer_means_the_policys_namespace() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/own",
        "app=a",
        vec![rule(vec![pods("")], vec![])],
    ));
    assert!(case.tcp("x/b", "x/a", 80));
    assert!(!case.tcp("y/b", "x/a", 80) && !case.tcp("8.8.8.8", "x/a", 80));
}

#[test]
fn an_empty_namespace_selector_means_the_pods_of_all_namespaces_and_nobody_else() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/pods",
        "app=a",
        vec![rule(vec![namespaces("")], vec![])],
    ));
    assert!(case.tcp("x/b", "x/a", 80) && case.tcp("y/b", "x/a", 80));
    assert!(!case.tcp("8.8.8.8", "x/a", 80) && !case.tcp("192.168.0.2", "x/a", 80));
}

#[test]
fn two_selectors_in_one_peer_must_both_match() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/and",
        "app=a",
        vec![rule(vec![both("team=b", "app=b")], vec![])],
    ));
    assert!(case.tcp("y/b", "x/a", 80));
    assert!(!case.tcp("y/a", "x/a", 80) && !case.tcp("x/b", "x/a", 80));
}

#[test]
fn two_selectors_in_two_peers_need_only_one_to_match() {
    let mut case = Case::new();
    let peers = vec![namespaces("team=b"), pods("app=b")];
    case.policy(ingress("x/or", "app=a", vec![rule(peers, vec![])]));
    assert!(case.tcp("y/b", "x/a", 80) && case.tcp("y/a", "x/a", 80) && case.tcp("x/b", "x/a", 80));
    assert!(!case.tcp("8.8.8.8", "x/a", 80));
}

#[test]
fn rules_of_several_policies_add_up() {
    let mut case = Case::new();
    case.policy(policy("x/deny", ""));
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![tcp(80)])],
    ));
    case.policy(ingress(
        "x/q",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![tcp(81)])],
    ));
    assert!(case.tcp("x/b", "x/a", 80) && case.tcp("x/b", "x/a", 81));
    assert!(!case.tcp("x/b", "x/a", 82) && !case.tcp("y/b", "x/a", 80));
}

#[test]
fn a_connection_must_be_let_out_and_in() {
    let mut case = Case::new();
    case.policy(egress(
        "x/out",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    assert!(case.tcp("x/a", "x/b", 80) && !case.tcp("x/a", "y/b", 80));
    case.policy(policy("x/deny", "app=b"));
    assert!(!case.tcp("x/a", "x/b", 80));
}

#[test]
fn absent_policy_types_mean_ingress_and_egress_only_where_there_are_egress_rules() {
    let mut case = Case::new();
    let mut plain = policy("x/plain", "app=a");
    plain.policy_types = PolicyTypes::absent(&plain.egress);
    case.policy(plain.clone());
    assert!(!case.tcp("x/b", "x/a", 80) && case.tcp("x/a", "x/b", 80));
    plain.egress = vec![rule(vec![block("8.8.8.0/24", &[])], vec![])];
    plain.policy_types = PolicyTypes::absent(&plain.egress);
    case.policy(plain);
    assert!(!case.tcp("x/a", "x/b", 80) && case.tcp("x/a", "8.8.8.8", 80));
}

#[test]
fn egress_rules_of_a_policy_that_is_not_for_egress_mean_nothing() {
    let mut case = Case::new();
    let mut odd = egress("x/odd", "app=a", vec![rule(vec![pods("app=b")], vec![])]);
    odd.policy_types = PolicyTypes {
        ingress: true,
        egress: false,
    };
    case.policy(odd);
    assert!(case.tcp("x/a", "y/b", 80) && !case.tcp("x/b", "x/a", 80));
}

#[test]
fn a_relabelled_namespace_is_another_peer_at_once() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/team",
        "app=a",
        vec![rule(vec![both("team=b", "app=b")], vec![])],
    ));
    assert!(case.tcp("y/b", "x/a", 80));
    let relabel = |team: &str| {
        let name: std::sync::Arc<str> = "y".into();
        let labels = labels(team);
        PolicyChange::Namespace(name.clone(), Some(Namespace { name, labels }))
    };
    case.followed.step(relabel("team=c"));
    assert!(!case.tcp("y/b", "x/a", 80));
    case.followed.step(relabel("team=b"));
    assert!(case.tcp("y/b", "x/a", 80));
}

#[test]
fn a_namespace_has_its_name_for_a_label_even_without_an_object() {
    let mut case = Case::new();
    let by_name = namespaces("kubernetes.io/metadata.name=y");
    case.policy(ingress(
        "x/by-name",
        "app=a",
        vec![rule(vec![by_name], vec![])],
    ));
    case.followed
        .step(PolicyChange::Namespace("y".into(), None));
    assert!(case.tcp("y/b", "x/a", 80) && !case.tcp("x/b", "x/a", 80));
}

#[test]
fn a_relabelled_pod_comes_under_other_policies_and_is_another_peer() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    let mut pod = case.get("x/b");
    pod.labels = labels("app=a");
    case.pod(pod);
    assert!(!case.tcp("x/b", "x/a", 80) && !case.tcp("x/a", "x/b", 80));
    assert!(!case.tcp("y/a", "x/b", 80));
}

#[test]
fn a_deleted_policy_leaves_everything_open() {
    let mut case = Case::new();
    case.policy(policy("x/deny", ""));
    assert!(!case.tcp("y/a", "x/a", 80));
    case.followed
        .step(PolicyChange::NetworkPolicy(name("x/deny"), None));
    assert!(case.tcp("y/a", "x/a", 80));
}
