//! The announce effect: makes the kernel answer ARP and NDP for exactly the VIPs whose leases this node holds, and has the
//! socket task announce, probe and watch them.
//!
//! Fed by the lease effect (what is held), the planner (addresses and interfaces of each lease), this node's interfaces,
//! what the data path could attach, and the socket task's events; feeds the kernel's announcement table, the socket task,
//! the lease effect (confirmations of what is let go) and [`AnnounceReport`]. All inputs but the events are `watch`: only
//! the latest counts.
//!
//! Letting go: an address leaves the kernel's table first, then its lease is confirmed released. When cancelled, the table
//! stays as it is; the deadline bounds it.

mod deadline;
mod report;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use landfall_arp_responder::{
    Answering, Desired, DesiredInterface, DesiredVip, Event, InterfaceIndex, MacAddr, Role,
};
use landfall_core::election::{Cause, LeaseName};
use landfall_core::model::{Link, LinkIndex, MacAddress, NodeName};
use landfall_ebpf::announce::Announcements;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::datapath::{DatapathReport, UplinkReport};
use super::lease::{LeaseHandle, LeaseState};
use super::membership::Peers;

pub use deadline::KernelDeadline;
pub use report::{AnnounceReport, AnnouncedVip, VipState};
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
    problems: BTreeSet<String>,
}

impl Announce {
    /// The effect, with what it feeds: the socket task's wishes and the report.
    pub fn new(
        announcements: Announcements,
        responder: Responder,
        handle: LeaseHandle,
    ) -> (
        Self,
        AnnouncedTable,
        watch::Receiver<Desired>,
        watch::Receiver<Arc<AnnounceReport>>,
    ) {
        let table = AnnouncedTable(Arc::new(Mutex::new(announcements)));
        let (desired, wishes) = watch::channel(Desired::default());
        let (publish, reports) = watch::channel(Arc::default());
        let announce = Self {
            responder,
            table: table.clone(),
            handle,
            desired,
            publish,
            places: BTreeMap::new(),
            acquisitions: 0,
            problems: BTreeSet::new(),
        };
        (announce, table, wishes, reports)
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
                for vip in &leases.releasing {
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
        let desired = self.wishes(links, peers, uplinks);
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
        for (lease, cause) in &leases.held {
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

    fn wishes(
        &self,
        links: &[Link],
        peers: Option<&BTreeMap<NodeName, Vec<Link>>>,
        uplinks: &[UplinkReport],
    ) -> Desired {
        let peers: BTreeSet<MacAddr> = peers
            .into_iter()
            .flat_map(BTreeMap::values)
            .flatten()
            .filter_map(|link| Some(MacAddr::from(link.mac?.0)))
            .collect();
        let mut desired = Desired::default();
        for ((index, ip), (_, place)) in &self.places {
            let Some(link) = links.iter().find(|link| link.index == *index) else {
                continue;
            };
            let (Some(mac), Some(answering)) = (link.mac, self.answering(links, uplinks, *index))
            else {
                continue;
            };
            let interface = desired
                .interfaces
                .entry(InterfaceIndex(index.0))
                .or_insert_with(|| DesiredInterface {
                    name: link.name.to_string(),
                    mac: MacAddr::from(mac.0),
                    answering,
                    peers: peers.clone(),
                    vips: BTreeMap::new(),
                });
            interface.vips.insert(
                *ip,
                DesiredVip {
                    role: place.role,
                    acquisition: place.acquisition,
                },
            );
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
        let report = AnnounceReport {
            vips,
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
