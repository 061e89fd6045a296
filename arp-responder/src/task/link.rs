//! Whether an interface can be used, and when to look again.
//!
//! Owns a netlink socket in the link group. Its messages are not read: any of them means that some link changed, and
//! then the interfaces in use are looked at. A lost message (ENOBUFS) is a change as well.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::address::InterfaceIndex;

/// Tells that links changed.
pub(super) struct LinkWatch {
    socket: AsyncFd<Socket>,
}

impl LinkWatch {
    /// Needs no privilege; has to be called inside the runtime.
    pub(super) fn open() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        // SAFETY: the storage is zeroed and larger than sockaddr_nl, and the length set is that of sockaddr_nl.
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let netlink = storage.cast::<libc::sockaddr_nl>();
                (*netlink).nl_family = libc::AF_NETLINK as libc::sa_family_t;
                (*netlink).nl_groups = libc::RTMGRP_LINK as u32;
                *length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
                Ok(())
            })
        }?;
        socket.bind(&address)?;
        // SAFETY: a Socket owns its descriptor: it stays open and the same for as long as the AsyncFd owns the Socket.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Ready when links changed since the last [`drain`](Self::drain).
    pub(super) fn poll_changed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_read_ready(cx).map(|_| ())
    }

    /// Throws the messages away.
    pub(super) fn drain(&self) {
        let mut message = [std::mem::MaybeUninit::uninit(); 64];
        loop {
            let received = self
                .socket
                .try_io(Interest::READABLE, |socket| socket.recv(&mut message));
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A message, or the notice that some were lost: one change or many, all the same.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Succeeds when the interface is there, up, and has a carrier.
///
/// Errors: ENODEV when it is gone, ENETDOWN when it is down, ENOLINK when it has no carrier.
pub(super) fn check_running(interface: InterfaceIndex) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    // SAFETY: ifreq is plain data for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = interface
        .0
        .try_into()
        .map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    ioctl(&socket, libc::SIOCGIFNAME, &mut request)?;
    ioctl(&socket, libc::SIOCGIFFLAGS, &mut request)?;
    // SAFETY: SIOCGIFFLAGS has just set this member of the union.
    let flags = i32::from(unsafe { request.ifr_ifru.ifru_flags });
    let missing = if flags & libc::IFF_UP == 0 {
        libc::ENETDOWN
    } else if flags & libc::IFF_RUNNING == 0 {
        libc::ENOLINK
    } else {
        return Ok(());
    };
    Err(io::Error::from_raw_os_error(missing))
}

fn ioctl(socket: &Socket, operation: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: both operations used read and write one ifreq, which `request` is, for the length of the call.
    let status = unsafe { libc::ioctl(socket.as_raw_fd(), operation as _, &raw mut *request) };
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_gone() {
        for index in [0, 0x7fff_ffff, u32::MAX] {
            let error = check_running(InterfaceIndex(index)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{index}");
        }
    }
}
