//! Sets: what applies to pods in one direction, compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{Cidr, Direction, PodName};
use crate::policy::decision::{PolicyRef, RuleRef};
use crate::policy::table::{
    NetworkClass, NetworkKey, Operation, PeerId, SetHead, SetId, VerdictKey, Words,
};

use super::applied::Applied;
use super::identity::NamedPort;
use super::networks::{Host, cut};
use super::parts::{Cast, Group};
use super::population::Population;
use super::rules::{SetRule, Whom, rules};
use super::selections::{SelectionId, Selections};

/// What decides what a set is. Pods of which this is the same share the set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SetKey {
    pub(super) direction: Direction,
    /// In the order in which they are asked.
    pub(super) policies: Vec<PolicyRef>,
    /// The pod's named ports, where a rule for ingress names ports by name.
    pub(super) ports: Vec<NamedPort>,
}

/// A compiled set, without its number.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) rules: Vec<SetRule<SelectionId>>,
    pub(super) isolated: bool,
    pub(super) own_node: bool,
    pub(super) classes: BTreeMap<Cidr, NetworkClass>,
    pub(super) groups: BTreeMap<PeerId, Group>,
}

/// A set in the tables.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) key: Arc<SetKey>,
    pub(super) compiled: Compiled,
    /// The pods it applies to.
    pub(super) pods: BTreeSet<PodName>,
    /// A policy of it changed, or an address it depends on: it is to be compiled again.
    pub(super) stale: bool,
}

impl Compiled {
    /// Compiles. `addresses` are those of pods with named ports, asked for only where a rule needs them.
    pub(super) fn of(
        key: &SetKey,
        applied: &[Applied],
        egress_to_own_node: bool,
        population: &Population,
        selections: &mut Selections,
        addresses: impl Fn() -> Vec<(IpAddr, PeerId)>,
    ) -> Self {
        let rules: Vec<SetRule<SelectionId>> = rules(applied, key.direction, &key.ports)
            .into_iter()
            .map(|rule| rule.numbered(|selection| selections.find(selection, population)))
            .collect();
        let hosts = if rules.iter().any(SetRule::names_ports_in_blocks) {
            hosts(&rules, population, addresses())
        } else {
            Vec::new()
        };
        let networks = cut(&rules, hosts);
        let mut groups = Cast {
            rules: &rules,
            population,
            selections,
        }
        .groups();
        for (class, group) in (0..).zip(networks.groups) {
            if group.iter().any(|(_, words)| *words != Words::NONE) {
                groups.insert(PeerId::of_class(NetworkClass(class)), group);
            }
        }
        Self {
            isolated: applied.iter().any(Applied::isolates),
            own_node: key.direction == Direction::Ingress || egress_to_own_node,
            classes: networks.classes,
            groups,
            rules,
        }
    }

    pub(super) fn head(&self, set: SetId) -> SetHead {
        SetHead {
            set,
            isolated: self.isolated,
            networks: !self.classes.is_empty(),
            named_ports: self.rules.iter().any(SetRule::names_ports_of_all_pods),
            own_node: self.own_node,
        }
    }

    /// Whether it says the same as another, by the same rules.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let references = |compiled: &Self| -> Vec<RuleRef> {
            let rules = compiled.rules.iter();
            rules.map(|rule| rule.reference.clone()).collect()
        };
        self.isolated == other.isolated
            && self.classes == other.classes
            && self.groups == other.groups
            && references(self) == references(other)
    }

    /// The selections its rules use.
    pub(super) fn selections(&self) -> BTreeSet<SelectionId> {
        let mut used = BTreeSet::new();
        for rule in &self.rules {
            used.extend(&rule.owners);
            used.extend(rule.whom.iter().filter_map(|whom| match whom {
                Whom::Selected(selection) => Some(*selection),
                _ => None,
            }));
        }
        used
    }

    /// Names of ports whose numbers depend on which pod has an address.
    pub(super) fn port_names_in_blocks(&self) -> impl Iterator<Item = &Arc<str>> {
        let rules = self
            .rules
            .iter()
            .filter(|rule| rule.names_ports_in_blocks());
        rules.flat_map(|rule| rule.ports.named.iter().map(|(name, _)| name))
    }

    /// The writes that put it, or take it away.
    pub(super) fn operations(&self, set: SetId, put: bool) -> impl Iterator<Item = Operation> {
        let classes = self.classes.iter().map(move |(network, class)| {
            let network = *network;
            Operation::Network(NetworkKey { set, network }, put.then_some(*class))
        });
        let groups = self.groups.iter().flat_map(move |(peer, group)| {
            let peer = *peer;
            group.iter().map(move |(ports, words)| {
                let ports = *ports;
                Operation::Verdict(VerdictKey { set, peer, ports }, put.then_some(*words))
            })
        });
        classes.chain(groups)
    }
}

/// Pods' addresses in blocks of rules that name ports by name.
fn hosts(
    rules: &[SetRule<SelectionId>],
    population: &Population,
    addresses: Vec<(IpAddr, PeerId)>,
) -> Vec<Host> {
    let mut hosts = Vec::new();
    for (rank, rule) in (0..).zip(rules) {
        if !rule.names_ports_in_blocks() {
            continue;
        }
        for (address, identity) in &addresses {
            let Some(identity) = population.identity(*identity) else {
                continue;
            };
            let named = rule.ports.named.iter();
            let spans: Vec<_> = named
                .flat_map(|(name, protocol)| identity.key.resolve(name, *protocol))
                .collect();
            if !spans.is_empty() && rule.blocks.iter().any(|block| block.contains(*address)) {
                hosts.push((*address, rank, spans));
            }
        }
    }
    hosts
}
