//! keepalived in a lab, as the peer that Landfall is measured against: an instance of VRRP on every
//! node, one virtual address, and on every node a server of its own that answers at it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::cgroup::Cgroup;
use super::node::Node;
use super::switch::Lan;
use super::{Lab, programs, wait};
use crate::probe::neighbour;
use crate::server::Ports;

/// How soon keepalived is to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As it comes: an advertisement each second.
    Default,
    /// The fastest that is usual: ten advertisements a second, for which VRRP version 3 is needed.
    Fastest,
}

impl Pace {
    /// What its configuration calls `advert_int`, in seconds.
    fn advert_int(self) -> &'static str {
        match self {
            Self::Default => "1",
            Self::Fastest => "0.1",
        }
    }

    fn vrrp_version(self) -> u8 {
        match self {
            Self::Default => 2,
            Self::Fastest => 3,
        }
    }
}

/// keepalived running on all nodes of a lab. Dropping it ends it.
#[derive(Debug)]
pub struct Keepalived {
    children: Vec<Child>,
    vip: Ipv4Addr,
}

/// The virtual address's last octet.
const VIP: u8 = 1;

/// The highest priority that is not the address owner's (RFC 9568, 5.2.4): a low one only adds to
/// the time until a successor steps in.
const PRIORITY: u8 = 254;

/// How long the election of the first master may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The version, as keepalived tells it.
///
/// # Errors
/// When it is not installed.
pub fn version() -> Result<String> {
    let output = Command::new("keepalived")
        .arg("--version")
        .output()
        .context("run keepalived; is it installed?")?;
    // It tells its version on the standard error.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let first = text.lines().next().context("keepalived tells no version")?;
    Ok(first.to_owned())
}

impl Keepalived {
    /// Starts it and the servers, and waits until one node answers for the address.
    ///
    /// # Errors
    /// When a program cannot be run, or nobody answers.
    pub fn start(lab: &Lab, pace: Pace) -> Result<Self> {
        let mut running = Self {
            children: Vec::new(),
            vip: Lan::First.ipv4(VIP),
        };
        for node in lab.nodes() {
            running.children.push(serve(node, running.vip)?);
            running.children.push(run(lab, node, pace, running.vip)?);
        }
        let vip = running.vip.into();
        neighbour::who_has(lab.watcher(), vip, PATIENCE)?;
        wait::until_ok(PATIENCE, "an answer at keepalived's address", || {
            lab.client().http_get((vip, 80))
        })?;
        Ok(running)
    }

    /// The virtual address.
    #[must_use]
    pub fn vip(&self) -> Ipv4Addr {
        self.vip
    }
}

/// Freezes keepalived on a node, its processes all at once, or lets them go on.
///
/// # Errors
/// When the node is dead.
pub fn freeze(node: &Node, frozen: bool) -> Result<()> {
    group(node)?.freeze(frozen)
}

/// The group of keepalived's processes on a node.
fn group(node: &Node) -> Result<Cgroup> {
    node.host().cgroup().child("keepalived")
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        for child in &mut self.children {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server on the node itself: keepalived moves an address and forwards nothing. It is bound to the
/// address, also while another node has it: its datagrams must come from where clients sent theirs.
fn serve(node: &Node, vip: Ipv4Addr) -> Result<Child> {
    node.host().sysctl("ipv4/ip_nonlocal_bind", "1")?;
    node.host()
        .command(programs::landfall_lab()?)?
        .args(["pod", "--name", node.name()])
        .args(["--address", &vip.to_string()])
        .args(Ports::default().arguments())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("start a server on {}", node.name()))
}

fn run(lab: &Lab, node: &Node, pace: Pace, vip: Ipv4Addr) -> Result<Child> {
    let dir = lab.dir().join(node.name()).join("keepalived");
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let place = |name: &str| dir.join(name);
    fs::write(
        place("keepalived.conf"),
        configuration(node.number(), pace, vip)?,
    )?;
    let log = File::create(place("log"))?;
    node.host()
        .command_in(&group(node)?, "keepalived")?
        .args(["--dont-fork", "--log-console", "--vrrp", "--use-file"])
        .arg(place("keepalived.conf"))
        .arg("--pid")
        .arg(place("pid"))
        .arg("--vrrp_pid")
        .arg(place("vrrp_pid"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("run keepalived; is it installed?")
}

/// Everything that is not told here is keepalived's own default.
fn configuration(number: u8, pace: Pace, vip: Ipv4Addr) -> Result<String> {
    let mut text = String::new();
    write!(
        text,
        "global_defs {{\n  router_id node{number}\n  vrrp_version {version}\n}}\n\
         vrrp_instance landfall {{\n  interface {interface}\n  virtual_router_id 51\n  \
         priority {priority}\n  advert_int {advert_int}\n  \
         virtual_ipaddress {{\n    {vip}/24\n  }}\n}}\n",
        version = pace.vrrp_version(),
        interface = Lan::First.interface(),
        priority = PRIORITY - number,
        advert_int = pace.advert_int(),
    )?;
    Ok(text)
}
