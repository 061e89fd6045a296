//! The packet socket of the exchange: frames of our EtherType, the exchange's kinds only.
//!
//! Packets that nodes pass on have the same EtherType, and at tc a packet socket sees them before the program does: a filter
//! in the kernel keeps them from this socket.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use landfall_ebpf::abi::wire::{ETHERTYPE_LANDFALL, MOVED_HEARD, MOVED_TELLING};

/// Length of an Ethernet header.
pub(super) const ETHERNET: usize = 14;
/// Room for what comes in while a scan or a write takes its time, in octets: more than a window of each of 60 peers.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;

/// The way to a peer: an interface here, and both ends' Ethernet addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Road {
    /// This node's interface.
    pub ifindex: u32,
    /// This node's address.
    pub own: [u8; 6],
    /// The peer's.
    pub peer: [u8; 6],
    /// Octets of a frame after its Ethernet header that both interfaces take.
    pub mtu: usize,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Port(OwnedFd);

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Port {
    /// Opens it. Needs CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        // Bound to no protocol until the filter is in place, so that nothing else is ever queued.
        // SAFETY: plain system call.
        let fd = unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                0,
            )
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for this process.
        let port = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        port.set_filter()?;
        // More than the system's limit needs CAP_NET_ADMIN, which the agent has; less will do.
        let _ = port.set(libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER);
        // SAFETY: all-zero is a valid address to fill.
        let mut any: libc::sockaddr_ll = unsafe { zeroed() };
        any.sll_family = libc::AF_PACKET as u16;
        any.sll_protocol = ETHERTYPE_LANDFALL.to_be();
        // SAFETY: the address is valid for its length.
        let bound = unsafe {
            libc::bind(
                port.as_raw_fd(),
                (&raw const any).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(port)
    }

    /// Sends a payload. A full queue or a link that goes down costs the frame; it is sent again.
    pub(super) fn send(&self, road: &Road, payload: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(ETHERNET + payload.len());
        frame.extend_from_slice(&road.peer);
        frame.extend_from_slice(&road.own);
        frame.extend_from_slice(&ETHERTYPE_LANDFALL.to_be_bytes());
        frame.extend_from_slice(payload);
        frame.resize(frame.len().max(60), 0);
        // SAFETY: all-zero is a valid address to fill.
        let mut to: libc::sockaddr_ll = unsafe { zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = road.ifindex as i32;
        to.sll_halen = 6;
        to.sll_addr[..6].copy_from_slice(&road.peer);
        // SAFETY: frame and address are valid for their lengths.
        let sent = unsafe {
            libc::sendto(
                self.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// The next frame that waits, if any, as a part of `frame`; those that this node sent itself are left out.
    pub(super) fn receive<'a>(&self, frame: &'a mut [u8]) -> Option<&'a [u8]> {
        loop {
            // SAFETY: all-zero is a valid address to fill.
            let mut from: libc::sockaddr_ll = unsafe { zeroed() };
            let mut length = size_of::<libc::sockaddr_ll>() as u32;
            // SAFETY: buffer and address are valid for their lengths.
            let received = unsafe {
                libc::recvfrom(
                    self.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut length,
                )
            };
            let received = usize::try_from(received).ok()?;
            if from.sll_pkttype == libc::PACKET_OUTGOING || received < ETHERNET {
                continue;
            }
            return Some(&frame[..received]);
        }
    }

    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// Lets frames in whose first octet of payload is one of the exchange's.
    fn set_filter(&self) -> io::Result<()> {
        let step = |code: u32, jt, jf, k| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        let mut program = [
            step(
                libc::BPF_LD | libc::BPF_B | libc::BPF_ABS,
                0,
                0,
                ETHERNET as u32,
            ),
            step(equal, 1, 0, u32::from(MOVED_TELLING)),
            step(equal, 0, 1, u32::from(MOVED_HEARD)),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        ];
        let program = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        self.set(libc::SO_ATTACH_FILTER, &program)
    }

    fn set<T>(&self, option: libc::c_int, value: &T) -> io::Result<()> {
        // SAFETY: the value is valid for its length, and what it refers to outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(value).cast(),
                size_of::<T>() as u32,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
