//! The definitions at a real API server: established, explained, and refusing what is wrong with a
//! message that says what to write.

mod table;

use anyhow::{Context, Result, ensure};
use landfall_tests::cluster::programs::Programs;
use landfall_tests::cluster::{Cluster, Kubectl};

use crate::{items, shipped};
use table::{Kind, RIGHT, WRONG};

#[test]
fn definitions_are_explained_and_refuse_wrong_objects_with_what_to_write() -> Result<()> {
    let cluster = Cluster::builder()
        .nodes(1)
        .start(&Programs::find_or_build()?)?;
    let kubectl = cluster.kubectl();
    let manifest = shipped("kubernetes/landfall.yaml")?;
    let (agents, rest): (Vec<&str>, Vec<&str>) = manifest
        .split("\n---\n")
        .partition(|object| object.contains("\nkind: DaemonSet\n"));
    kubectl.apply(&rest.join("\n---\n"))?;
    // Taken, and no more: agents made for a machine would take this one's root group for their node's.
    kubectl.feed("apply --dry-run=server -f -", &agents.join("\n---\n"))?;
    kubectl.apply(&shipped("helm/landfall/files/crds-cilium.yaml")?)?;
    kubectl.run("wait --for=condition=Established crd --all --timeout=20s")?;
    nothing_is_said_against_the_definitions(&kubectl)?;
    wrong_objects_are_refused(&kubectl)?;
    for (number, (kind, spec)) in RIGHT.iter().enumerate() {
        kubectl.apply(&object(*kind, number, spec))?;
    }
    conditions_are_kept_by_type_and_shown(&kubectl)?;
    fields_are_explained(&kubectl)?;
    agents_may_do_what_they_need_and_no_more(&kubectl)
}

fn wrong_objects_are_refused(kubectl: &Kubectl) -> Result<()> {
    let mut missed = Vec::new();
    for (number, wrong) in WRONG.iter().enumerate() {
        let text = object(wrong.kind, number, wrong.spec);
        let Err(refusal) = kubectl.apply(&text) else {
            missed.push(format!("{} was taken", wrong.spec));
            continue;
        };
        let refusal = refusal.to_string();
        let names = refusal.contains(wrong.field);
        if !names || !wrong.says.iter().all(|words| refusal.contains(words)) {
            missed.push(format!("{}: {refusal}", wrong.spec));
        }
    }
    ensure!(missed.is_empty(), "{}", missed.join("\n\n"));
    let left = kubectl.json("get lbpool,l2policy,ciliumloadbalancerippools")?;
    assert_eq!(items(&left).len(), 0, "{left}");
    Ok(())
}

/// Such as schemas that are not structural, or names that are taken.
fn nothing_is_said_against_the_definitions(kubectl: &Kubectl) -> Result<()> {
    let definitions = kubectl.json("get crd")?;
    assert_eq!(items(&definitions).len(), 4);
    for definition in items(&definitions) {
        let conditions = definition["status"]["conditions"].as_array();
        for condition in conditions.context("conditions")? {
            let well = condition["type"] != "NonStructuralSchema" && condition["status"] == "True";
            ensure!(well, "{}: {condition}", definition["metadata"]["name"]);
        }
    }
    Ok(())
}

fn conditions_are_kept_by_type_and_shown(kubectl: &Kubectl) -> Result<()> {
    let [conflict, available] = [
        ("PoolConflict", "False", "none"),
        ("IPsAvailable", "True", "253"),
    ]
    .map(|(kind, status, message)| {
        format!(
            "{{type: {kind}, status: '{status}', reason: counted, message: '{message}', \
                 lastTransitionTime: '2026-01-01T00:00:00Z'}}"
        )
    });
    // Each by a writer of its own: the list is a map by type, and neither takes the other's away.
    for (writer, condition) in [("one", conflict), ("two", available)] {
        let status = format!(
            "{}\nmetadata: {{name: test-1}}\nstatus: {{conditions: [{condition}]}}\n",
            Kind::Pool.head()
        );
        let words =
            format!("apply --server-side --subresource=status --field-manager={writer} -f -");
        kubectl.feed(&words, &status)?;
    }
    let shown = kubectl.run("get lbpool test-1")?;
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let columns = ["NAME", "DISABLED", "CONFLICTING", "IPS", "AVAILABLE", "AGE"];
    assert_eq!(lines[0], columns, "{shown}");
    assert_eq!(
        lines[1][..4],
        ["test-1", "false", "False", "253"],
        "{shown}"
    );
    let shown = kubectl.run("get l2policy")?;
    assert!(shown.starts_with("NAME "), "{shown}");
    for column in ["LOADBALANCER IPS", "EXTERNAL IPS", "INTERFACES", "AGE"] {
        assert!(shown.contains(column), "{shown}");
    }
    Ok(())
}

/// Every field there is has words of its own in `kubectl explain`.
fn fields_are_explained(kubectl: &Kubectl) -> Result<()> {
    for kind in ["lbpool", "l2policy", "ciliumloadbalancerippools"] {
        let told = kubectl.run(&format!("explain {kind} --recursive"))?;
        let described = kubectl.run(&format!("explain {kind}.spec"))?;
        ensure!(!described.contains("<no description>"), "{described}");
        ensure!(told.contains("matchExpressions"), "{told}");
    }
    for (path, words) in [
        ("lbpool.spec.blocks", "CIDR"),
        ("lbpool.spec.blocks.cidr", "such as 10.10.200.0/29"),
        (
            "lbpool.spec.serviceSelector.matchExpressions.operator",
            "DoesNotExist",
        ),
        ("lbpool.status.conditions.type", "PoolConflict"),
        ("l2policy.spec.interfaces", "Regular expressions"),
    ] {
        let told = kubectl.run(&format!("explain {path}"))?;
        ensure!(told.contains(words), "{told}");
        ensure!(
            !told.contains("<empty>") && !told.contains("<no description>"),
            "{told}"
        );
    }
    Ok(())
}

fn agents_may_do_what_they_need_and_no_more(kubectl: &Kubectl) -> Result<()> {
    let may = |words: &str| {
        let agent = "--as=system:serviceaccount:landfall-system:landfall";
        // `can-i` fails where the answer is no.
        kubectl
            .run(&format!("auth can-i {words} {agent} --quiet"))
            .is_ok()
    };
    for needed in [
        "watch services",
        "patch services --subresource=status",
        "patch ciliumloadbalancerippools.cilium.io --subresource=status",
        "update leases.coordination.k8s.io -n landfall-system",
        "patch leases.coordination.k8s.io/landfall-allocator -n landfall-system",
        "get leases.coordination.k8s.io/cilium-operator-resource-lock -n kube-system",
        "get secrets/landfall-heartbeat -n landfall-system",
        "update configmaps/landfall-assignments -n landfall-system",
    ] {
        ensure!(may(needed), "may not {needed}");
    }
    for denied in [
        "update services",
        "patch lbpool",
        "delete lbpool",
        "list secrets -n landfall-system",
        "get secrets/another -n landfall-system",
        "get secrets/landfall-heartbeat -n default",
        "get configmaps/another -n landfall-system",
        "update leases.coordination.k8s.io -n kube-system",
        "list leases.coordination.k8s.io -n kube-system",
        "list pods",
        "patch nodes",
    ] {
        ensure!(!may(denied), "may {denied}");
    }
    Ok(())
}

fn object(kind: Kind, number: usize, spec: &str) -> String {
    format!(
        "{}\nmetadata: {{name: test-{number}}}\nspec: {spec}\n",
        kind.head()
    )
}
