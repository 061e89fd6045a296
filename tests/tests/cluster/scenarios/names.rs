//! Names: the longest, and those that could be taken for one another.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use landfall_tests::cluster::{NAMESPACE, Resource};
use landfall_tests::lab::wait;
use serde_json::json;

use super::scene::Scene;

/// How long the lease of a Service that is gone may stay: nobody has wanted it for 10 s when a node
/// takes it away.
const COLLECTED: Duration = Duration::from_secs(20);

/// The names of the leases there are.
fn leases(scene: &Scene<'_>) -> Result<BTreeSet<String>> {
    let leases = scene.client().list("coordination.k8s.io/v1", "Lease")?;
    let ours = leases
        .iter()
        .filter(|lease| lease["metadata"]["namespace"] == NAMESPACE);
    let names = ours.filter_map(|lease| lease["metadata"]["name"].as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

/// A Service's name has 63 characters at most, a namespace's as well.
pub(super) fn the_longest(scene: &Scene<'_>) -> Result<()> {
    let padded = |word: &str| {
        let name = scene.name(word);
        format!("{name}{}", "x".repeat(63 - name.len()))
    };
    let namespace = padded("namespace");
    scene.apply(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
    }))?;
    let mut pool = scene.pool("p", &[(scene.v4(1), scene.v4(9))]);
    pool["metadata"]["name"] = json!(padded("pool"));
    scene.apply(&pool)?;
    let before = leases(scene)?;
    let names = ["one", "two"].map(padded);
    for (name, last) in names.iter().zip([1, 2]) {
        let mut service = scene.service("a");
        service["metadata"]["name"] = json!(name);
        service["metadata"]["namespace"] = json!(namespace);
        scene.apply(&service)?;
        scene.gets(&service, &[scene.v4(last)])?;
        scene.holder(scene.v4(last))?;
    }
    scene.eventually("a lease for each", || {
        let new: Vec<String> = leases(scene)?.difference(&before).cloned().collect();
        ensure!(new.len() == 2, "{new:?}");
        // A Lease's name is a DNS subdomain: 253 characters at most.
        ensure!(new.iter().all(|name| name.len() <= 253), "{new:?}");
        Ok(())
    })
}

/// `a-b/c` and `a/b-c` are two.
pub(super) fn a_dash_may_be_anywhere(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let before = leases(scene)?;
    let (short, long) = (scene.name("n"), scene.name("n-b"));
    for name in [&short, &long] {
        scene.apply(&json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name},
        }))?;
    }
    for (namespace, name, last) in [(&long, "c", 1), (&short, "b-c", 2)] {
        let mut service = scene.service("a");
        service["metadata"]["name"] = json!(name);
        service["metadata"]["namespace"] = json!(namespace);
        scene.apply(&service)?;
        scene.gets(&service, &[scene.v4(last)])?;
        scene.holder(scene.v4(last))?;
    }
    scene.eventually("a lease for each", || {
        let new: Vec<String> = leases(scene)?.difference(&before).cloned().collect();
        ensure!(new.len() == 2, "{new:?}");
        Ok(())
    })
}

/// The lease of a Service that is gone is collected.
pub(super) fn leases_are_collected(scene: &Scene<'_>) -> Result<()> {
    scene.pool_v4(1, 9)?;
    let service = scene.service("a");
    scene.apply(&service)?;
    scene.answers(scene.v4(1))?;
    let lease = format!("landfall-l2-default.{}", scene.name("a"));
    scene.eventually("its lease", || {
        let all = leases(scene)?;
        ensure!(all.contains(&lease), "{all:?}");
        Ok(())
    })?;
    let object = scene.client().get(&Resource::new(
        "coordination.k8s.io/v1",
        "Lease",
        NAMESPACE,
        &lease,
    ))?;
    let holder = scene.holder(scene.v4(1))?.name();
    ensure!(
        object["spec"]["holderIdentity"]
            .as_str()
            .is_some_and(|identity| identity.contains(holder)),
        "{holder} answers, and the lease says {}",
        object["spec"]
    );
    scene.delete(&service)?;
    wait::until_ok(COLLECTED, "its lease to be gone", || {
        std::thread::sleep(Duration::from_millis(200));
        let all = leases(scene)?;
        ensure!(!all.contains(&lease), "{all:?}");
        Ok(())
    })
}
