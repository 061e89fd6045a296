//! Roads: the pairs of interfaces over which this node and a peer share a LAN.
//!
//! Pure. Made from this node's interfaces and those that peers publish; probed one by one, and told apart by what became
//! of the probes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use landfall_core::model::{Link, LinkIndex, LinkKind, MacAddress, NodeName};

use super::passage::Family;

/// One road to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Road {
    /// This node's interface.
    pub index: LinkIndex,
    /// Its Ethernet address.
    pub own: MacAddress,
    /// The peer's Ethernet address there.
    pub peer: MacAddress,
}

/// Roads by peer.
pub type Roads = BTreeMap<NodeName, BTreeSet<Road>>;

/// What is known against roads, by this node's interface and the peer's Ethernet address there. A road that is not named
/// is open, as far as anybody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoadReport {
    /// Roads whose peer does not echo.
    pub silent: BTreeSet<(LinkIndex, MacAddress)>,
    /// Roads on which packets with clients' addresses do not get through.
    pub filtered: BTreeSet<(LinkIndex, MacAddress, Family)>,
}

impl RoadReport {
    /// Whether the peer echoes on a road, as far as anybody knows.
    pub fn is_heard(&self, index: LinkIndex, peer: MacAddress) -> bool {
        !self.silent.contains(&(index, peer))
    }

    /// Whether clients' packets of some family do not get through on a road.
    pub fn is_filtered(&self, index: LinkIndex, peer: MacAddress) -> bool {
        let families = [Family::V4, Family::V6].iter();
        families
            .map(|family| (index, peer, *family))
            .any(|lane| self.filtered.contains(&lane))
    }
}

/// The report as it is passed on.
pub type SharedRoadReport = Arc<RoadReport>;

/// Whether two interfaces are on one LAN, as far as their subnets tell. Link-local ones are the same on every LAN, so they
/// tell nothing.
pub fn share_a_subnet(own: &Link, their: &Link) -> bool {
    let is_telling = |address: IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    };
    let mut theirs = their.addresses.iter().map(|held| held.address);
    theirs.any(|address| {
        let mut owns = own.addresses.iter();
        is_telling(address) && owns.any(|held| held.holds(address))
    })
}

/// The roads from `me` to every peer: each pair of uplinks on one LAN, of which this node's has carrier.
pub fn roads(me: &NodeName, links: &[Link], peers: &BTreeMap<NodeName, Vec<Link>>) -> Roads {
    let mut roads = Roads::new();
    for (name, theirs) in peers.iter().filter(|(name, _)| *name != me) {
        let uplinks = links
            .iter()
            .filter(|link| link.up && link.kind == LinkKind::Uplink);
        for own in uplinks {
            for their in theirs.iter().filter(|their| share_a_subnet(own, their)) {
                if let (Some(own_mac), Some(peer)) = (own.mac, their.mac) {
                    let road = Road {
                        index: own.index,
                        own: own_mac,
                        peer,
                    };
                    roads.entry(name.clone()).or_default().insert(road);
                }
            }
        }
    }
    roads
}

#[cfg(test)]
mod tests {
    use landfall_core::model::LinkAddress;

    use super::*;

    fn link(index: u32, lan: u8, host: u8, up: bool) -> Link {
        Link {
            index: LinkIndex(index),
            name: format!("ens{index}").into(),
            mac: Some(MacAddress([2, 0, 0, 0, lan, host])),
            up,
            kind: LinkKind::Uplink,
            mtu: 1500,
            addresses: vec![LinkAddress {
                address: [10, 10, lan, host].into(),
                prefix_len: 24,
            }],
        }
    }

    #[test]
    fn there_is_a_road_over_every_lan_that_two_nodes_share() {
        let me = NodeName::new("node1");
        let ours = [link(3, 200, 11, true), link(4, 201, 11, true)];
        let peers = BTreeMap::from([
            (me.clone(), ours.to_vec()),
            (
                NodeName::new("node2"),
                vec![link(3, 200, 12, true), link(4, 201, 12, true)],
            ),
            (NodeName::new("node3"), vec![link(9, 201, 13, true)]),
            (NodeName::new("node4"), vec![link(3, 202, 14, true)]),
        ]);
        let found = roads(&me, &ours, &peers);
        let count = |name: &str| found.get(&NodeName::new(name)).map_or(0, BTreeSet::len);
        assert_eq!(
            (
                count("node1"),
                count("node2"),
                count("node3"),
                count("node4")
            ),
            (0, 2, 1, 0)
        );
    }

    #[test]
    fn an_interface_without_carrier_is_no_road() {
        let me = NodeName::new("node1");
        let ours = [link(3, 200, 11, false)];
        let peers = BTreeMap::from([(NodeName::new("node2"), vec![link(3, 200, 12, true)])]);
        assert_eq!(roads(&me, &ours, &peers), Roads::new());
    }

    #[test]
    fn link_local_subnets_and_pods_interfaces_are_no_roads() {
        let me = NodeName::new("node1");
        let link_local = |link: Link| Link {
            addresses: vec![LinkAddress {
                address: "fe80::1".parse().expect("an address"),
                prefix_len: 64,
            }],
            ..link
        };
        let pod = Link {
            kind: LinkKind::Pod,
            ..link(5, 200, 1, true)
        };
        let ours = [link_local(link(3, 201, 11, true)), pod];
        let theirs = vec![link_local(link(3, 200, 12, true)), link(4, 200, 12, true)];
        let peers = BTreeMap::from([(NodeName::new("node2"), theirs)]);
        assert_eq!(roads(&me, &ours, &peers), Roads::new());
    }
}
