//! Asks the kernel for all interfaces and their addresses.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use landfall_core::model::{Link, LinkAddress, LinkIndex, LinkKind, MacAddress};
use neli::consts::nl::{NlmF, Nlmsg};
use neli::consts::rtnl::{Arphrd, Ifa, IfaF, Iff, Ifla, IflaInfo, RtAddrFamily, RtScope, Rtm};
use neli::consts::socket::NlFamily;
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::rtnl::{Ifaddrmsg, IfaddrmsgBuilder, Ifinfomsg, IfinfomsgBuilder};
use neli::socket::synchronous::NlSocketHandle;
use neli::utils::Groups;
use neli::{FromBytesWithInput, Size, ToBytes};

use super::kind::{Device, kinds};

/// How often an answer that changes fell into is asked for again at once.
const ATTEMPTS: usize = 8;
/// How long the kernel may take for a part of its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket to ask on.
pub(super) struct Asker {
    socket: NlSocketHandle,
    sequence: u32,
}

impl Asker {
    pub(super) fn open() -> io::Result<Self> {
        let socket = NlSocketHandle::connect(NlFamily::Route, None, Groups::empty())
            .map_err(io::Error::other)?;
        receive_timeout(&socket, PATIENCE)?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// All interfaces with their addresses, by index. Blocking.
    ///
    /// # Errors
    /// The kernel refuses, does not answer, or changes faster than it can be asked.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        for _ in 0..ATTEMPTS {
            if let Some(links) = self.attempt()? {
                return Ok(links);
            }
        }
        Err(io::Error::other("interfaces change while they are listed"))
    }

    /// Nothing, where a change fell into the answer.
    fn attempt(&mut self) -> io::Result<Option<Vec<Link>>> {
        let request = IfinfomsgBuilder::default()
            .ifi_family(RtAddrFamily::Unspecified)
            .build()
            .map_err(io::Error::other)?;
        let mut found = BTreeMap::new();
        let whole = self.dump::<Ifinfomsg>(Rtm::Getlink, request, |message| {
            if let Some((device, link)) = interface(message) {
                found.insert(device.index, (device, link));
            }
        })?;
        let request = IfaddrmsgBuilder::default()
            .ifa_family(RtAddrFamily::Unspecified)
            .ifa_prefixlen(0)
            .ifa_scope(RtScope::Universe)
            .ifa_index(0)
            .build()
            .map_err(io::Error::other)?;
        let addresses_whole = self.dump::<Ifaddrmsg>(Rtm::Getaddr, request, |message| {
            if let Some((device, _)) = found.get_mut(message.ifa_index())
                && let Some(address) = address(message)
            {
                device.addresses.push(address);
            }
        })?;
        Ok((whole && addresses_whole).then(|| links(found)))
    }

    /// Sends a question and hands each part of the answer to `take`; says whether it is consistent.
    fn dump<P>(&mut self, what: Rtm, request: P, mut take: impl FnMut(&P)) -> io::Result<bool>
    where
        P: Size + ToBytes + FromBytesWithInput<Input = usize> + Debug,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let message = NlmsghdrBuilder::default()
            .nl_type(what)
            .nl_flags(NlmF::REQUEST | NlmF::DUMP)
            .nl_seq(self.sequence)
            .nl_payload(NlPayload::Payload(request))
            .build()
            .map_err(io::Error::other)?;
        self.socket.send(&message).map_err(io::Error::other)?;
        let mut consistent = true;
        loop {
            let (parts, _) = self.socket.recv::<u16, P>().map_err(io::Error::other)?;
            for part in parts {
                let part: Nlmsghdr<u16, P> = part.map_err(io::Error::other)?;
                // What is left of a question that was given up.
                if *part.nl_seq() != self.sequence {
                    continue;
                }
                consistent &= !part.nl_flags().contains(NlmF::DUMP_INTR);
                if *part.nl_type() == u16::from(Nlmsg::Done) {
                    return Ok(consistent);
                }
                match part.nl_payload() {
                    NlPayload::Payload(payload) => take(payload),
                    NlPayload::Err(error) => {
                        return Err(io::Error::from_raw_os_error(error.error().abs()));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// A device with a link whose kind and addresses are still open.
fn interface(message: &Ifinfomsg) -> Option<(Device, Link)> {
    let index = u32::try_from(*message.ifi_index()).ok()?;
    let attributes = message.rtattrs().get_attr_handle();
    let name = attributes
        .get_attr_payload_as_with_len::<String>(Ifla::Ifname)
        .ok()?;
    let info = attributes
        .get_nested_attributes::<IflaInfo>(Ifla::Linkinfo)
        .ok();
    let text = |which: IflaInfo| {
        let value = info
            .as_ref()?
            .get_attr_payload_as_with_len::<String>(which)
            .ok()?;
        Some(value.trim_end_matches('\0').to_owned())
    };
    let number = |which: Ifla| attributes.get_attr_payload_as::<u32>(which).ok();
    let flags = *message.ifi_flags();
    let ethernet = *message.ifi_type() == Arphrd::Ether;
    let mac = attributes
        .get_attribute(Ifla::Address)
        .and_then(|attribute| {
            <[u8; 6]>::try_from(attribute.rta_payload().as_ref())
                .ok()
                .filter(|_| ethernet)
        });
    let device = Device {
        index,
        ethernet,
        loopback: flags.contains(Iff::LOOPBACK),
        kind: text(IflaInfo::Kind).unwrap_or_default(),
        master: number(Ifla::Master).filter(|master| *master != 0),
        master_kind: text(IflaInfo::SlaveKind).unwrap_or_default(),
        addresses: Vec::new(),
    };
    let link = Link {
        index: LinkIndex(index),
        name: name.into(),
        mac: mac.map(MacAddress),
        // RUNNING stands for an operational state of up or unknown (RFC 2863), LOWERUP for carrier.
        up: flags.contains(Iff::UP | Iff::RUNNING | Iff::LOWERUP),
        kind: LinkKind::Other,
        mtu: number(Ifla::Mtu).unwrap_or_default(),
        addresses: Vec::new(),
    };
    Some((device, link))
}

/// An address that is in use: IPv6 ones are not while they are still checked for duplicates, nor
/// after one was found (RFC 4862, section 5.4).
fn address(message: &Ifaddrmsg) -> Option<LinkAddress> {
    let attributes = message.rtattrs().get_attr_handle();
    if message
        .ifa_flags()
        .intersects(IfaF::TENTATIVE | IfaF::DADFAILED)
    {
        return None;
    }
    // With a peer, IFA_ADDRESS is the peer's and IFA_LOCAL our own; IPv6 has no IFA_LOCAL without.
    let bytes = |which: Ifa| {
        attributes
            .get_attribute(which)
            .map(|attribute| attribute.rta_payload().as_ref().to_vec())
    };
    let (local, other) = (bytes(Ifa::Local), bytes(Ifa::Address));
    let peer = local.is_some() && other.is_some() && local != other;
    let address = ip(&local.or(other)?)?;
    let prefix_len = match (peer, address) {
        (false, _) => *message.ifa_prefixlen(),
        (true, IpAddr::V4(_)) => 32,
        (true, IpAddr::V6(_)) => 128,
    };
    Some(LinkAddress {
        address,
        prefix_len,
    })
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn links(found: BTreeMap<u32, (Device, Link)>) -> Vec<Link> {
    let (mut devices, links): (Vec<_>, Vec<_>) = found.into_values().unzip();
    for device in &mut devices {
        device.addresses.sort_unstable();
    }
    let kinds = kinds(&devices);
    links
        .into_iter()
        .zip(devices)
        .zip(kinds)
        .map(|((link, device), kind)| Link {
            kind,
            addresses: device.addresses,
            ..link
        })
        .collect()
}

/// Bounds waiting for an answer, so that a blocking thread cannot be lost.
fn receive_timeout(socket: &NlSocketHandle, patience: Duration) -> io::Result<()> {
    use std::os::fd::{AsRawFd as _, BorrowedFd};
    // SAFETY: the descriptor belongs to `socket`, which outlives the borrow.
    let borrowed = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    let timeout = nix::sys::time::TimeVal::new(patience.as_secs().cast_signed(), 0);
    nix::sys::socket::setsockopt(
        &borrowed,
        nix::sys::socket::sockopt::ReceiveTimeout,
        &timeout,
    )?;
    Ok(())
}
