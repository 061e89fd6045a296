//! A packet socket for one protocol on one interface, and the frames waiting to leave by it.
//!
//! Bound to one EtherType instead of to all of them: the kernel then does not even offer it the other traffic, nor what
//! this host sends (packet(7)).

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use std::time::Duration;

use pnet::util::MacAddr;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::filter;
use super::port::Received;
use crate::address::InterfaceIndex;
use crate::clock::{BootInstant, Deadline};
use crate::codec::ETHERTYPE_WITNESS;

/// Frames read before others get their turn.
const READ_AT_ONCE: usize = 256;
/// Longer than any neighbour discovery message on Ethernet; what is longer is cut off and refused by the codec.
const LONGEST_FRAME: usize = 1_514;
/// Frames that may wait to leave: several announcements of the 10,000 VIPs a node may hold. Beyond it, new ones are dropped;
/// askers ask again and announcements are repeated.
const OUTBOX: usize = 1 << 16;
/// Room in the kernel for a takeover of some thousand VIPs at once, in bytes of its own accounting.
const SEND_BUFFER: libc::c_int = 4 << 20;
/// After the driver's queue was full (ENOBUFS), which no readiness tells the end of.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkProtocol {
    Arp,
    Ndp,
    Witness,
}

pub(super) struct PacketSocket {
    socket: AsyncFd<Socket>,
    interface: InterfaceIndex,
    outbox: VecDeque<Outgoing>,
    /// The last frame found no room in the outbox.
    overflowing: bool,
    /// When to try again after the driver's queue was full.
    again_at: Option<BootInstant>,
}

struct Outgoing {
    bytes: Vec<u8>,
    claims: bool,
}

impl PacketSocket {
    /// Needs `CAP_NET_RAW`; has to be called inside the runtime.
    pub(super) fn open(interface: InterfaceIndex, protocol: LinkProtocol) -> io::Result<Self> {
        // No protocol yet, so that nothing comes in before the filter is attached.
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        socket.set_nonblocking(true)?;
        let (ethertype, filter) = match protocol {
            LinkProtocol::Arp => (libc::ETH_P_ARP, filter::arp()),
            LinkProtocol::Ndp => (libc::ETH_P_IPV6, filter::ndp()),
            LinkProtocol::Witness => (i32::from(ETHERTYPE_WITNESS), filter::witness()),
        };
        socket.attach_filter(&filter)?;
        socket.bind(&link_address(interface, ethertype as u16)?)?;
        // Above the system's limit needs CAP_NET_ADMIN; without it the outbox waits a little longer.
        let _ = set_option(
            &socket,
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &SEND_BUFFER,
        );
        // SAFETY: a Socket owns its descriptor: it stays open and the same for as long as the AsyncFd owns the Socket.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self {
            socket,
            interface,
            outbox: VecDeque::new(),
            overflowing: false,
            again_at: None,
        })
    }

    /// Lets frames to `group` through the interface's own filter, without an MLD report. Ends with the socket.
    pub(super) fn accept_multicast(&self, group: MacAddr) -> io::Result<()> {
        let mut address = [0; 8];
        address[..6].copy_from_slice(&group.octets());
        let request = libc::packet_mreq {
            mr_ifindex: self.interface.0 as libc::c_int,
            mr_type: libc::PACKET_MR_MULTICAST as libc::c_ushort,
            mr_alen: 6,
            mr_address: address,
        };
        let socket = self.socket.get_ref();
        set_option(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            &request,
        )
    }

    /// Ready when there is something to read, or room to send what waits.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = self.socket.poll_read_ready(cx).is_ready();
        let to_send = !self.outbox.is_empty() && self.again_at.is_none();
        let writable = to_send && self.socket.poll_write_ready(cx).is_ready();
        if readable || writable {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Gives `each` the frames that have come in. An error means that the interface cannot be used.
    pub(super) fn receive(&self, mut each: impl FnMut(&[u8])) -> io::Result<Received> {
        let mut buffer = [0; LONGEST_FRAME];
        for _ in 0..READ_AT_ONCE {
            let read = |mut socket: &Socket| socket.read(&mut buffer);
            match self.socket.try_io(Interest::READABLE, read) {
                Ok(length) => each(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Received::Everything);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Received::ThereIsMore)
    }

    pub(super) fn queue(&mut self, bytes: Vec<u8>, claims: bool) {
        let room = self.outbox.len() < OUTBOX;
        if room {
            self.outbox.push_back(Outgoing { bytes, claims });
        } else if !self.overflowing {
            tracing::warn!(interface = %self.interface, "frames dropped, too many wait to leave");
        }
        self.overflowing = !room;
    }

    /// Sends what waits, as far as there is room; what claims a VIP is dropped from the deadline on.
    pub(super) fn send_queued(&mut self, deadline: &Deadline) -> io::Result<()> {
        if self.again_at.is_some_and(|at| BootInstant::now() < at) {
            return Ok(());
        }
        self.again_at = None;
        while let Some(outgoing) = self.outbox.front() {
            let may_leave = !outgoing.claims || BootInstant::now() < deadline.get();
            if may_leave {
                let sent = self
                    .socket
                    .try_io(Interest::WRITABLE, |s| s.send(&outgoing.bytes));
                match sent {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                        self.again_at = Some(BootInstant::now() + QUEUE_FULL_WAIT);
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                }
            }
            self.outbox.pop_front();
        }
        Ok(())
    }

    pub(super) fn send_again_at(&self) -> Option<BootInstant> {
        self.again_at
    }
}

fn link_address(interface: InterfaceIndex, ethertype: u16) -> io::Result<SockAddr> {
    let index = interface
        .0
        .try_into()
        .map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the storage is zeroed and larger than sockaddr_ll, and the length set is that of sockaddr_ll.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*link).sll_protocol = ethertype.to_be();
            (*link).sll_ifindex = index;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

fn set_option<T>(
    socket: &Socket,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes at `value`, which is a live T of that size, during the call.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
