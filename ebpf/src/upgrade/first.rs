//! Layout 1, which did not describe itself: flows' values of 48 octets, with the times a flow began and a side was last heard,
//! and what it has said, each in a word of its own.

use landfall_ebpf_abi::flow::{FLOW_ANSWERED, Mark};
use landfall_ebpf_abi::map;

use super::description::{Description, Record};

/// Its directory.
pub(super) const NAME: &str = "v1";
/// What is made of others' fields.
pub(super) const MADE: [&str; 1] = ["mark"];

/// Ends and ports, as the field names of both tables.
const FLOW: [&str; 4] = ["backend", "source", "backend_port", "source_port"];
const REPLY: [&str; 4] = ["frontend", "client", "frontend_port", "client_port"];

/// Where a value has the time of when the side was last heard, and what it has said, both in the machine's byte order.
const FLOW_SEEN: usize = 36;
const FLOW_FLAGS: usize = 44;
const REPLY_SEEN: usize = 36;
const REPLY_FLAGS: usize = 40;
/// Flags were in the low octet.
const FLAGS_SHIFT: u32 = 24;

/// The layout: this one's, but for the flows' values.
pub(super) fn description() -> Description {
    let mut description = Description::own();
    for (name, ends, words) in [
        (map::FLOWS, FLOW, ["seen", "since", "flags"]),
        (map::REPLIES, REPLY, ["seen", "flags", "zero"]),
    ] {
        let ends = ends.iter().zip([16, 16, 2, 2]);
        let words = words.iter().zip([4; 3]);
        let fields: Vec<(&str, usize)> = ends.chain(words).map(|(n, l)| (*n, l)).collect();
        if let Some(map) = description.maps.get_mut(name) {
            map.value = Record::packed(&fields);
        }
    }
    description
}

/// The mark of a flow's value, or of a reply's.
pub(super) fn mark(name: &str, value: &[u8]) -> Mark {
    let word = |at: usize| {
        let octets = value[at..at + 4].try_into();
        u32::from_ne_bytes(octets.expect("four octets are four"))
    };
    let is_reply = name == map::REPLIES;
    let (seen, flags) = if is_reply {
        (word(REPLY_SEEN), word(REPLY_FLAGS))
    } else {
        (word(FLOW_SEEN), word(FLOW_FLAGS))
    };
    let answered = if is_reply && seen != 0 {
        FLOW_ANSWERED
    } else {
        0
    };
    Mark::new(seen, flags << FLAGS_SHIFT | answered)
}

#[cfg(test)]
mod tests {
    use landfall_ebpf_abi::flow::{FLOW_FIN, FLOW_SNAT};

    use super::*;

    #[test]
    fn its_values_had_48_octets() {
        let description = description();
        for name in [map::FLOWS, map::REPLIES] {
            assert_eq!(description.maps[name].value.len, 48);
        }
    }

    #[test]
    fn times_and_flags_become_a_mark() {
        let mut flow = [0_u8; 48];
        flow[FLOW_SEEN..FLOW_SEEN + 4].copy_from_slice(&0x0123_4567_u32.to_ne_bytes());
        flow[FLOW_FLAGS..].copy_from_slice(&(1_u32 | 1 << 3).to_ne_bytes());
        assert_eq!(
            mark(map::FLOWS, &flow),
            Mark::new(0x0123_4567, FLOW_FIN | FLOW_SNAT)
        );
        let mut reply = [0_u8; 48];
        assert_eq!(mark(map::REPLIES, &reply), Mark::new(0, 0));
        reply[REPLY_SEEN] = 7;
        let answered = mark(map::REPLIES, &reply);
        assert_eq!(answered.flags(), FLOW_ANSWERED);
    }
}
