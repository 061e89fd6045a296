//! Echo requests over ICMP, v4 and v6.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::task::readable;
use crate::lab::host::Host;

/// What a payload begins with, to tell our replies from others'.
const MARK: &[u8; 8] = b"landfall";

impl Host {
    /// Sends one echo request of `payload` bytes and waits for the reply with the same payload.
    ///
    /// # Errors
    /// When the request cannot be sent, or the reply does not come within `patience`.
    pub fn ping(&self, target: IpAddr, payload: usize, patience: Duration) -> Result<Duration> {
        self.run(|| ping(target, payload, patience))
            .with_context(|| format!("ping {target} from {}", self.name()))
    }
}

fn ping(target: IpAddr, payload: usize, patience: Duration) -> Result<Duration> {
    let (family, protocol, request, reply, header) = match target {
        IpAddr::V4(_) => (libc::AF_INET, libc::IPPROTO_ICMP, 8, 0, 20),
        IpAddr::V6(_) => (libc::AF_INET6, libc::IPPROTO_ICMPV6, 128, 129, 0),
    };
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: a plain system call with numbers.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).context("a raw socket");
    }
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let begun = Instant::now();
    let mut message = vec![request, 0, 0, 0, 0x4c, 0x46, 0, 1];
    message.extend(
        MARK.iter()
            .copied()
            .chain(0..=u8::MAX)
            .cycle()
            .take(payload),
    );
    if target.is_ipv4() {
        // The kernel fills in the checksum of ICMPv6 only.
        let sum = checksum(&message);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    send(&socket, target, &message)?;
    let mut buffer = vec![0; payload + 128];
    loop {
        readable(&[&socket], begun + patience);
        // SAFETY: a live buffer of the length told.
        let n = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        if let Ok(n) = usize::try_from(n)
            && let Some(got) = buffer[..n].get(header..)
            && got.first() == Some(&reply)
            && got.get(4..) == message.get(4..)
        {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() >= patience {
            bail!("no reply within {patience:?}");
        }
    }
}

fn send(socket: &OwnedFd, target: IpAddr, message: &[u8]) -> Result<()> {
    // SAFETY: all-zero is a valid socket address of either family.
    let (mut v4, mut v6): (libc::sockaddr_in, libc::sockaddr_in6) = unsafe { std::mem::zeroed() };
    let (address, length): (*const libc::sockaddr, usize) = match target {
        IpAddr::V4(ip) => {
            v4.sin_family = libc::AF_INET as u16;
            v4.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
            ((&raw const v4).cast(), size_of_val(&v4))
        }
        IpAddr::V6(ip) => {
            v6.sin6_family = libc::AF_INET6 as u16;
            v6.sin6_addr.s6_addr = ip.octets();
            ((&raw const v6).cast(), size_of_val(&v6))
        }
    };
    // SAFETY: a live message and a live address of the lengths told.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            message.as_ptr().cast(),
            message.len(),
            0,
            address,
            length as libc::socklen_t,
        )
    };
    if sent < 0 {
        Err(io::Error::last_os_error()).context("send an echo request")
    } else {
        Ok(())
    }
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
