//! How a lab is brought up.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use super::Lab;
use super::machines::Machines;
use super::manifests::{self, Labels, Manifests};
use super::namespace;
use super::node::Node;
use super::registry::Registration;
use super::settings::{Common, KEY, Paths};
use super::switch::{Lan, Switch};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The last octets of the clients' addresses; a node's is 10 and its number.
const CLIENT: u8 = 100;
const WATCHER: u8 = 101;

/// The file of the cluster's key, in the lab's directory.
const KEY_FILE: &str = "cluster.key";

/// How a lab is to be.
#[derive(Debug, Clone)]
pub struct LabBuilder {
    nodes: u8,
    second_lan: bool,
    node_labels: BTreeMap<u8, Labels>,
    common: Common,
}

impl Default for LabBuilder {
    /// 3 nodes on one LAN, with the lease settings of the example.
    fn default() -> Self {
        Self {
            nodes: 3,
            second_lan: false,
            node_labels: BTreeMap::new(),
            common: Common::default(),
        }
    }
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
        let machines = Machines::new(
            group.clone(),
            registration.dir().to_owned(),
            Arc::clone(&switch),
            lans,
            self.nodes,
        );
        let client = machines.client("client", CLIENT)?;
        // The machine's usual range would be too small for tens of thousands of connections.
        client.sysctl("ipv4/ip_local_port_range", "1024 65535")?;
        let watcher = machines.client("watcher", WATCHER)?;
        write_key(registration.dir())?;
        let mut nodes = Vec::new();
        for number in 1..=self.nodes {
            let name = format!("node{number}");
            let host = machines.node(number)?;
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
            source: Arc::new(manifests.clone()),
            manifests,
            machines,
            pods: Mutex::default(),
            load: Mutex::default(),
            registration,
            _turn: turn,
        })
    }
}

/// Writes the cluster's key, as a file that only its owner may read.
fn write_key(lab: &Path) -> Result<()> {
    let place = lab.join(KEY_FILE);
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&place);
    file.and_then(|mut file| writeln!(file, "{KEY}"))
        .with_context(|| place.display().to_string())
}

fn paths(lab: &Path, node: &str, manifests: &Manifests) -> Result<Paths> {
    let own = lab.join(node);
    let (state, store, socket) = (own.join("state"), lab.join("leases"), own.join("run"));
    for dir in [&state, &store, &socket] {
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    }
    let leases = own.join("leases");
    symlink(&store, &leases).with_context(|| leases.display().to_string())?;
    Ok(Paths {
        manifests: manifests.dir().to_owned(),
        state,
        leases,
        key: lab.join(KEY_FILE),
        kubeconfig: None,
        socket: socket.join("landfall.sock"),
        settings: own.join("landfall.toml"),
        log: own.join("agent.log"),
    })
}
