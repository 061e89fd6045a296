//! What each peer is told by a set: the rules that match it, and what they say together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::policy::table::{PeerId, PortPrefix, Words};

use super::identity::resolve;
use super::population::Population;
use super::ports::{Saying, Span, entries};
use super::rules::{SetRule, Whom};
use super::selections::{SelectionId, Selections};

/// A rule's part in what a peer is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// The rule.
    pub(super) rank: u32,
    /// With its ports by number.
    pub(super) plain: bool,
    /// With its ports by name, as this peer has them.
    pub(super) named: Vec<Span>,
}

/// The entries for one peer; peers that are told the same share them.
pub(super) type Group = Arc<[(PortPrefix, Words)]>;

/// What these parts say together.
pub(super) fn group(rules: &[SetRule<SelectionId>], parts: &[Part]) -> Group {
    let rule = |part: &Part| &rules[part.rank as usize];
    let spans: Vec<Vec<Span>> = parts
        .iter()
        .map(|part| {
            let plain = rule(part).ports.spans.iter().filter(|_| part.plain);
            plain.chain(&part.named).copied().collect()
        })
        .collect();
    let sayings: Vec<Saying<'_>> = parts
        .iter()
        .zip(&spans)
        .map(|(part, spans)| Saying {
            words: rule(part).words,
            everything: part.plain && rule(part).ports.all,
            spans,
        })
        .collect();
    entries(&sayings).into()
}

/// Whether a group says nothing at all.
fn says_nothing(group: &Group) -> bool {
    group.iter().all(|(_, words)| *words == Words::NONE)
}

/// Who is asked of the members of what.
pub(super) struct Cast<'a> {
    pub(super) rules: &'a [SetRule<SelectionId>],
    pub(super) population: &'a Population,
    pub(super) selections: &'a Selections,
}

/// With which of its ports a rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct With {
    numbers: bool,
    names: bool,
}

impl With {
    const NUMBERS: Self = Self {
        numbers: true,
        names: false,
    };
    const NAMES: Self = Self {
        numbers: false,
        names: true,
    };
    const BOTH: Self = Self {
        numbers: true,
        names: true,
    };

    /// A peer that a rule selects by its own labels is told all its ports; a namespace has none, and its pods are told theirs as
    /// owners.
    fn of_selected(peer: PeerId) -> Self {
        if peer.is_namespace() {
            Self::NUMBERS
        } else {
            Self::BOTH
        }
    }
}

/// Rules by rank that match.
type Ranks = BTreeMap<u32, With>;

fn add(ranks: &mut Ranks, rank: u32, with: With) {
    let all = ranks.entry(rank).or_default();
    all.numbers |= with.numbers;
    all.names |= with.names;
}

impl Cast<'_> {
    /// What every listed peer is told. A peer is listed if it is told something else than the wider one it belongs to.
    pub(super) fn groups(&self) -> BTreeMap<PeerId, Group> {
        let mut matches: Vec<(PeerId, u32, With)> = Vec::new();
        for (rank, rule) in (0..).zip(self.rules) {
            for whom in &rule.whom {
                if let Whom::Selected(selection) = whom {
                    let members = self.selections.members(*selection);
                    matches.extend(members.map(|peer| (peer, rank, With::of_selected(peer))));
                }
            }
            for owners in &rule.owners {
                let members = self.selections.members(*owners);
                matches.extend(members.map(|peer| (peer, rank, With::NAMES)));
            }
        }
        matches.sort_unstable();
        let mut known = Known::default();
        let mut groups = BTreeMap::new();
        for wide in [PeerId::ANY_POD, PeerId::ANY_NODE] {
            let said = known.group(self, self.parts(wide, self.of_kind(Some(wide))));
            if !says_nothing(&said) {
                groups.insert(wide, said);
            }
        }
        let with = |mut ranks: Ranks, of_peer: &[(PeerId, u32, With)]| {
            for (_, rank, with) in of_peer {
                add(&mut ranks, *rank, *with);
            }
            ranks
        };
        let mut of_namespace: BTreeMap<PeerId, Ranks> = BTreeMap::new();
        for of_peer in matches.chunk_by(|a, b| a.0 == b.0) {
            if of_peer[0].0.is_namespace() {
                let around = self.of_kind(Some(PeerId::ANY_POD));
                of_namespace.insert(of_peer[0].0, with(around, of_peer));
            }
        }
        for of_peer in matches.chunk_by(|a, b| a.0 == b.0) {
            let peer = of_peer[0].0;
            let identity = self.population.identity(peer);
            let around = identity.and_then(|identity| of_namespace.get(&identity.namespace));
            let around = around
                .cloned()
                .unwrap_or_else(|| self.of_kind(self.kind(peer)));
            let wider = known.group(self, self.numbers(around.clone()));
            let said = known.group(self, self.parts(peer, with(around, of_peer)));
            if said != wider {
                groups.insert(peer, said);
            }
        }
        groups
    }

    /// What one peer is told, if it is there and listed.
    pub(super) fn group_of(&self, peer: PeerId, known: &mut Known) -> Option<Group> {
        let kind = self.kind(peer);
        if kind.is_none() && self.population.named_ports(peer).is_none() {
            return None;
        }
        let mut around = self.of_kind(kind);
        if let Some(identity) = self.population.identity(peer) {
            self.add_selecting(identity.namespace, &mut around);
        }
        let wider = known.group(self, self.numbers(around.clone()));
        self.add_selecting(peer, &mut around);
        let said = known.group(self, self.parts(peer, around));
        (said != wider).then_some(said)
    }

    fn add_selecting(&self, peer: PeerId, ranks: &mut Ranks) {
        let selects = |selection: &SelectionId| self.selections.selects(*selection, peer);
        for (rank, rule) in (0..).zip(self.rules) {
            let mut whom = rule.whom.iter();
            if whom.any(|whom| matches!(whom, Whom::Selected(selection) if selects(selection))) {
                add(ranks, rank, With::of_selected(peer));
            }
            if rule.owners.iter().any(selects) {
                add(ranks, rank, With::NAMES);
            }
        }
    }

    /// The widest peer that this one belongs to. Named ports belong to none: what is said of them is joined with the rest.
    fn kind(&self, peer: PeerId) -> Option<PeerId> {
        let population = self.population;
        if population.node_name(peer).is_some() {
            return Some(PeerId::ANY_NODE);
        }
        let pods = population.identity(peer).is_some() || population.namespace_of(peer).is_some();
        pods.then_some(PeerId::ANY_POD)
    }

    /// The rules that match everyone of a kind.
    fn of_kind(&self, kind: Option<PeerId>) -> Ranks {
        let any = |rule: &SetRule<SelectionId>| {
            rule.whom.iter().any(|whom| match whom {
                Whom::AnyPod => kind == Some(PeerId::ANY_POD),
                Whom::AnyNode => kind == Some(PeerId::ANY_NODE),
                Whom::Selected(_) => false,
            })
        };
        let ranks = (0..).zip(self.rules).filter(|(_, rule)| any(rule));
        ranks.map(|(rank, _)| (rank, With::NUMBERS)).collect()
    }

    /// The parts of rules that match a peer without ports of its own.
    fn numbers(&self, ranks: Ranks) -> Vec<Part> {
        self.parts(PeerId::ANY_POD, ranks)
    }

    /// The parts of rules in what a peer is told.
    fn parts(&self, peer: PeerId, ranks: Ranks) -> Vec<Part> {
        let identity = self
            .population
            .identity(peer)
            .map(|identity| &*identity.key.ports);
        let ports = identity
            .or_else(|| self.population.named_ports(peer))
            .unwrap_or_default();
        let parts = ranks.into_iter().map(|(rank, with)| {
            let named = self.rules[rank as usize]
                .ports
                .named
                .iter()
                .filter(|_| with.names);
            let spans = named.flat_map(|(name, protocol)| resolve(ports, name, *protocol));
            Part {
                rank,
                plain: with.numbers,
                // In order and each once, so that equal parts are found equal.
                named: spans.collect::<BTreeSet<Span>>().into_iter().collect(),
            }
        });
        parts.collect()
    }
}

/// Groups of one set by their parts: many peers are told the same.
#[derive(Default)]
pub(super) struct Known(BTreeMap<Vec<Part>, Group>);

impl Known {
    fn group(&mut self, cast: &Cast<'_>, parts: Vec<Part>) -> Group {
        let known = self.0.entry(parts);
        Arc::clone(known.or_insert_with_key(|parts| group(cast.rules, parts)))
    }
}
