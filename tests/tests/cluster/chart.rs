//! The Helm chart and the manifest are one thing twice. Neither needs a cluster to be compared.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize as _;
use serde_json::Value;

use crate::shipped;

#[test]
fn the_chart_renders_the_objects_of_the_manifest() -> Result<()> {
    let manifest = documents(&shipped("kubernetes/landfall.yaml")?)?;
    let rendered = documents(&helm(&[])?)?;
    for object in &manifest {
        if object["kind"] == "Namespace" {
            continue;
        }
        let same = rendered.iter().find(|one| place(one) == place(object));
        assert_eq!(same, Some(object), "{:?}", place(object));
    }
    // The namespace is helm's to make.
    assert_eq!(rendered.len(), manifest.len() - 1);
    Ok(())
}

#[test]
fn the_charts_values_reach_the_agent() -> Result<()> {
    let set = [
        "settings.l2\\.lease_duration=5s",
        "k8sServiceHost=192.168.1.2",
        "k8sServicePort=6443",
        "serviceMonitor.enabled=true",
        "compat.cilium=true",
        "crds.keep=true",
        "image.tag=9",
        "flowControl.enabled=false",
    ];
    let objects = documents(&helm(&set)?)?;
    let of_kind = |kind: &str| -> Vec<&Value> {
        let all = objects.iter();
        all.filter(|object| object["kind"] == kind).collect()
    };
    let container = &of_kind("DaemonSet")[0]["spec"]["template"]["spec"]["containers"][0];
    let variable = |name: &str| {
        let mut all = container["env"].as_array().into_iter().flatten();
        all.find(|one| one["name"] == name)
            .map(|one| one["value"].clone())
    };
    assert_eq!(variable("LANDFALL_L2__LEASE_DURATION"), Some("5s".into()));
    assert_eq!(
        variable("KUBERNETES_SERVICE_HOST"),
        Some("192.168.1.2".into())
    );
    assert_eq!(variable("KUBERNETES_SERVICE_PORT"), Some("6443".into()));
    assert_eq!(container["image"], "landfall.dev/landfall:9");
    assert_eq!(of_kind("ServiceMonitor").len(), 1);
    assert!(of_kind("FlowSchema").is_empty() && of_kind("PriorityLevelConfiguration").is_empty());
    let definitions = of_kind("CustomResourceDefinition");
    assert_eq!(definitions.len(), 4);
    for definition in definitions {
        let kept = &definition["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(kept, "keep", "{}", definition["metadata"]["name"]);
    }
    Ok(())
}

/// `helm template` with values set.
fn helm(set: &[&str]) -> Result<String> {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/helm/landfall");
    let mut command = Command::new("helm");
    command.args(["template", "landfall"]).arg(chart);
    command.args(["--namespace", "landfall-system", "--kube-version", "1.36.0"]);
    for value in set {
        command.args(["--set", value]);
    }
    let output = command
        .output()
        .context("run helm; packaging/install-build-tools cluster installs it")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm template: {said}");
    String::from_utf8(output.stdout).context("helm prints text")
}

fn documents(text: &str) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for document in serde_norway::Deserializer::from_str(text) {
        let value = Value::deserialize(document)?;
        // A template that renders to comments alone.
        if !value.is_null() {
            objects.push(value);
        }
    }
    Ok(objects)
}

/// What an object is found by.
fn place(object: &Value) -> (&Value, &Value, &Value) {
    let metadata = &object["metadata"];
    (&object["kind"], &metadata["namespace"], &metadata["name"])
}
