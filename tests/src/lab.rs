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

mod builder;
pub mod cgroup;
mod clock;
pub mod host;
pub mod keepalived;
mod link;
mod machines;
pub mod manifests;
pub mod namespace;
pub mod netfilter;
pub mod node;
pub mod pod;
pub mod programs;
pub mod query;
pub mod registry;
pub mod settings;
pub mod source;
pub mod store;
pub mod switch;
pub mod traces;
pub mod usage;
pub mod wait;
pub mod wires;
mod xdp;

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

pub use builder::LabBuilder;
pub(crate) use link::index as link_index;

use host::Host;
use machines::Machines;
use manifests::Manifests;
use node::Node;
use pod::{Pod, PodSpec, PodState};
use registry::Registration;
use settings::Common;
use source::Source;
use switch::Switch;

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
    source: Arc<dyn Source>,
    machines: Machines,
    registration: Registration,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// A lab of 3 nodes on one LAN, with the lease settings of the example.
    #[must_use]
    pub fn builder() -> LabBuilder {
        LabBuilder::default()
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

    pub(crate) fn shared_switch(&self) -> Arc<Switch> {
        Arc::clone(&self.switch)
    }

    /// Plugs one more machine in, whose addresses end in `octet` and which has routes to all pods.
    pub(crate) fn add_machine(&self, name: &str, octet: u8) -> Result<Host> {
        let host = self.machines.client(name, octet)?;
        self.machines.route_to_pods(&host, |_| true)?;
        Ok(host)
    }

    /// The manifest directory that all agents read, unless they have another source.
    #[must_use]
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Where the agents learn of objects: the manifest directory, or a cluster's API.
    #[must_use]
    pub fn objects(&self) -> &dyn Source {
        &*self.source
    }

    /// Gives the agents another source than the manifest directory.
    pub(crate) fn set_source(&mut self, source: Arc<dyn Source>) {
        self.source = source;
    }

    /// Has every agent, when it starts, learn of objects from the API by a kubeconfig of its own.
    pub(crate) fn use_api(
        &mut self,
        kubeconfig: impl Fn(&Node) -> PathBuf,
        common: &Common,
    ) -> Result<()> {
        for node in &mut self.nodes {
            node.use_api(kubeconfig(node), common)?;
        }
        Ok(())
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

    /// Brings a pod up that is no endpoint yet.
    ///
    /// # Errors
    /// When it cannot be brought up.
    pub fn add_unlisted_pod(&self, node: usize, spec: PodSpec) -> Result<Arc<Pod>> {
        let node = self.node(node);
        let pod = Arc::new(self.source.start_pod(node, spec)?);
        self.lock_pods().push(Arc::clone(&pod));
        Ok(pod)
    }

    /// Lists a pod in a given state: see [`Source::list_pod`].
    ///
    /// # Errors
    /// When the source refuses.
    pub fn list_pod(&self, pod: &Pod, state: PodState) -> Result<()> {
        self.source.list_pod(pod, state)
    }

    /// Lets a pod be no endpoint any more; it goes on serving.
    ///
    /// # Errors
    /// When the source refuses.
    pub fn unlist_pod(&self, pod: &Pod) -> Result<()> {
        self.source.unlist_pod(pod)
    }

    /// Removes a pod and lets go of it: see [`Source::remove_pod`].
    ///
    /// # Errors
    /// When the source refuses.
    pub fn remove_pod(&self, pod: &Arc<Pod>) -> Result<()> {
        self.source.remove_pod(pod)?;
        self.lock_pods().retain(|other| !Arc::ptr_eq(other, pod));
        Ok(())
    }

    /// All pods.
    #[must_use]
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.lock_pods().clone()
    }

    /// Ends a node and brings it up again as after a power cut: its files are those it had, while
    /// its processes, its network, what was pinned in its bpffs and its boot id are new. Its pods
    /// come up again under new addresses, as when the kubelet restarts them. Its agent is not
    /// started.
    ///
    /// # Errors
    /// When the machine or a pod does not come up.
    pub fn reboot(&mut self, index: usize) -> Result<()> {
        let gone = self.power_cycle(index)?;
        self.resume(index, gone)
    }

    /// The first half of [`Self::reboot`]: the machine runs again, and what runs its pods has been
    /// started. Gives the pods that it had.
    ///
    /// # Errors
    /// When the machine does not come up.
    pub fn power_cycle(&mut self, index: usize) -> Result<Vec<PodSpec>> {
        let node = &self.nodes[index];
        if node.agent_runs()? || !node.is_dead()? {
            node.die()?;
        }
        wait::until(
            Duration::from_secs(5),
            "the node's processes to end",
            || node.is_dead(),
        )?;
        let (name, number) = (node.name().to_owned(), node.number());
        let gone = self
            .lock_pods()
            .extract_if(.., |pod| pod.node() == name)
            .map(|pod| pod.spec().clone())
            .collect::<Vec<PodSpec>>();
        self.switch.unplug(&name)?;
        let host = self.machines.node(number)?;
        self.nodes[index].boot(host)?;
        self.source.boot(&self.nodes[index])?;
        Ok(gone)
    }

    /// The second half: waits until the node is one that pods run on, and until those that it had do.
    ///
    /// # Errors
    /// When one does not come up.
    pub fn resume(&mut self, index: usize, gone: Vec<PodSpec>) -> Result<()> {
        let node = &self.nodes[index];
        self.source.wait_booted(node)?;
        for spec in gone {
            let pod = Arc::new(self.source.resume_pod(node, spec)?);
            self.lock_pods().push(Arc::clone(&pod));
            self.list_pod(&pod, PodState::Ready)?;
        }
        Ok(())
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
        for node in &self.nodes {
            // What takes a frozen node's pods down would itself freeze in its group. This fails only
            // where the group is gone already.
            let _ = node.host().cgroup().freeze(false);
        }
    }
}
