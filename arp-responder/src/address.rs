//! Names for places on a link: interface indexes, an address on an interface, multicast addresses.
//!
//! Pure; shared by codecs, machines and the socket task.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use pnet::util::MacAddr;

/// The link-local scope all-nodes group, ff02::1 (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The kernel's index of a network interface in the namespace of the socket task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceIndex(pub u32);

impl fmt::Display for InterfaceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A VIP on one of the node's interfaces: what the machines keep a state for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceAddress {
    /// Where it is announced.
    pub interface: InterfaceIndex,
    /// The VIP.
    pub ip: IpAddr,
}

/// The solicited-node multicast group of `address` (RFC 4291 section 2.7.1).
pub fn solicited_node_group(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0x00ff), low)
}

/// The Ethernet address that frames to the multicast `group` carry (RFC 2464 section 7).
pub fn multicast_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr(0x33, 0x33, a, b, c, d)
}

/// Whether `mac` can be one station's: neither multicast (broadcast included) nor all zeros.
pub(crate) fn is_station(mac: MacAddr) -> bool {
    !mac.is_multicast() && !mac.is_zero()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solicited_node_group_is_that_of_rfc_4291() {
        // The example of RFC 4291 section 2.7.1.
        let address = "4037::1:800:200e:8c6c".parse().unwrap();
        let group = solicited_node_group(address);
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert_eq!(
            multicast_mac(group),
            MacAddr(0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c)
        );
    }

    #[test]
    fn only_a_single_station_has_a_station_address() {
        assert!(is_station(MacAddr(2, 0, 0, 0, 0, 1)));
        for mac in [
            MacAddr::zero(),
            MacAddr::broadcast(),
            multicast_mac(ALL_NODES),
        ] {
            assert!(!is_station(mac), "{mac}");
        }
    }
}
