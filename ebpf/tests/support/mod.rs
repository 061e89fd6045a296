//! The real programs in the kernel, on a BPF file system of the test's own.
#![expect(
    unreachable_pub,
    dead_code,
    reason = "shared by several test binaries, none of which uses all of it"
)]

pub mod layouts;
pub mod maps;

use std::ffi::CString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use landfall_ebpf::abi::node::Interface;
use landfall_ebpf::abi::service::FrontendKey;
use landfall_ebpf::abi::{Address, PortNumber};
use landfall_ebpf::frontends::{Endpoint, Frontends, NodeShare, Spec};
use landfall_ebpf::loader::{Loaded, Options};
use landfall_ebpf::maglev;
use landfall_ebpf::peers::{Peers, Reach};

/// Test runs come in by the loopback device.
pub const IFINDEX: u32 = 1;
pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A BPF file system, unmounted when dropped.
pub struct Bpffs {
    pub path: PathBuf,
}

impl Bpffs {
    pub fn mount() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("landfall-bpf-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let target = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: strings live until the call returns.
        let result = unsafe {
            libc::mount(
                c"bpf".as_ptr(),
                target.as_ptr(),
                c"bpf".as_ptr(),
                0,
                std::ptr::null(),
            )
        };
        assert_eq!(
            result,
            0,
            "mounting a BPF file system needs root: {}",
            std::io::Error::last_os_error()
        );
        Self { path }
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let target = CString::new(self.path.as_os_str().as_bytes()).unwrap();
        // SAFETY: as above.
        unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        let _ = std::fs::remove_dir(&self.path);
    }
}

/// A loaded data path with one interface and one peer.
pub struct Bench {
    pub loaded: Loaded,
    pub frontends: Frontends,
    pub peers: Peers,
    pub peer: u16,
    pub bpffs: Bpffs,
}

impl Bench {
    pub fn open() -> Self {
        Self::with(Options {
            max_connections: 65_536,
            ..Options::default()
        })
    }

    pub fn with(options: Options) -> Self {
        let bpffs = Bpffs::mount();
        Self::on(bpffs, options)
    }

    pub fn on(bpffs: Bpffs, options: Options) -> Self {
        let options = Options {
            bpffs: bpffs.path.clone(),
            ..options
        };
        let mut loaded =
            Loaded::open(&options).unwrap_or_else(|error| panic!("{error}: {:?}", error));
        let frontends = Frontends::take(&mut loaded).unwrap();
        let mut peers = Peers::take(&mut loaded).unwrap();
        peers
            .set_interface(Interface {
                ifindex: IFINDEX,
                mac: OWN_MAC,
                zero: 0,
                v4: address("10.10.200.11"),
                v6: address("fd00:10:200::11"),
            })
            .unwrap();
        let reach = Reach::L2Dsr {
            mac: PEER_MAC,
            own_mac: OWN_MAC,
            ifindex: IFINDEX,
        };
        let peer = peers.index("node2", reach).unwrap();
        Self {
            loaded,
            frontends,
            peers,
            peer,
            bpffs,
        }
    }

    pub fn put(&mut self, vip: &str, port: u16, protocol: u8, spec: &Spec) {
        self.frontends
            .put(key(vip, port, protocol), spec, Instant::now())
            .unwrap();
    }

    pub fn xdp(&mut self, frame: &[u8]) -> (u32, Vec<u8>) {
        let result = self.loaded.test_run("xdp_uplink", frame, 1).unwrap();
        (result.code, result.frame)
    }
}

pub fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

pub fn key(vip: &str, port: u16, protocol: u8) -> FrontendKey {
    FrontendKey {
        address: address(vip),
        port: PortNumber::new(port),
        protocol,
        zero: 0,
    }
}

pub fn endpoint(ip: &str, port: u16) -> Endpoint {
    (address(ip), PortNumber::new(port))
}

/// A spec with endpoints on this node and on the peer.
pub fn spec(peer: u16, local: &[Endpoint], remote: &[Endpoint]) -> Spec {
    Spec {
        external: true,
        owns_address: true,
        affinity_s: 0,
        source_ranges: Vec::new(),
        nodes: vec![
            NodeShare {
                index: 0,
                identity: maglev::identity(b"node1"),
                snat: false,
                endpoints: local.to_vec(),
            },
            NodeShare {
                index: peer,
                identity: maglev::identity(b"node2"),
                snat: false,
                endpoints: remote.to_vec(),
            },
        ],
        others: Vec::new(),
        draining: Vec::new(),
    }
}

/// Builds frames and reads them back; checksums are computed the slow way.
pub mod frames {
    use super::{CLIENT_MAC, IpAddr, OWN_MAC};

    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const SYN: u8 = 0x02;
    pub const ACK: u8 = 0x10;
    pub const FIN: u8 = 0x01;
    pub const RST: u8 = 0x04;

    pub fn ethernet(
        destination: [u8; 6],
        source: [u8; 6],
        ethertype: u16,
        payload: &[u8],
    ) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&destination);
        frame.extend_from_slice(&source);
        frame.extend_from_slice(&ethertype.to_be_bytes());
        frame.extend_from_slice(payload);
        frame
    }

    pub fn checksum(parts: &[&[u8]]) -> u16 {
        let mut sum = 0_u32;
        for part in parts {
            for pair in part.chunks(2) {
                sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            }
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
        let mut header = Vec::new();
        match (source, destination) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                header.extend_from_slice(&s.octets());
                header.extend_from_slice(&d.octets());
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                header.extend_from_slice(&s.octets());
                header.extend_from_slice(&d.octets());
            }
            _ => panic!("mixed families"),
        }
        header.extend_from_slice(&(len as u32).to_be_bytes());
        header.extend_from_slice(&u32::from(protocol).to_be_bytes());
        header
    }

    pub fn ip(source: &str, destination: &str, protocol: u8, payload: &[u8]) -> (u16, Vec<u8>) {
        let (s, d): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        match (s, d) {
            (IpAddr::V4(s), IpAddr::V4(d)) => {
                let mut header = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
                header[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
                header.extend_from_slice(&s.octets());
                header.extend_from_slice(&d.octets());
                let sum = checksum(&[&header]);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                header.extend_from_slice(payload);
                (0x0800, header)
            }
            (IpAddr::V6(s), IpAddr::V6(d)) => {
                let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
                header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
                header.extend_from_slice(&s.octets());
                header.extend_from_slice(&d.octets());
                header.extend_from_slice(payload);
                (0x86dd, header)
            }
            _ => panic!("mixed families"),
        }
    }

    pub fn tcp(source: (&str, u16), destination: (&str, u16), flags: u8, data: &[u8]) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend_from_slice(&source.1.to_be_bytes());
        segment.extend_from_slice(&destination.1.to_be_bytes());
        segment.extend_from_slice(&1000_u32.to_be_bytes());
        segment.extend_from_slice(&(if flags & ACK != 0 { 77_u32 } else { 0 }).to_be_bytes());
        segment.extend_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend_from_slice(data);
        transport(source.0, destination.0, TCP, segment, 16)
    }

    pub fn udp(source: (&str, u16), destination: (&str, u16), data: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend_from_slice(&source.1.to_be_bytes());
        datagram.extend_from_slice(&destination.1.to_be_bytes());
        datagram.extend_from_slice(&((8 + data.len()) as u16).to_be_bytes());
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(data);
        transport(source.0, destination.0, UDP, datagram, 6)
    }

    pub fn icmp(source: &str, destination: &str, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(rest);
        let v6 = source.contains(':');
        let sum = if v6 {
            let header = pseudo(
                source.parse().unwrap(),
                destination.parse().unwrap(),
                58,
                message.len(),
            );
            checksum(&[&header, &message])
        } else {
            checksum(&[&message])
        };
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let (ethertype, packet) = ip(source, destination, if v6 { 58 } else { 1 }, &message);
        ethernet(OWN_MAC, CLIENT_MAC, ethertype, &packet)
    }

    fn transport(
        source: &str,
        destination: &str,
        protocol: u8,
        mut segment: Vec<u8>,
        at: usize,
    ) -> Vec<u8> {
        let header = pseudo(
            source.parse().unwrap(),
            destination.parse().unwrap(),
            protocol,
            segment.len(),
        );
        let sum = checksum(&[&header, &segment]);
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        let (ethertype, packet) = ip(source, destination, protocol, &segment);
        ethernet(OWN_MAC, CLIENT_MAC, ethertype, &packet)
    }

    /// What a frame says, its checksums verified.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Read {
        pub destination_mac: [u8; 6],
        pub source_mac: [u8; 6],
        pub ethertype: u16,
        pub source: IpAddr,
        pub destination: IpAddr,
        pub protocol: u8,
        pub l4: Vec<u8>,
    }

    impl Read {
        pub fn ports(&self) -> (u16, u16) {
            (
                u16::from_be_bytes([self.l4[0], self.l4[1]]),
                u16::from_be_bytes([self.l4[2], self.l4[3]]),
            )
        }
    }

    pub fn read(frame: &[u8]) -> Read {
        let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
        let packet = &frame[14..];
        let (source, destination, protocol, l4): (IpAddr, IpAddr, u8, &[u8]) =
            if packet[0] >> 4 == 4 {
                assert_eq!(checksum(&[&packet[..20]]), 0, "IPv4 header checksum");
                let len = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                assert_eq!(len, packet.len(), "IPv4 length");
                let word = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).unwrap();
                (
                    IpAddr::from(word(12)),
                    IpAddr::from(word(16)),
                    packet[9],
                    &packet[20..len],
                )
            } else {
                let len = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                assert_eq!(40 + len, packet.len(), "IPv6 length");
                let words = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).unwrap();
                (
                    IpAddr::from(words(8)),
                    IpAddr::from(words(24)),
                    packet[6],
                    &packet[40..],
                )
            };
        let sum = match protocol {
            1 => checksum(&[l4]),
            _ => checksum(&[&pseudo(source, destination, protocol, l4.len()), l4]),
        };
        assert_eq!(sum, 0, "transport checksum");
        Read {
            destination_mac: frame[0..6].try_into().unwrap(),
            source_mac: frame[6..12].try_into().unwrap(),
            ethertype,
            source,
            destination,
            protocol,
            l4: l4.to_vec(),
        }
    }
}

/// Directory for a further daemon upon the same pins.
pub fn options(path: &Path) -> Options {
    Options {
        bpffs: path.to_owned(),
        max_connections: 65_536,
        ..Options::default()
    }
}
