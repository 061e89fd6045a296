//! The announce effect: makes the kernel answer ARP and NDP for exactly the VIPs whose leases this node holds, and has the
//! socket task announce, probe and watch them.
//!
//! Fed by the lease effect (what is held), the planner (addresses and interfaces of each lease), this node's interfaces,
//! what the data path could attach, and the socket task's events; feeds the kernel's announcement table, the socket task,
//! the lease effect (confirmations of what is let go), [`Resigned`] (what this node could not prove) and [`AnnounceReport`]. All inputs but the events are `watch`: only
//! the latest counts.
//!
//! Letting go: an address leaves the kernel's table first, then its lease is confirmed released. When cancelled, the table
//! stays as it is; the deadline bounds it.

mod deadline;
mod fitness;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use landfall_arp_responder::{
    Answering, Desired, DesiredInterface, DesiredVip, Event, InterfaceIndex, MacAddr, Reach, Role,
};
use landfall_core::election::{Cause, LeaseName};
use landfall_core::model::{
    AnnounceReport, AnnouncedVip, Link, LinkIndex, LinkKind, MacAddress, NodeName, Unproved,
    VipState,
};
use landfall_ebpf::announce::Announcements;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::datapath::{DatapathReport, UplinkReport};
use super::lease::{LeaseHandle, LeaseState};
use super::liveness::road::share_a_subnet;
use super::membership::Peers;
use crate::telemetry::metric;

use fitness::Fitness;

pub use deadline::KernelDeadline;
pub use fitness::{Conflicts, Resigned};
pub use table::AnnouncedTable;

/// Addresses of each lease, with the interfaces they are announced on.
pub type Vips = BTreeMap<LeaseName, BTreeMap<IpAddr, BTreeSet<LinkIndex>>>;

/// Setting `l2.responder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Responder {
    /// The kernel where its program is attached, else the socket.
    #[default]
    Auto,
    /// The kernel only.
    Kernel,
    /// The socket only.
    Socket,
}

/// How often the kernel's table is compared with what is wanted though nothing changed.
const RECONCILE: Duration = Duration::from_secs(10);

/// What the effect is told.
pub struct Inputs {
    /// What is held.
    pub leases: watch::Receiver<LeaseState>,
    /// Addresses and interfaces of leases; nothing before the first plan.
    pub vips: watch::Receiver<Option<Arc<Vips>>>,
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// Other nodes' interfaces.
    pub peers: watch::Receiver<Peers>,
    /// What the data path could attach.
    pub datapath: watch::Receiver<DatapathReport>,
    /// What the socket task saw.
    pub events: mpsc::Receiver<Event>,
}

/// Where a VIP stands on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    acquisition: u64,
    role: Role,
    state: VipState,
    since: SystemTime,
}

/// The effect's state.
pub struct Announce {
    responder: Responder,
    table: AnnouncedTable,
    handle: LeaseHandle,
    desired: watch::Sender<Desired>,
    publish: watch::Sender<Arc<AnnounceReport>>,
    places: BTreeMap<(LinkIndex, IpAddr), (LeaseName, Place)>,
    /// Counts wins, so that the socket task sees each.
    acquisitions: u64,
    fitness: Fitness,
    resigned: watch::Sender<Arc<Resigned>>,
    conflicts: watch::Sender<Arc<Conflicts>>,
    problems: BTreeSet<String>,
}

/// What the effect feeds.
pub struct Outputs {
    /// The kernel's table, to be shown.
    pub table: AnnouncedTable,
    /// What the socket task is to do.
    pub desired: watch::Receiver<Desired>,
    /// What this node could not prove, and leaves to others.
    pub resigned: watch::Receiver<Arc<Resigned>>,
    /// What other machines on the LAN have of it.
    pub conflicts: watch::Receiver<Arc<Conflicts>>,
    /// What status shows.
    pub reports: watch::Receiver<Arc<AnnounceReport>>,
}

impl Announce {
    /// The effect, with what it feeds.
    pub fn new(
        announcements: Announcements,
        responder: Responder,
        handle: LeaseHandle,
    ) -> (Self, Outputs) {
        let table = AnnouncedTable(Arc::new(Mutex::new(announcements)));
        let (desired, wishes) = watch::channel(Desired::default());
        let (publish, reports) = watch::channel(Arc::default());
        let (resigned, resigned_seen) = watch::channel(Arc::default());
        let (conflicts, conflicts_seen) = watch::channel(Arc::default());
        let announce = Self {
            responder,
            table: table.clone(),
            handle,
            desired,
            publish,
            places: BTreeMap::new(),
            acquisitions: 0,
            fitness: Fitness::default(),
            resigned,
            conflicts,
            problems: BTreeSet::new(),
        };
        let outputs = Outputs {
            table,
            desired: wishes,
            resigned: resigned_seen,
            conflicts: conflicts_seen,
            reports,
        };
        (announce, outputs)
    }

    /// Runs until cancelled, or until the lease effect has ended.
    pub async fn run(mut self, mut inputs: Inputs, cancel: CancellationToken) {
        loop {
            let leases = inputs.leases.borrow_and_update().clone();
            let vips = inputs.vips.borrow_and_update().clone();
            let links = inputs.links.borrow_and_update().clone();
            let peers = inputs.peers.borrow_and_update().clone();
            let uplinks = inputs.datapath.borrow_and_update().uplinks.clone();
            if leases.ready || leases.silencing {
                self.bring_about(&leases, vips.as_deref(), &links, peers.as_deref(), &uplinks);
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = inputs.leases.changed() => if changed.is_err() { return },
                changed = inputs.vips.changed() => if changed.is_err() { return },
                changed = inputs.links.changed() => if changed.is_err() { return },
                changed = inputs.peers.changed() => if changed.is_err() { return },
                changed = inputs.datapath.changed() => if changed.is_err() { return },
                event = inputs.events.recv() => {
                    let Some(event) = event else { return };
                    self.take_in(event);
                    // All that wait, at once: ten thousand addresses are cleared within moments, and what follows here
                    // costs by the number of addresses.
                    while let Ok(event) = inputs.events.try_recv() {
                        self.take_in(event);
                    }
                }
                () = tokio::time::sleep(RECONCILE) => {}
            }
        }
    }

    fn bring_about(
        &mut self,
        leases: &LeaseState,
        vips: Option<&Vips>,
        links: &[Link],
        peers: Option<&BTreeMap<NodeName, Vec<Link>>>,
        uplinks: &[UplinkReport],
    ) {
        self.follow(leases, vips, links);
        self.resign(vips, links);
        self.tell_conflicts();
        let wanted = self
            .places
            .iter()
            .filter(|(_, (_, place))| place.state == VipState::Announcing)
            .filter(|((index, _), _)| {
                self.answering(links, uplinks, *index) == Some(Answering::Kernel)
            })
            .filter_map(|((index, ip), _)| Some(((*index, *ip), mac_of(links, *index)?.0)))
            .collect();
        match self.table.replace(&wanted) {
            Ok(()) => {
                for vip in leases.releasing.iter() {
                    // The lease effect has ended if this fails, and then nobody waits for it.
                    let _ = self.handle.released(vip.clone());
                }
                if leases.silencing {
                    let _ = self.handle.silenced();
                }
            }
            Err(error) => {
                error!(%error, "the kernel's announcement table was not written; it will be tried again");
                self.problems.insert(format!("announcement table: {error}"));
            }
        }
        let desired = self.wishes(links, peers, &leases.live, uplinks);
        self.desired.send_if_modified(|held| {
            let changed = *held != desired;
            if changed {
                *held = desired;
            }
            changed
        });
        self.tell(links, uplinks);
    }

    /// Makes the places equal to what is held, keeping those that stay.
    fn follow(&mut self, leases: &LeaseState, vips: Option<&Vips>, links: &[Link]) {
        let mut wanted: BTreeMap<(LinkIndex, IpAddr), (LeaseName, Cause)> = BTreeMap::new();
        for (lease, cause) in leases.held.iter() {
            let Some(addresses) = vips.and_then(|vips| vips.get(lease)) else {
                continue;
            };
            for (ip, interfaces) in addresses {
                for index in interfaces {
                    if links
                        .iter()
                        .any(|link| link.index == *index && link.up && link.mac.is_some())
                    {
                        wanted.insert((*index, *ip), (lease.clone(), *cause));
                    }
                }
            }
        }
        self.places
            .retain(|key, (lease, _)| wanted.get(key).is_some_and(|(held, _)| held == lease));
        for (key, (lease, cause)) in wanted {
            if self.places.contains_key(&key) {
                continue;
            }
            self.acquisitions += 1;
            let first = cause == Cause::First;
            let place = Place {
                acquisition: self.acquisitions,
                role: if first { Role::First } else { Role::Takeover },
                state: if first {
                    VipState::Probing
                } else {
                    VipState::Announcing
                },
                since: SystemTime::now(),
            };
            self.places.insert(key, (lease, place));
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::ProbeCleared { interface, ip } => {
                if let Some((_, place)) = self.places.get_mut(&(LinkIndex(interface.0), ip))
                    && place.role == Role::First
                {
                    info!(%ip, "no other machine has the address; announcing");
                    place.state = VipState::Announcing;
                    place.since = SystemTime::now();
                }
            }
            Event::Conflict { interface, ip, mac } => {
                self.conflict(LinkIndex(interface.0), ip, mac)
            }
            Event::LateConflict { interface, ip, mac } => {
                self.acquisitions += 1;
                let acquisition = self.acquisitions;
                if let Some((_, place)) = self.places.get_mut(&(LinkIndex(interface.0), ip)) {
                    // Withdrawn, and probed for until the other machine has gone.
                    place.acquisition = acquisition;
                    place.role = Role::First;
                }
                self.conflict(LinkIndex(interface.0), ip, mac);
            }
            Event::Proved { interface, ip } => {
                metrics::counter!(metric::SELF_PROOFS.name, "result" => "proved").increment(1);
                debug!(interface = interface.0, %ip, "a peer has heard this node answer for the address");
            }
            Event::Denied {
                interface,
                ip,
                reach,
            } => self.denied(LinkIndex(interface.0), ip, reach),
            Event::WireWorks { interface } => {
                let index = LinkIndex(interface.0);
                if self.fitness.wire_works(index, Instant::now()) {
                    info!(
                        interface = interface.0,
                        "peers hear what this node answers on the interface again; it takes part"
                    );
                }
            }
            Event::InterfaceUp { interface } => {
                info!(interface = interface.0, "announcing interface works")
            }
            Event::InterfaceDown { interface, error } => {
                warn!(interface = interface.0, %error, "announcing interface cannot be used; it is tried again");
            }
            Event::GroupUnreported {
                interface,
                group,
                error,
            } => {
                warn!(interface = interface.0, %group, %error, "a solicited-node group was joined without an MLD report");
            }
        }
    }

    fn conflict(&mut self, index: LinkIndex, ip: IpAddr, mac: MacAddr) {
        let Some((lease, place)) = self.places.get_mut(&(index, ip)) else {
            return;
        };
        let state = VipState::Conflict(MacAddress(mac.octets()));
        if place.state != state {
            error!(%ip, %mac, %lease, "another machine on the LAN uses the address; it is not announced until that ends");
            place.state = state;
            place.since = SystemTime::now();
        }
    }

    /// Peers do not hear this node answer.
    fn denied(&mut self, index: LinkIndex, ip: IpAddr, reach: Reach) {
        let now = Instant::now();
        let (result, is_news) = match reach {
            Reach::Wire => ("wire_denied", self.fitness.wire_denied(index, now)),
            Reach::Vip => ("vip_denied", self.fitness.vip_denied(index, ip, now)),
        };
        metrics::counter!(metric::SELF_PROOFS.name, "result" => result).increment(1);
        match reach {
            _ if !is_news => {}
            Reach::Wire => {
                warn!(interface = index.0, %ip, "peers hear nothing that this node answers on the interface; what it announces there is left to other nodes");
            }
            Reach::Vip => {
                warn!(interface = index.0, %ip, "peers do not hear this node answer for the address; it is left to another node");
            }
        }
    }

    /// Publishes what is resigned, as leases: those with an address that this node would announce where it is not heard.
    fn resign(&mut self, vips: Option<&Vips>, links: &[Link]) {
        self.fitness
            .retain_interfaces(|index| links.iter().any(|link| link.index == index));
        for (index, ip) in self.fitness.pass(Instant::now()) {
            info!(interface = index.0, %ip, "this node contends for the address again");
        }
        let interfaces: BTreeSet<LinkIndex> = self.fitness.wires().collect();
        let mut leases = BTreeSet::new();
        if !interfaces.is_empty() || self.fitness.vips().next().is_some() {
            let is_concerned = |(ip, on): (&IpAddr, &BTreeSet<LinkIndex>)| {
                on.iter().any(|index| self.fitness.is_resigned(*index, *ip))
            };
            let concerned = vips.into_iter().flatten();
            let concerned = concerned.filter(|(_, addresses)| addresses.iter().any(is_concerned));
            leases.extend(concerned.map(|(lease, _)| lease.clone()));
        }
        let resigned = Resigned { interfaces, leases };
        self.resigned.send_if_modified(|held| {
            let changed = **held != resigned;
            if changed {
                *held = Arc::new(resigned);
            }
            changed
        });
    }

    fn tell_conflicts(&self) {
        let places = self.places.iter();
        let taken = places.filter_map(|((_, ip), (_, place))| match place.state {
            VipState::Conflict(mac) => Some((*ip, mac)),
            VipState::Probing | VipState::Announcing => None,
        });
        let conflicts: Conflicts = taken.collect();
        self.conflicts.send_if_modified(|told| {
            let changed = **told != conflicts;
            if changed {
                *told = Arc::new(conflicts);
            }
            changed
        });
    }

    fn answering(
        &self,
        links: &[Link],
        uplinks: &[UplinkReport],
        index: LinkIndex,
    ) -> Option<Answering> {
        let link = links.iter().find(|link| link.index == index)?;
        let attached = uplinks
            .iter()
            .any(|uplink| uplink.name == *link.name && uplink.hook.is_some());
        match self.responder {
            Responder::Kernel => attached.then_some(Answering::Kernel),
            Responder::Socket => Some(Answering::Socket),
            Responder::Auto => Some(if attached {
                Answering::Kernel
            } else {
                Answering::Socket
            }),
        }
    }

    /// What the socket task is to do: announce the places, and bear witness for peers on every LAN that is shared with one.
    fn wishes(
        &self,
        links: &[Link],
        peers: Option<&BTreeMap<NodeName, Vec<Link>>>,
        live: &BTreeSet<NodeName>,
        uplinks: &[UplinkReport],
    ) -> Desired {
        let of_peers = || peers.into_iter().flatten();
        let mac = |link: &Link| Some(MacAddr::from(link.mac?.0));
        let known: BTreeSet<MacAddr> = of_peers()
            .flat_map(|(_, links)| links)
            .filter_map(mac)
            .collect();
        let mut desired = Desired::default();
        for link in links.iter().filter(|link| link.up) {
            let has_places = self
                .places
                .range((link.index, IpAddr::V4(Ipv4Addr::UNSPECIFIED))..)
                .next()
                .is_some_and(|((index, _), _)| *index == link.index);
            let witnesses: BTreeSet<MacAddr> = of_peers()
                .filter(|(node, _)| live.contains(*node))
                .flat_map(|(_, theirs)| theirs)
                .filter(|their| share_a_subnet(link, their))
                .filter_map(mac)
                .collect();
            let shared = link.kind == LinkKind::Uplink && !witnesses.is_empty();
            let (Some(mac), true) = (link.mac, has_places || shared) else {
                continue;
            };
            let interface = DesiredInterface {
                name: link.name.to_string(),
                mac: MacAddr::from(mac.0),
                answering: self
                    .answering(links, uplinks, link.index)
                    .unwrap_or(Answering::Kernel),
                peers: known.clone(),
                witnesses,
                addresses: link.addresses.iter().map(|own| own.address).collect(),
                examined: self.fitness.is_wire_resigned(link.index),
                vips: BTreeMap::new(),
            };
            desired
                .interfaces
                .insert(InterfaceIndex(link.index.0), interface);
        }
        for ((index, ip), (_, place)) in &self.places {
            let interface = desired.interfaces.get_mut(&InterfaceIndex(index.0));
            if let (Some(interface), Some(_)) = (interface, self.answering(links, uplinks, *index))
            {
                let vip = DesiredVip {
                    role: place.role,
                    acquisition: place.acquisition,
                };
                interface.vips.insert(*ip, vip);
            }
        }
        desired
    }

    fn tell(&self, links: &[Link], uplinks: &[UplinkReport]) {
        let name_of = |index: LinkIndex| {
            links
                .iter()
                .find(|link| link.index == index)
                .map_or_else(String::new, |link| link.name.to_string())
        };
        let vips = self
            .places
            .iter()
            .map(|((index, ip), (lease, place))| AnnouncedVip {
                ip: *ip,
                lease: lease.clone(),
                index: *index,
                interface: name_of(*index),
                responder: match self.answering(links, uplinks, *index) {
                    Some(Answering::Kernel) => "kernel",
                    Some(Answering::Socket) => "socket",
                    None => "none",
                },
                state: place.state.clone(),
                since: place.since,
            })
            .collect();
        let wires = self.fitness.wires().map(|index| (index, None));
        let alone = self.fitness.vips().map(|(index, ip)| (index, Some(ip)));
        let unproved = wires.chain(alone).map(|(index, ip)| Unproved {
            index,
            interface: name_of(index),
            ip,
        });
        let report = AnnounceReport {
            vips,
            unproved: unproved.collect(),
            problems: self.problems.clone(),
        };
        self.publish.send_if_modified(|held| {
            let changed = **held != report;
            if changed {
                *held = Arc::new(report);
            }
            changed
        });
    }
}

fn mac_of(links: &[Link], index: LinkIndex) -> Option<MacAddress> {
    links.iter().find(|link| link.index == index)?.mac
}
