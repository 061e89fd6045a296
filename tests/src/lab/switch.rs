//! The switch: a bridge per LAN in a namespace of its own, with a port per machine.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;

use anyhow::{Context, Result};

use super::cgroup::Cgroup;
use super::host::{Host, Mac};
use super::namespace::Namespace;
use super::xdp::{Attachment, PASS_ALL};

/// What keeps a port from carrying frames, its carrier staying up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Carries everything.
    Open,
    /// Carries nothing.
    Cut,
    /// Carries nothing from and to other isolated ports.
    Isolated,
}

/// A LAN: its number, its subnets, and its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lan {
    /// `ens3`: 10.10.200.0/24 and `fd00:10:200::/64`.
    First,
    /// `ens4`: 10.10.201.0/24 and `fd00:10:201::/64`.
    Second,
}

impl Lan {
    /// The name of a machine's interface on this LAN.
    #[must_use]
    pub fn interface(self) -> &'static str {
        match self {
            Self::First => "ens3",
            Self::Second => "ens4",
        }
    }

    fn bridge(self) -> &'static str {
        match self {
            Self::First => "br0",
            Self::Second => "br1",
        }
    }

    fn subnet(self) -> u8 {
        match self {
            Self::First => 200,
            Self::Second => 201,
        }
    }

    /// The switch's name for the port of the machine `host`.
    #[must_use]
    pub fn port(self, host: &str) -> String {
        match self {
            Self::First => host.to_owned(),
            Self::Second => format!("{host}-b"),
        }
    }

    /// The address of the machine whose last octet is `octet`.
    #[must_use]
    pub fn ipv4(self, octet: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 10, self.subnet(), octet)
    }

    /// As [`Self::ipv4`], with the same decimal digits: `fd00:10:200::11` for 11.
    #[must_use]
    pub fn ipv6(self, octet: u8) -> Ipv6Addr {
        format!("fd00:10:{}::{octet}", self.subnet())
            .parse()
            .expect("decimal digits are hex ones")
    }

    /// A MAC that shows the IPv4 address: `02:00:0a:0a:c8:0b` for 10.10.200.11.
    #[must_use]
    pub fn mac(self, octet: u8) -> Mac {
        let [a, b, c, d] = self.ipv4(octet).octets();
        Mac([2, 0, a, b, c, d])
    }
}

/// The last octet of the switch's own address, the machines' default gateway.
const GATEWAY: u8 = 254;

/// The switch.
#[derive(Debug)]
pub struct Switch {
    host: Host,
    lans: Vec<Lan>,
    pass_all: Mutex<Vec<Attachment>>,
}

impl Switch {
    pub(super) fn new(cgroup: Cgroup, lans: &[Lan]) -> Result<Self> {
        let first = Lan::First;
        let host = Host::new(
            "switch",
            Namespace::network()?,
            cgroup,
            first.mac(GATEWAY),
            first.ipv4(GATEWAY),
            first.ipv6(GATEWAY),
        );
        quiet_ipv6(&host)?;
        let mut lines = String::from("link set lo up\n");
        for lan in lans {
            let bridge = lan.bridge();
            // Snooping off: without a querier it would hold back neighbour solicitations.
            writeln!(
                lines,
                "link add {bridge} type bridge mcast_snooping 0 forward_delay 0"
            )?;
            writeln!(lines, "link set {bridge} address {} up", lan.mac(GATEWAY))?;
            writeln!(lines, "addr add {}/24 dev {bridge}", lan.ipv4(GATEWAY))?;
            writeln!(
                lines,
                "addr add {}/64 dev {bridge} nodad",
                lan.ipv6(GATEWAY)
            )?;
        }
        host.feed("ip -batch -", &lines)
            .context("build the switch")?;
        Ok(Self {
            host,
            lans: lans.to_vec(),
            pass_all: Mutex::default(),
        })
    }

    /// The switch's namespace.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The LANs that there are.
    #[must_use]
    pub fn lans(&self) -> &[Lan] {
        &self.lans
    }

    /// Removes the ports of a machine, and with them its interfaces.
    pub(super) fn unplug(&self, machine: &str) -> Result<()> {
        for lan in &self.lans {
            self.host
                .output(&format!("ip link del {}", lan.port(machine)))?;
        }
        Ok(())
    }

    /// Plugs a machine's interface into a LAN and gives it its addresses.
    pub(super) fn plug(&self, machine: &Host, lan: Lan, octet: u8) -> Result<()> {
        let (port, nic, bridge) = (lan.port(machine.name()), lan.interface(), lan.bridge());
        let namespace = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            machine.namespace().raw_fd()
        );
        let mac = lan.mac(octet);
        self.host.feed(
            "ip -batch -",
            &format!(
                "link add {port} mtu 1500 type veth peer name {nic} mtu 1500 address {mac} netns {namespace}\n\
                 link set {port} master {bridge} up\n"
            ),
        )?;
        // As on a wire: whole checksums and no giant frames, or native XDP sees half-made ones.
        let off = "tx off tso off gso off";
        machine.output(&format!("ethtool -K {nic} {off}"))?;
        self.host.output(&format!("ethtool -K {port} {off}"))?;
        let pass_all = self.host.run(|| Attachment::attach(&port, PASS_ALL))?;
        self.pass_all
            .lock()
            .expect("no holder of this lock panics")
            .push(pass_all);
        // The program keeps the port polling; with receive offload a switch would glue frames.
        self.host.output(&format!("ethtool -K {port} gro off"))?;
        let mut lines = format!(
            "addr add {}/24 dev {nic}\naddr add {}/64 dev {nic} nodad\nlink set {nic} up\n",
            lan.ipv4(octet),
            lan.ipv6(octet)
        );
        if lan == Lan::First {
            writeln!(lines, "route add default via {}", lan.ipv4(GATEWAY))?;
            writeln!(lines, "route add default via {}", lan.ipv6(GATEWAY))?;
        }
        machine.feed("ip -batch -", &lines)
    }

    /// Takes the carrier of a machine's interface away, or gives it back. One system call.
    ///
    /// # Errors
    /// When the machine is not plugged in there.
    pub fn set_carrier(&self, machine: &str, lan: Lan, up: bool) -> Result<()> {
        self.host.set_link(&lan.port(machine), up)
    }

    /// Lets the kernel's threads forward from now on. Otherwise who sends pays for the switch, and for what its peers'
    /// network cards do: the kernel does it in the sender's system call.
    ///
    /// # Errors
    /// When a port has no polling that could be a thread's.
    pub fn forward_in_threads(&self) -> Result<()> {
        self.host.namespace().run_as_machine(|| {
            for entry in fs::read_dir("/sys/class/net")? {
                let device = entry?.path();
                if device.join("brport").exists() {
                    let threaded = device.join("threaded");
                    fs::write(&threaded, "1").with_context(|| threaded.display().to_string())?;
                }
            }
            Ok(())
        })
    }

    /// Cuts a machine off without its noticing, or undoes it.
    ///
    /// # Errors
    /// When the machine is not plugged in there.
    pub fn set_port(&self, machine: &str, lan: Lan, port: Port) -> Result<()> {
        let name = lan.port(machine);
        // Bridge port states: 0 is disabled, 3 is forwarding (linux/if_bridge.h).
        let (state, isolated) = match port {
            Port::Open => (3, "off"),
            Port::Cut => (0, "off"),
            Port::Isolated => (3, "on"),
        };
        self.host
            .output(&format!(
                "bridge link set dev {name} state {state} isolated {isolated}"
            ))
            .map(drop)
    }
}

/// Addresses count at once, and nothing is autoconfigured.
pub(super) fn quiet_ipv6(host: &Host) -> Result<()> {
    for scope in ["all", "default"] {
        for (name, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("autoconf", "0")] {
            host.sysctl(&format!("ipv6/conf/{scope}/{name}"), value)?;
        }
    }
    Ok(())
}
