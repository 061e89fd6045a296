//! The examples, unchanged, and the model they stand for.

use landfall_core::model::{
    Change, IpFamily, IpFamilyPolicy, NodeName, Port, Protocol, Service, ServiceType, TargetPort,
    TrafficPolicy,
};
use landfall_ipam::{FirstLast, SERVICE_NAME_LABEL};
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use super::{Directory, delivered, errors, repository};
use crate::source::{Batch, ClassPolicy, check};

fn example(files: &[&str]) -> Batch {
    let mut directory = Directory::unread();
    fs::remove_file(directory.path("good.yaml")).unwrap();
    for file in files {
        let path = repository("../tests/examples").join(file);
        fs::copy(&path, directory.path(file)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    directory.follower.scan(Instant::now())
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_announcement_example_becomes_a_policy_a_pool_and_three_services() {
    let batch = example(&["l2-announcement.yaml"]);
    assert_eq!(errors(&batch), None, "{batch:?}");
    assert_eq!(
        delivered(&batch),
        [
            "Service default/svc1",
            "Service default/svc2",
            "Service default/svc3",
            "Pool cilium-pool",
            "Policy policy1",
        ]
    );
    for change in batch {
        match change {
            Change::Service(name, Some(service)) => {
                assert_eq!(service, expected_service(&name.name, &service));
            }
            Change::Pool(_, Some(pool)) => {
                let blocks: Vec<_> = pool.blocks().iter().map(ToString::to_string).collect();
                assert_eq!(blocks, ["10.10.200.0/29"]);
                assert_eq!(pool.first_last(), FirstLast::Reserved);
                assert!(pool.selector().is_none() && !pool.disabled());
            }
            Change::Policy(_, Some(policy)) => {
                assert!(policy.external_ips && policy.load_balancer_ips);
                let interfaces: Vec<_> = policy.interfaces.iter().map(|it| it.as_str()).collect();
                assert_eq!(interfaces, ["^ens[0-9]+"]);
                let services = policy.service_selector.unwrap();
                assert!(services.matches(&labels(&[("color", "blue"), (SERVICE_NAME_LABEL, "x")])));
                assert!(!services.matches(&labels(&[("color", "red")])));
                let nodes = policy.node_selector.unwrap();
                assert!(nodes.matches(&labels(&[])));
                assert!(!nodes.matches(&labels(&[("node-role.kubernetes.io/control-plane", "")])));
            }
            _ => {}
        }
    }
}

fn expected_service(name: &str, read: &Service) -> Service {
    let port = Port::new(80).unwrap();
    Service {
        name: landfall_core::model::ServiceName::new("default", name),
        created: read.created,
        labels: labels(&[("color", "blue")]),
        service_type: ServiceType::LoadBalancer,
        class: None,
        cluster_ips: Vec::new(),
        external_ips: Vec::new(),
        ip_families: vec![IpFamily::V4],
        ip_family_policy: IpFamilyPolicy::SingleStack,
        requested_ips: Vec::new(),
        requested_pool: None,
        sharing_key: None,
        sharing_namespaces: Vec::new(),
        source_ranges: Vec::new(),
        ports: vec![landfall_core::model::ServicePort {
            name: format!("{name}-webport").into(),
            protocol: Protocol::Tcp,
            port,
            target: TargetPort::Number(port),
            node_port: None,
        }],
        selector: labels(&[("app", "webpod")]),
        external_traffic_policy: TrafficPolicy::Cluster,
        internal_traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        publish_not_ready: false,
        health_check_node_port: None,
        assigned: Vec::new(),
    }
}

#[test]
fn the_pods_of_the_example_are_on_their_nodes_and_wait_for_their_network() {
    let batch = example(&["webpods.yaml"]);
    assert_eq!(
        delivered(&batch),
        ["Pod default/webpod1", "Pod default/webpod2"]
    );
    for (change, node) in batch.into_iter().zip(["node1", "node2"]) {
        let Change::Pod(_, Some(pod)) = change else {
            panic!("{change:?}")
        };
        assert_eq!(pod.node, Some(NodeName::new(node)));
        assert_eq!(pod.labels, labels(&[("app", "webpod")]));
        assert!(pod.ips.is_empty() && !pod.ready && !pod.terminating && !pod.finished);
    }
}

#[test]
fn check_finds_nothing_wrong_with_the_examples_but_kinds_of_later_issues() {
    let file = |name: &str| repository("../tests/examples").join(name);
    let files = [file("l2-announcement.yaml"), file("webpods.yaml")];
    assert_eq!(check(&files, ClassPolicy::default()), []);
}

#[test]
fn a_service_of_another_controllers_class_is_a_node_port_service_to_us() {
    let mut directory = Directory::with_good();
    let text = super::GOOD
        .replace("good", "other")
        .replace("  type", "  loadBalancerClass: x.y/z\n  type")
        + "status: {loadBalancer: {ingress: [{ip: 10.0.0.1}]}}\n";
    fs::write(directory.path("other.yaml"), &text).unwrap();
    fs::write(
        directory.path("ours.yaml"),
        text.replace("other", "ours")
            .replace("x.y/z", "landfall.dev/l2"),
    )
    .unwrap();
    let mut batch = directory.written("other.yaml");
    batch.extend(directory.written("ours.yaml"));
    let services: Vec<_> = batch
        .into_iter()
        .filter_map(|change| match change {
            Change::Service(_, service) => service,
            _ => None,
        })
        .map(|service| (service.service_type, service.assigned))
        .collect();
    let assigned = vec!["10.0.0.1".parse().unwrap()];
    assert_eq!(
        services,
        [
            (ServiceType::NodePort, vec![]),
            (ServiceType::LoadBalancer, assigned)
        ]
    );
}

#[test]
fn lists_and_json_are_read_as_kubectl_prints_them() {
    let mut directory = Directory::with_good();
    let json = r#"{"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "b"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "B"}}]}"#;
    fs::write(directory.path("list.json"), json).unwrap();
    let batch = directory.written("list.json");
    assert_eq!(delivered(&batch), ["Node b", "Namespace a"]);
    assert!(
        errors(&batch).unwrap()[0]
            .origin
            .ends_with("list.json, document 1, item 3")
    );
}
