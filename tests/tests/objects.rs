//! Objects that ask for something odd, or for nothing sensible at all, harm nobody.

use std::fs;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_tests::lab::manifests::{labels, service};
use landfall_tests::lab::node::Node;
use landfall_tests::lab::wait;
use landfall_tests::probe::neighbour::NeighbourProber;
use landfall_tests::scenario::{Stage, reach};
use serde_json::json;

/// How long something may take that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(20);

const ERRORS: &str = "landfall_complaints{severity=\"error\"}";

fn annotated(name: &str, address: &str) -> serde_json::Value {
    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let mut object = service(name, &blue, &app, &[("web", "TCP", 80)]);
    object["metadata"]["annotations"] = json!({"landfall.dev/ips": address});
    object
}

#[test]
fn a_node_whose_own_address_is_a_vip_stays_reachable() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, node) = (stage.lab.client(), stage.lab.node(0));
    let own: IpAddr = node.host().ipv4().into();
    // A service of the node itself, as an SSH server would be.
    let listener = node.host().run(|| TcpListener::bind((own, 2222)))?;
    let reach_node = || client.run(|| TcpStream::connect_timeout(&(own, 2222).into(), PATIENCE));
    reach_node()?;

    let (blue, app) = (labels(&[("color", "blue")]), labels(&[("app", "webpod")]));
    let mut object = service("on-node", &blue, &app, &[("web", "TCP", 80)]);
    object["spec"]["type"] = json!("ClusterIP");
    object["spec"]["externalIPs"] = json!([own.to_string()]);
    stage
        .lab
        .manifests()
        .write_object("on-node.yaml", &object)?;
    wait::until_ok(
        PATIENCE,
        "the service to answer at the node's address",
        || client.http_get((own, 80)),
    )?;

    for _ in 0..20 {
        client.ping(own, 56, Duration::from_secs(1))?;
        reach_node()?;
        let answer = client.http_get((own, 80))?;
        ensure!(answer.client.ip() == answer.local.ip(), "{answer:?}");
    }
    // A port that nobody has is refused by the node itself, and its address is answered by itself alone.
    let refused = client.run(|| TcpStream::connect_timeout(&(own, 2223).into(), PATIENCE));
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let prober = NeighbourProber::start(client, &[own], Duration::from_millis(10))?;
    std::thread::sleep(Duration::from_secs(1));
    let macs = prober.stop().macs(own);
    assert!(macs.iter().eq([&node.host().mac()]), "{macs:?}");
    // The node is reached from its peers too, and the agents still keep in touch.
    for other in stage.lab.nodes() {
        other.host().ping(own, 56, Duration::from_secs(1))?;
    }
    drop(listener);
    reach::every_vip_answers(&stage, 20)
}

#[test]
fn a_service_that_asks_for_a_nodes_own_address_is_refused_it_with_a_reason() -> Result<()> {
    let stage = Stage::builder().start()?;
    let (client, node) = (stage.lab.client(), stage.lab.node(1));
    let own = node.host().ipv4();
    stage.lab.manifests().write_object(
        "greedy-pool.yaml",
        &json!({
            "apiVersion": "landfall.dev/v1alpha1", "kind": "LoadBalancerIPPool",
            "metadata": {"name": "greedy-pool"}, "spec": {"blocks": [{"cidr": "10.10.200.8/29"}]},
        }),
    )?;
    let manifests = stage.lab.manifests();
    manifests.write_object("greedy.yaml", &annotated("greedy", &own.to_string()))?;
    wait::until_ok(PATIENCE, "the refusal to be told", || {
        let complaints = node.status()?.complaints;
        let of_service = complaints.iter().find(|c| c.object.contains("greedy"));
        let complaint =
            of_service.ok_or_else(|| anyhow::anyhow!("no complaint: {complaints:?}"))?;
        println!("{complaint}");
        Ok(())
    })?;
    client.ping(own.into(), 56, Duration::from_secs(1))?;
    let prober = NeighbourProber::start(client, &[own.into()], Duration::from_millis(10))?;
    std::thread::sleep(Duration::from_secs(1));
    let macs = prober.stop().macs(own.into());
    assert!(macs.iter().eq([&node.host().mac()]), "{macs:?}");
    reach::every_vip_answers(&stage, 20)
}

/// What is wrong: the file's name, its text, and words that the complaint must have.
const WRONG: [(&str, &str, &[&str]); 6] = [
    (
        "bad-cidr.yaml",
        "apiVersion: landfall.dev/v1alpha1\nkind: LoadBalancerIPPool\nmetadata: {name: bad-cidr}\n\
         spec: {blocks: [{cidr: 10.10.200.300/29}]}\n",
        &["bad-cidr", "spec.blocks[0].cidr", "10.10.200.300/29"],
    ),
    (
        "unknown-field.yaml",
        "apiVersion: landfall.dev/v1alpha1\nkind: L2AnnouncementPolicy\nmetadata: {name: typo}\n\
         spec: {loadBalancerIP: true}\n",
        &["typo", "loadBalancerIP"],
    ),
    (
        "bad-regex.yaml",
        "apiVersion: landfall.dev/v1alpha1\nkind: L2AnnouncementPolicy\nmetadata: {name: regex}\n\
         spec: {interfaces: ['^ens[0-9'], loadBalancerIPs: true}\n",
        &["regex", "spec.interfaces[0]"],
    ),
    (
        "port-70000.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: far-port, labels: {color: blue}}\n\
         spec: {type: LoadBalancer, selector: {app: webpod}, ports: [{port: 70000}]}\n",
        &["far-port", "spec.ports[0].port", "70000"],
    ),
    (
        "torn.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: torn\n",
        &["torn.yaml"],
    ),
    (
        "again.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: svc1, labels: {color: red}}\n\
         spec: {type: LoadBalancer, selector: {app: other}, ports: [{port: 81}]}\n",
        &["svc1"],
    ),
];

#[test]
fn wrong_manifests_are_told_of_and_change_nothing_else() -> Result<()> {
    let stage = Stage::builder().start()?;
    let manifests = stage.lab.manifests();
    let node = stage.lab.node(0);
    let before = node.landfall("service list -o json")?;
    let announced = node.announcements()?.len();
    assert_eq!(node.metric(ERRORS)?, 0.0);
    for (file, text, _) in WRONG {
        manifests.write(file, text)?;
    }
    for (file, _, words) in WRONG {
        let complaint = wait::until_ok(PATIENCE, "a wrong manifest to be told of", || {
            let complaints = node.status()?.complaints;
            let found = complaints.iter().find(|c| {
                let text = c.to_string();
                text.contains(file) && words.iter().all(|word| text.contains(word))
            });
            found.cloned().ok_or_else(|| {
                let all: Vec<String> = complaints.iter().map(ToString::to_string).collect();
                anyhow::anyhow!("{file} is not told of by {words:?} in {all:#?}")
            })
        })?;
        println!("{complaint}");
        assert!(!complaint.remedy.is_empty(), "{complaint}");
    }
    wait::until(PATIENCE, "the metric to follow", || {
        Ok(node.metric(ERRORS)? >= WRONG.len() as f64)
    })?;
    assert_eq!(node.landfall("service list -o json")?, before);
    assert_eq!(node.announcements()?.len(), announced);
    reach::every_vip_answers(&stage, 30)?;

    for (file, ..) in WRONG {
        manifests.remove(file)?;
    }
    wait::until(PATIENCE, "the complaints to end", || {
        Ok(node.metric(ERRORS)? == 0.0)
    })?;
    assert_eq!(node.landfall("service list -o json")?, before);
    reach::every_vip_answers(&stage, 30)
}

fn complains_of_the_directory(node: &Node, directory: &str) -> Result<bool> {
    Ok(node
        .complaint(|c| c.to_string().contains(directory))?
        .is_some())
}

#[test]
fn a_manifest_directory_that_goes_and_comes_back_changes_nothing_meanwhile() -> Result<()> {
    let stage = Stage::builder().start()?;
    let directory = stage.lab.manifests().dir();
    let aside = directory.with_extension("aside");
    let shown = directory.display().to_string();
    fs::rename(directory, &aside)?;
    for node in stage.lab.nodes() {
        wait::until(PATIENCE, "the missing directory to be told of", || {
            complains_of_the_directory(node, &shown)
        })?;
    }
    reach::every_vip_answers(&stage, 60)?;

    // Made anew, not moved back: nothing of what watches were on.
    fs::create_dir(directory)?;
    for entry in fs::read_dir(&aside)? {
        let entry = entry?;
        fs::copy(entry.path(), directory.join(entry.file_name()))?;
    }
    for node in stage.lab.nodes() {
        wait::until(PATIENCE, "the complaint to end", || {
            Ok(!complains_of_the_directory(node, &shown)?)
        })?;
    }
    reach::every_vip_answers(&stage, 60)?;
    let manifests = stage.lab.manifests();
    manifests.write_object("late.yaml", &annotated("late", "10.10.200.6"))?;
    wait::until_ok(PATIENCE, "a later service to answer", || {
        stage.lab.client().http_get("10.10.200.6:80")
    })?;
    Ok(())
}
