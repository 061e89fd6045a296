//! Interfaces that programs are attached to, and over which of them another node is reached.

use std::collections::BTreeMap;
use std::path::Path;

use landfall_core::model::{Link, LinkIndex, LinkKind, NodeName};
use landfall_ebpf::abi::Address;
use landfall_ebpf::abi::node::Interface;
use landfall_ebpf::attach::Hook;
use landfall_ebpf::loader::Loaded;
use landfall_ebpf::peers::{Peers, Reach};
use landfall_ebpf::upgrade::Served;
use tracing::{error, info, warn};

use super::Options;
use super::moved;
use crate::effect::liveness::road::{RoadReport, share_a_subnet};

/// Setting `datapath.attach`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attach {
    /// The best hook that takes the program.
    #[default]
    Auto,
    /// This one only.
    Only(Hook),
}

/// Setting `datapath.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// L2 DSR where the nodes share a LAN, else SNAT.
    #[default]
    Auto,
    /// L2 DSR or nothing.
    L2Dsr,
    /// Always SNAT.
    Snat,
}

/// One interface as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkReport {
    /// Its name.
    pub name: String,
    /// Where ingress is attached.
    pub hook: Option<&'static str>,
    /// Carrier.
    pub up: bool,
    /// Why nothing is attached.
    pub problem: Option<String>,
}

struct Uplink {
    link: Link,
    hook: Option<Hook>,
    /// The same program is attached at tc behind XDP.
    backed: bool,
    problem: Option<String>,
}

/// The interfaces in use.
#[derive(Default)]
pub(super) struct Uplinks {
    held: BTreeMap<LinkIndex, Uplink>,
}

impl Uplinks {
    /// Follows the interfaces as they come, go and change.
    pub(super) fn reconcile(
        &mut self,
        loaded: &mut Loaded,
        peers: &mut Peers,
        options: &Options,
        links: &[Link],
    ) {
        let wanted: Vec<&Link> = links
            .iter()
            .filter(|link| is_wanted(link, options))
            .collect();
        let gone: Vec<LinkIndex> = self
            .held
            .keys()
            .filter(|index| !wanted.iter().any(|link| link.index == **index))
            .copied()
            .collect();
        for index in gone {
            if let Some(uplink) = self.held.remove(&index) {
                loaded.detach_uplink(&uplink.link.name, index.0);
            }
            if let Err(error) = peers.remove_interface(index.0) {
                warn!(interface = index.0, %error, "an interface was not forgotten");
            }
        }
        for link in wanted {
            let held = self.held.get(&link.index);
            if held.is_some_and(|held| held.link == *link && held.problem.is_none()) {
                continue;
            }
            let attached = held.map_or((None, false), |held| (held.hook, held.backed));
            let uplink = bring_up(loaded, peers, options, link, attached);
            self.held.insert(link.index, uplink);
        }
    }

    /// Interfaces with programs and carrier.
    pub(super) fn attached(&self) -> Vec<LinkIndex> {
        self.held
            .values()
            .filter(|uplink| uplink.hook.is_some() && uplink.link.up)
            .map(|uplink| uplink.link.index)
            .collect()
    }

    /// What is attached, if everything is that shall be.
    pub(super) fn served(&self) -> Option<Vec<Served>> {
        let served = self.held.values().map(|uplink| {
            let hook = uplink.hook.filter(|_| uplink.problem.is_none())?;
            Some(Served {
                interface: uplink.link.name.to_string(),
                ifindex: uplink.link.index.0,
                hook,
            })
        });
        served.collect()
    }

    /// Has every uplink's XDP program backed by the same one at tc, which can ask for neighbours.
    pub(super) fn back(&mut self, loaded: &mut Loaded) {
        for uplink in self.held.values_mut() {
            if !matches!(uplink.hook, Some(Hook::XdpNative | Hook::XdpGeneric)) || uplink.backed {
                continue;
            }
            match loaded.attach_behind(&uplink.link.name, uplink.link.index.0) {
                Ok(()) => uplink.backed = true,
                Err(problem) => uplink.problem = Some(format!("{:#}", anyhow::Error::new(problem))),
            }
        }
    }

    pub(super) fn report(&self) -> Vec<UplinkReport> {
        self.held
            .values()
            .map(|uplink| UplinkReport {
                name: uplink.link.name.to_string(),
                hook: uplink.hook.map(Hook::name),
                up: uplink.link.up,
                problem: uplink.problem.clone(),
            })
            .collect()
    }
}

fn is_wanted(link: &Link, options: &Options) -> bool {
    link.kind == LinkKind::Uplink
        && link.mac.is_some()
        && (options.interfaces.is_empty()
            || options
                .interfaces
                .iter()
                .any(|wanted| wanted.is_match(&link.name)))
}

fn bring_up(
    loaded: &mut Loaded,
    peers: &mut Peers,
    options: &Options,
    link: &Link,
    attached: (Option<Hook>, bool),
) -> Uplink {
    let mut uplink = Uplink {
        link: link.clone(),
        hook: attached.0,
        backed: attached.1,
        problem: None,
    };
    if let Err(problem) = peers.set_interface(interface(link)) {
        uplink.problem = Some(format!("{:#}", anyhow::Error::new(problem)));
        return uplink;
    }
    if uplink.hook.is_some() {
        return uplink;
    }
    let hooks = match options.attach {
        Attach::Auto => Loaded::hooks(&driver(&link.name)),
        Attach::Only(hook) => vec![hook],
    };
    match loaded.attach_uplink(&link.name, link.index.0, &hooks) {
        Ok(hook) => {
            info!(interface = %link.name, hook = hook.name(), "data path attached");
            uplink.hook = Some(hook);
        }
        Err(problem) => {
            let problem = format!("{:#}", anyhow::Error::new(problem));
            error!(interface = %link.name, %problem, "data path not attached");
            uplink.problem = Some(problem);
        }
    }
    uplink
}

fn interface(link: &Link) -> Interface {
    let of_family = |v4: bool| {
        link.addresses
            .iter()
            .map(|held| held.address)
            .find(|address| match address {
                std::net::IpAddr::V4(_) => v4,
                std::net::IpAddr::V6(v6) => !v4 && !v6.is_unicast_link_local(),
            })
            .map_or_else(Address::default, Address::from)
    };
    Interface {
        ifindex: link.index.0,
        mac: link.mac.map_or([0; 6], |mac| mac.0),
        zero: 0,
        v4: of_family(true),
        v6: of_family(false),
    }
}

/// The driver's name, as far as sysfs or the kind of link tells; empty where neither does.
fn driver(name: &str) -> String {
    let device = Path::new("/sys/class/net").join(name);
    if let Ok(driver) = std::fs::read_link(device.join("device/driver")) {
        return driver
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
    }
    if device.join("bridge").exists() {
        return "bridge".to_owned();
    }
    // No device below it: virtual. veth is by far the most frequent, and tc is right for the others too.
    "veth".to_owned()
}

/// The roads to peers that packets are re-sent to, with their indexes.
pub(super) fn roads(
    nodes: &BTreeMap<NodeName, (u16, Reach)>,
    ours: &[Link],
    theirs: &BTreeMap<NodeName, Vec<Link>>,
) -> BTreeMap<NodeName, (u16, moved::Road)> {
    let mut roads = BTreeMap::new();
    for (name, (index, reach)) in nodes {
        let Reach::L2Dsr {
            mac,
            own_mac,
            ifindex,
        } = *reach
        else {
            continue;
        };
        let own = ours.iter().filter(|link| link.index.0 == ifindex);
        let their = theirs.get(name).into_iter().flatten();
        let their = their.filter(|link| link.mac.is_some_and(|held| held.0 == mac));
        let mtu = own.chain(their).map(|link| link.mtu).min();
        let road = moved::Road {
            ifindex,
            own: own_mac,
            peer: mac,
            mtu: mtu.map_or(1_500, |mtu| mtu.min(9_000) as usize),
        };
        roads.insert(name.clone(), (*index, road));
    }
    roads
}

/// How a peer is reached: over the first attached interface that shares a subnet with one of its own, whose road there is not
/// silent and lets clients' packets through. By translation, where all that are not silent filter them. Where every road is
/// silent the peer is dead, and others decide what that means.
pub(super) fn reach(
    mode: Mode,
    attached: &[LinkIndex],
    ours: &[Link],
    theirs: &[Link],
    roads: &RoadReport,
) -> Reach {
    if mode == Mode::Snat {
        return Reach::Snat;
    }
    let ours = ours.iter().filter(|link| attached.contains(&link.index));
    let shared = ours.flat_map(|own| {
        let theirs = theirs.iter().filter(|their| share_a_subnet(own, their));
        theirs.filter_map(|their| Some((own.index, own.mac?, their.mac?)))
    });
    let shared: Vec<_> = shared.collect();
    let is_heard = |(index, _, peer): &&_| roads.is_heard(*index, *peer);
    let is_free = |(index, _, peer): &&_| mode == Mode::L2Dsr || !roads.is_filtered(*index, *peer);
    let mut heard = shared.iter().filter(is_heard).peekable();
    let any_heard = heard.peek().is_some();
    let free = heard.find(is_free);
    if free.is_none() && any_heard {
        return Reach::Snat;
    }
    if let Some((index, own, peer)) = free.or(shared.first()) {
        return Reach::L2Dsr {
            mac: peer.0,
            own_mac: own.0,
            ifindex: index.0,
        };
    }
    // Before anything is attached, or before a node has told of its addresses, no answer is better than a wrong one.
    let known = !attached.is_empty() && theirs.iter().any(|link| !link.addresses.is_empty());
    if mode == Mode::L2Dsr || !known {
        Reach::Unreachable
    } else {
        Reach::Snat
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use landfall_core::model::{LinkAddress, MacAddress};

    use super::*;
    use crate::effect::liveness::passage::Family;

    fn link(index: u32, lan: u8, host: u8) -> Link {
        Link {
            index: LinkIndex(index),
            name: format!("ens{index}").into(),
            mac: Some(mac(lan, host)),
            up: true,
            kind: LinkKind::Uplink,
            mtu: 1500,
            addresses: vec![LinkAddress {
                address: [10, 10, lan, host].into(),
                prefix_len: 24,
            }],
        }
    }

    fn mac(lan: u8, host: u8) -> MacAddress {
        MacAddress([2, 0, 10, 10, lan, host])
    }

    fn over(index: u32, lan: u8) -> Reach {
        Reach::L2Dsr {
            mac: mac(lan, 12).0,
            own_mac: mac(lan, 11).0,
            ifindex: index,
        }
    }

    /// How a peer on two LANs is reached, given what is known against the roads.
    fn on_two_lans(mode: Mode, roads: &RoadReport) -> Reach {
        let attached = [LinkIndex(3), LinkIndex(4)];
        let ours = [link(3, 200, 11), link(4, 201, 11)];
        let theirs = [link(7, 200, 12), link(8, 201, 12)];
        reach(mode, &attached, &ours, &theirs, roads)
    }

    fn silent(lans: &[(u32, u8)]) -> RoadReport {
        let roads = lans.iter();
        RoadReport {
            silent: roads
                .map(|(index, lan)| (LinkIndex(*index), mac(*lan, 12)))
                .collect::<BTreeSet<_>>(),
            ..RoadReport::default()
        }
    }

    fn filtered(lans: &[(u32, u8)]) -> RoadReport {
        let roads = lans.iter();
        RoadReport {
            filtered: roads
                .map(|(index, lan)| (LinkIndex(*index), mac(*lan, 12), Family::V6))
                .collect(),
            ..RoadReport::default()
        }
    }

    #[test]
    fn a_lan_that_lets_clients_packets_through_is_preferred_to_translation() {
        let roads = filtered(&[(3, 200)]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), over(4, 201));
        let roads = filtered(&[(3, 200), (4, 201)]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), Reach::Snat);
        // Whoever says so gets it.
        assert_eq!(on_two_lans(Mode::L2Dsr, &roads), over(3, 200));
    }

    #[test]
    fn a_filtered_road_is_taken_by_translation_when_the_other_falls_silent() {
        let roads = RoadReport {
            silent: silent(&[(4, 201)]).silent,
            ..filtered(&[(3, 200)])
        };
        assert_eq!(on_two_lans(Mode::Auto, &roads), Reach::Snat);
    }

    #[test]
    fn a_peer_is_reached_over_the_first_lan_whose_road_is_not_silent() {
        let roads = silent(&[]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), over(3, 200));
        let roads = silent(&[(3, 200)]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), over(4, 201));
        let roads = silent(&[(4, 201)]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), over(3, 200));
    }

    #[test]
    fn a_dead_peer_keeps_its_place_for_the_time_it_comes_back() {
        let roads = silent(&[(3, 200), (4, 201)]);
        assert_eq!(on_two_lans(Mode::Auto, &roads), over(3, 200));
        assert_eq!(on_two_lans(Mode::L2Dsr, &roads), over(3, 200));
    }

    #[test]
    fn a_peer_on_no_lan_of_ours_is_reached_by_translation_or_not_at_all() {
        let reach = |mode, theirs: &[Link]| {
            let ours = [link(3, 200, 11)];
            reach(mode, &[LinkIndex(3)], &ours, theirs, &silent(&[]))
        };
        let elsewhere = [link(7, 202, 12)];
        assert_eq!(reach(Mode::Auto, &elsewhere), Reach::Snat);
        assert_eq!(reach(Mode::L2Dsr, &elsewhere), Reach::Unreachable);
        assert_eq!(reach(Mode::Auto, &[]), Reach::Unreachable);
    }
}
