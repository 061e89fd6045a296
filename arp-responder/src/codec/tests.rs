//! What is accepted, what is refused, and that no bytes whatever panic.

use std::net::{Ipv4Addr, Ipv6Addr};

use pnet::packet::icmpv6::{MutableIcmpv6Packet, checksum};
use pnet::util::MacAddr;
use proptest::prelude::*;

use super::*;
use crate::address::{ALL_NODES, multicast_mac, solicited_node_group};

const MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 80);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn solicitation() -> Vec<u8> {
    Frame::solicitation(MAC, CLIENT6, VIP6).encode()
}

/// Changes a frame of neighbour discovery and makes its checksum right again.
fn forged(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Result<Frame, DecodeError> {
    change(&mut bytes);
    let payload_length = u16::try_from(bytes.len() - 54).unwrap();
    bytes[18..20].copy_from_slice(&payload_length.to_be_bytes());
    let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap());
    let (source, destination) = (address(22), address(38));
    let mut icmpv6 = MutableIcmpv6Packet::new(&mut bytes[54..]).unwrap();
    let sum = checksum(&icmpv6.to_immutable(), &source, &destination);
    icmpv6.set_checksum(sum);
    Frame::decode(&bytes)
}

#[test]
fn an_arp_request_has_the_bytes_of_rfc_826() {
    let bytes = Frame::arp_request(MAC, CLIENT, VIP).encode();
    let expected = [
        &[0xff; 6][..],
        &MAC.octets(),
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &MAC.octets(),
        &CLIENT.octets(),
        &[0; 6],
        &VIP.octets(),
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn a_solicitation_has_the_bytes_of_rfc_4861() {
    let expected = [
        &[
            0x33, 0x33, 0xff, 0, 0, 0x80, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58,
            255,
        ][..],
        &CLIENT6.octets(),
        &solicited_node_group(VIP6).octets(),
        &[135, 0],
    ]
    .concat();
    let bytes = solicitation();
    assert_eq!(bytes[..expected.len()], expected);
    assert_eq!(bytes[78..], [1, 1, 2, 0, 0, 0, 0, 1]);
}

#[test]
fn padding_after_the_message_is_ignored() {
    for frame in [
        Frame::arp_request(MAC, CLIENT, VIP),
        Frame::solicitation(MAC, CLIENT6, VIP6),
    ] {
        let mut bytes = frame.encode();
        bytes.resize(bytes.len() + 18, 0xa5);
        assert_eq!(Frame::decode(&bytes), Ok(frame));
    }
}

#[test]
fn every_truncation_is_refused() {
    for bytes in [
        Frame::arp_request(MAC, CLIENT, VIP).encode(),
        solicitation(),
    ] {
        for length in 0..bytes.len() {
            assert_eq!(
                Frame::decode(&bytes[..length]),
                Err(DecodeError::Truncated),
                "{length}"
            );
        }
    }
}

#[test]
fn a_sender_that_is_not_one_station_is_refused() {
    for bad in [
        MacAddr::zero(),
        MacAddr::broadcast(),
        multicast_mac(ALL_NODES),
    ] {
        let mut ethernet = Frame::arp_request(MAC, CLIENT, VIP).encode();
        ethernet[6..12].copy_from_slice(&bad.octets());
        assert_eq!(
            Frame::decode(&ethernet),
            Err(DecodeError::StationAddress(bad))
        );

        let mut sender = Frame::arp_request(MAC, CLIENT, VIP).encode();
        sender[22..28].copy_from_slice(&bad.octets());
        assert_eq!(
            Frame::decode(&sender),
            Err(DecodeError::StationAddress(bad))
        );

        let option = forged(solicitation(), |b| b[80..86].copy_from_slice(&bad.octets()));
        assert_eq!(option, Err(DecodeError::StationAddress(bad)));
    }
}

#[test]
fn arp_of_other_protocols_lengths_or_operations_is_refused() {
    let cases = [
        (15, 6, DecodeError::ArpProtocols),
        (17, 1, DecodeError::ArpProtocols),
        (18, 8, DecodeError::ArpProtocols),
        (19, 16, DecodeError::ArpProtocols),
        (21, 3, DecodeError::ArpOperation(3)),
        (38, 224, DecodeError::ArpAddress),
        (28, 239, DecodeError::ArpAddress),
        (12, 0x86, DecodeError::EtherType(0x8606)),
    ];
    for (at, value, error) in cases {
        let mut bytes = Frame::arp_request(MAC, CLIENT, VIP).encode();
        bytes[at] = value;
        assert_eq!(Frame::decode(&bytes), Err(error), "byte {at}");
    }
}

#[test]
fn neighbour_discovery_from_beyond_a_router_is_refused() {
    assert_eq!(
        forged(solicitation(), |b| b[21] = 254),
        Err(DecodeError::HopLimit(254))
    );
}

#[test]
fn neighbour_discovery_behind_an_extension_header_is_refused() {
    for next_header in [0, 43, 44, 60] {
        assert_eq!(
            forged(solicitation(), |b| b[20] = next_header),
            Err(DecodeError::NotIcmpv6)
        );
    }
    assert_eq!(
        forged(solicitation(), |b| b[14] = 0x40),
        Err(DecodeError::NotIcmpv6)
    );
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bytes = solicitation();
    bytes[57] ^= 1;
    assert_eq!(Frame::decode(&bytes), Err(DecodeError::Checksum));
}

#[test]
fn other_icmpv6_is_refused() {
    assert_eq!(
        forged(solicitation(), |b| b[54] = 134),
        Err(DecodeError::Icmpv6Type(134, 0))
    );
    assert_eq!(
        forged(solicitation(), |b| b[55] = 1),
        Err(DecodeError::Icmpv6Type(135, 1))
    );
}

#[test]
fn options_of_wrong_length_are_refused() {
    for units in [0, 2, 255] {
        assert_eq!(
            forged(solicitation(), |b| b[79] = units),
            Err(DecodeError::NdpOption)
        );
    }
    let long = forged(solicitation(), |b| {
        b[79] = 2;
        b.extend([0; 8]);
    });
    assert_eq!(long, Err(DecodeError::NdpOption));
    assert_eq!(
        forged(solicitation(), |b| b.truncate(79)),
        Err(DecodeError::NdpOption)
    );
}

#[test]
fn unknown_options_are_passed_over() {
    // A nonce (RFC 3971) before the source link-layer option.
    let frame = forged(solicitation(), |b| {
        b.splice(78..78, [14, 1, 1, 2, 3, 4, 5, 6]);
    });
    assert_eq!(frame, Ok(Frame::solicitation(MAC, CLIENT6, VIP6)));
}

#[test]
fn addresses_that_rfc_4861_forbids_are_refused() {
    let none = [0; 16];
    let group = ALL_NODES.octets();
    let cases: [(&str, usize, [u8; 16]); 4] = [
        ("a probe with a source link-layer option", 22, none),
        ("a multicast source", 22, group),
        ("a multicast target", 62, group),
        ("a destination that is not the target's", 38, group),
    ];
    for (what, at, address) in cases {
        let result = forged(solicitation(), |b| b[at..at + 16].copy_from_slice(&address));
        assert_eq!(result, Err(DecodeError::NdpAddresses), "{what}");
    }
    let advertisement = Frame::unsolicited_advertisement(MAC, VIP6).encode();
    let solicited = forged(advertisement.clone(), |b| b[58] |= 0x40);
    assert_eq!(
        solicited,
        Err(DecodeError::NdpAddresses),
        "a solicited multicast"
    );
    let nobody = forged(advertisement, |b| b[22..38].copy_from_slice(&none));
    assert_eq!(
        nobody,
        Err(DecodeError::NdpAddresses),
        "an advertisement from nobody"
    );
}

fn station() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>()
        .prop_map(|[a, b, c, d, e, f]| MacAddr(a & 0xfe, b, c, d, e, f))
        .prop_filter("all zeros is nobody", |mac| !mac.is_zero())
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr::from)
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    any::<Ipv4Addr>().prop_filter("no host", |ip| !ip.is_multicast() && !ip.is_broadcast())
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    any::<Ipv6Addr>().prop_filter("no host", |ip| {
        !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback()
    })
}

fn arp() -> impl Strategy<Value = Message> {
    let operation = prop_oneof![Just(ArpOperation::Request), Just(ArpOperation::Reply)];
    (operation, station(), ipv4(), mac(), ipv4()).prop_map(
        |(operation, sender_mac, sender_ip, target_mac, target_ip)| {
            Message::Arp(ArpMessage {
                operation,
                sender_mac,
                sender_ip,
                target_mac,
                target_ip,
            })
        },
    )
}

fn solicitations() -> impl Strategy<Value = Message> {
    (
        proptest::option::of(ipv6()),
        any::<bool>(),
        ipv6(),
        proptest::option::of(station()),
    )
        .prop_map(|(source, multicast, target, option)| {
            let probe = source.is_none();
            Message::Solicitation(NeighbourSolicitation {
                source: source.unwrap_or(Ipv6Addr::UNSPECIFIED),
                destination: if probe || multicast {
                    solicited_node_group(target)
                } else {
                    target
                },
                target,
                source_link_layer: option.filter(|_| !probe),
            })
        })
}

fn advertisements() -> impl Strategy<Value = Message> {
    let flags = any::<(bool, bool, bool)>();
    (
        ipv6(),
        proptest::option::of(ipv6()),
        ipv6(),
        flags,
        proptest::option::of(station()),
    )
        .prop_map(
            |(source, destination, target, (router, solicited, override_cached), option)| {
                Message::Advertisement(NeighbourAdvertisement {
                    source,
                    destination: destination.unwrap_or(ALL_NODES),
                    target,
                    router,
                    solicited: solicited && destination.is_some(),
                    override_cached,
                    target_link_layer: option,
                })
            },
        )
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(
        destination in mac(),
        source in station(),
        message in prop_oneof![arp(), solicitations(), advertisements()],
    ) {
        let frame = Frame { destination, source, message };
        prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Frame::decode(&bytes);
    }

    #[test]
    fn broken_frames_never_panic_and_what_is_accepted_survives_encoding(
        source in station(),
        message in prop_oneof![arp(), solicitations(), advertisements()],
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<prop::sample::Index>(),
    ) {
        let mut bytes = Frame { destination: MacAddr::broadcast(), source, message }.encode();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(keep.index(bytes.len() + 1));
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }

    #[test]
    fn forged_options_never_panic(options in proptest::collection::vec(any::<u8>(), 0..64)) {
        let result = forged(solicitation(), |b| {
            b.truncate(78);
            b.extend(&options);
        });
        if let Ok(frame) = result {
            prop_assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
        }
    }
}
