//! One rule that a right rests on: a set of members, and who of them grants.

use super::record::{GroundKind, MAX_GRANTERS, MemberRecord, Members, granters_of, ground_of};
use crate::model::NodeName;

/// A set of members and what a right rests on among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) ground: GroundKind,
    pub(super) granters: Members,
}

impl Rule {
    fn of(members: &Members) -> Self {
        Self {
            ground: ground_of(members),
            granters: granters_of(members),
        }
    }

    pub(super) fn is_quorum(&self) -> bool {
        self.ground == GroundKind::Quorum
    }

    pub(super) fn majority(&self) -> usize {
        self.granters.len() / 2 + 1
    }

    /// The greatest value that a majority of the granters has at least.
    pub(super) fn majority_has<T: Ord>(&self, value: impl Fn(&NodeName) -> T) -> Option<T> {
        // There are few, and every heartbeat asks: no room is allocated for them.
        let mut values = [const { None }; MAX_GRANTERS];
        for (slot, granter) in values.iter_mut().zip(&self.granters) {
            *slot = Some(value(granter));
        }
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.into_iter().nth(self.majority() - 1).flatten()
    }

    /// Whether `holds` of a majority of the granters.
    pub(super) fn majority_is(&self, holds: impl Fn(&NodeName) -> bool) -> bool {
        self.granters.iter().filter(|node| holds(node)).count() >= self.majority()
    }
}

/// The rules of records, each once.
pub(super) fn rules_of<'a>(records: impl IntoIterator<Item = &'a MemberRecord>) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for members in records.into_iter().flat_map(sides) {
        let rule = Rule::of(members);
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    rules
}

/// The sets of members that a record names.
pub(super) fn sides(record: &MemberRecord) -> impl Iterator<Item = &Members> {
    [Some(&record.members), record.previous.as_ref()]
        .into_iter()
        .flatten()
}

/// Whether a record names `node` on either side.
pub(super) fn names(record: &MemberRecord, node: &NodeName) -> bool {
    sides(record).any(|members| members.contains(node))
}

/// Whether who stands on `from` and who stands on `to` have a rule in common, `to` being the later.
pub(super) fn shares_rule(from: &MemberRecord, to: &MemberRecord) -> bool {
    let steps = to.epoch.0.saturating_sub(from.epoch.0);
    match (&from.previous, &to.previous) {
        (None, Some(previous)) => steps == 1 && *previous == from.members,
        (Some(_), None) => steps == 1 && to.members == from.members,
        (Some(_), Some(previous)) => steps == 2 && *previous == from.members,
        (None, None) => false,
    }
}
