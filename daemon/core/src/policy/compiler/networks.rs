//! The pieces that a set's blocks and excepts cut the address space into.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::Cidr;
use crate::policy::table::NetworkClass;

use super::parts::{Group, Part, group};
use super::ports::Span;
use super::rules::SetRule;
use super::selections::SelectionId;

/// A pod's address in a block of a rule that names ports by name: the rule's rank, and the ports as this pod has them.
pub(super) type Host = (IpAddr, u32, Vec<Span>);

/// A set's classes of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Networks {
    /// Prefixes that are of another class than what is around them.
    pub(super) classes: BTreeMap<Cidr, NetworkClass>,
    /// What rules say of each class; class 0, of addresses in no block, is the first.
    pub(super) groups: Vec<Group>,
}

/// A block's beginning or an exception of it, at some prefix.
struct Mark {
    rank: u32,
    block: usize,
    except: bool,
}

/// Cuts. Costs the number of prefixes times how deep they lie in each other.
pub(super) fn cut(rules: &[SetRule<SelectionId>], hosts: Vec<Host>) -> Networks {
    let mut marks: BTreeMap<Cidr, Vec<Mark>> = BTreeMap::new();
    let blocks = (0_u32..)
        .zip(rules)
        .flat_map(|(rank, rule)| rule.blocks.iter().map(move |block| (rank, block)));
    for (index, (rank, block)) in blocks.enumerate() {
        let mut mark = |cidr, except| {
            marks.entry(cidr).or_default().push(Mark {
                rank,
                block: index,
                except,
            });
        };
        mark(block.cidr, false);
        block.except.iter().for_each(|cidr| mark(*cidr, true));
    }
    let mut named: BTreeMap<Cidr, BTreeMap<u32, Vec<Span>>> = BTreeMap::new();
    for (address, rank, spans) in hosts {
        let cidr = Cidr::host(address);
        marks.entry(cidr).or_default();
        named
            .entry(cidr)
            .or_default()
            .entry(rank)
            .or_default()
            .extend(spans);
    }
    let everyone = parts(rules, &BTreeSet::new(), BTreeMap::new());
    let mut networks = Networks {
        classes: BTreeMap::new(),
        groups: vec![group(rules, &everyone)],
    };
    let mut around: Vec<(Cidr, NetworkClass)> = Vec::new();
    for cidr in marks.keys() {
        while around.last().is_some_and(|(outer, _)| !outer.covers(cidr)) {
            around.pop();
        }
        let here = around.iter().map(|(outer, _)| outer).chain([cidr]);
        let here: Vec<&Mark> = here
            .filter_map(|outer| marks.get(outer))
            .flatten()
            .collect();
        let excepted: BTreeSet<usize> = here.iter().filter(|m| m.except).map(|m| m.block).collect();
        let ranks = here
            .iter()
            .filter(|mark| !mark.except && !excepted.contains(&mark.block))
            .map(|mark| mark.rank)
            .collect();
        let said = group(
            rules,
            &parts(rules, &ranks, named.remove(cidr).unwrap_or_default()),
        );
        let class = networks.class_of(said);
        let outside = around.last().map_or(NetworkClass(0), |(_, class)| *class);
        if class != outside {
            networks.classes.insert(*cidr, class);
        }
        around.push((*cidr, class));
    }
    networks
}

impl Networks {
    fn class_of(&mut self, said: Group) -> NetworkClass {
        let known = self.groups.iter().position(|group| *group == said);
        let index = known.unwrap_or_else(|| {
            self.groups.push(said);
            self.groups.len() - 1
        });
        NetworkClass(u32::try_from(index).expect("a set has fewer than 2^30 classes"))
    }
}

/// What rules say of addresses in blocks of the rules `ranks`.
fn parts(
    rules: &[SetRule<SelectionId>],
    ranks: &BTreeSet<u32>,
    mut named: BTreeMap<u32, Vec<Span>>,
) -> Vec<Part> {
    (0_u32..)
        .zip(rules)
        .filter_map(|(rank, rule)| {
            let part = Part {
                rank,
                plain: rule.everyone || ranks.contains(&rank),
                named: named.remove(&rank).unwrap_or_default(),
            };
            (part.plain || !part.named.is_empty()).then_some(part)
        })
        .collect()
}
