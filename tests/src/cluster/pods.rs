//! The lab's pods on a cluster: real pods with the lab's server in them, which scenarios hold by the
//! same handle as those that the lab makes itself.
//!
//! What a scenario says of a pod's state becomes true in the API: a readiness gate, which kubelets
//! heed at once, stands for readiness; a pod that is unlisted loses the labels that Services select
//! it by; and one that terminates is deleted, while its server goes on for the grace period, for it
//! heeds no SIGTERM.

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::api::Api;
use super::resource::Resource;
use crate::lab::cgroup::Cgroup;
use crate::lab::host::{Host, Mac};
use crate::lab::namespace::Namespace;
use crate::lab::node::Node;
use crate::lab::pod::{Pod, PodSpec, PodState};
use crate::lab::wait;

/// How long a pod may take to run; all cores may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a pod that is coming up is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The condition that a pod's readiness waits for beside its containers'.
const GATE: &str = "landfall.test/listed";

/// How long a terminating pod goes on, in seconds.
const GRACE: u32 = 30;

impl Api {
    /// Brings a pod up that serves and that the API does not call ready.
    pub(super) fn start_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        let mut manifest = spec.manifest(node.name());
        manifest["spec"]["terminationGracePeriodSeconds"] = json!(GRACE);
        manifest["spec"]["readinessGates"] = json!([{"conditionType": GATE}]);
        let mut arguments = vec!["pod".to_owned(), "--name".to_owned(), spec.name.clone()];
        arguments.extend(spec.ports.arguments());
        let container = &mut manifest["spec"]["containers"][0];
        container["imagePullPolicy"] = json!("IfNotPresent");
        container["args"] = json!(arguments);
        self.client.apply(&manifest)?;
        self.serving_pod(node, spec)
    }

    /// Waits until a pod that the API knows serves, after a reboot too: the API tells for a while
    /// of what ran before.
    pub(super) fn serving_pod(&self, node: &Node, spec: PodSpec) -> Result<Pod> {
        let place = Resource::pod(&spec.name);
        wait::until_ok(PATIENCE, "a pod to serve", || {
            // What kubelets and containerd do meanwhile is slower than this.
            thread::sleep(LOOK);
            let object = self.client.get(&place)?;
            let pod = adopt(node, spec.clone(), &object);
            let pod = pod.with_context(|| format!("pod {}", spec.name))?;
            let target = (pod.host().ipv4(), spec.ports.http);
            pod.host().http_get(target)?;
            Ok(pod)
        })
    }

    /// Makes a pod's state in the API so, and waits until the API says it.
    pub(super) fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()> {
        let (client, place) = (&self.client, Resource::pod(pod.name()));
        let ready = match state {
            PodState::Ready => "True",
            PodState::Unready => "False",
            PodState::Terminating => return client.delete(&place),
        };
        let labels = json!({"metadata": {"labels": pod.spec().labels}});
        client.merge(&place, &labels)?;
        let condition = json!({"status": {"conditions": [{"type": GATE, "status": ready}]}});
        client.merge_status(&place, &condition)?;
        wait::until(PATIENCE, "a pod's readiness", || {
            let object = client.get(&place)?;
            let conditions = object["status"]["conditions"].as_array();
            let mut conditions = conditions.into_iter().flatten();
            Ok(conditions.any(|one| one["type"] == "Ready" && one["status"] == ready))
        })
    }

    /// Takes the labels off a pod that Services select it by.
    pub(super) fn unlist_pod(&self, pod: &Pod) -> Result<()> {
        let none = pod
            .spec()
            .labels
            .keys()
            .map(|key| (key.clone(), Value::Null));
        let none: serde_json::Map<String, Value> = none.collect();
        let patch = json!({"metadata": {"labels": none}});
        let place = Resource::pod(pod.name());
        self.client.merge(&place, &patch).map(drop)
    }

    /// Removes a pod from the API at once; its kubelet ends it.
    pub(super) fn remove_pod(&self, pod: &Pod) -> Result<()> {
        self.client.delete_now(&Resource::pod(pod.name()))
    }
}

/// The pod's handle, by what the API and the kernel say of it.
fn adopt(node: &Node, spec: PodSpec, object: &Value) -> Result<Pod> {
    let cgroup = container_group(node, object)?;
    let processes = cgroup.processes()?;
    let server = processes.first().context("no process is in its group")?;
    let namespace = Namespace::of_process(*server)?;
    let ips = object["status"]["podIPs"].as_array();
    let mut ips = ips.into_iter().flatten().filter_map(|ip| ip["ip"].as_str());
    let (v4, v6) = (
        ips.next().unwrap_or_default(),
        ips.next().unwrap_or_default(),
    );
    let link = links(&namespace)?
        .into_iter()
        .find(|link| link["ifname"] == "eth0");
    let link = link.context("it has no eth0")?;
    let mac = link["address"]
        .as_str()
        .and_then(mac)
        .context("eth0 has no address")?;
    let ends = links(node.host().namespace())?.into_iter();
    let mut ends = ends.filter(|end| end["ifindex"] == link["link_index"]);
    let veth = ends.next().context("its eth0 has no other end")?;
    let veth = veth["ifname"].as_str().context("a link has a name")?;
    let host = Host::new(&spec.name, namespace, cgroup, mac, v4.parse()?, v6.parse()?);
    Ok(Pod::of_kubelet(spec, host, node.host(), veth.to_owned()))
}

/// The group of a pod's container, as the kubelet's driver `cgroupfs` names it.
fn container_group(node: &Node, object: &Value) -> Result<Cgroup> {
    let status = &object["status"];
    let uid = object["metadata"]["uid"].as_str().context("no uid")?;
    let container = status["containerStatuses"][0]["containerID"].as_str();
    let container = container.and_then(|id| id.strip_prefix("containerd://"));
    let container = container.context("no container")?;
    let kubepods = node.host().cgroup().path().join("kubepods");
    let class = match status["qosClass"].as_str() {
        Some("Guaranteed") => kubepods,
        Some(class) => kubepods.join(class.to_ascii_lowercase()),
        None => bail!("no class of service"),
    };
    Ok(Cgroup::at(class.join(format!("pod{uid}")).join(container)))
}

/// The interfaces of a network namespace, as `ip` tells of them.
fn links(namespace: &Namespace) -> Result<Vec<Value>> {
    let output = namespace.run(|| Command::new("ip").args(["-json", "link"]).output());
    serde_json::from_slice(&output.context("run ip")?.stdout).context("ip -json link")
}

fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut bytes {
        *byte = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    Some(Mac(bytes))
}
