//! What the API takes, and from whom.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use landfall_tests::lab::programs;
use serde_json::{Value, json};

use crate::{items, start, texts};

#[test]
fn components_may_do_what_their_roles_say_and_no_more() -> Result<()> {
    let cluster = start()?;
    let kubectl = cluster.kubectl();
    let may = |user: &str, words: &str| -> Result<bool> {
        // `can-i` fails where the answer is no.
        let said = kubectl.run(&format!("auth can-i {words} --as={user} --quiet"));
        Ok(said.is_ok())
    };
    let scheduler = "system:kube-scheduler";
    assert!(may(scheduler, "create pods --subresource=binding")?);
    assert!(!may(scheduler, "get secrets")?);
    let node = "system:node:node1 --as-group=system:nodes";
    assert!(may(node, "create nodes")?);
    assert!(!may(node, "list secrets")?);
    assert!(!may("kube-apiserver-kubelet-client", "get pods")?);
    let default = "system:serviceaccount:default:default";
    assert!(!may(default, "list services")?);
    // Only the person who runs the cluster is bound to what may all.
    let bindings = kubectl.json("get clusterrolebindings")?;
    let masters: Vec<&Value> = items(&bindings)
        .iter()
        .filter(|binding| binding["roleRef"]["name"] == "cluster-admin")
        .collect();
    assert_eq!(masters.len(), 1);
    assert_eq!(texts(&masters[0]["subjects"], "name"), ["system:masters"]);
    Ok(())
}

#[test]
fn the_examples_are_taken_unchanged() -> Result<()> {
    let cluster = start()?;
    let kubectl = cluster.kubectl();
    let landfall = Command::new(programs::landfall()?)
        .args(["crds", "--compat", "cilium"])
        .output()?;
    ensure!(
        landfall.status.success(),
        "landfall crds: {}",
        landfall.status
    );
    kubectl.apply(&String::from_utf8(landfall.stdout)?)?;
    kubectl.run("wait --for=condition=Established crd --all --timeout=20s")?;
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for example in ["l2-announcement.yaml", "webpods.yaml"] {
        kubectl.run(&format!("apply -f {}", examples.join(example).display()))?;
    }
    kubectl.run("wait --for=condition=Ready pod --all --timeout=60s")?;
    let pools = kubectl.json("get ciliumloadbalancerippools")?;
    assert_eq!(
        items(&pools)[0]["spec"]["blocks"],
        json!([{"cidr": "10.10.200.0/29"}])
    );
    let services = kubectl.json("get services --selector color=blue")?;
    let types: Vec<&Value> = items(&services)
        .iter()
        .map(|one| &one["spec"]["type"])
        .collect();
    assert_eq!(types, ["LoadBalancer"; 3]);
    Ok(())
}
