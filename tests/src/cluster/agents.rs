//! Letting agents in that run as processes on the lab's nodes: what the manifest has but its
//! DaemonSet, and a kubeconfig for each node with a token of its service account.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::api::{self, Api};
use super::pki::Authority;
use super::{PATIENCE, Resource};
use crate::lab::node::Node;
use crate::lab::settings::Common;
use crate::lab::{Lab, programs, wait};

/// The namespace of the agents' own objects.
pub const NAMESPACE: &str = "landfall-system";

/// The agents' service account.
pub const ACCOUNT: &str = "landfall";

/// Applies what the agents need in the cluster, and has them use it when they are started.
pub(super) fn admit(
    api: &Api,
    lab: &mut Lab,
    authority: &Authority,
    common: &Common,
) -> Result<()> {
    let mut objects = definitions()?;
    objects.extend(roles()?);
    // The namespace before what is in it.
    objects.sort_by_key(|object| object["kind"] != "Namespace");
    for object in &objects {
        api.client.apply(object)?;
    }
    let defined = |object: &&Value| object["kind"] == "CustomResourceDefinition";
    for definition in objects.iter().filter(defined) {
        established(api, definition)?;
    }
    let (dir, url) = (lab.dir().to_owned(), api.control_plane.url());
    for node in lab.nodes() {
        let token = format!("create token {ACCOUNT} --namespace {NAMESPACE} --duration=24h");
        let token = api.kubectl().run(&token)?;
        let config = kubeconfig(&url, authority, token.trim());
        let place = kubeconfig_of(&dir, node);
        fs::write(&place, serde_norway::to_string(&config)?)
            .with_context(|| place.display().to_string())?;
    }
    lab.use_api(|node| kubeconfig_of(&dir, node), common)
}

fn kubeconfig_of(lab: &Path, node: &Node) -> PathBuf {
    lab.join(node.name()).join("landfall.kubeconfig")
}

/// Landfall's kinds, and their twins of another project that the examples are written in.
fn definitions() -> Result<Vec<Value>> {
    let output = Command::new(programs::landfall()?)
        .args(["crds", "--compat", "cilium"])
        .output()
        .context("landfall crds")?;
    ensure!(output.status.success(), "landfall crds: {}", output.status);
    api::parse(&String::from_utf8(output.stdout)?)
}

/// The namespace, the service account, and what it may do.
fn roles() -> Result<Vec<Value>> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cluster/rbac.yaml");
    let text = fs::read_to_string(&place).with_context(|| place.display().to_string())?;
    api::parse(&text)
}

/// Waits until the API server serves a kind.
fn established(api: &Api, definition: &Value) -> Result<()> {
    let place = Resource::of(definition)?;
    wait::until(PATIENCE, "a kind to be served", || {
        let object = api.client.get(&place)?;
        let conditions = object["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        Ok(conditions.any(|one| one["type"] == "Established" && one["status"] == "True"))
    })
}

fn kubeconfig(server: &str, authority: &Authority, token: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "lab",
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": ACCOUNT}}],
        "clusters": [{"name": "lab", "cluster": {
            "server": server, "certificate-authority": authority.certificate(),
        }}],
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
    })
}
