//! From what rules say of ports to the fewest prefixes that say the same.

use std::collections::BTreeSet;

use crate::model::Protocol;
use crate::policy::table::{PortPrefix, Words};

/// Ports of one protocol, both ends included. All of them begin at 0: a packet may carry that number, though no rule can name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    pub(super) protocol: Protocol,
    pub(super) first: u16,
    pub(super) last: u16,
}

/// What one rule says of the traffic with a peer.
#[derive(Clone, Debug)]
pub(super) struct Saying<'a> {
    /// Its word, and nothing in the other tiers.
    pub(super) words: Words,
    /// It speaks of all traffic, and `spans` do not matter.
    pub(super) everything: bool,
    /// The ports it speaks of.
    pub(super) spans: &'a [Span],
}

/// The entries of `verdicts` for one peer of one set, by prefix. The first one is [`PortPrefix::ALL`], so that a peer that is
/// listed is never looked for under a wider one.
pub(super) fn entries(sayings: &[Saying<'_>]) -> Vec<(PortPrefix, Words)> {
    let everything = sayings
        .iter()
        .filter(|saying| saying.everything)
        .fold(Words::NONE, |words, saying| words.join(saying.words));
    let mut entries = vec![(PortPrefix::ALL, everything)];
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let pieces = pieces(sayings, protocol, everything);
        let tree = Tree::of(&pieces, 0, 16);
        tree.emit(protocol, 0, 16, everything, &mut entries);
    }
    entries
}

/// Where a protocol's ports are cut, and what holds from there on. The first cut is 0.
fn pieces(sayings: &[Saying<'_>], protocol: Protocol, everything: Words) -> Vec<(u32, Words)> {
    let spans: Vec<(u32, u32, Words)> = sayings
        .iter()
        .filter(|saying| !saying.everything)
        .flat_map(|saying| saying.spans.iter().map(|span| (span, saying.words)))
        .filter(|(span, _)| span.protocol == protocol)
        .map(|(span, words)| (u32::from(span.first), u32::from(span.last) + 1, words))
        .collect();
    let mut cuts: BTreeSet<u32> = spans.iter().flat_map(|span| [span.0, span.1]).collect();
    cuts.insert(0);
    cuts.into_iter()
        .map(|cut| {
            let here = spans.iter().filter(|span| (span.0..span.1).contains(&cut));
            (cut, here.fold(everything, |words, span| words.join(span.2)))
        })
        .collect()
}

/// A trie of ports with, at each node, the values it may be given at least cost: R. Draves et al., "Constructing Optimal IP Routing
/// Tables" (INFOCOM 1999), on ports.
enum Tree {
    Leaf(Words),
    Fork {
        choices: Vec<Words>,
        low: Box<Tree>,
        high: Box<Tree>,
    },
}

impl Tree {
    /// Of the 2^`bits` ports from `base` on.
    fn of(pieces: &[(u32, Words)], base: u32, bits: u32) -> Self {
        let from = pieces.partition_point(|piece| piece.0 <= base) - 1;
        let to = pieces.partition_point(|piece| piece.0 < base + (1 << bits));
        let Some(bits) = bits.checked_sub(1).filter(|_| to - from > 1) else {
            return Self::Leaf(pieces[from].1);
        };
        let low = Self::of(pieces, base, bits);
        let high = Self::of(pieces, base + (1 << bits), bits);
        let in_both = low.choices().iter().filter(|w| high.choices().contains(w));
        let mut choices: Vec<Words> = in_both.copied().collect();
        if choices.is_empty() {
            choices = [low.choices(), high.choices()].concat();
            choices.sort_unstable();
            choices.dedup();
        }
        Self::Fork {
            choices,
            low: Box::new(low),
            high: Box::new(high),
        }
    }

    fn choices(&self) -> &[Words] {
        match self {
            Self::Leaf(words) => std::slice::from_ref(words),
            Self::Fork { choices, .. } => choices,
        }
    }

    /// Entries for what does not already get the right value from the prefixes around it.
    fn emit(
        &self,
        protocol: Protocol,
        base: u16,
        bits: u8,
        around: Words,
        entries: &mut Vec<(PortPrefix, Words)>,
    ) {
        let choices = self.choices();
        let chosen = if choices.contains(&around) {
            around
        } else {
            entries.push((
                PortPrefix::of(protocol.number(), base, 24 - bits),
                choices[0],
            ));
            choices[0]
        };
        if let Self::Fork { low, high, .. } = self {
            low.emit(protocol, base, bits - 1, chosen, entries);
            high.emit(protocol, base | 1 << (bits - 1), bits - 1, chosen, entries);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RuleAction;
    use crate::policy::table::TierWord;

    fn accept(rank: u32) -> Words {
        Words {
            network_policy: TierWord::new(rank, RuleAction::Accept),
            ..Words::NONE
        }
    }

    fn tcp(first: u16, last: u16) -> Span {
        Span {
            protocol: Protocol::Tcp,
            first,
            last,
        }
    }

    fn of_spans(spans: &[Span]) -> Vec<(PortPrefix, Words)> {
        entries(&[Saying {
            words: accept(0),
            everything: false,
            spans,
        }])
    }

    /// The value of the longest prefix.
    fn get(entries: &[(PortPrefix, Words)], protocol: Protocol, port: u16) -> Words {
        let holding = entries.iter().filter(|(prefix, _)| {
            *prefix == PortPrefix::ALL
                || *prefix == PortPrefix::of(protocol.number(), port, prefix.bits)
        });
        holding.max_by_key(|(prefix, _)| prefix.bits).unwrap().1
    }

    #[test]
    fn one_port_is_one_entry_beside_the_one_for_all() {
        let entries = of_spans(&[tcp(80, 80)]);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1], (PortPrefix::of(6, 80, 24), accept(0)));
    }

    #[test]
    fn a_whole_protocol_is_one_entry() {
        let entries = of_spans(&[tcp(0, u16::MAX)]);
        assert_eq!(entries[1..], [(PortPrefix::of(6, 0, 8), accept(0))]);
    }

    #[test]
    fn all_ports_but_one_are_two_entries() {
        let entries = of_spans(&[tcp(0, 79), tcp(81, u16::MAX)]);
        assert_eq!(entries.len(), 3, "{entries:?}");
    }

    #[test]
    fn ranges_mean_their_ports_and_no_others() {
        let spans = [tcp(1, 65534), tcp(1000, 2047), tcp(5, 5)];
        for count in 1..=spans.len() {
            let sayings: Vec<Saying<'_>> = spans[..count]
                .iter()
                .zip(0..)
                .map(|(span, index)| Saying {
                    words: accept(9 - index),
                    everything: false,
                    spans: std::slice::from_ref(span),
                })
                .collect();
            let entries = entries(&sayings);
            for port in 0..=u16::MAX {
                let right = sayings
                    .iter()
                    .filter(|s| (s.spans[0].first..=s.spans[0].last).contains(&port))
                    .fold(Words::NONE, |words, s| words.join(s.words));
                assert_eq!(get(&entries, Protocol::Tcp, port), right, "port {port}");
                assert_eq!(get(&entries, Protocol::Udp, port), Words::NONE);
            }
        }
    }
}
