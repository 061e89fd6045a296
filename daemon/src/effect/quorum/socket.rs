//! The sockets of heartbeats: UDP on every interface that this node shares a subnet with a peer on.
//!
//! One socket for each family, not bound to an interface: IP_PKTINFO (ip(7)) and IPV6_PKTINFO (RFC 3542) say with each
//! datagram which interface it leaves by, so that nothing has to be opened when interfaces come and go, and a heartbeat
//! for one LAN never takes the way round by another. A peer without a shared subnet is sent to by the routing table.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use landfall_core::model::{Link, LinkIndex, LinkKind};
use nix::sys::socket::{
    ControlMessage, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg, sendmsg,
};
use socket2::{Domain, Protocol, Socket, Type};

/// The largest datagram there is.
const LARGEST: usize = 65_535;

/// One way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Road {
    /// The interface to leave by; nothing leaves it to the routing table.
    pub interface: Option<LinkIndex>,
    /// The peer's address.
    pub to: IpAddr,
}

/// The ways from a node with the interfaces `own` to one with the interfaces `theirs`: one for each of its
/// uplinks that is up and shares a subnet with one of theirs (by IPv4 where both have it), else one by the
/// routing table. Pods' interfaces lead to no node, though every interface has the subnet of link-local addresses.
#[must_use]
pub fn roads(own: &[Link], theirs: &[Link]) -> Vec<Road> {
    let mut roads = Vec::new();
    let uplinks = own.iter().filter(|link| link.kind == LinkKind::Uplink);
    for link in uplinks.filter(|link| link.up) {
        let addresses = theirs.iter().flat_map(|link| &link.addresses);
        let shared = addresses.filter(|held| {
            let there = held.address;
            link.addresses
                .iter()
                .any(|here| here.holds(there) && here.address != there)
        });
        // IPv4 first; then routable IPv6 before link-local.
        let best = shared
            .map(|held| held.address)
            .min_by_key(|address| match address {
                IpAddr::V4(_) => 0,
                IpAddr::V6(address) if !address.is_unicast_link_local() => 1,
                IpAddr::V6(_) => 2,
            });
        roads.extend(best.map(|to| Road {
            interface: Some(link.index),
            to,
        }));
    }
    if roads.is_empty() {
        let mut addresses = theirs.iter().flat_map(|link| &link.addresses);
        let routable = addresses.find(|held| match held.address {
            IpAddr::V4(address) => !address.is_link_local(),
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        });
        roads.extend(routable.map(|held| Road {
            interface: None,
            to: held.address,
        }));
    }
    roads
}

/// Both sockets.
#[derive(Debug)]
pub struct Sockets {
    v4: Socket,
    /// Nothing where the kernel runs without IPv6.
    v6: Option<Socket>,
    port: u16,
    buffer: Vec<u8>,
}

impl Sockets {
    /// Opens both at `port`.
    ///
    /// # Errors
    /// The port is taken, or sockets cannot be had.
    pub fn open(port: u16) -> io::Result<Self> {
        let v4 = Socket::new(Domain::IPV4, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        v4.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        let v6 = Socket::new(Domain::IPV6, Type::DGRAM.nonblocking(), Some(Protocol::UDP));
        let v6 = match v6 {
            Ok(socket) => {
                socket.set_only_v6(true)?;
                socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
                Some(socket)
            }
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => None,
            Err(error) => return Err(error),
        };
        // Before all else that waits in a queue: class 6, as routing protocols have it (RFC 2474, CS6).
        let _ = v4.set_tos_v4(0xc0);
        Ok(Self {
            v4,
            v6,
            port,
            buffer: vec![0; LARGEST],
        })
    }

    /// What to poll for datagrams.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [Some(&self.v4), self.v6.as_ref()]
            .into_iter()
            .flatten()
            .map(AsFd::as_fd)
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// The interface is down, the queue full, the peer not there: all as good as a datagram lost.
    pub fn send(&self, road: Road, datagram: &[u8]) -> io::Result<()> {
        let octets = [IoSlice::new(datagram)];
        let index = road.interface.map_or(0, |index| index.0);
        match road.to {
            IpAddr::V4(to) => {
                let to = SockaddrIn::from(SocketAddrV4::new(to, self.port));
                let info = libc::in_pktinfo {
                    ipi_ifindex: index.cast_signed(),
                    ipi_spec_dst: libc::in_addr { s_addr: 0 },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let by = [ControlMessage::Ipv4PacketInfo(&info)];
                sendmsg(
                    self.v4.as_raw_fd(),
                    &octets,
                    &by,
                    MsgFlags::MSG_DONTWAIT,
                    Some(&to),
                )?;
            }
            IpAddr::V6(to) => {
                let v6 = self.v6.as_ref().ok_or(io::ErrorKind::Unsupported)?;
                let scope = if to.is_unicast_link_local() { index } else { 0 };
                let to = SockaddrIn6::from(SocketAddrV6::new(to, self.port, 0, scope));
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
                    ipi6_ifindex: index,
                };
                let by = [ControlMessage::Ipv6PacketInfo(&info)];
                sendmsg(
                    v6.as_raw_fd(),
                    &octets,
                    &by,
                    MsgFlags::MSG_DONTWAIT,
                    Some(&to),
                )?;
            }
        }
        Ok(())
    }

    /// Takes what has arrived at the sockets that are `readable`, in the order of [`Self::descriptors`]; up to `most`
    /// datagrams, so that a flood cannot keep the caller from its other work.
    pub fn receive(&mut self, readable: &[bool], most: usize, mut take: impl FnMut(&[u8])) {
        let mut left = most;
        let sockets = [Some(&self.v4), self.v6.as_ref()].into_iter().flatten();
        for (socket, readable) in sockets.zip(readable) {
            while *readable && left > 0 {
                let mut octets = [IoSliceMut::new(&mut self.buffer)];
                let got = recvmsg::<SockaddrStorage>(
                    socket.as_raw_fd(),
                    &mut octets,
                    None,
                    MsgFlags::MSG_DONTWAIT,
                );
                let length = match got {
                    Ok(message) => message.bytes,
                    // An error that an earlier datagram met (ICMP) is told here once; what waits behind it is good.
                    Err(nix::errno::Errno::ECONNREFUSED | nix::errno::Errno::EHOSTUNREACH) => {
                        left -= 1;
                        continue;
                    }
                    Err(_) => break,
                };
                take(&self.buffer[..length]);
                left -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::model::LinkAddress;

    use super::*;

    fn link(index: u32, addresses: &[(&str, u8)]) -> Link {
        Link {
            index: LinkIndex(index),
            name: format!("ens{index}").into(),
            mac: None,
            up: true,
            kind: LinkKind::Uplink,
            mtu: 1500,
            addresses: addresses
                .iter()
                .map(|(address, prefix_len)| LinkAddress {
                    address: address.parse().expect("an address"),
                    prefix_len: *prefix_len,
                })
                .collect(),
        }
    }

    #[test]
    fn every_shared_lan_is_a_road_and_ipv4_is_preferred() {
        let own = [
            link(2, &[("10.0.0.1", 24), ("fd00::1", 64)]),
            link(3, &[("fd01::1", 64)]),
            link(4, &[("172.16.0.1", 16)]),
        ];
        let theirs = [
            link(7, &[("fd00::2", 64), ("10.0.0.2", 24)]),
            link(8, &[("fe80::8", 64), ("fd01::2", 64)]),
        ];
        let road = |index, to: &str| Road {
            interface: Some(LinkIndex(index)),
            to: to.parse().expect("an address"),
        };
        assert_eq!(
            roads(&own, &theirs),
            [road(2, "10.0.0.2"), road(3, "fd01::2")]
        );
    }

    #[test]
    fn a_peer_on_no_shared_lan_is_left_to_the_routing_table() {
        let mut own = [link(2, &[("10.0.0.1", 24)])];
        let theirs = [link(7, &[("fe80::7", 64), ("10.9.0.2", 24)])];
        let routed = Road {
            interface: None,
            to: "10.9.0.2".parse().expect("an address"),
        };
        assert_eq!(roads(&own, &theirs), [routed]);
        let near = [link(7, &[("10.0.0.2", 24)])];
        own[0].up = false;
        assert_eq!(roads(&own, &near)[0].interface, None);
    }

    #[test]
    fn the_interface_of_a_pod_is_no_road_for_all_its_link_local_address() {
        let mut pod = link(3, &[("10.244.1.1", 32), ("fe80::3", 64)]);
        pod.kind = LinkKind::Pod;
        let own = [link(2, &[("10.0.0.1", 24), ("fe80::2", 64)]), pod];
        let theirs = [link(7, &[("10.0.0.2", 24), ("fe80::7", 64)])];
        let lan = Road {
            interface: Some(LinkIndex(2)),
            to: "10.0.0.2".parse().expect("an address"),
        };
        assert_eq!(roads(&own, &theirs), [lan]);
    }

    #[test]
    fn a_datagram_crosses_the_loopback_in_either_family() {
        let port = {
            let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("its address").port()
        };
        let mut sockets = Sockets::open(port).expect("sockets");
        let to_self = |to: &str| Road {
            interface: Some(LinkIndex(1)),
            to: to.parse().expect("an address"),
        };
        sockets.send(to_self("127.0.0.1"), b"four").expect("sent");
        let mut heard = Vec::new();
        sockets.receive(&[true, true], 10, |datagram| heard.push(datagram.to_vec()));
        assert_eq!(heard, [b"four"]);
    }
}
