//! What each map holds, field by field: pinned beside the maps as a text, so that the versions before and after, which have
//! another layout, can carry entries over.
//!
//! A field is known by its name. One that changes its meaning gets another name.

use core::mem::{offset_of, size_of};

use crate::announce::{Announced, AnnouncedKey, Deadline};
use crate::counter::COUNTERS;
use crate::flow::{Flow, FlowKey, Reply, ReplyKey};
use crate::hash::FILTER_WORDS;
use crate::map;
use crate::node::{INTERFACE_SLOTS, Interface, MAX_NODES, Node, PeerKey};
use crate::service::{Backend, Frontend, FrontendKey, SlotRow, SourceRange};
use crate::socket::{SocketKey, SocketOrigin};

/// Room for the text, in octets.
pub const TEXT: usize = 4096;

/// One map.
#[derive(Clone, Copy, Debug)]
pub struct MapLayout {
    /// Its name.
    pub name: &'static str,
    /// Its entries, where the layout and not a setting says how many.
    pub entries: u32,
    /// Its keys.
    pub key: Record,
    /// Its values.
    pub value: Record,
}

/// A key or a value.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Octets.
    pub len: usize,
    /// Its fields but those that are zero.
    pub fields: &'static [Field],
}

/// A field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Where it begins.
    pub offset: usize,
    /// Octets.
    pub len: usize,
}

/// A record's fields. Those after the semicolon are zero; one that is not named is an error of the compiler's.
macro_rules! record {
    ($type:ident { $($field:ident),+ $(; $($zero:ident),+)? }) => {{
        const _: fn($type) = |value| {
            let $type { $($field: _,)+ $($($zero: _,)+)? } = value;
        };
        Record {
            len: size_of::<$type>(),
            fields: &[$(Field {
                name: stringify!($field),
                offset: offset_of!($type, $field),
                len: len_of(|value: &$type| &value.$field),
            }),+],
        }
    }};
}

/// A record that is one number.
macro_rules! number {
    ($type:ident, $name:literal) => {
        Record {
            len: size_of::<$type>(),
            fields: &[Field {
                name: $name,
                offset: 0,
                len: size_of::<$type>(),
            }],
        }
    };
}

const fn len_of<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

const fn map(name: &'static str, entries: u32, key: Record, value: Record) -> MapLayout {
    MapLayout {
        name,
        entries,
        key,
        value,
    }
}

/// All maps of [`map::ALL`], in its order.
pub const MAPS: [MapLayout; map::ALL.len()] = [
    map(
        map::FRONTENDS,
        0,
        record!(FrontendKey { address, port, protocol; zero }),
        record!(Frontend {
            id, flags, nodes, previous_nodes, local, backend_base, local_count, backend_count, snat_count, affinity_s; zero
        }),
    ),
    map(
        map::FRONTEND_FILTER,
        FILTER_WORDS,
        INDEX,
        number!(u64, "bits"),
    ),
    map(map::SLOTS, 0, INDEX, record!(SlotRow { slots })),
    map(
        map::BACKENDS,
        0,
        INDEX,
        record!(Backend {
            address,
            port,
            node
        }),
    ),
    map(
        map::BACKEND_FILTER,
        FILTER_WORDS,
        INDEX,
        number!(u64, "bits"),
    ),
    map(
        map::NODES,
        MAX_NODES,
        INDEX,
        record!(Node {
            mac,
            own_mac,
            ifindex,
            flags
        }),
    ),
    map(
        map::PEERS,
        0,
        record!(PeerKey { mac; zero }),
        number!(u32, "node"),
    ),
    map(map::PEER_FILTER, FILTER_WORDS, INDEX, number!(u64, "bits")),
    map(
        map::INTERFACES,
        INTERFACE_SLOTS,
        INDEX,
        record!(Interface { ifindex, mac, v4, v6; zero }),
    ),
    map(
        map::SOURCE_RANGES,
        0,
        record!(SourceRange { frontend, client }),
        number!(u32, "there"),
    ),
    map(
        map::FLOWS,
        0,
        record!(FlowKey { client, frontend, client_port, frontend_port, protocol; zero }),
        FLOW,
    ),
    map(
        map::REPLIES,
        0,
        record!(ReplyKey { backend, source, backend_port, source_port, protocol; zero }),
        REPLY,
    ),
    map(
        map::MOVED_FLOWS,
        0,
        record!(FlowKey { client, frontend, client_port, frontend_port, protocol; zero }),
        number!(u32, "node"),
    ),
    map(
        map::ANNOUNCED,
        0,
        record!(AnnouncedKey { ifindex, address }),
        record!(Announced { mac, answers; zero }),
    ),
    map(map::DEADLINE, 1, INDEX, record!(Deadline { boottime_ns })),
    map(map::COUNTERS, COUNTERS, INDEX, number!(u64, "packets")),
    map(
        map::SOCKET_ORIGINS,
        0,
        record!(SocketKey { cookie, backend, backend_port, protocol; zero }),
        record!(SocketOrigin { frontend, frontend_port; zero }),
    ),
];

/// The key of an array.
const INDEX: Record = number!(u32, "index");

#[cfg(not(feature = "neighbour-layout"))]
const FLOW: Record = record!(Flow {
    backend,
    source,
    backend_port,
    source_port,
    mark
});

#[cfg(not(feature = "neighbour-layout"))]
const REPLY: Record = record!(Reply {
    frontend,
    client,
    frontend_port,
    client_port,
    mark
});

#[cfg(feature = "neighbour-layout")]
const FLOW: Record = record!(Flow { backend, source, backend_port, source_port, mark; zero });

#[cfg(feature = "neighbour-layout")]
const REPLY: Record = record!(Reply { frontend, client, frontend_port, client_port, mark; zero });

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn every_map_is_described_and_no_two_fields_overlap() {
        for (layout, name) in MAPS.iter().zip(map::ALL) {
            assert_eq!(layout.name, name);
            for record in [layout.key, layout.value] {
                let mut taken = std::vec![false; record.len];
                for field in record.fields {
                    for octet in &mut taken[field.offset..field.offset + field.len] {
                        assert!(!core::mem::replace(octet, true), "{name}: {field:?}");
                    }
                }
            }
        }
    }
}
