//! What agents of one LAN tell each other of who answers for an address.
//!
//! A node does not hear its own broadcasts, so it cannot see whether its own answers get through. It asks a peer's agent,
//! the witness, which asks for the address as any client would and tells whom it heard. The frames are of Landfall's
//! EtherType, which kernel programs let through to the agents.

use std::net::{IpAddr, Ipv6Addr};

use pnet::util::MacAddr;

use super::DecodeError;
use crate::address::is_station;

/// IEEE 802 Local Experimental EtherType 1 (IEEE 802-2014, section 9.2.4), Landfall's on a LAN.
pub const ETHERTYPE_WITNESS: u16 = 0x88b5;
/// First octet of a question, and of a testimony. Other first nibbles are other conversations.
pub const KIND_QUESTION: u8 = 0x30;
/// See [`KIND_QUESTION`].
pub const KIND_TESTIMONY: u8 = 0x31;

const VERSION: u8 = 1;
/// Kind, version, count, zero; nonce; address, IPv4 ones mapped.
const FIXED: usize = 4 + 8 + 16;
/// Stations that a testimony names at most: one that is right, and enough that are not.
pub const MOST_STATIONS: usize = 4;

/// Asks who answers for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// Chosen by the asker, repeated in the testimony.
    pub nonce: u64,
    /// The address.
    pub ip: IpAddr,
}

/// Tells who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Testimony {
    /// The question's.
    pub nonce: u64,
    /// The address.
    pub ip: IpAddr,
    /// Every station that answered, [`MOST_STATIONS`] at most; none where nobody did.
    pub stations: Vec<MacAddr>,
}

impl Question {
    pub(super) fn encode(&self) -> Vec<u8> {
        fixed(KIND_QUESTION, 0, self.nonce, self.ip)
    }
}

impl Testimony {
    pub(super) fn encode(&self) -> Vec<u8> {
        let stations = self.stations.iter().take(MOST_STATIONS);
        let count = u8::try_from(stations.len()).expect("at most four");
        let mut bytes = fixed(KIND_TESTIMONY, count, self.nonce, self.ip);
        bytes.extend(stations.flat_map(MacAddr::octets));
        bytes
    }
}

/// A question or a testimony.
pub(super) enum Talk {
    Question(Question),
    Testimony(Testimony),
}

pub(super) fn decode(bytes: &[u8]) -> Result<Talk, DecodeError> {
    let (fixed, rest) = bytes
        .split_at_checked(FIXED)
        .ok_or(DecodeError::Truncated)?;
    let (head, body) = fixed.split_at(4);
    let (nonce, ip) = body.split_at(8);
    let nonce = u64::from_be_bytes(nonce.try_into().expect("eight octets"));
    let ip: [u8; 16] = ip.try_into().expect("sixteen octets");
    let ip = Ipv6Addr::from(ip).to_canonical();
    match (head[0], head[1]) {
        (KIND_QUESTION, VERSION) => Ok(Talk::Question(Question { nonce, ip })),
        (KIND_TESTIMONY, VERSION) => {
            let count = usize::from(head[2]);
            let stations = rest.get(..count * 6).ok_or(DecodeError::Truncated)?;
            let station = |octets: &[u8]| {
                let mac = MacAddr(
                    octets[0], octets[1], octets[2], octets[3], octets[4], octets[5],
                );
                is_station(mac)
                    .then_some(mac)
                    .ok_or(DecodeError::StationAddress(mac))
            };
            let stations = stations.chunks_exact(6).map(station);
            Ok(Talk::Testimony(Testimony {
                nonce,
                ip,
                stations: stations.collect::<Result<_, _>>()?,
            }))
        }
        (kind, version) => Err(DecodeError::Talk(kind, version)),
    }
}

fn fixed(kind: u8, count: u8, nonce: u64, ip: IpAddr) -> Vec<u8> {
    let mapped = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = vec![kind, VERSION, count, 0];
    bytes.extend(nonce.to_be_bytes());
    bytes.extend(mapped.octets());
    bytes
}
