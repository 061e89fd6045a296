//! What the responder is told to do, and what it tells.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use pnet::util::MacAddr;

use crate::address::InterfaceIndex;
use crate::proof::Reach;

/// Everything to be announced by this node, interface by interface.
///
/// An interface without carrier is to be left out; when it comes back with its VIPs, they are announced anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// The interfaces on clients' LANs.
    pub interfaces: BTreeMap<InterfaceIndex, DesiredInterface>,
}

/// One interface and what to announce there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredInterface {
    /// Its name, for the log.
    pub name: String,
    /// The address to announce and answer with.
    pub mac: MacAddr,
    /// Who answers requests.
    pub answering: Answering,
    /// The addresses of our other nodes; what they claim later is no conflict.
    pub peers: BTreeSet<MacAddr>,
    /// Those among them that are on this link and whose agents live: they can be asked to bear witness.
    pub witnesses: BTreeSet<MacAddr>,
    /// The interface's own addresses: in their name this node asks on behalf of peers.
    pub addresses: Vec<IpAddr>,
    /// Peers did not hear what this node answered here, so nothing is announced; [`Event::WireWorks`] is to tell when they do.
    pub examined: bool,
    /// The VIPs to announce; none where this node only bears witness for its peers.
    pub vips: BTreeMap<IpAddr, DesiredVip>,
}

/// Who answers ARP requests and neighbour solicitations on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// The kernel program; the socket task only announces and probes.
    Kernel,
    /// The socket task, where no program can be attached.
    Socket,
}

/// How this node came by a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredVip {
    /// Whether it was announced before.
    pub role: Role,
    /// A number that differs each time the VIP is won. A changed one announces anew, also when the loss in between was
    /// never seen because `watch` keeps only the latest value.
    pub acquisition: u64,
}

/// Whether a VIP is probed for before it is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nobody announced it before: probe first.
    First,
    /// Another node of ours did: announce at once.
    Takeover,
}

/// What happened on the link.
#[derive(Debug)]
pub enum Event {
    /// A first announcement found the VIP free. It is being announced, and answered for if by socket; where the kernel
    /// answers, its program is to be told now.
    ProbeCleared {
        /// Where.
        interface: InterfaceIndex,
        /// The VIP.
        ip: IpAddr,
    },
    /// A first announcement found the VIP in use. It is not announced, and tried again until it clears.
    Conflict {
        /// Where.
        interface: InterfaceIndex,
        /// The VIP.
        ip: IpAddr,
        /// The station that has it.
        mac: MacAddr,
    },
    /// A stranger claims a VIP that is being announced. It goes on being announced until it is withdrawn.
    LateConflict {
        /// Where.
        interface: InterfaceIndex,
        /// The VIP.
        ip: IpAddr,
        /// The station that claims it.
        mac: MacAddr,
    },
    /// A peer has heard this node answer for the VIP.
    Proved {
        /// Where.
        interface: InterfaceIndex,
        /// The VIP.
        ip: IpAddr,
    },
    /// Peers asked for the VIP, again and again, and did not hear this node answer. Told again while it lasts.
    Denied {
        /// Where.
        interface: InterfaceIndex,
        /// The VIP.
        ip: IpAddr,
        /// Whether that concerns the VIP alone, or the interface.
        reach: Reach,
    },
    /// On an interface that is [`DesiredInterface::examined`], peers hear this node answer for its own address. Told again
    /// and again.
    WireWorks {
        /// Which.
        interface: InterfaceIndex,
    },
    /// The interface works, for the first time or again; its VIPs are announced.
    InterfaceUp {
        /// Which.
        interface: InterfaceIndex,
    },
    /// The interface cannot be used at present: it is down or gone, or refuses a socket. It is tried again.
    InterfaceDown {
        /// Which.
        interface: InterfaceIndex,
        /// What the kernel said.
        error: io::Error,
    },
    /// A group was joined for the interface's own filter only, without an MLD report: switches that snoop MLD may keep
    /// solicitations away. The interface has no IPv6, for instance because its MTU is below 1,280 bytes.
    GroupUnreported {
        /// Where.
        interface: InterfaceIndex,
        /// The solicited-node group.
        group: Ipv6Addr,
        /// Why it could not be joined in full.
        error: io::Error,
    },
}
