//! This node's network interfaces, as the kernel reports them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A Linux interface index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An address of an interface with the length of its on-link prefix, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkAddress {
    /// The address.
    pub address: IpAddr,
    /// On-link prefix, 0 to 32 or 128 bits.
    pub prefix_len: u8,
}

impl LinkAddress {
    /// Whether `other` is on the same subnet.
    pub fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32u32.saturating_sub(u32::from(self.prefix_len));
                (u64::from(u32::from(a)) >> shift) == (u64::from(u32::from(b)) >> shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128u32.saturating_sub(u32::from(self.prefix_len));
                u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// What an interface is to Landfall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// Could be an uplink: hardware, VLAN, bond, a bridge with the node's address, or a veth that is one.
    Uplink,
    /// A port of a bridge or bond: its master counts instead.
    Port,
    /// The host side of a pod's interface, or another device of a CNI.
    Pod,
    /// Loopback, tunnels and the rest.
    Other,
}

/// An interface of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: LinkIndex,
    /// Its name, such as `ens3`.
    pub name: Arc<str>,
    /// Its Ethernet address, where it has one.
    pub mac: Option<MacAddress>,
    /// Carrier is up and the interface is administratively up.
    pub up: bool,
    /// What it is.
    pub kind: LinkKind,
    /// MTU in bytes.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<LinkAddress>,
}
