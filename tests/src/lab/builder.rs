//! How a lab is brought up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use super::Lab;
use super::host::Host;
use super::manifests::{self, Labels, Manifests};
use super::namespace::{self, Namespace};
use super::node::Node;
use super::registry::Registration;
use super::settings::{Common, Paths};
use super::switch::{Lan, Switch, quiet_ipv6};

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
