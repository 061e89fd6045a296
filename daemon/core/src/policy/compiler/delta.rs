//! What a compilation changed, as writes in an order that no packet can tell from one step.

use crate::policy::table::{Operation, PeerId, SetId, VerdictKey};

use super::parts::Group;

/// Writes, and what had to be looked at for them.
///
/// Made in their order, each packet sees what held before or what holds after: new sets are whole before a pod is switched to
/// them; of what is changed in place, the narrow is written before the wide and taken away after it.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// The writes.
    pub operations: Vec<Operation>,
    /// What they come of.
    pub touched: Touched,
}

/// How much of the tables a compilation looked at. All zero where nothing it was told made a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Pods of this node of which it was asked anew what applies to them.
    pub pods: usize,
    /// Sets compiled.
    pub sets: usize,
    /// Peers that sets in force were asked about anew.
    pub peers: usize,
    /// Addresses of which it was asked anew whose they are.
    pub addresses: usize,
}

/// Writes by when they are due.
#[derive(Debug, Default)]
pub(super) struct Stages {
    /// Sets that nothing points to yet.
    pub(super) prepare: Vec<Operation>,
    /// What applies to whom.
    pub(super) pods: Vec<Operation>,
    /// In place: what is put. After `pods`, so that a pod that leaves a set does not see it change before.
    put: Vec<Operation>,
    /// Who is who.
    pub(super) peers: Vec<Operation>,
    /// In place: what is taken away.
    take: Vec<Operation>,
    /// Sets that nothing points to any more.
    pub(super) clear: Vec<Operation>,
}

impl Stages {
    /// Replaces in a set in force what one peer is told.
    pub(super) fn replace(
        &mut self,
        set: SetId,
        peer: PeerId,
        before: Option<&Group>,
        after: Option<&Group>,
    ) {
        let entries = |group: Option<&Group>| group.map_or_else(Vec::new, |group| group.to_vec());
        let (before, after) = (entries(before), entries(after));
        for entry in &after {
            if !before.contains(entry) {
                let key = VerdictKey {
                    set,
                    peer,
                    ports: entry.0,
                };
                self.put.push(Operation::Verdict(key, Some(entry.1)));
            }
        }
        for (ports, _) in &before {
            if !after.iter().any(|entry| entry.0 == *ports) {
                let key = VerdictKey {
                    set,
                    peer,
                    ports: *ports,
                };
                self.take.push(Operation::Verdict(key, None));
            }
        }
    }

    pub(super) fn in_order(mut self) -> Vec<Operation> {
        let narrowness = |operation: &Operation| match operation {
            Operation::Verdict(key, _) => (key.peer.narrowness(), key.ports.bits),
            _ => (0, 0),
        };
        self.put
            .sort_by_key(|operation| std::cmp::Reverse(narrowness(operation)));
        self.take.sort_by_key(narrowness);
        [
            self.prepare,
            self.pods,
            self.put,
            self.peers,
            self.take,
            self.clear,
        ]
        .concat()
    }
}
