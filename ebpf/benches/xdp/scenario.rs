//! What is measured: the service table, the frames, and the verdict that each of them must get.

use landfall_ebpf::abi::counter::Counter;
use landfall_ebpf::frontends::{Endpoint, NodeShare, Spec};
use landfall_ebpf::maglev;
use landfall_ebpf::peers::Reach;

use crate::support::frames::{self, ACK, SYN, TCP};
use crate::support::{Bench, IFINDEX, OWN_MAC, endpoint};

/// Frontends in the service table; flows are spread over all of them.
pub(crate) const VIPS: u32 = 500;
/// Endpoints of each frontend.
const BACKENDS: u32 = 64;
/// Nodes that endpoints on other nodes are spread over.
const NODES: u32 = 8;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;

/// Where the endpoints are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this node.
    Here,
    /// On nodes of the same LAN.
    Lan,
    /// On nodes that only SNAT reaches.
    Elsewhere,
}

/// Which flows packets belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Packets within 65,536 connections, each of which has begun before, in turn: what they need is in no near cache.
    Established,
    /// Packets within one of those connections.
    One,
    /// Each packet begins a connection.
    New,
}

/// One figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    /// Its name in `figures.json`.
    pub(crate) name: &'static str,
    /// What is aimed at, in floors.
    pub(crate) aim: f64,
    pub(crate) place: Place,
    pub(crate) flows: Flows,
    /// The code that each run must return.
    pub(crate) code: u32,
    /// The counter that each run must advance; none where packets are not for a frontend.
    pub(crate) counter: Option<Counter>,
    /// Whether runs leave entries in the flow tables, which each round then begins without.
    pub(crate) fills_tables: bool,
}

impl Scenario {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[
        Self {
            name: "xdp.miss",
            aim: 2.5,
            place: Place::Lan,
            flows: Flows::Established,
            code: XDP_PASS,
            counter: None,
            fills_tables: false,
        },
        Self {
            name: "xdp.dsr.established",
            aim: 5.0,
            place: Place::Lan,
            flows: Flows::Established,
            code: XDP_TX,
            counter: Some(Counter::Forwarded),
            fills_tables: false,
        },
        Self {
            name: "xdp.dsr.new",
            aim: 5.0,
            place: Place::Lan,
            flows: Flows::New,
            code: XDP_TX,
            counter: Some(Counter::Forwarded),
            fills_tables: false,
        },
        Self {
            name: "xdp.local.established",
            aim: 12.0,
            place: Place::Here,
            flows: Flows::Established,
            code: XDP_PASS,
            counter: Some(Counter::DeliveredEstablished),
            fills_tables: false,
        },
        Self {
            name: "xdp.snat.established",
            aim: 25.0,
            place: Place::Elsewhere,
            flows: Flows::Established,
            code: XDP_REDIRECT,
            counter: Some(Counter::Translated),
            fills_tables: false,
        },
        Self {
            name: "xdp.snat.new",
            aim: 40.0,
            place: Place::Elsewhere,
            flows: Flows::New,
            code: XDP_REDIRECT,
            counter: Some(Counter::Translated),
            fills_tables: true,
        },
        Self {
            name: "xdp.dsr.one",
            aim: 5.0,
            place: Place::Lan,
            flows: Flows::One,
            code: XDP_TX,
            counter: Some(Counter::Forwarded),
            fills_tables: false,
        },
        Self {
            name: "xdp.local.one",
            aim: 12.0,
            place: Place::Here,
            flows: Flows::One,
            code: XDP_PASS,
            counter: Some(Counter::DeliveredEstablished),
            fills_tables: false,
        },
        Self {
            name: "xdp.snat.one",
            aim: 25.0,
            place: Place::Elsewhere,
            flows: Flows::One,
            code: XDP_REDIRECT,
            counter: Some(Counter::Translated),
            fills_tables: false,
        },
    ];

    /// Fills the service table.
    pub(crate) fn fill(&self, bench: &mut Bench) {
        let spec = Spec {
            external: true,
            owns_address: true,
            affinity_s: 0,
            source_ranges: Vec::new(),
            nodes: self.shares(bench),
            others: Vec::new(),
            draining: Vec::new(),
        };
        for number in 0..VIPS {
            let vip = format!("10.20.{}.{}", number & 0xff, number >> 8);
            bench.put(&vip, 80, TCP, &spec);
        }
    }

    fn shares(&self, bench: &mut Bench) -> Vec<NodeShare> {
        if self.place == Place::Here {
            let endpoints = (0..BACKENDS).map(|host| backend(0, host)).collect();
            return vec![share(0, "here", false, endpoints)];
        }
        (1..=NODES)
            .map(|node| {
                let name = format!("node{}", node + 10);
                let snat = self.place == Place::Elsewhere;
                let reach = if snat {
                    Reach::Snat
                } else {
                    Reach::L2Dsr {
                        mac: [2, 0, 0, 0, 1, node as u8],
                        own_mac: OWN_MAC,
                        ifindex: IFINDEX,
                    }
                };
                let index = bench.peers.index(&name, reach).expect("room for a node");
                let endpoints = (0..BACKENDS / NODES)
                    .map(|host| backend(node, host))
                    .collect();
                share(index, &name, snat, endpoints)
            })
            .collect()
    }

    /// The first flow's frame: 64 octets, as long as the shortest on the wire with its check sequence.
    pub(crate) fn frame(&self, flags: u8) -> Vec<u8> {
        // Addresses that are no frontend's and pass no filter by chance, as all but one in 130 do.
        let destination = match self.counter {
            Some(_) => "10.20.0.0",
            None => "10.40.0.0",
        };
        frames::tcp(("10.30.0.0", 0), (destination, 80), flags, &[0; 10])
    }

    /// The TCP flags of the packets measured.
    pub(crate) fn flags(&self) -> u8 {
        match self.flows {
            Flows::Established | Flows::One => ACK,
            Flows::New => SYN,
        }
    }
}

fn share(index: u16, name: &str, snat: bool, endpoints: Vec<Endpoint>) -> NodeShare {
    NodeShare {
        index,
        identity: maglev::identity(name.as_bytes()),
        snat,
        endpoints,
    }
}

fn backend(node: u32, host: u32) -> Endpoint {
    endpoint(&format!("10.244.{node}.{}", host + 2), 8080)
}
