//! The same YAML from files and from the API server makes the same model.

use std::collections::BTreeMap;
use std::path::Path;

use landfall_core::model::{Change, NodeName, Port};
use serde_json::Value;

use super::server::{CILIUM_POLICIES, CILIUM_POOLS, SERVICES, SLICES, Server};
use super::*;
use crate::source::manifest::follower::Follower;

/// An example's documents.
fn documents(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/examples")
        .join(name);
    let text = std::fs::read(&path).expect("an example");
    let documents = crate::source::document::documents(&text).expect("YAML");
    documents.into_iter().map(|it| it.value).collect()
}

/// What the API server makes of a Service that is applied.
fn defaulted(mut service: Value, number: u8) -> Value {
    let applied = service.to_string();
    service["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": applied});
    service["metadata"]["managedFields"] = json!([
        {"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:selector": {}, "f:type": {}}}},
    ]);
    let spec = &mut service["spec"];
    let defaults = json!({
        "allocateLoadBalancerNodePorts": true,
        "clusterIP": format!("10.96.0.{number}"),
        "clusterIPs": [format!("10.96.0.{number}")],
        "externalTrafficPolicy": "Cluster",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "sessionAffinity": "None",
    });
    for (field, value) in defaults.as_object().expect("a map") {
        spec[field] = value.clone();
    }
    spec["ports"][0]["protocol"] = "TCP".into();
    spec["ports"][0]["nodePort"] = (30_000 + u32::from(number)).into();
    service["status"] = json!({"loadBalancer": {}});
    service
}

/// What a batch makes of nothing, without what only a server gives: creation times, cluster IPs, node ports.
fn model(batch: Batch) -> BTreeMap<String, String> {
    let mut model = BTreeMap::new();
    for change in batch {
        match change {
            Change::Service(name, Some(mut service)) => {
                service.created = 0;
                service.cluster_ips.clear();
                service
                    .ports
                    .iter_mut()
                    .for_each(|port| port.node_port = None);
                model.insert(format!("Service {name}"), format!("{service:#?}"));
            }
            Change::Pool(name, Some(pool)) => {
                let told = (
                    pool.blocks(),
                    pool.first_last(),
                    pool.disabled(),
                    pool.selector(),
                );
                model.insert(format!("Pool {name}"), format!("{told:#?}"));
            }
            Change::Policy(name, Some(policy)) => {
                model.insert(format!("Policy {name}"), format!("{policy:#?}"));
            }
            _ => {}
        }
    }
    model
}

#[tokio::test(start_paused = true)]
async fn the_announcement_example_is_the_same_model_from_both_sources() {
    let example = "l2-announcement.yaml";
    let files = directory();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/examples")
        .join(example);
    std::fs::copy(&path, files.path().join(example)).expect("copied");
    let state = files.path().join(".state");
    let mut follower = Follower::new(files.path().to_owned(), &state, ClassPolicy::default());
    let from_files = model(follower.scan(std::time::Instant::now()));

    let (server, directory) = (Server::new(), directory());
    server.define(CILIUM_POOLS);
    server.define(CILIUM_POLICIES);
    for (number, document) in (1..).zip(documents(example)) {
        match document["kind"].as_str().expect("a kind") {
            "Service" => server.put(SERVICES, defaulted(document, number)),
            "CiliumLoadBalancerIPPool" => server.put(CILIUM_POOLS, document),
            "CiliumL2AnnouncementPolicy" => server.put(CILIUM_POLICIES, document),
            other => panic!("{other} is not part of the example"),
        }
    }
    let (_source, batch) = Source::synced(&server, &directory).await;
    assert_no_errors(&batch);
    let from_server = model(batch);
    assert_eq!(from_files.len(), 5, "{from_files:#?}");
    assert_eq!(from_files, from_server);
}

#[tokio::test(start_paused = true)]
async fn the_pods_of_the_example_come_to_us_by_their_slice() {
    let (server, directory) = (Server::new(), directory());
    let pods = documents("webpods.yaml");
    let endpoints: Vec<Value> = (5..)
        .zip(&pods)
        .map(|(number, pod)| {
            json!({
                "addresses": [format!("10.244.1.{number}")],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": pod["spec"]["nodeName"],
                "targetRef": {"kind": "Pod", "namespace": "default", "name": pod["metadata"]["name"]},
            })
        })
        .collect();
    server.put(
        SLICES,
        json!({
            "metadata": {"name": "svc1-abcde", "labels": {"kubernetes.io/service-name": "svc1"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "svc1-webport", "port": 80, "protocol": "TCP"}],
        }),
    );
    let (_source, batch) = Source::synced(&server, &directory).await;
    let slice = batch.into_iter().find_map(|change| match change {
        Change::EndpointSlice(_, slice) => slice,
        _ => None,
    });
    let slice = slice.expect("a slice");
    assert_eq!(slice.ports[0].port, Port::new(80).expect("a port"));
    let nodes: Vec<_> = slice.endpoints.iter().map(|it| it.node.clone()).collect();
    assert_eq!(
        nodes,
        [Some(NodeName::new("node1")), Some(NodeName::new("node2"))]
    );
    assert!(
        slice
            .endpoints
            .iter()
            .all(|it| it.ready && it.pod.is_some())
    );
}
