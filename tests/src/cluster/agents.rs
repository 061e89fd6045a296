//! Letting agents in. As processes on the lab's nodes, which scenarios start and kill: they have what
//! the manifest has but its DaemonSet, and a kubeconfig for each node with a token of its service
//! account. Or as the manifest has it, in pods of the image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::api::{self, Api};
use super::control_plane::API_PORT;
use super::image::Image;
use super::pki::Authority;
use super::{PATIENCE, Resource};
use crate::lab::node::Node;
use crate::lab::settings::Common;
use crate::lab::{Lab, programs, wait};

/// The namespace of the agents' own objects.
pub const NAMESPACE: &str = "landfall-system";

/// The agents' service account.
pub const ACCOUNT: &str = "landfall";

/// The DaemonSet, and the container of it that is the agent.
const DAEMON_SET: (&str, &str) = ("landfall", "agent");

/// Applies what the agents need in the cluster, and has them use it when they are started.
pub(super) fn admit(
    api: &Api,
    lab: &mut Lab,
    authority: &Authority,
    common: &Common,
) -> Result<()> {
    apply(
        api,
        manifest()?
            .into_iter()
            .filter(|object| !is_daemon_set(object)),
    )?;
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

/// Applies the manifest, and waits until an agent is ready on every node.
pub(super) fn deploy(api: &Api, lab: &Lab) -> Result<()> {
    let mut objects = manifest()?;
    for object in objects.iter_mut().filter(|object| is_daemon_set(object)) {
        adapt(object, api, lab)?;
    }
    apply(api, objects.into_iter())?;
    let words = format!(
        "rollout status daemonset {} --namespace {NAMESPACE}",
        DAEMON_SET.0
    );
    let timeout = PATIENCE.as_secs();
    let rolled = api.kubectl().run(&format!("{words} --timeout={timeout}s"));
    rolled.map(drop).with_context(|| {
        let words = format!("describe pods --namespace {NAMESPACE}");
        api.kubectl().run(&words).unwrap_or_default()
    })
}

/// What the manifest leaves to the cluster's administrator, and what a lab on one machine asks for.
fn adapt(daemon_set: &mut Value, api: &Api, lab: &Lab) -> Result<()> {
    let spec = &mut daemon_set["spec"]["template"]["spec"];
    let containers = spec["containers"].as_array_mut().context("containers")?;
    let mut containers = containers.iter_mut();
    let agent = containers.find(|one| one["name"] == DAEMON_SET.1);
    let env = agent.context("the agent")?["env"].as_array_mut();
    let env = env.context("its environment")?;
    let own = ["LANDFALL_DATAPATH__CGROUP_ROOT"];
    env.retain(|one| !own.iter().any(|name| one["name"] == *name));
    env.extend([
        // As the manifest says for clusters without kube-proxy.
        json!({"name": "KUBERNETES_SERVICE_HOST", "value": api.control_plane.address()}),
        json!({"name": "KUBERNETES_SERVICE_PORT", "value": API_PORT.to_string()}),
        // The machine's root group is that of all nodes.
        json!({"name": own[0], "value": "/host/cgroup/$(LANDFALL_NODE__NAME)"}),
    ]);
    let node = lab.node(0).host().cgroup().path_on_node()?;
    let groups = node.parent().context("a node's group is below the lab's")?;
    let volumes = spec["volumes"].as_array_mut().context("volumes")?;
    let mut volumes = volumes.iter_mut();
    let volume = volumes.find(|one| one["name"] == "cgroup");
    volume.context("the volume cgroup")?["hostPath"]["path"] = json!(groups);
    Ok(())
}

/// The image that the manifest names, of the daemon's own binary: by `packaging/build-image` where
/// that is static, as in every release.
pub(super) fn image(file: &Path) -> Result<()> {
    let program = programs::landfall()?;
    let mut daemon_sets = manifest()?.into_iter().filter(is_daemon_set);
    let daemon_set = daemon_sets
        .next()
        .context("the manifest has no DaemonSet")?;
    let container = &daemon_set["spec"]["template"]["spec"]["containers"][0];
    let name = container["image"].as_str().context("an image")?;
    let build = tree().join("packaging/build-image");
    let said = Command::new(&build)
        .arg(&program)
        .arg(file)
        .env("IMAGE_NAME", name)
        .output()
        .with_context(|| build.display().to_string())?;
    if said.status.success() {
        return Ok(());
    }
    // A binary of the tests' profile has its libraries beside it.
    let program = &program;
    Image { name, program }.write(file)
}

fn kubeconfig_of(lab: &Path, node: &Node) -> PathBuf {
    lab.join(node.name()).join("landfall.kubeconfig")
}

fn is_daemon_set(object: &Value) -> bool {
    object["kind"] == "DaemonSet"
}

fn is_definition(object: &Value) -> bool {
    object["kind"] == "CustomResourceDefinition"
}

/// Applies objects, each after what it needs.
fn apply(api: &Api, objects: impl Iterator<Item = Value>) -> Result<()> {
    let mut objects: Vec<Value> = objects.collect();
    objects.extend(definitions()?);
    objects.sort_by_key(|object| match object["kind"].as_str() {
        Some("Namespace") => 0,
        Some("DaemonSet") => 2,
        _ => 1,
    });
    for object in &objects {
        api.client.apply(object)?;
        if is_definition(object) {
            established(api, object)?;
        }
    }
    Ok(())
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

/// The manifest's objects but the definitions, which the binary prints too.
fn manifest() -> Result<Vec<Value>> {
    let place = tree().join("packaging/kubernetes/landfall.yaml");
    let text = fs::read_to_string(&place).with_context(|| place.display().to_string())?;
    let mut objects = api::parse(&text)?;
    objects.retain(|object| !is_definition(object));
    Ok(objects)
}

/// The work tree.
fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
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
