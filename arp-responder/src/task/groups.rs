//! Membership of solicited-node groups on one interface.
//!
//! Joined with `IPV6_ADD_MEMBERSHIP` on a socket that is never read: the kernel then sets the interface's own filter and
//! also sends MLD reports. The reports are the point: a switch or bridge that snoops MLD keeps solicitations away from
//! ports where nobody reported the group, so that a membership of the packet socket alone (`PACKET_ADD_MEMBERSHIP`)
//! works on a desk and fails in a data centre. That is the fallback, for interfaces without IPv6.
//!
//! The kernel charges memberships to a socket's option memory (`net.core.optmem_max`), enough for some hundreds; when one
//! socket is full, another is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv6Addr;

use socket2::{Domain, Socket, Type};

use crate::address::InterfaceIndex;

/// The groups joined on one interface; left when this is dropped.
#[derive(Default)]
pub(super) struct Groups {
    sockets: Vec<Socket>,
    /// Group and position of its socket.
    joined: BTreeMap<Ipv6Addr, usize>,
    /// Groups that could not be joined, so that they are told once.
    refused: BTreeSet<Ipv6Addr>,
}

impl Groups {
    /// Joins and leaves groups until `wanted` are joined. Gives the groups newly refused.
    pub(super) fn adjust(
        &mut self,
        interface: InterfaceIndex,
        wanted: &BTreeSet<Ipv6Addr>,
    ) -> Vec<(Ipv6Addr, io::Error)> {
        self.refused.retain(|group| wanted.contains(group));
        self.joined.retain(|group, &mut position| {
            let keep = wanted.contains(group);
            if !keep {
                // Fails only when the interface is gone, and the membership with it.
                let _ = self.sockets[position].leave_multicast_v6(group, interface.0);
            }
            keep
        });
        let mut refused = Vec::new();
        for &group in wanted {
            if self.joined.contains_key(&group) || self.refused.contains(&group) {
                continue;
            }
            match self.join(interface, group) {
                Ok(position) => {
                    self.joined.insert(group, position);
                }
                Err(error) => {
                    self.refused.insert(group);
                    refused.push((group, error));
                }
            }
        }
        refused
    }

    /// Joins by the newest socket, or by another when that is full.
    fn join(&mut self, interface: InterfaceIndex, group: Ipv6Addr) -> io::Result<usize> {
        let full =
            |error: &io::Error| matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS));
        if let Some((position, last)) = self.sockets.iter().enumerate().next_back() {
            match last.join_multicast_v6(&group, interface.0) {
                Ok(()) => return Ok(position),
                Err(error) if full(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(&group, interface.0)?;
        self.sockets.push(socket);
        Ok(self.sockets.len() - 1)
    }
}
