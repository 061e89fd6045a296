//! A change costs what it touches.

use crate::model::{NodeName, Protocol};
use crate::policy::{PolicyChange, Touched};

use super::fixtures::{
    Case, both, egress, ingress, labels, named, namespaces, pod, pods, policy, rule, tcp, with_port,
};

/// Thirty pods in each namespace, half of them here, and a policy for each app.
fn busy() -> Case {
    let mut case = Case::new();
    for index in 0..30 {
        for (namespace, net) in [("x", 1), ("y", 2)] {
            let mut made = pod(
                &format!("{namespace}/p{index}"),
                &format!("app=app-{index}"),
                &[&format!("10.{net}.0.{index}")],
            );
            made.node = Some(NodeName::new(if index % 2 == 0 { "n1" } else { "n2" }));
            case.pod(made);
            let at = format!("{namespace}/np{index}");
            let peers = vec![
                pods(&format!("app=app-{}", index + 1)),
                both("team=a", "role=probe"),
            ];
            let app = format!("app=app-{index}");
            case.policy(ingress(&at, &app, vec![rule(peers, vec![tcp(80)])]));
        }
    }
    case
}

#[test]
fn what_changes_nothing_touches_nothing() {
    let mut case = busy();
    let again = case.get("x/p4");
    let policy = case.followed.world.network_policies[&super::fixtures::name("x/np4")].clone();
    let mut ready = again.clone();
    ready.ready = false;
    for delta in [case.pod(again), case.policy(policy), case.pod(ready)] {
        assert_eq!(delta.touched, Touched::default());
        assert_eq!(delta.operations, []);
    }
}

#[test]
fn another_replica_elsewhere_is_an_address_and_no_more() {
    let mut case = busy();
    let mut replica = pod("x/more", "app=app-5", &["10.3.0.1"]);
    replica.node = Some(NodeName::new("n2"));
    let delta = case.pod(replica);
    let only_an_address = Touched {
        addresses: 1,
        ..Touched::default()
    };
    assert_eq!(delta.touched, only_an_address);
    assert_eq!(delta.operations.len(), 1);
}

#[test]
fn a_pod_with_new_labels_touches_the_sets_that_select_it() {
    let mut case = busy();
    let mut odd = case.get("y/p1");
    odd.labels = labels("app=app-3,odd=yes");
    let delta = case.pod(odd);
    // It was a peer of p0's policy; it is one of p2's, which has a set here.
    assert_eq!(delta.touched.peers, 2, "{:?}", delta.touched);
    assert_eq!((delta.touched.pods, delta.touched.sets), (0, 0));
    assert_eq!(delta.touched.addresses, 1);
    assert!(delta.operations.len() <= 5, "{:?}", delta.operations);
}

#[test]
fn a_policys_change_touches_the_pods_it_selects() {
    let mut case = busy();
    let delta = case.policy(policy("x/np4", "app=app-4"));
    assert_eq!((delta.touched.pods, delta.touched.sets), (1, 1));
    assert_eq!((delta.touched.peers, delta.touched.addresses), (0, 0));
    let elsewhere = case.policy(policy("x/np5", "app=app-5"));
    assert_eq!(
        elsewhere.touched,
        Touched::default(),
        "no pod of this node has it"
    );
}

#[test]
fn a_namespaces_labels_touch_those_who_select_by_them() {
    let mut case = busy();
    let name: std::sync::Arc<str> = "y".into();
    let namespace = crate::model::Namespace {
        name: name.clone(),
        labels: labels("team=b,other=c"),
    };
    let delta = case
        .followed
        .step(PolicyChange::Namespace(name, Some(namespace)));
    assert_eq!((delta.touched.sets, delta.touched.peers), (0, 0));
    assert_eq!(delta.operations, []);
}

#[test]
fn pods_to_which_the_same_applies_share_a_set() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![namespaces("team=b")], vec![tcp(80)])],
    ));
    let tables = case.followed.compiler.tables();
    let set = |pod| {
        tables.pods[&super::fixtures::name(pod)]
            .ingress
            .unwrap()
            .set
    };
    assert_eq!(set("x/a"), set("x/b"));
    // Everything, and TCP port 80, of one namespace: not of its pods.
    assert_eq!(tables.verdicts.len(), 2);
}

#[test]
fn a_policy_that_says_the_same_in_other_words_writes_nothing() {
    let mut case = Case::new();
    case.policy(ingress(
        "x/p",
        "",
        vec![rule(vec![both("team=b", "app=b")], vec![])],
    ));
    let again = rule(vec![both("kubernetes.io/metadata.name=y", "app=b")], vec![]);
    let delta = case.policy(ingress("x/p", "", vec![again]));
    assert_eq!(delta.touched.sets, 1);
    assert_eq!(delta.operations, []);
    assert!(case.tcp("y/b", "x/a", 80) && !case.tcp("y/a", "x/a", 80));
}

#[test]
fn a_peer_of_all_namespaces_is_one_peer_whatever_their_number() {
    let mut case = busy();
    let peers = vec![namespaces("")];
    case.policy(ingress("x/all", "app=a", vec![rule(peers, vec![tcp(80)])]));
    let tables = case.followed.compiler.tables();
    let set = tables.pods[&super::fixtures::name("x/a")]
        .ingress
        .unwrap()
        .set;
    let entries = tables.verdicts.keys().filter(|key| key.set == set);
    assert_eq!(entries.count(), 2, "everything, and TCP port 80");
}

#[test]
fn a_named_port_of_all_pods_costs_the_ways_to_map_it_and_not_the_pods() {
    let mut case = busy();
    for (index, number) in [(1, 80), (3, 8080), (5, 80), (7, 8080), (9, 80)] {
        let pod = case.get(&format!("y/p{index}"));
        case.pod(with_port(pod, "http", Protocol::Tcp, number));
    }
    let http = vec![named("http", Some(Protocol::Tcp))];
    case.policy(egress(
        "x/out",
        "app=a",
        vec![rule(vec![namespaces("")], http)],
    ));
    let tables = case.followed.compiler.tables();
    let set = tables.pods[&super::fixtures::name("x/a")]
        .egress
        .unwrap()
        .set;
    let entries = tables.verdicts.keys().filter(|key| key.set == set);
    assert_eq!(
        entries.count(),
        4,
        "everything and one port, for either map"
    );
    assert!(case.tcp("x/a", "y/p1", 80) && case.tcp("x/a", "y/p3", 8080));
    assert!(!case.tcp("x/a", "y/p1", 8080) && !case.tcp("x/a", "y/p11", 80));
}
