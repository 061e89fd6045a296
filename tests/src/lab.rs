//! The lab: N nodes, a client, a watcher and a switch on one LAN.
//!
//! ```text
//!   client .100 ──┐            ┌── ens3 node1 .11 ── veth ── pods 10.244.1.0/24
//!                 ├── switch ──┼── ens3 node2 .12 ── veth ── pods 10.244.2.0/24
//!   watcher .101 ─┘    .254    └── ens3 node3 .13 ── veth ── pods 10.244.3.0/24
//! ```
//!
//! The LAN is 10.10.200.0/24 and `fd00:10:200::/64`, MTU 1500, so that the pool of
//! `examples/l2-announcement.yaml` lies on it. Pod networks are routed from node to node by
//! their LAN addresses; the clients have no route to pods unless a scenario adds one.
//!
//! One lab runs at a time in a process, whichever test asks for it: labs share two cores, and what
//! they measure must not be each other.

pub mod cgroup;
pub mod host;
mod link;
pub mod manifests;
pub mod namespace;
pub mod netfilter;
pub mod node;
mod passall;
pub mod pod;
pub mod programs;
pub mod query;
pub mod registry;
pub mod settings;
pub mod switch;
pub mod wait;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};

pub(crate) use link::index as link_index;

use host::Host;
use manifests::{Labels, Manifests};
use namespace::Namespace;
use node::Node;
use pod::{Pod, PodSpec, PodState};
use registry::Registration;
use settings::{Common, Paths};
use switch::{Lan, Switch, quiet_ipv6};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The last octets of the clients' addresses; a node's is 10 and its number.
const CLIENT: u8 = 100;
const WATCHER: u8 = 101;

/// How a lab is to be.
#[derive(Debug, Clone)]
pub struct LabBuilder {
    nodes: u8,
    second_lan: bool,
    node_labels: BTreeMap<u8, Labels>,
    common: Common,
}

impl LabBuilder {
    /// The number of nodes, 3 unless set.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }

    /// Gives every machine a second interface, `ens4`, on a second LAN.
    #[must_use]
    pub fn second_lan(mut self) -> Self {
        self.second_lan = true;
        self
    }

    /// Gives the node with this number (from 1) a label.
    #[must_use]
    pub fn node_label(mut self, number: u8, key: &str, value: &str) -> Self {
        self.node_labels
            .entry(number)
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// What goes into every agent's settings.
    #[must_use]
    pub fn settings(mut self, common: Common) -> Self {
        self.common = common;
        self
    }

    /// Brings the lab up. Agents are not started. The calling thread leaves the machine's network
    /// for good, so that nothing that a scenario sends by mistake can get out.
    ///
    /// # Errors
    /// When this is not root, a tool is missing, or the kernel refuses something.
    pub fn build(self) -> Result<Lab> {
        ensure!(
            (1..=80).contains(&self.nodes),
            "a lab has 1 to 80 nodes, not {}",
            self.nodes
        );
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        namespace::isolate_thread()?;
        let registration = Registration::new()?;
        let manifests = Manifests::new(registration.dir())?;
        let lans: &[Lan] = if self.second_lan {
            &[Lan::First, Lan::Second]
        } else {
            &[Lan::First]
        };
        let group = registration.cgroup();
        let switch = Arc::new(Switch::new(group.child("switch")?, lans)?);
        let machine = |name: &str, namespace: Namespace, octet: u8| -> Result<Host> {
            let lan = Lan::First;
            let (mac, v4, v6) = (lan.mac(octet), lan.ipv4(octet), lan.ipv6(octet));
            let host = Host::new(name, namespace, group.child(name)?, mac, v4, v6);
            quiet_ipv6(&host)?;
            host.output("ip link set lo up")?;
            for lan in lans {
                switch
                    .plug(&host, *lan, octet)
                    .with_context(|| format!("plug {name} in"))?;
            }
            Ok(host)
        };
        let client = machine("client", Namespace::network()?, CLIENT)?;
        // The machine's usual range would be too small for tens of thousands of connections.
        client.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        let watcher = machine("watcher", Namespace::network()?, WATCHER)?;
        let mut nodes = Vec::new();
        for number in 1..=self.nodes {
            let name = format!("node{number}");
            let host = machine(&name, Namespace::machine(&name)?, 10 + number)?;
            make_router(&host, number, self.nodes)?;
            let labels = self.node_labels.get(&number).cloned().unwrap_or_default();
            let addresses = [host.ipv4().to_string(), host.ipv6().to_string()];
            let manifest = manifests::node(&name, &addresses, &labels);
            manifests.write_object(&format!("node-{name}.yaml"), &manifest)?;
            let paths = paths(registration.dir(), &name, &manifests)?;
            nodes.push(Node::new(
                host,
                number,
                paths,
                &self.common,
                Arc::clone(&switch),
            )?);
        }
        Ok(Lab {
            nodes,
            client,
            watcher,
            switch,
            manifests,
            pods: Mutex::default(),
            load: Mutex::default(),
            registration,
            _turn: turn,
        })
    }
}

/// A running lab. Dropping it takes everything down, agents first.
#[derive(Debug)]
pub struct Lab {
    nodes: Vec<Node>,
    pods: Mutex<Vec<Arc<Pod>>>,
    load: Mutex<Vec<Child>>,
    client: Host,
    watcher: Host,
    switch: Arc<Switch>,
    manifests: Manifests,
    registration: Registration,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// A lab of 3 nodes on one LAN, with the lease settings of the example.
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder {
            nodes: 3,
            second_lan: false,
            node_labels: BTreeMap::new(),
            common: Common::default(),
        }
    }

    /// The lab's id, which its control group and its directory are named by.
    #[must_use]
    pub fn id(&self) -> &str {
        self.registration.id()
    }

    /// The directory of the lab's files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.registration.dir()
    }

    /// The node with this index, counted from 0.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node whose MAC this is, on the first LAN.
    #[must_use]
    pub fn node_of(&self, mac: host::Mac) -> Option<&Node> {
        self.nodes.iter().find(|node| node.host().mac() == mac)
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// A second client, which asks for neighbours and watches.
    #[must_use]
    pub fn watcher(&self) -> &Host {
        &self.watcher
    }

    /// The switch.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The manifest directory that all agents read.
    #[must_use]
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Starts the agents of all nodes, one after the other.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start_agents(&self) -> Result<()> {
        self.nodes.iter().try_for_each(Node::start_agent)
    }

    /// Brings a pod up on the node with this index, and lists it as ready once it serves.
    ///
    /// # Errors
    /// When it cannot be brought up.
    pub fn add_pod(&self, node: usize, spec: PodSpec) -> Result<Arc<Pod>> {
        let pod = self.add_unlisted_pod(node, spec)?;
        self.list_pod(&pod, PodState::Ready)?;
        Ok(pod)
    }

    /// Brings a pod up without writing its manifest.
    ///
    /// # Errors
    /// When it cannot be brought up.
    pub fn add_unlisted_pod(&self, node: usize, spec: PodSpec) -> Result<Arc<Pod>> {
        let node = self.node(node);
        let mut pods = self.lock_pods();
        let taken: Vec<u8> = pods
            .iter()
            .filter(|pod| pod.node() == node.name())
            .map(|pod| pod.host().ipv4().octets()[3])
            .collect();
        let number = (10..=250)
            .find(|number| !taken.contains(number))
            .with_context(|| format!("{} is full of pods", node.name()))?;
        let pod = Arc::new(Pod::start(node, spec, number)?);
        pods.push(Arc::clone(&pod));
        Ok(pod)
    }

    /// Writes a pod's manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()> {
        self.manifests
            .write_object(&pod.file(), &pod.manifest(state))
    }

    /// Removes a pod's manifest and lets go of the pod, which ends when its last holder has too.
    ///
    /// # Errors
    /// When the manifest cannot be removed.
    pub fn remove_pod(&self, pod: &Arc<Pod>) -> Result<()> {
        self.manifests.remove(&pod.file())?;
        self.lock_pods().retain(|other| !Arc::ptr_eq(other, pod));
        Ok(())
    }

    /// All pods.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.lock_pods().clone()
    }

    /// Keeps this many cores busy until the lab ends, so that nothing depends on an idle machine.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn load_cores(&self, cores: usize) -> Result<()> {
        let group = self.registration.cgroup().child("load")?;
        for _ in 0..cores {
            let child = self
                .client
                .command_in(&group, programs::landfall_lab()?)?
                .arg("spin")
                .stdin(Stdio::null())
                .spawn()
                .context("start load")?;
            self.load
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(child);
        }
        Ok(())
    }

    fn lock_pods(&self) -> MutexGuard<'_, Vec<Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            for node in &self.nodes {
                let tail = node.log_tail(40);
                if !tail.is_empty() {
                    eprintln!("---- the end of {}'s log\n{tail}", node.name());
                }
            }
        }
        for child in self
            .load
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter_mut()
        {
            // Both fail only when the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Forwards packets, and routes the other nodes' pods by their LAN addresses.
fn make_router(host: &Host, number: u8, nodes: u8) -> Result<()> {
    for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        host.sysctl(setting, "1")?;
    }
    let mut lines = String::new();
    for other in (1..=nodes).filter(|other| *other != number) {
        let (v4, v6) = (Lan::First.ipv4(10 + other), Lan::First.ipv6(10 + other));
        writeln!(lines, "route add 10.244.{other}.0/24 via {v4}")?;
        writeln!(lines, "route add fd00:244:{other}::/64 via {v6}")?;
    }
    host.feed("ip -batch -", &lines)
}

fn paths(lab: &Path, node: &str, manifests: &Manifests) -> Result<Paths> {
    let own = lab.join(node);
    let (state, leases, socket) = (own.join("state"), lab.join("leases"), own.join("run"));
    for dir in [&state, &leases, &socket] {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    Ok(Paths {
        manifests: manifests.dir().to_owned(),
        state,
        leases,
        socket: socket.join("landfall.sock"),
        settings: own.join("landfall.toml"),
        log: own.join("agent.log"),
    })
}
