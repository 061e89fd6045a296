//! The packet socket of the probing thread, for frames of our own EtherType on every interface.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use landfall_core::model::LinkIndex;
use landfall_ebpf::abi::wire::ETHERTYPE_LANDFALL;

/// Longer than any frame that is read here; what is longer is cut off.
const LONGEST_FRAME: usize = 128;

/// The socket.
#[derive(Debug)]
pub(super) struct ProbeSocket(OwnedFd);

impl ProbeSocket {
    /// Opens it in this thread's network namespace.
    ///
    /// # Errors
    /// The kernel's; it asks for CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Self> {
        let protocol = i32::from(ETHERTYPE_LANDFALL.to_be());
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: plain system call.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for this process.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a whole frame by an interface.
    ///
    /// # Errors
    /// The kernel's: the queue is full, or the interface down or gone.
    pub(super) fn send(&self, index: LinkIndex, frame: &[u8]) -> io::Result<()> {
        let mut to = link_address();
        to.sll_ifindex = i32::try_from(index.0).map_err(io::Error::other)?;
        // SAFETY: frame and address are valid for their lengths.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Gives `each` all that has come in, with the interface it came in by.
    pub(super) fn drain(&self, mut each: impl FnMut(LinkIndex, &[u8])) {
        let mut frame = [0_u8; LONGEST_FRAME];
        loop {
            let mut from = link_address();
            let mut from_len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            // SAFETY: buffer and address are valid for their lengths.
            let len = unsafe {
                libc::recvfrom(
                    self.0.as_raw_fd(),
                    frame.as_mut_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw mut from).cast(),
                    &raw mut from_len,
                )
            };
            let Ok(len) = usize::try_from(len) else {
                match io::Error::last_os_error().kind() {
                    // An interface went down: told once, and what others sent still waits.
                    io::ErrorKind::NetworkDown | io::ErrorKind::Interrupted => continue,
                    _ => return,
                }
            };
            // A frame that this host sent itself, or one for another, which a promiscuous interface overhears.
            if from.sll_pkttype == libc::PACKET_HOST {
                each(LinkIndex(from.sll_ifindex.unsigned_abs()), &frame[..len]);
            }
        }
    }

    /// Waits until something has come in, `most` at most.
    pub(super) fn wait(&self, most: Duration) {
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = libc::timespec {
            tv_sec: i64::try_from(most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(most.subsec_nanos()),
        };
        // SAFETY: one valid pollfd, one valid time, no signal mask. Whatever ends the wait, the caller looks again.
        unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) };
    }
}

fn link_address() -> libc::sockaddr_ll {
    // SAFETY: all-zero is a valid address to fill.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address
}

/// Lets this thread run before all ordinary ones.
///
/// # Errors
/// The kernel's; it asks for CAP_SYS_NICE, or a limit on real-time priorities.
pub(super) fn become_real_time() -> io::Result<()> {
    // The lowest of the real-time priorities: above every ordinary thread, below whatever else is real-time.
    let parameters = libc::sched_param { sched_priority: 1 };
    // SAFETY: this thread, a valid policy and parameters.
    let status = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameters,
        )
    };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
