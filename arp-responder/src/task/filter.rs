//! Classic BPF programs that let only ARP, neighbour discovery, or agents' talk through to a packet socket.
//!
//! A first sieve in the kernel, so that the thread is not woken for other traffic; what passes is still hostile and goes
//! through the codecs.

use socket2::SockFilter;

use crate::codec::{ETHERTYPE_WITNESS, KIND_QUESTION, KIND_TESTIMONY};

const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_HALF: u16 = (libc::BPF_LD | libc::BPF_H | libc::BPF_ABS) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// The whole frame passes, however long.
const WHOLE_FRAME: u32 = u32::MAX;
/// Where `struct sk_buff`'s packet type is loaded from (Documentation/networking/filter.rst).
const PACKET_TYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32;

/// A field that must have one of some values.
struct Field {
    load: u16,
    offset: u32,
    accepted: &'static [u32],
}

/// To this host, broadcast or multicast; neither to another station nor sent by this one.
const RECEIVED: Field = Field {
    load: LOAD_BYTE,
    offset: PACKET_TYPE,
    accepted: &[0, 1, 2],
};

/// ARP requests and replies for IPv4.
pub(super) fn arp() -> Vec<SockFilter> {
    program(&[
        RECEIVED,
        Field {
            load: LOAD_HALF,
            offset: 12,
            accepted: &[0x0806],
        },
        Field {
            load: LOAD_HALF,
            offset: 16,
            accepted: &[0x0800],
        },
        Field {
            load: LOAD_HALF,
            offset: 20,
            accepted: &[1, 2],
        },
    ])
}

/// Neighbour solicitations and advertisements with the hop limit of the link.
pub(super) fn ndp() -> Vec<SockFilter> {
    program(&[
        RECEIVED,
        Field {
            load: LOAD_HALF,
            offset: 12,
            accepted: &[0x86dd],
        },
        Field {
            load: LOAD_BYTE,
            offset: 20,
            accepted: &[58],
        },
        Field {
            load: LOAD_BYTE,
            offset: 21,
            accepted: &[255],
        },
        Field {
            load: LOAD_BYTE,
            offset: 54,
            accepted: &[135, 136],
        },
    ])
}

/// Questions and testimonies of peers' agents; the echoes of kernel programs, of the same EtherType, are another's.
pub(super) fn witness() -> Vec<SockFilter> {
    program(&[
        RECEIVED,
        Field {
            load: LOAD_HALF,
            offset: 12,
            accepted: &[ETHERTYPE_WITNESS as u32],
        },
        Field {
            load: LOAD_BYTE,
            offset: 14,
            accepted: &[KIND_QUESTION as u32, KIND_TESTIMONY as u32],
        },
    ])
}

/// Accepts a frame whose fields all have an accepted value. A load past the end of the frame refuses it.
fn program(fields: &[Field]) -> Vec<SockFilter> {
    let tests: usize = fields.iter().map(|field| 1 + field.accepted.len()).sum();
    let refuse_at = tests + 1;
    let distance = |from: usize, to: usize| {
        u8::try_from(to - from - 1).expect("programs are far shorter than a jump reaches")
    };
    let mut program = Vec::with_capacity(tests + 2);
    for field in fields {
        program.push(SockFilter::new(field.load, 0, 0, field.offset));
        let next_field = program.len() + field.accepted.len();
        for &value in field.accepted {
            let here = program.len();
            let otherwise = if here + 1 == next_field {
                refuse_at
            } else {
                here + 1
            };
            let (equal, other) = (distance(here, next_field), distance(here, otherwise));
            program.push(SockFilter::new(JUMP_IF_EQUAL, equal, other, value));
        }
    }
    program.push(SockFilter::new(RETURN, 0, 0, WHOLE_FRAME));
    program.push(SockFilter::new(RETURN, 0, 0, 0));
    program
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use pnet::util::MacAddr;
    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::codec::Frame;

    const MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);

    /// Runs the filter in the kernel, on a pair of sockets that needs no privilege.
    fn passes(filter: &[SockFilter], bytes: &[u8]) -> bool {
        let (sender, mut receiver) = Socket::pair(Domain::UNIX, Type::DGRAM, None).unwrap();
        receiver.attach_filter(filter).unwrap();
        receiver.set_nonblocking(true).unwrap();
        sender.send(bytes).unwrap();
        let mut buffer = [0; 256];
        match receiver.read(&mut buffer) {
            Ok(length) => {
                assert_eq!(&buffer[..length], bytes, "a frame that passes is whole");
                true
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn frames(ip: IpAddr) -> Vec<Vec<u8>> {
        let mut frames = Frame::announcements(MAC, ip);
        frames.push(Frame::probe(MAC, ip));
        frames.iter().map(Frame::encode).collect()
    }

    #[test]
    fn each_filter_passes_its_own_protocol_alone() {
        for bytes in frames(Ipv4Addr::new(192, 0, 2, 80).into()) {
            assert!(passes(&arp(), &bytes));
            assert!(!passes(&ndp(), &bytes));
            assert!(!passes(&witness(), &bytes));
        }
        for bytes in frames(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80).into()) {
            assert!(passes(&ndp(), &bytes));
            assert!(!passes(&arp(), &bytes));
        }
    }

    #[test]
    fn other_fields_and_short_frames_do_not_pass() {
        let arp_frame = &frames(Ipv4Addr::new(192, 0, 2, 80).into())[0];
        let ndp_frame = &frames(Ipv6Addr::LOCALHOST.into())[0];
        for (filter, frame, fields) in [
            (arp(), arp_frame, &[12, 16, 21][..]),
            (ndp(), ndp_frame, &[12, 20, 21, 54][..]),
        ] {
            for &at in fields {
                let mut bytes = frame.clone();
                bytes[at] ^= 0x40;
                assert!(!passes(&filter, &bytes), "byte {at}");
            }
            for length in [1, 13, 20] {
                assert!(!passes(&filter, &frame[..length]), "{length} bytes");
            }
        }
    }
}
