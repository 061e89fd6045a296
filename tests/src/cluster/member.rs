//! A node's part in the cluster: its containerd and its kubelet, with their settings.
//!
//! Everything that they start ends with the node: containers are in control groups below the
//! node's, in every hierarchy.

use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::files::{mount_own, on_disk};
use super::kubeconfig;
use super::pki::{Authority, Identity, Pair};
use super::programs::Programs;
use super::{CLUSTER_DNS, PAUSE_IMAGE};
use crate::lab::host::Host;
use crate::lab::manifests::Labels;
use crate::lab::node::Node;
use crate::lab::wait;

/// How long containerd may take to open its socket.
const PATIENCE: Duration = Duration::from_secs(30);

const SOCKET: &str = "/run/containerd/containerd.sock";

/// Debian's places for CNI plugins and their settings.
const CNI_PLUGINS: &str = "/usr/lib/cni";
const CNI_SETTINGS: &str = "/etc/cni/net.d";

/// A node with containerd and a kubelet. Dropping it kills both.
#[derive(Debug)]
pub(super) struct Member {
    host: Host,
    dir: PathBuf,
    kubelet: PathBuf,
    containerd_settings: PathBuf,
    kubelet_settings: PathBuf,
    kubeconfig: PathBuf,
    running: Vec<Daemon>,
}

impl Member {
    /// Gives a node its own files and writes the settings. Nothing runs yet.
    pub(super) fn new(
        node: &Node,
        lab: &Path,
        programs: &Programs,
        authority: &Authority,
        server: &str,
    ) -> Result<Self> {
        let (host, name) = (node.host().clone(), node.name());
        let dir = lab.join(name);
        let user = format!("system:node:{name}");
        let identity = Identity {
            user: &user,
            group: Some("system:nodes"),
        };
        let kubeconfig = kubeconfig::write(lab, name, identity, authority, server)?;
        let serving = authority.server(&format!("{name}-kubelet"), &[name], &node.addresses())?;
        let (containerd_settings, kubelet_settings) =
            (dir.join("containerd.toml"), dir.join("kubelet.yaml"));
        fs::write(&containerd_settings, containerd()).context("containerd's settings")?;
        let settings = kubelet(&host, &serving, authority)?;
        fs::write(&kubelet_settings, serde_norway::to_string(&settings)?)
            .context("the kubelet's settings")?;
        write_etc(&dir, node)?;
        host.cgroup().make_twins()?;
        mount_own(&host, lab, &dir).with_context(|| format!("give {name} files of its own"))?;
        Ok(Self {
            host,
            dir,
            kubelet: programs.path("kubelet").to_owned(),
            containerd_settings,
            kubelet_settings,
            kubeconfig,
            running: Vec::new(),
        })
    }

    /// Takes the machine over that the node is after a reboot, and starts containerd and the
    /// kubelet there.
    pub(super) fn boot(&mut self, host: Host, lab: &Path) -> Result<()> {
        self.running.clear();
        self.host = host;
        mount_own(&self.host, lab, &self.dir)?;
        // It has the images still.
        self.start_containerd(&[])?;
        self.start_kubelet()
    }

    /// Starts containerd, waits until it serves, and gives it the images.
    pub(super) fn start_containerd(&mut self, images: &[PathBuf]) -> Result<()> {
        let group = self.host.cgroup().child("containerd")?;
        let mut command = self.host.command_in(&group, "containerd")?;
        command.arg("--config").arg(&self.containerd_settings);
        let mut daemon = Daemon::start("containerd", &self.dir, &mut command)?;
        let opened = wait::until(PATIENCE, "containerd's socket", || {
            daemon.check()?;
            let node = self.host.namespace();
            Ok(node.run_as_machine(|| UnixStream::connect(SOCKET).is_ok()))
        });
        opened.with_context(|| format!("{}: {}", self.host.name(), daemon.log_tail()))?;
        self.running.push(daemon);
        for image in images {
            let image = image.display();
            self.host
                .output(&format!("ctr --namespace k8s.io images import {image}"))?;
        }
        Ok(())
    }

    /// Starts the kubelet. Does not wait until the node is ready.
    pub(super) fn start_kubelet(&mut self) -> Result<()> {
        let group = self.host.cgroup().child("kubelet")?;
        let mut command = self.host.command_in(&group, &self.kubelet)?;
        command
            .arg(format!("--config={}", self.kubelet_settings.display()))
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--hostname-override={}", self.host.name()))
            .arg(format!(
                "--node-ip={},{}",
                self.host.ipv4(),
                self.host.ipv6()
            ));
        self.running
            .push(Daemon::start("kubelet", &self.dir, &mut command)?);
        Ok(())
    }

    /// Fails when containerd or the kubelet has ended, with the end of its log.
    pub(super) fn check(&mut self) -> Result<()> {
        let name = self.host.name().to_owned();
        let mut running = self.running.iter_mut();
        running.try_for_each(Daemon::check).context(name)
    }
}

/// The Node as it is before its kubelet registers it: with the pod networks that the lab routes.
pub(super) fn manifest(node: &Node, labels: &Labels) -> Value {
    let networks = pod_networks(node.number());
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node.name(), "labels": labels},
        "spec": {"podCIDR": networks[0], "podCIDRs": networks},
    })
}

fn pod_networks(number: u8) -> [String; 2] {
    [
        format!("10.244.{number}.0/24"),
        format!("fd00:244:{number}::/64"),
    ]
}

/// Writes what the node has in `/etc` of its own: its id and how pods get their network.
fn write_etc(dir: &Path, node: &Node) -> Result<()> {
    let etc = on_disk(dir, "/etc");
    let settings = on_disk(dir, CNI_SETTINGS);
    fs::create_dir_all(&settings).with_context(|| settings.display().to_string())?;
    fs::write(etc.join("hostname"), format!("{}\n", node.name()))?;
    // 32 hex digits, as machine-id(5) wants them; the number is enough to tell nodes apart.
    fs::write(etc.join("machine-id"), format!("{:032x}\n", node.number()))?;
    let ranges = pod_networks(node.number()).map(|subnet| json!([{"subnet": subnet}]));
    let network = json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [
            {
                "type": "ptp", "mtu": 1500, "ipMasq": false,
                "ipam": {
                    "type": "host-local", "ranges": ranges,
                    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    let place = settings.join("10-ptp.conflist");
    fs::write(&place, network.to_string()).with_context(|| place.display().to_string())
}

fn containerd() -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "{SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# A machine without CAP_SYS_RESOURCE cannot lower a score.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{CNI_SETTINGS}"
"#
    )
}

fn kubelet(host: &Host, serving: &Pair, authority: &Authority) -> Result<Value> {
    let root = Path::new("/").join(host.cgroup().below_root_path()?);
    Ok(json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": IpAddr::from(host.ipv4()),
        "tlsCertFile": serving.certificate, "tlsPrivateKeyFile": serving.key,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": authority.certificate()},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "clusterDomain": "cluster.local", "clusterDNS": [CLUSTER_DNS],
        // All pods of the node are below its own group, in the v2 tree too: the place for
        // programs that see the sockets of all of them.
        "cgroupDriver": "cgroupfs", "cgroupRoot": root,
        "enforceNodeAllocatable": [], "failCgroupV1": false, "failSwapOn": false,
        "localStorageCapacityIsolation": false,
        // The machine's disk is not the cluster's: a full one evicts nobody.
        "evictionHard": {"nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": "/var/lib/kubelet/plugins/volume",
    }))
}
