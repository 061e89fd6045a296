//! The flow hash: every node computes the same one, so every node chooses alike.
//!
//! Two multiply-xor rounds and a finaliser in the manner of MurmurHash3's `fmix64` (public domain); enough to spread flows,
//! not a defence against a client that searches for collisions.

use crate::flow::FlowKey;

const K1: u64 = 0x9e37_79b9_7f4a_7c15;
const K2: u64 = 0xff51_afd7_ed55_8ccd;
const K3: u64 = 0xc4ce_b9fe_1a85_ec53;

#[inline(always)]
const fn round(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word).wrapping_mul(K1);
    mixed ^ (mixed >> 32)
}

#[inline(always)]
const fn finish(mut h: u64) -> u64 {
    h ^= h >> 33;
    h = h.wrapping_mul(K2);
    h ^= h >> 33;
    h = h.wrapping_mul(K3);
    h ^ (h >> 33)
}

#[inline(always)]
const fn pair(high: u32, low: u32) -> u64 {
    ((high as u64) << 32) | low as u64
}

/// Hash of a flow; with `by_client` of its client's address and its frontend alone.
#[inline(always)]
pub fn flow(key: &FlowKey, by_client: bool) -> u64 {
    let c = &key.client.words;
    let f = &key.frontend.words;
    let mut h = K2;
    if !key.client.is_v4() {
        h = round(h, pair(c[0], c[1]));
        h = round(h, pair(f[0], f[1]));
        h = round(h, pair(c[2], f[2]));
    }
    h = round(h, pair(c[3], f[3]));
    let client_port = if by_client { 0 } else { key.client_port.0 };
    let ports = pair(
        u32::from(key.protocol),
        (u32::from(client_port) << 16) | u32::from(key.frontend_port.0),
    );
    finish(round(h, ports))
}

/// The slot that chooses the node, from the hash's high half. `slots` is at most 2^32 - 1.
#[inline(always)]
pub const fn node_slot(hash: u64, slots: u32) -> u32 {
    (((hash >> 32) * slots as u64) >> 32) as u32
}

/// The slot that chooses among one node's endpoints, from the hash's low half: independent of the node's choice.
#[inline(always)]
pub const fn local_slot(hash: u64, slots: u32) -> u32 {
    (((hash & 0xffff_ffff) * slots as u64) >> 32) as u32
}

/// The bit of the address filter that `address` sets, 0 to [`FILTER_BITS`] - 1.
#[inline(always)]
pub const fn filter_bit(words: &[u32; 4]) -> u32 {
    let folded = words[0] ^ words[1].rotate_left(9) ^ words[2].rotate_left(18) ^ words[3];
    folded.wrapping_mul(0x9e37_79b1) >> 16
}

/// The bit of the peer filter that an Ethernet address sets, 0 to [`FILTER_BITS`] - 1.
#[inline(always)]
pub const fn mac_bit(mac: &[u8; 6]) -> u32 {
    let low = u32::from_ne_bytes([mac[2], mac[3], mac[4], mac[5]]);
    let high = u16::from_ne_bytes([mac[0], mac[1]]) as u32;
    (low ^ (high << 7)).wrapping_mul(0x9e37_79b1) >> 16
}

/// Bits of an address filter.
pub const FILTER_BITS: u32 = 1 << 16;
/// Words of an address filter.
pub const FILTER_WORDS: u32 = FILTER_BITS / 64;

#[cfg(test)]
mod tests {
    extern crate std;
    use core::net::IpAddr;

    use super::*;
    use crate::{Address, PortNumber};

    fn key(client: &str, port: u16) -> FlowKey {
        FlowKey {
            client: Address::from(client.parse::<IpAddr>().unwrap()),
            frontend: Address::from("10.10.200.1".parse::<IpAddr>().unwrap()),
            client_port: PortNumber::new(port),
            frontend_port: PortNumber::new(80),
            protocol: 6,
            zero: [0; 3],
        }
    }

    #[test]
    fn consecutive_client_ports_spread_evenly_over_slots_of_both_levels() {
        let slots = 7u32;
        let mut nodes = [0u32; 7];
        let mut locals = [[0u32; 7]; 7];
        for port in 1024..65_024 {
            let hash = flow(&key("10.10.200.100", port), false);
            let node = node_slot(hash, slots) as usize;
            nodes[node] += 1;
            locals[node][local_slot(hash, slots) as usize] += 1;
        }
        let expected = 64_000.0 / 7.0;
        for count in nodes {
            assert!(
                (f64::from(count) / expected - 1.0).abs() < 0.05,
                "{nodes:?}"
            );
        }
        for row in locals {
            for count in row {
                assert!(
                    (f64::from(count) / (expected / 7.0) - 1.0).abs() < 0.15,
                    "{row:?}"
                );
            }
        }
    }

    #[test]
    fn affinity_ignores_the_clients_port_and_nothing_else() {
        assert_eq!(
            flow(&key("10.0.0.1", 1), true),
            flow(&key("10.0.0.1", 2), true)
        );
        assert_ne!(
            flow(&key("10.0.0.1", 1), true),
            flow(&key("10.0.0.2", 1), true)
        );
        assert_ne!(
            flow(&key("10.0.0.1", 1), false),
            flow(&key("10.0.0.1", 2), false)
        );
    }
}
