//! Flow tables of other layouts, and flows in them.

use std::path::Path;

use landfall_ebpf::abi::flow::{FLOW_ANSWERED, Flow, FlowKey, Mark, Reply, ReplyKey};
use landfall_ebpf::abi::layout::{MAPS, Record, TEXT};
use landfall_ebpf::abi::{PortNumber, map};
use landfall_ebpf::conntrack::TrackedFlow;

use super::address;
use super::frames::TCP;
use super::maps::PinnedMap;

pub const VIP: &str = "10.10.200.1";
pub const CLIENT: &str = "10.10.200.100";
/// An endpoint that the tables do not choose.
pub const OLD_POD: &str = "10.244.1.9";

/// A flow from a port of the client's, with what both sides have said.
pub fn flow(port: u16, asked: Mark, answered: Mark) -> TrackedFlow {
    TrackedFlow {
        key: FlowKey {
            client: address(CLIENT),
            frontend: address(VIP),
            client_port: PortNumber::new(port),
            frontend_port: PortNumber::new(80),
            protocol: TCP,
            zero: [0; 3],
        },
        flow: Flow::new(
            address(OLD_POD),
            address(CLIENT),
            PortNumber::new(8080),
            PortNumber::new(port),
            asked,
        ),
        reply: Some(Reply::new(
            address(VIP),
            address(CLIENT),
            PortNumber::new(80),
            PortNumber::new(port),
            answered,
        )),
    }
}

fn reply_key(tracked: &TrackedFlow) -> ReplyKey {
    let TrackedFlow { key, flow, .. } = tracked;
    ReplyKey::new(
        flow.backend,
        flow.source,
        flow.backend_port,
        flow.source_port,
        key.protocol,
    )
}

/// The octets of a value.
fn octets<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: all types of the maps are without padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A predecessor's flow tables, in whatever layout.
pub struct Tables {
    flows: PinnedMap,
    replies: PinnedMap,
    encode: fn(&TrackedFlow) -> (Vec<u8>, Vec<u8>),
}

impl Tables {
    pub fn put(&self, tracked: &TrackedFlow) {
        let (flow, reply) = (self.encode)(tracked);
        self.flows.put(octets(&tracked.key), &flow);
        self.replies.put(octets(&reply_key(tracked)), &reply);
    }
}

/// Layout 1, which did not describe itself.
pub fn first(bpffs: &Path) -> Tables {
    let maps = bpffs.join("landfall/v1/maps");
    Tables {
        flows: PinnedMap::hash(&maps, map::FLOWS, 40, 48, 1_024),
        replies: PinnedMap::hash(&maps, map::REPLIES, 40, 48, 1_024),
        encode: |tracked| {
            let words = |words: [u32; 3]| words.map(u32::to_ne_bytes).concat();
            let (asked, reply) = (tracked.flow.mark, tracked.reply.unwrap());
            let mut flow = octets(&tracked.flow)[..36].to_vec();
            flow.extend(words([asked.0 & 0xff_ffff, 1, asked.flags() >> 24]));
            let seen = if reply.mark.flags() & FLOW_ANSWERED == 0 {
                0
            } else {
                reply.mark.0 & 0xff_ffff
            };
            let mut answer = octets(&reply)[..36].to_vec();
            let flags = reply.mark.flags() & !FLOW_ANSWERED;
            answer.extend(words([seen, flags >> 24, 0]));
            (flow, answer)
        },
    }
}

/// Layout 7, of a version that is newer than this one: its values turned around, behind 20 octets that nobody knows.
pub fn newer(bpffs: &Path) -> Tables {
    let maps = bpffs.join("landfall/v7/maps");
    let tables = Tables {
        flows: PinnedMap::hash(&maps, map::FLOWS, 40, 60, 1_024),
        replies: PinnedMap::hash(&maps, map::REPLIES, 40, 60, 1_024),
        encode: |tracked| {
            let turned = |record: &Record, value: &[u8]| {
                let fields = record.fields.iter().rev();
                let fields = fields.map(|f| &value[f.offset..f.offset + f.len]);
                [&[0xee; 20][..]]
                    .into_iter()
                    .chain(fields)
                    .collect::<Vec<_>>()
                    .concat()
            };
            (
                turned(&layout(map::FLOWS), octets(&tracked.flow)),
                turned(&layout(map::REPLIES), octets(&tracked.reply.unwrap())),
            )
        },
    };
    describe(bpffs, "v7", &[map::FLOWS, map::REPLIES]);
    tables
}

fn layout(name: &str) -> Record {
    MAPS.iter().find(|map| map.name == name).unwrap().value
}

/// Pins the description of a layout whose maps are this one's but for the values of `turned`.
pub fn describe(bpffs: &Path, version: &str, turned: &[&str]) {
    let mut text = String::from("MOODS entries:1 key:4 value:4 mood:0:4\n");
    for map in &MAPS {
        text += &format!("{} entries:{} key:{}", map.name, map.entries, map.key.len);
        for field in map.key.fields {
            text += &format!(" {}:{}:{}", field.name, field.offset, field.len);
        }
        let (mut offset, mut fields) = (20, Vec::from(map.value.fields));
        let is_turned = turned.contains(&map.name);
        text += &format!(" value:{}", map.value.len + if is_turned { 20 } else { 0 });
        if is_turned {
            text += " mood:0:20";
            fields.reverse();
            for field in &mut fields {
                field.offset = offset;
                offset += field.len;
            }
        }
        for field in fields {
            text += &format!(" {}:{}:{}", field.name, field.offset, field.len);
        }
        text.push('\n');
    }
    let mut value = text.into_bytes();
    value.resize(TEXT, 0);
    let maps = bpffs.join("landfall").join(version).join("maps");
    PinnedMap::array(&maps, map::LAYOUT, TEXT, 1).put(&0_u32.to_ne_bytes(), &value);
}
