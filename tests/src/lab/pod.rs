//! Pods: a namespace behind a routed veth each, with the pod server running in the pod's own
//! control group below its node's. The lab makes them, or a cluster's kubelets do.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::host::{Host, Mac};
use super::manifests::Labels;
use super::namespace::Namespace;
use super::node::Node;
use super::programs;
use super::switch::quiet_ipv6;
use super::wait;
use crate::server::Ports;

/// The image of the pod server, where there are images.
pub const IMAGE: &str = "landfall.test/pod:1";

/// What a pod is to be.
#[derive(Debug, Clone)]
pub struct PodSpec {
    /// The pod's name.
    pub name: String,
    /// The pod's labels.
    pub labels: Labels,
    /// The ports it serves.
    pub ports: Ports,
}

impl PodSpec {
    /// A pod with the label `app` and the usual ports.
    #[must_use]
    pub fn app(name: &str, app: &str) -> Self {
        let labels = super::manifests::labels(&[("app", app)]);
        Self {
            name: name.to_owned(),
            labels,
            ports: Ports::default(),
        }
    }
}

impl PodSpec {
    /// The pod as its author would write it, for one node.
    #[must_use]
    pub fn manifest(&self, node: &str) -> Value {
        let Ports { http, tcp, udp } = self.ports;
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "namespace": "default", "labels": self.labels},
            "spec": {
                "nodeName": node,
                "containers": [{
                    "name": "server", "image": IMAGE,
                    "ports": [
                        {"name": "http", "containerPort": http, "protocol": "TCP"},
                        {"name": "echo", "containerPort": tcp, "protocol": "TCP"},
                        {"name": "ping", "containerPort": udp, "protocol": "UDP"},
                    ],
                }],
            },
        })
    }
}

/// What a pod's manifest says of its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodState {
    /// Its Ready condition is true.
    Ready,
    /// Its Ready condition is false.
    Unready,
    /// It has a deletion timestamp, and is still ready.
    Terminating,
}

/// A running pod. Dropping it ends its server, unless a kubelet runs it.
#[derive(Debug)]
pub struct Pod {
    spec: PodSpec,
    host: Host,
    node: Host,
    veth: String,
    /// None where a kubelet runs it.
    server: Option<Child>,
}

impl Pod {
    /// Brings a pod up on `node` and waits until it serves.
    pub(super) fn start(node: &Node, spec: PodSpec) -> Result<Self> {
        let (subnet, number, name) = (node.number(), node.next_pod()?, &spec.name);
        let v4 = Ipv4Addr::new(10, 244, subnet, number);
        let v6: Ipv6Addr = format!("fd00:244:{subnet}::{number}").parse()?;
        let gateway = (
            Ipv4Addr::new(10, 244, subnet, 1),
            format!("fd00:244:{subnet}::1"),
        );
        let mac = Mac([2, 1, 10, 244, subnet, number]);
        let cgroup = node.host().cgroup().child("pods")?.child(name)?;
        let host = Host::new(name, Namespace::network()?, cgroup, mac, v4, v6);
        quiet_ipv6(&host)?;
        let veth = format!("veth{subnet:02x}{number:02x}");
        let namespace = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            host.namespace().raw_fd()
        );
        // As the ptp plugin of CNI does it: no bridge, the gateway's address on every veth.
        node.host().feed(
            "ip -batch -",
            &format!(
                "link add {veth} mtu 1500 type veth peer name eth0 mtu 1500 address {mac} netns {namespace}\n\
                 addr add {g4}/32 dev {veth}\n\
                 addr add {g6}/128 dev {veth} nodad\n\
                 link set {veth} up\n\
                 route add {v4}/32 dev {veth} src {g4}\n\
                 route add {v6}/128 dev {veth}\n",
                g4 = gateway.0,
                g6 = gateway.1,
            ),
        )?;
        host.feed(
            "ip -batch -",
            &format!(
                "link set lo up\n\
                 addr add {v4}/32 dev eth0\n\
                 addr add {v6}/128 dev eth0 nodad\n\
                 link set eth0 up\n\
                 route add {g4} dev eth0 scope link\n\
                 route add default via {g4} dev eth0\n\
                 route add {g6} dev eth0\n\
                 route add default via {g6} dev eth0\n",
                g4 = gateway.0,
                g6 = gateway.1,
            ),
        )?;
        let server = host
            .command(programs::landfall_lab()?)?
            .args(["pod", "--name", name])
            .args(spec.ports.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start the server of pod {name}"))?;
        let pod = Self {
            spec,
            host,
            node: node.host().clone(),
            veth,
            server: Some(server),
        };
        let target = (v4, pod.spec.ports.http);
        wait::until_ok(Duration::from_secs(10), "a pod to serve", || {
            pod.host.http_get(target).map(drop)
        })?;
        Ok(pod)
    }

    /// A pod that a kubelet runs.
    pub(crate) fn of_kubelet(spec: PodSpec, host: Host, node: &Host, veth: String) -> Self {
        Self {
            spec,
            host,
            node: node.clone(),
            veth,
            server: None,
        }
    }

    /// The pod's namespace, addresses and control group.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What the pod was made from.
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        &self.spec
    }

    /// The name of the node the pod runs on.
    #[must_use]
    pub fn node(&self) -> &str {
        self.node.name()
    }

    /// The node's end of the pod's wire.
    #[must_use]
    pub fn veth(&self) -> &str {
        &self.veth
    }

    /// The name of the pod's manifest file.
    #[must_use]
    pub fn file(&self) -> String {
        format!("pod-{}.yaml", self.spec.name)
    }

    /// The pod's manifest, in a given state.
    #[must_use]
    pub fn manifest(&self, state: PodState) -> Value {
        let (v4, v6) = (self.host.ipv4().to_string(), self.host.ipv6().to_string());
        let ready = if state == PodState::Unready {
            "False"
        } else {
            "True"
        };
        let mut manifest = self.spec.manifest(self.node.name());
        manifest["status"] = json!({
            "phase": "Running", "hostIP": self.node.ipv4().to_string(),
            "podIP": v4, "podIPs": [{"ip": v4}, {"ip": v6}],
            "conditions": [{"type": "Ready", "status": ready}],
        });
        if state == PodState::Terminating {
            manifest["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            manifest["metadata"]["deletionGracePeriodSeconds"] = json!(30);
        }
        manifest
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let Some(server) = &mut self.server else {
            return;
        };
        // These fail only when the server has ended already.
        let _ = server.kill();
        let _ = server.wait();
        // The wire would go with the namespace, but later; when the lab is gone, it is gone too.
        let _ = self.node.output(&format!("ip link del {}", self.veth));
    }
}
