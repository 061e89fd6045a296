//! Tiers, priorities and actions of ClusterNetworkPolicies, and what is said of the way to a verdict.

use crate::model::{ClusterPeer, RuleAction, Tier};
use crate::policy::tests::fixtures::{
    Case, block, cluster, cluster_pods, cluster_rule, egress, expression, ingress, name,
    namespaces, pods, policy, rule, selector, tcp,
};
use crate::policy::{Decider, Place, PolicyChange, PolicyRef, Transport, Verdict, trace};

use RuleAction::{Accept, Deny, Pass};

fn peers(of: &str) -> Vec<ClusterPeer> {
    vec![ClusterPeer::Pods(cluster_pods("", of))]
}

fn networks(of: &[&str]) -> ClusterPeer {
    ClusterPeer::Networks(of.iter().map(|cidr| cidr.parse().unwrap()).collect())
}

/// A policy for ingress to pods `a`.
fn into_a(
    name: &str,
    tier: Tier,
    priority: u16,
    rules: Vec<(RuleAction, Vec<ClusterPeer>)>,
) -> crate::model::ClusterNetworkPolicy {
    let mut policy = cluster(name, tier, priority);
    policy.subject = cluster_pods("", "app=a");
    let rules = rules.into_iter();
    policy.ingress = rules
        .map(|(action, peers)| cluster_rule(action, peers))
        .collect();
    policy
}

#[test]
fn the_admin_tier_goes_before_network_policies_either_way() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    case.cluster(into_a(
        "c",
        Tier::Admin,
        5,
        vec![(Deny, peers("app=b")), (Accept, peers("app=a"))],
    ));
    assert!(
        !case.tcp("x/b", "x/a", 80),
        "denied though a NetworkPolicy accepts"
    );
    assert!(
        case.tcp("y/a", "x/a", 80),
        "accepted though a NetworkPolicy isolates"
    );
}

#[test]
fn the_first_matching_rule_of_a_policy_decides() {
    let mut case = Case::new();
    let rules = vec![(Accept, peers("app=b")), (Deny, peers(""))];
    case.cluster(into_a("c", Tier::Admin, 5, rules));
    assert!(case.tcp("y/b", "x/a", 80) && !case.tcp("y/a", "x/a", 80));
}

#[test]
fn the_lower_priority_goes_first_and_among_equals_the_name() {
    let mut case = Case::new();
    case.cluster(into_a("z", Tier::Admin, 1, vec![(Accept, peers("app=b"))]));
    case.cluster(into_a("a", Tier::Admin, 2, vec![(Deny, peers("app=b"))]));
    assert!(case.tcp("y/b", "x/a", 80));
    case.cluster(into_a("z", Tier::Admin, 2, vec![(Accept, peers("app=b"))]));
    assert!(!case.tcp("y/b", "x/a", 80));
}

#[test]
fn pass_skips_the_rest_of_its_tier_alone() {
    let mut case = Case::new();
    let rules = vec![(Pass, peers("app=b")), (Accept, peers(""))];
    case.cluster(into_a("c", Tier::Admin, 1, rules));
    case.cluster(into_a("d", Tier::Admin, 2, vec![(Accept, peers(""))]));
    assert!(case.tcp("y/b", "x/a", 80), "nothing after it denies");
    case.policy(policy("x/deny", "app=a"));
    assert!(!case.tcp("y/b", "x/a", 80) && case.tcp("y/a", "x/a", 80));
}

#[test]
fn the_baseline_is_asked_only_where_no_network_policy_isolates() {
    let mut case = Case::new();
    case.cluster(into_a("c", Tier::Baseline, 1, vec![(Deny, peers(""))]));
    assert!(!case.tcp("y/b", "x/a", 80) && case.tcp("8.8.8.8", "x/a", 80));
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![namespaces("team=b")], vec![])],
    ));
    assert!(
        case.tcp("y/b", "x/a", 80),
        "the NetworkPolicy's word is final"
    );
    assert!(!case.tcp("y/b", "y/a", 80), "it is not of this namespace");
}

#[test]
fn pass_in_the_admin_tier_leads_to_the_baseline() {
    let mut case = Case::new();
    case.cluster(into_a(
        "c",
        Tier::Admin,
        1,
        vec![(Pass, peers("app=b")), (Deny, peers(""))],
    ));
    case.cluster(into_a(
        "d",
        Tier::Baseline,
        1,
        vec![(Pass, peers("app=b")), (Deny, peers(""))],
    ));
    assert!(case.tcp("y/b", "x/a", 80) && !case.tcp("y/a", "x/a", 80));
}

#[test]
fn networks_hold_pods_too_unless_a_rule_passes_them_before() {
    let mut case = Case::new();
    let mut policy = cluster("c", Tier::Admin, 1);
    policy.egress = vec![cluster_rule(Deny, vec![networks(&["0.0.0.0/0", "::/0"])])];
    case.cluster(policy.clone());
    assert!(!case.tcp("x/a", "x/b", 80) && !case.tcp("x/a#6", "x/b#6", 80));
    policy.egress.insert(0, cluster_rule(Pass, peers("")));
    case.cluster(policy);
    assert!(case.tcp("x/a", "x/b", 80) && !case.tcp("x/a", "8.8.8.8", 80));
    assert!(!case.tcp("x/a", "192.168.0.2", 80), "a node is no pod");
}

#[test]
fn nodes_are_peers_by_their_labels_also_the_pods_own() {
    let mut case = Case::new();
    let mut policy = cluster("c", Tier::Admin, 1);
    let zone = ClusterPeer::Nodes(selector("zone=a"));
    policy.egress = vec![cluster_rule(Deny, vec![zone])];
    case.cluster(policy.clone());
    assert!(!case.tcp("x/a", "192.168.0.1", 22) && case.tcp("x/a", "192.168.0.2", 22));
    policy.egress[0].peers = vec![ClusterPeer::Nodes(expression("zone", "NotIn", &["a"]))];
    case.cluster(policy);
    assert!(case.tcp("x/a", "192.168.0.1", 22) && !case.tcp("x/a", "192.168.0.2", 22));
}

#[test]
fn a_peer_of_an_unknown_kind_fails_closed() {
    for (action, passes) in [(Accept, true), (Deny, false), (Pass, false)] {
        let mut case = Case::new();
        let mut unknown = peers("app=b");
        unknown.push(ClusterPeer::Unrecognised);
        case.cluster(into_a("c", Tier::Admin, 1, vec![(action, unknown)]));
        case.cluster(into_a("d", Tier::Admin, 2, vec![(Accept, peers(""))]));
        assert_eq!(case.tcp("y/b", "x/a", 80), passes, "{action:?}");
        assert_eq!(case.tcp("8.8.8.8", "x/a", 80), passes, "{action:?}");
        assert!(case.tcp("192.168.0.1", "x/a", 80), "probes pass");
    }
}

#[test]
fn a_policy_without_rules_of_a_direction_says_nothing_of_it() {
    let mut case = Case::new();
    case.cluster(into_a("c", Tier::Baseline, 1, vec![(Deny, peers(""))]));
    assert!(case.tcp("x/a", "x/b", 80));
    assert_eq!(
        case.followed.compiler.tables().pods[&name("x/a")].egress,
        None
    );
}

#[test]
fn a_subject_is_chosen_by_namespace_and_pod() {
    let mut case = Case::new();
    let mut policy = into_a("c", Tier::Admin, 1, vec![(Deny, peers(""))]);
    policy.subject = cluster_pods("team=b", "app=a");
    case.cluster(policy);
    assert!(
        !case.tcp("x/b", "y/a", 80) && case.tcp("x/b", "y/b", 80) && case.tcp("x/b", "x/a", 80)
    );
}

#[test]
fn a_policy_that_changes_its_tier_is_asked_in_the_new_one() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "app=a",
        vec![rule(vec![pods("app=b")], vec![])],
    ));
    case.cluster(into_a("c", Tier::Admin, 1, vec![(Deny, peers(""))]));
    assert!(!case.tcp("x/b", "x/a", 80));
    case.cluster(into_a("c", Tier::Baseline, 1, vec![(Deny, peers(""))]));
    assert!(case.tcp("x/b", "x/a", 80));
    case.followed
        .step(PolicyChange::ClusterNetworkPolicy("c".into(), None));
    assert!(case.tcp("y/b", "y/a", 80));
}

#[test]
fn a_trace_names_the_rule_at_each_end() {
    let mut case = Case::new();
    case.policy(egress(
        "x/out",
        "",
        vec![rule(vec![block("10.0.0.0/8", &[])], vec![tcp(80)])],
    ));
    case.policy(ingress(
        "y/in",
        "app=b",
        vec![rule(vec![pods("app=a")], vec![])],
    ));
    let mut pass = into_a("c", Tier::Admin, 1, vec![(Pass, peers(""))]);
    pass.subject = cluster_pods("", "app=b");
    case.cluster(pass);
    let objects = case.followed.world.objects();
    let (from, to) = (Place::Pod(name("x/a")), Place::Pod(name("y/b")));
    let transport = Transport::Port(crate::model::Protocol::Tcp, 80);
    let traced = trace(&objects, &from, &to, transport).unwrap();
    assert_eq!(traced.verdict(), Verdict::Deny);
    let (egress, ingress) = (traced.egress.unwrap(), traced.ingress.unwrap());
    let Decider::Rule(rule) = &egress.decision.by else {
        panic!("{}", egress.decision);
    };
    assert_eq!(rule.to_string(), "NetworkPolicy x/out, rule 0");
    assert_eq!(ingress.decision.by, Decider::Isolation);
    assert_eq!(ingress.isolating, [name("y/in")]);
    assert_eq!(ingress.passed[0].policy, PolicyRef::Admin("c".into()));
    let outside = Place::Address("8.8.8.8".parse().unwrap());
    let traced = trace(&objects, &outside, &from, transport).unwrap();
    assert_eq!(traced.egress, None);
    assert_eq!(traced.verdict(), Verdict::Accept);
}
