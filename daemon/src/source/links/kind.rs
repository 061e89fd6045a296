//! What an interface is to Landfall, judged by what the kernel says of it. Pure.
//!
//! No names: every CNI calls its devices otherwise, and the kernel knows their kinds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use landfall_core::model::{LinkAddress, LinkKind};

/// An interface as dumped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Device {
    pub(super) index: u32,
    /// Whether its hardware type is Ethernet; loopback and most tunnels have others.
    pub(super) ethernet: bool,
    pub(super) loopback: bool,
    /// `IFLA_INFO_KIND`, such as `veth`; empty for hardware.
    pub(super) kind: String,
    /// The index of its master, where it has one.
    pub(super) master: Option<u32>,
    /// `IFLA_INFO_SLAVE_KIND`: what kind its master is, such as `bridge`.
    pub(super) master_kind: String,
    pub(super) addresses: Vec<LinkAddress>,
}

/// Judges each of `devices`, in their order.
pub(super) fn kinds(devices: &[Device]) -> Vec<LinkKind> {
    // Bridges with a way out of the host: a port that is no pod's and no virtual machine's.
    let outward: BTreeSet<u32> = devices
        .iter()
        .filter(|port| port.master_kind == "bridge" && !matches!(&*port.kind, "veth" | "tun"))
        .filter(|port| port.ethernet && !is_tunnel(&port.kind))
        .filter_map(|port| port.master)
        .collect();
    devices
        .iter()
        .map(|device| kind(device, outward.contains(&device.index)))
        .collect()
}

fn kind(device: &Device, outward: bool) -> LinkKind {
    if device.loopback || !device.ethernet {
        return LinkKind::Other;
    }
    // A VRF is a master, too, but its members keep their own addresses and traffic.
    if device.master.is_some() && device.master_kind != "vrf" {
        return LinkKind::Port;
    }
    match device.kind.as_str() {
        // The host side of a pod's pair has no address, or one with a host route (Cilium's
        // cilium_host); a pair with a subnet leads to a LAN, as in a lab or a nested node.
        "veth" if device.addresses.iter().any(is_on_link) => LinkKind::Uplink,
        "veth" | "netkit" => LinkKind::Pod,
        // Of a CNI (cni0) or a container engine (docker0), unless it bridges the LAN.
        "bridge" if !outward => LinkKind::Pod,
        "" | "bridge" | "vlan" | "bond" | "team" | "macvlan" | "ipvlan" | "macsec" | "hsr" => {
            LinkKind::Uplink
        }
        _ => LinkKind::Other,
    }
}

fn is_tunnel(kind: &str) -> bool {
    matches!(
        kind,
        "vxlan" | "geneve" | "gretap" | "ip6gretap" | "erspan" | "ip6erspan"
    )
}

/// Whether an address has others beside it on its link. Link-local ones are on every interface and
/// say nothing.
fn is_on_link(address: &LinkAddress) -> bool {
    match address.address {
        IpAddr::V4(v4) => address.prefix_len < 32 && !v4.is_link_local(),
        IpAddr::V6(v6) => address.prefix_len < 128 && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32, kind: &str) -> Device {
        Device {
            index,
            ethernet: true,
            kind: kind.to_owned(),
            ..Device::default()
        }
    }

    fn with(mut device: Device, addresses: &[(&str, u8)]) -> Device {
        device.addresses = addresses
            .iter()
            .map(|(address, prefix_len)| LinkAddress {
                address: address.parse().unwrap(),
                prefix_len: *prefix_len,
            })
            .collect();
        device
    }

    fn port(mut device: Device, master: u32, master_kind: &str) -> Device {
        device.master = Some(master);
        device.master_kind = master_kind.to_owned();
        device
    }

    fn alone(device: Device) -> LinkKind {
        kinds(&[device])[0]
    }

    #[test]
    fn hardware_vlans_and_bonds_may_be_uplinks() {
        for kind in ["", "vlan", "bond", "team", "macvlan"] {
            assert_eq!(alone(device(2, kind)), LinkKind::Uplink, "{kind}");
        }
    }

    #[test]
    fn a_veth_is_a_pods_unless_it_has_a_subnet() {
        assert_eq!(alone(device(2, "veth")), LinkKind::Pod);
        for host_route in [("10.0.0.7", 32), ("fd00::7", 128)] {
            assert_eq!(alone(with(device(2, "veth"), &[host_route])), LinkKind::Pod);
        }
        assert_eq!(
            alone(with(device(2, "veth"), &[("fe80::1", 64)])),
            LinkKind::Pod
        );
        assert_eq!(
            alone(with(device(2, "veth"), &[("192.168.1.2", 24)])),
            LinkKind::Uplink
        );
        assert_eq!(
            alone(with(device(2, "veth"), &[("2001:db8::2", 64)])),
            LinkKind::Uplink
        );
    }

    #[test]
    fn ports_count_by_their_master_but_members_of_a_vrf_by_themselves() {
        assert_eq!(alone(port(device(2, ""), 9, "bond")), LinkKind::Port);
        assert_eq!(alone(port(device(2, "veth"), 9, "bridge")), LinkKind::Port);
        assert_eq!(alone(port(device(2, ""), 9, "openvswitch")), LinkKind::Port);
        assert_eq!(alone(port(device(2, ""), 9, "vrf")), LinkKind::Uplink);
    }

    #[test]
    fn a_bridge_is_an_uplink_only_with_a_port_that_leads_out_of_the_host() {
        let bridge = || with(device(9, "bridge"), &[("192.168.1.2", 24)]);
        assert_eq!(kinds(&[bridge()])[0], LinkKind::Pod);
        for inward in ["veth", "tun", "vxlan"] {
            let devices = [bridge(), port(device(2, inward), 9, "bridge")];
            assert_eq!(kinds(&devices)[0], LinkKind::Pod, "{inward}");
        }
        for outward in ["", "vlan", "bond"] {
            let devices = [bridge(), port(device(2, outward), 9, "bridge")];
            assert_eq!(kinds(&devices)[0], LinkKind::Uplink, "{outward}");
        }
    }

    #[test]
    fn loopback_tunnels_and_dummies_are_of_no_use() {
        let loopback = Device {
            loopback: true,
            ..device(1, "")
        };
        assert_eq!(alone(loopback), LinkKind::Other);
        for kind in ["vxlan", "geneve", "wireguard", "dummy", "tun", "ifb"] {
            assert_eq!(alone(device(2, kind)), LinkKind::Other, "{kind}");
        }
        let point_to_point = Device {
            ethernet: false,
            ..device(2, "ipip")
        };
        assert_eq!(alone(point_to_point), LinkKind::Other);
    }
}
