//! The cluster itself: it comes up whole and quickly, its pods are on the LAN, each component may do
//! what its role says and no more, and nothing is left of it. And Landfall on it: what must hold on
//! plain machines must hold here, from the same scenario code, and more that only a cluster asks for.

mod chart;
mod crds;
mod failover;
mod faults;
mod first_answer;
mod objects;
mod outage;
mod pods;
mod rbac;
mod reach;
mod requests;
mod rolling;
mod scenarios;
mod traces;
mod wrong_objects;

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{AGNHOST_IMAGE, API_PORT, Access, Cluster};
use landfall_tests::lab::settings::Common;
use landfall_tests::scenario::{Stage, StageBuilder};
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

fn start() -> Result<Cluster> {
    Cluster::builder().start(&Programs::find_or_build()?)
}

/// A stage on a cluster of three nodes, with agents that learn of it from the API.
fn stage(builder: StageBuilder) -> Result<Stage> {
    let cluster = Cluster::builder().agents(Common::default());
    builder.start_on(cluster.start(&Programs::find_or_build()?)?)
}

/// The cluster that a stage is on.
fn access(stage: &Stage) -> &Access {
    let access = stage.cluster.as_ref();
    access.expect("the stage was started on a cluster")
}

/// Pods of Kubernetes' test image that a Deployment makes, one on each node, and the Service
/// that selects them. The pods call the API server by its address: nothing serves cluster IPs yet.
fn web(cluster: &Cluster, replicas: usize) -> Result<()> {
    let api = [
        json!({"name": "KUBERNETES_SERVICE_HOST", "value": cluster.control_plane().address()}),
        json!({"name": "KUBERNETES_SERVICE_PORT", "value": API_PORT.to_string()}),
    ];
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "terminationGracePeriodSeconds": 0,
                "topologySpreadConstraints": [{
                    "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": labels},
                }],
                "containers": [
                    {"name": "web", "image": AGNHOST_IMAGE, "args": ["netexec", "--http-port=8080"],
                     "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1}},
                    {"name": "caller", "image": AGNHOST_IMAGE, "args": ["inclusterclient", "--poll-interval=1"], "env": api},
                ],
            }},
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "selector": labels, "ports": [{"port": 80, "targetPort": 8080}],
            "ipFamilyPolicy": "RequireDualStack",
        },
    });
    cluster
        .kubectl()
        .apply(&format!("{deployment}\n---\n{service}"))?;
    let words = "rollout status deployment web --timeout=60s";
    cluster.kubectl().run(words).map(drop)
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn texts<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(|one| one[key].as_str()).collect()
}

/// A pod's IPv4 and IPv6 address, and its node.
fn whereabouts(pod: &Value) -> Result<([IpAddr; 2], &str)> {
    let ips: Result<Vec<IpAddr>, _> = texts(&pod["status"]["podIPs"], "ip")
        .into_iter()
        .map(str::parse)
        .collect();
    let ips = ips?.try_into().ok().context("a pod has two addresses")?;
    Ok((ips, pod["spec"]["nodeName"].as_str().context("a node")?))
}

/// A file of `packaging/`.
fn shipped(path: &str) -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging")
        .join(path);
    fs::read_to_string(&file).with_context(|| file.display().to_string())
}
