//! Probes as they go over the wire, and what comes back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use landfall_core::model::MacAddress;
use landfall_ebpf::abi::wire::{
    ETHERTYPE_LANDFALL, PROBE_ECHO, PROBE_REQUEST, PROBE_ROAD, PROBE_ROAD_ECHO, PROBE_VERSION,
    Probe, ROAD_CLIENT_V4, ROAD_CLIENT_V6, ROAD_PORT,
};

use super::passage::Family;
use super::road::Road;
use super::tally::Serial;

/// Length of an Ethernet header, and of the shortest frame without its check sequence.
const ETHERNET: usize = 14;
const SHORTEST: usize = 60;

/// IP protocol number of UDP.
const UDP: u8 = 17;

/// Tells this process's probes from those of an earlier one.
pub(super) type Cookie = [u8; 8];

/// What a probe told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// The station that echoed.
    pub(super) peer: MacAddress,
    /// The probe.
    pub(super) serial: Serial,
    /// Of a road probe, the family of its packet.
    pub(super) family: Option<Family>,
}

/// A probe for one road.
pub(super) fn probe(road: &Road, cookie: Cookie, serial: Serial) -> Vec<u8> {
    let mut frame = ethernet(road, ETHERTYPE_LANDFALL);
    frame.extend(payload(PROBE_REQUEST, cookie, serial));
    frame.resize(SHORTEST, 0);
    frame
}

/// A road probe: as if a client had sent it to `vip`, and this node passed it to the peer.
pub(super) fn road_probe(road: &Road, vip: IpAddr, cookie: Cookie, serial: Serial) -> Vec<u8> {
    let payload = payload(PROBE_ROAD, cookie, serial);
    let client = client(Family::of(vip));
    let udp_len = u16::try_from(8 + payload.len()).expect("28 octets");
    let mut udp = [ROAD_PORT, ROAD_PORT, udp_len, 0]
        .map(u16::to_be_bytes)
        .concat();
    udp.extend(payload);
    let mut addresses = octets(client);
    addresses.extend(octets(vip));
    // The pseudo header of both families sums up the same (RFC 768; RFC 8200, section 8.1).
    let sum = checksum(&[&addresses, &[0, UDP], &udp_len.to_be_bytes(), &udp]);
    let sum = if sum == 0 { 0xffff } else { sum };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    let (ethertype, header) = match vip {
        IpAddr::V4(_) => {
            let len = (20 + udp_len).to_be_bytes();
            // It goes no further than to the peer: a time to live of 1.
            let mut header = vec![0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 1, UDP, 0, 0];
            let sum = checksum(&[&header, &addresses]).to_be_bytes();
            header[10..12].copy_from_slice(&sum);
            (0x0800, header)
        }
        IpAddr::V6(_) => {
            let len = udp_len.to_be_bytes();
            (0x86dd, vec![0x60, 0, 0, 0, len[0], len[1], UDP, 1])
        }
    };
    let mut frame = ethernet(road, ethertype);
    frame.extend(header);
    frame.extend(addresses);
    frame.extend(udp);
    frame
}

/// Reads what has come in; nothing unless it is the echo of a probe with this cookie.
pub(super) fn echo(frame: &[u8], cookie: Cookie) -> Option<Echo> {
    let (header, payload) = frame.split_at_checked(ETHERNET)?;
    let payload = payload.get(..size_of::<Probe>())?;
    let (kind, nonce) = payload.split_at(4);
    let (serial, cookie_echoed) = nonce.split_at(8);
    if kind[1] != PROBE_VERSION || cookie_echoed != cookie {
        return None;
    }
    let family = match (kind[0], kind[2]) {
        (PROBE_ECHO, _) => None,
        (PROBE_ROAD_ECHO, 4) => Some(Family::V4),
        (PROBE_ROAD_ECHO, 6) => Some(Family::V6),
        _ => return None,
    };
    Some(Echo {
        peer: MacAddress(header[6..12].try_into().expect("six octets")),
        serial: Serial::from_be_bytes(serial.try_into().expect("eight octets")),
        family,
    })
}

fn payload(kind: u8, cookie: Cookie, serial: Serial) -> Vec<u8> {
    let mut payload = vec![kind, PROBE_VERSION, 0, 0];
    payload.extend(serial.to_be_bytes());
    payload.extend(cookie);
    payload
}

/// The client in whose name road probes go.
fn client(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(ROAD_CLIENT_V4).into(),
        Family::V6 => {
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(&ROAD_CLIENT_V6);
            octets[15] = 1;
            Ipv6Addr::from(octets).into()
        }
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The Internet checksum (RFC 1071) over parts of even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let pairs = parts.iter().flat_map(|part| part.chunks_exact(2));
    let sum: u32 = pairs
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).expect("folded twice")
}

fn ethernet(road: &Road, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(SHORTEST);
    frame.extend(road.peer.0);
    frame.extend(road.own.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use landfall_core::model::LinkIndex;

    use super::*;

    const COOKIE: Cookie = [7; 8];

    /// As the kernel program of a peer does.
    fn echoed(mut frame: Vec<u8>) -> Vec<u8> {
        let (to, from) = frame[..12].split_at_mut(6);
        to.swap_with_slice(from);
        frame[ETHERNET] = PROBE_ECHO;
        frame
    }

    fn road() -> Road {
        Road {
            index: LinkIndex(3),
            own: MacAddress([2, 0, 0, 0, 0, 1]),
            peer: MacAddress([2, 0, 0, 0, 0, 2]),
        }
    }

    #[test]
    fn an_echo_tells_who_echoed_which_probe() {
        let frame = echoed(probe(&road(), COOKIE, 42));
        let told = Echo {
            peer: road().peer,
            serial: 42,
            family: None,
        };
        assert_eq!(echo(&frame, COOKIE), Some(told));
    }

    #[test]
    fn probes_of_others_and_echoes_to_an_earlier_process_tell_nothing() {
        let request = probe(&road(), COOKIE, 42);
        assert_eq!(echo(&request, COOKIE), None);
        let frame = echoed(request);
        assert_eq!(echo(&frame, [8; 8]), None);
        for length in 0..34 {
            assert_eq!(echo(&frame[..length], COOKIE), None, "{length}");
        }
    }

    #[test]
    fn a_road_probe_is_a_whole_packet_of_a_client() {
        for (vip, header, ethertype) in [
            ("10.10.200.5", 20, [0x08, 0x00]),
            ("fd00:10:200::5", 40, [0x86, 0xdd]),
        ] {
            let vip: IpAddr = vip.parse().expect("an address");
            let frame = road_probe(&road(), vip, COOKIE, 42);
            assert_eq!(frame[12..14], ethertype);
            let (ip, udp) = frame[ETHERNET..].split_at(header);
            let addresses = &ip[if vip.is_ipv4() { 12 } else { 8 }..];
            assert_eq!(addresses[addresses.len() / 2..], octets(vip));
            let len = u16::try_from(udp.len()).expect("short").to_be_bytes();
            assert_eq!(udp[4..6], len);
            // A sum over everything, itself included, is zero.
            assert_eq!(checksum(&[addresses, &[0, UDP], &len, udp]), 0);
            if vip.is_ipv4() {
                assert_eq!(checksum(&[ip]), 0);
            }
        }
    }

    #[test]
    fn a_road_probe_that_came_back_tells_its_family() {
        for (octet, family) in [(4, Some(Family::V4)), (6, Some(Family::V6))] {
            let mut frame = echoed(probe(&road(), COOKIE, 42));
            frame[ETHERNET] = PROBE_ROAD_ECHO;
            frame[ETHERNET + 2] = octet;
            let told = echo(&frame, COOKIE).expect("an echo");
            assert_eq!(told.family, family);
        }
    }
}
