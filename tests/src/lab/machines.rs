//! How machines are made: clients and nodes, and a node again after a reboot.
//!
//! Feeds [`super::builder`], which makes all of a lab's machines, and [`super::Lab::reboot`].

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use super::cgroup::Cgroup;
use super::host::Host;
use super::namespace::Namespace;
use super::switch::{Lan, Switch, quiet_ipv6};

/// Where the kernel makes up boot ids, among others.
const NEW_UUID: &str = "/proc/sys/kernel/random/uuid";

/// What all machines of a lab have in common.
#[derive(Debug)]
pub(super) struct Machines {
    group: Cgroup,
    dir: PathBuf,
    switch: Arc<Switch>,
    lans: Vec<Lan>,
    nodes: u8,
}

impl Machines {
    pub(super) fn new(
        group: Cgroup,
        dir: PathBuf,
        switch: Arc<Switch>,
        lans: &[Lan],
        nodes: u8,
    ) -> Self {
        Self {
            group,
            dir,
            switch,
            lans: lans.to_vec(),
            nodes,
        }
    }

    /// A machine without files of its own, whose addresses end in `octet`.
    pub(super) fn client(&self, name: &str, octet: u8) -> Result<Host> {
        self.plugged_in(name, Namespace::network()?, octet)
    }

    /// The node with this number, as it is after booting: an empty bpffs, a new boot id, routes to
    /// the pods of the others. Its control group and its files are those it had, if it had any.
    pub(super) fn node(&self, number: u8) -> Result<Host> {
        let name = format!("node{number}");
        let dir = self.dir.join(&name);
        fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let boot_id = new_boot_id(&dir)?;
        let namespace = Namespace::machine(&name, &boot_id)?;
        let host = self.plugged_in(&name, namespace, 10 + number)?;
        self.make_router(&host, number)?;
        Ok(host)
    }

    fn plugged_in(&self, name: &str, namespace: Namespace, octet: u8) -> Result<Host> {
        let lan = Lan::First;
        let (mac, v4, v6) = (lan.mac(octet), lan.ipv4(octet), lan.ipv6(octet));
        let host = Host::new(name, namespace, self.group.child(name)?, mac, v4, v6);
        quiet_ipv6(&host)?;
        host.output("ip link set lo up")?;
        for lan in &self.lans {
            self.switch
                .plug(&host, *lan, octet)
                .with_context(|| format!("plug {name} in"))?;
        }
        Ok(host)
    }

    /// Forwards packets, and routes the other nodes' pods by their LAN addresses.
    fn make_router(&self, host: &Host, number: u8) -> Result<()> {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            host.sysctl(setting, "1")?;
        }
        self.route_to_pods(host, |other| other != number)
    }

    /// Gives a machine routes to the pods of the nodes whose numbers fit.
    pub(super) fn route_to_pods(&self, host: &Host, fits: impl Fn(u8) -> bool) -> Result<()> {
        let mut lines = String::new();
        for other in (1..=self.nodes).filter(|other| fits(*other)) {
            let (v4, v6) = (Lan::First.ipv4(10 + other), Lan::First.ipv6(10 + other));
            writeln!(lines, "route add 10.244.{other}.0/24 via {v4}")?;
            writeln!(lines, "route add fd00:244:{other}::/64 via {v6}")?;
        }
        host.feed("ip -batch -", &lines)
    }
}

/// Writes a new boot id. The file of an earlier one may be mounted still: it is not written to.
fn new_boot_id(dir: &Path) -> Result<PathBuf> {
    let id = fs::read_to_string(NEW_UUID).context(NEW_UUID)?;
    let (new, place) = (dir.join("boot_id.new"), dir.join("boot_id"));
    fs::write(&new, id).with_context(|| new.display().to_string())?;
    fs::rename(&new, &place).with_context(|| place.display().to_string())?;
    Ok(place)
}
