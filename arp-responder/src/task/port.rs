//! One interface: its packet sockets and groups, opened as its VIPs need them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use super::groups::Groups;
use super::link::check_running;
use super::packet_socket::{LinkProtocol, PacketSocket};
use crate::address::{ALL_NODES, InterfaceIndex, multicast_mac, solicited_node_group};
use crate::clock::{BootInstant, Deadline};
use crate::codec::{Frame, Message};
use crate::desired::DesiredInterface;

/// What is open on an interface.
pub(super) struct Port {
    interface: InterfaceIndex,
    name: String,
    wants_arp: bool,
    wants_ndp: bool,
    wants_witness: bool,
    wanted_groups: BTreeSet<Ipv6Addr>,
    state: State,
    arp: Option<PacketSocket>,
    ndp: Option<PacketSocket>,
    witness: Option<PacketSocket>,
    groups: Groups,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Untried,
    Open,
    Closed,
}

/// Whether everything that had come in was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received {
    Everything,
    ThereIsMore,
}

/// What bringing a port in line brought about.
pub(super) struct Adjusted {
    /// It was closed and is open now.
    pub(super) came_up: bool,
    /// Groups joined without an MLD report, and why.
    pub(super) unreported: Vec<(Ipv6Addr, io::Error)>,
}

impl Port {
    pub(super) fn new(interface: InterfaceIndex) -> Self {
        Self {
            interface,
            name: String::new(),
            wants_arp: false,
            wants_ndp: false,
            wants_witness: false,
            wanted_groups: BTreeSet::new(),
            state: State::Untried,
            arp: None,
            ndp: None,
            witness: None,
            groups: Groups::default(),
        }
    }

    pub(super) fn interface(&self) -> InterfaceIndex {
        self.interface
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Notes what is wanted; [`adjust`](Self::adjust) brings it about.
    pub(super) fn want(&mut self, wanted: &DesiredInterface) {
        let group = |ip: &IpAddr| match ip {
            IpAddr::V4(_) => None,
            IpAddr::V6(ip) => Some(solicited_node_group(*ip)),
        };
        self.name.clone_from(&wanted.name);
        self.wanted_groups = wanted.vips.keys().filter_map(group).collect();
        // Peers ask this node to bear witness whether it announces anything or not.
        self.wants_witness = !wanted.witnesses.is_empty();
        self.wants_arp = self.wants_witness || wanted.vips.keys().any(IpAddr::is_ipv4);
        let can_ask_v6 = self.wants_witness && wanted.addresses.iter().any(IpAddr::is_ipv6);
        self.wants_ndp = can_ask_v6 || !self.wanted_groups.is_empty();
    }

    /// Opens, joins, leaves and closes. After an error the port has to be closed.
    pub(super) fn adjust(&mut self) -> io::Result<Adjusted> {
        check_running(self.interface)?;
        set_open(&mut self.arp, self.wants_arp, || {
            PacketSocket::open(self.interface, LinkProtocol::Arp)
        })?;
        set_open(&mut self.ndp, self.wants_ndp, || {
            let socket = PacketSocket::open(self.interface, LinkProtocol::Ndp)?;
            // Answers to probes come here. The kernel is a member itself unless IPv6 is disabled.
            socket.accept_multicast(multicast_mac(ALL_NODES))?;
            Ok(socket)
        })?;
        set_open(&mut self.witness, self.wants_witness, || {
            PacketSocket::open(self.interface, LinkProtocol::Witness)
        })?;
        let unreported = self.groups.adjust(self.interface, &self.wanted_groups);
        for (group, _) in &unreported {
            if let Some(ndp) = &self.ndp {
                ndp.accept_multicast(multicast_mac(*group))?;
            }
        }
        let came_up = self.state != State::Open;
        self.state = State::Open;
        Ok(Adjusted {
            came_up,
            unreported,
        })
    }

    /// Closes everything; true unless it was closed before.
    pub(super) fn close(&mut self) -> bool {
        self.arp = None;
        self.ndp = None;
        self.witness = None;
        self.groups = Groups::default();
        std::mem::replace(&mut self.state, State::Closed) != State::Closed
    }

    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let ready = self
            .sockets()
            .filter(|socket| socket.poll_ready(cx).is_ready())
            .count();
        if ready > 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(super) fn receive(&self, mut each: impl FnMut(&[u8])) -> io::Result<Received> {
        let mut received = Received::Everything;
        for socket in self.sockets() {
            if socket.receive(&mut each)? == Received::ThereIsMore {
                received = Received::ThereIsMore;
            }
        }
        Ok(received)
    }

    pub(super) fn queue(&mut self, frame: &Frame, claims: bool) {
        let socket = match frame.message {
            Message::Arp(_) => &mut self.arp,
            Message::Solicitation(_) | Message::Advertisement(_) => &mut self.ndp,
            Message::Question(_) | Message::Testimony(_) => &mut self.witness,
        };
        if let Some(socket) = socket {
            socket.queue(frame.encode(), claims);
        }
    }

    pub(super) fn send_queued(&mut self, deadline: &Deadline) -> io::Result<()> {
        [&mut self.arp, &mut self.ndp, &mut self.witness]
            .into_iter()
            .flatten()
            .try_for_each(|socket| socket.send_queued(deadline))
    }

    pub(super) fn send_again_at(&self) -> Option<BootInstant> {
        self.sockets().filter_map(PacketSocket::send_again_at).min()
    }

    fn sockets(&self) -> impl Iterator<Item = &PacketSocket> {
        self.arp.iter().chain(&self.ndp).chain(&self.witness)
    }
}

fn set_open(
    socket: &mut Option<PacketSocket>,
    wanted: bool,
    open: impl FnOnce() -> io::Result<PacketSocket>,
) -> io::Result<()> {
    match (socket.is_some(), wanted) {
        (false, true) => *socket = Some(open()?),
        (true, false) => *socket = None,
        _ => {}
    }
    Ok(())
}
