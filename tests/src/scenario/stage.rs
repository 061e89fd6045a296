//! Where scenarios play: a lab with the example's three services, pods behind them, and an agent
//! on every node.
//!
//! Scenarios name objects and pods by [`Lab::objects`], [`Lab::add_pod`] and their like alone, and
//! those act on the lab's source. The lab of a [`Cluster`] has the API as its source: its pods are
//! real, and dying, rebooting and losing frames are the same. So a stage on a cluster is this builder
//! with that lab ([`StageBuilder::start_on`]), and everything is asked of both.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::cluster::{Access, Cluster};
use crate::lab::manifests::{add_port, example};
use crate::lab::netfilter::Netfilter;
use crate::lab::node::Node;
use crate::lab::pod::PodSpec;
use crate::lab::settings::Common;
use crate::lab::{Lab, wait};
use crate::probe::neighbour;

/// The example's services.
pub const SERVICES: [&str; 3] = ["svc1", "svc2", "svc3"];

/// The ports that the stage's services serve: web, TCP echo and UDP echo.
pub const ALLOWED_PORTS: [u16; 3] = [80, 7000, 5000];

/// How long a service may take to be reachable after the agents have started.
const PATIENCE: Duration = Duration::from_secs(15);

/// IPv6 addresses for the example's services, which become dual-stack.
const IPV6_POOL: &str = "\
apiVersion: landfall.dev/v1alpha1
kind: LoadBalancerIPPool
metadata:
  name: ipv6-pool
spec:
  blocks:
  - cidr: fd00:10:200::f000/120
";

static QUIET: AtomicBool = AtomicBool::new(false);

/// Lets stages end without a word from now on: where nobody picks the output of failures out.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// How a stage is to be.
#[derive(Debug, Clone, Default)]
pub struct StageBuilder {
    nodes: u8,
    pods_per_node: usize,
    dual_stack: bool,
    second_lan: bool,
    firewall: Option<Netfilter>,
    bare_node: Option<usize>,
    common: Common,
}

impl StageBuilder {
    /// The number of pods behind the services on each node, 1 unless set.
    #[must_use]
    pub fn pods_per_node(mut self, pods: usize) -> Self {
        self.pods_per_node = pods;
        self
    }

    /// The number of nodes, 3 unless set.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Gives every service an IPv6 address beside its IPv4 address.
    #[must_use]
    pub fn dual_stack(mut self) -> Self {
        self.dual_stack = true;
        self
    }

    /// Gives every machine an interface on a second LAN.
    #[must_use]
    pub fn second_lan(mut self) -> Self {
        self.second_lan = true;
        self
    }

    /// Puts a firewall on every node before its agent starts.
    #[must_use]
    pub fn firewall(mut self, firewall: &Netfilter) -> Self {
        self.firewall = Some(firewall.clone());
        self
    }

    /// Puts no pods on the node with this index.
    #[must_use]
    pub fn bare_node(mut self, index: usize) -> Self {
        self.bare_node = Some(index);
        self
    }

    /// What goes into every agent's settings.
    #[must_use]
    pub fn settings(mut self, common: Common) -> Self {
        self.common = common;
        self
    }

    /// Brings the lab up and waits until every service answers on every address.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(self) -> Result<Stage> {
        let mut builder = Lab::builder()
            .nodes(self.nodes)
            .settings(self.common.clone());
        if self.second_lan {
            builder = builder.second_lan();
        }
        self.play(builder.build()?, None)
    }

    /// As [`Self::start`], on a cluster that lets agents in. What a stage says of nodes, LANs and
    /// settings is let be: the cluster has them.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_on(self, cluster: Cluster) -> Result<Stage> {
        let (lab, access) = cluster.into_parts();
        self.play(lab, Some(access))
    }

    fn play(self, lab: Lab, cluster: Option<Access>) -> Result<Stage> {
        for (index, node) in lab.nodes().iter().enumerate() {
            if let Some(firewall) = &self.firewall {
                node.set_netfilter(firewall)?;
            }
            let pods = if self.bare_node == Some(index) {
                0
            } else {
                self.pods_per_node
            };
            for pod in 0..pods {
                let name = format!("webpod{}{}", index + 1, char::from(b'a' + pod as u8));
                lab.add_pod(index, PodSpec::app(&name, "webpod"))?;
            }
        }
        lab.objects().write(
            "l2-announcement.yaml",
            &example_with_echoes(self.dual_stack)?,
        )?;
        if self.dual_stack {
            lab.objects().write("ipv6-pool.yaml", IPV6_POOL)?;
        }
        lab.start_agents()?;
        let families = if self.dual_stack { 2 } else { 1 };
        // From here on a failure shows what the agents said.
        let mut stage = Stage {
            cluster,
            lab,
            vips: BTreeMap::new(),
        };
        let lab = &stage.lab;
        let vips = wait::until_ok(PATIENCE, "the services' addresses", || {
            let vips = lab.node(0).vips(&SERVICES)?;
            let complete = vips.values().all(|ips| ips.len() == families);
            complete.then_some(vips).context("an address is missing")
        })?;
        for vip in vips.values().flatten() {
            wait::until_ok(PATIENCE, "a service to answer", || {
                lab.client().http_get((*vip, 80))
            })?;
        }
        stage.vips = vips;
        Ok(stage)
    }
}

/// A lab in which the example's services are served.
#[derive(Debug)]
pub struct Stage {
    /// The cluster, where the lab is one's.
    pub cluster: Option<Access>,
    /// The lab.
    pub lab: Lab,
    vips: BTreeMap<&'static str, Vec<IpAddr>>,
}

impl Stage {
    /// A stage with one pod on each of three nodes, IPv4 only, without firewalls.
    #[must_use]
    pub fn builder() -> StageBuilder {
        StageBuilder {
            nodes: 3,
            pods_per_node: 1,
            ..StageBuilder::default()
        }
    }

    /// All virtual addresses.
    #[must_use]
    pub fn vips(&self) -> Vec<IpAddr> {
        self.vips.values().flatten().copied().collect()
    }

    /// The first address of the first service.
    #[must_use]
    pub fn vip(&self) -> IpAddr {
        self.vips[SERVICES[0]][0]
    }

    /// The first IPv6 address of the first service.
    ///
    /// # Panics
    /// When the stage is not dual-stack.
    #[must_use]
    pub fn vip6(&self) -> IpAddr {
        let vips = &self.vips[SERVICES[0]];
        let v6 = vips.iter().find(|vip| vip.is_ipv6());
        *v6.expect("a dual-stack stage has IPv6 addresses")
    }

    /// The web server of the first service.
    #[must_use]
    pub fn web(&self) -> SocketAddr {
        (self.vip(), ALLOWED_PORTS[0]).into()
    }

    /// The TCP echo of the first service.
    #[must_use]
    pub fn echo(&self) -> SocketAddr {
        (self.vip(), ALLOWED_PORTS[1]).into()
    }

    /// The UDP echo of the first service.
    #[must_use]
    pub fn ping(&self) -> SocketAddr {
        (self.vip(), ALLOWED_PORTS[2]).into()
    }

    /// The node that answers for an address.
    ///
    /// # Errors
    /// When not exactly one MAC answers, or none of a node.
    pub fn holder(&self, vip: IpAddr) -> Result<&Node> {
        let mac = neighbour::who_has(self.lab.watcher(), vip, PATIENCE)?;
        self.lab
            .node_of(mac)
            .with_context(|| format!("{vip} is answered by a stranger, {mac}"))
    }

    /// The names of the pods on a node.
    #[must_use]
    pub fn pods_on(&self, node: &Node) -> Vec<String> {
        let pods = self.lab.pods();
        let here = pods.iter().filter(|pod| pod.node() == node.name());
        here.map(|pod| pod.name().to_owned()).collect()
    }
}

/// How much of each agent's log a test that fails shows: few enough lines that what the test said stays in sight.
const LOG_LINES: usize = 20;

impl Drop for Stage {
    /// Prints what the agents said last. The test runner shows it for a test that fails.
    fn drop(&mut self) {
        if QUIET.load(Ordering::Relaxed) {
            return;
        }
        for node in self.lab.nodes() {
            let tail = node.log_tail(LOG_LINES);
            if !tail.is_empty() {
                println!("---- the end of {}'s log\n{tail}", node.name());
            }
        }
    }
}

/// The example with the ports 7000/TCP and 5000/UDP added to each service.
///
/// # Errors
/// When the example cannot be read.
pub(crate) fn example_with_echoes(dual_stack: bool) -> Result<String> {
    let mut text = String::new();
    for document in example("l2-announcement.yaml")?.split("\n---\n") {
        let mut object: Value = serde_norway::from_str(document)?;
        if object["kind"] == "Service" {
            add_port(&mut object, "echo", "TCP", 7000)?;
            add_port(&mut object, "ping", "UDP", 5000)?;
            if dual_stack {
                object["spec"]["ipFamilyPolicy"] = "RequireDualStack".into();
                object["spec"]["ipFamilies"] = vec!["IPv4", "IPv6"].into();
            }
        }
        text += &serde_norway::to_string(&object)?;
        text += "---\n";
    }
    Ok(text)
}
