//! Which sets apply to which pods, brought up to date.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::{Direction, PodName};
use crate::policy::table::{Operation, PodVerdicts, SetHead, SetId};

use super::Compiler;
use super::applied::Applied;
use super::delta::{Stages, Touched};
use super::set::{Compiled, Set, SetKey};

impl Compiler {
    /// Asks anew what applies to pods. The sets that the tables get for them.
    pub(super) fn assign_sets(
        &mut self,
        stages: &mut Stages,
        touched: &mut Touched,
    ) -> BTreeSet<SetId> {
        let mut made = BTreeSet::new();
        for name in std::mem::take(&mut self.dirty) {
            touched.pods += 1;
            let before = self.verdicts.get(&name).copied();
            let mut after = self.local.contains_key(&name).then(PodVerdicts::default);
            if let Some(after) = &mut after {
                after.ingress = self.assign(&name, Direction::Ingress, &mut made, touched);
                after.egress = self.assign(&name, Direction::Egress, &mut made, touched);
            }
            for direction in [Direction::Ingress, Direction::Egress] {
                let set = |verdicts: Option<PodVerdicts>| Some(verdicts?.head(direction)?.set);
                if set(before) != set(after)
                    && let Some(left) = set(before).and_then(|left| self.sets.get_mut(&left))
                {
                    left.pods.remove(&name);
                }
            }
            if before == after {
                continue;
            }
            match after {
                Some(sets) => self.verdicts.insert(name.clone(), sets),
                None => self.verdicts.remove(&name),
            };
            stages.pods.push(Operation::Pod(name, after));
        }
        for (id, set) in made.iter().filter_map(|id| Some((id, self.sets.get(id)?))) {
            stages.prepare.extend(set.compiled.operations(*id, true));
        }
        made
    }

    /// The set of a pod of this node, compiled if there is none or it is stale.
    fn assign(
        &mut self,
        name: &PodName,
        direction: Direction,
        made: &mut BTreeSet<SetId>,
        touched: &mut Touched,
    ) -> Option<SetHead> {
        let pod = self.local.get(name)?;
        let applied = self.applied(name, pod, direction);
        if applied.is_empty() {
            return None;
        }
        let names_ports = applied.iter().any(|policy| policy.names_ports(direction));
        let key = SetKey {
            direction,
            policies: applied.iter().map(Applied::reference).collect(),
            ports: if names_ports && direction == Direction::Ingress {
                pod.ports.clone()
            } else {
                Vec::new()
            },
        };
        let known = self.by_key.get(&key).copied();
        if let Some(set) = known.and_then(|id| self.sets.get_mut(&id))
            && !set.stale
        {
            set.pods.insert(name.clone());
            return known.map(|id| set.compiled.head(id));
        }
        touched.sets += 1;
        let peers = &self.peers;
        let compiled = Compiled::of(
            &key,
            &applied,
            self.settings.egress_to_own_node,
            &self.population,
            &mut self.selections,
            || {
                peers
                    .iter()
                    .map(|(address, peer)| (*address, peer.identity))
                    .collect()
            },
        );
        let used = compiled.selections();
        if let Some((id, set)) = known.and_then(|id| Some((id, self.sets.get_mut(&id)?)))
            && set.compiled.says_the_same(&compiled)
        {
            // What it says stays, by selections that may be others.
            self.selections.register(&used, id);
            let unused = &set.compiled.selections() - &used;
            self.selections.release(unused, id);
            set.compiled = compiled;
            set.stale = false;
            set.pods.insert(name.clone());
            return Some(set.compiled.head(id));
        }
        let id = SetId(self.set_numbers.take());
        self.selections.register(&used, id);
        let head = compiled.head(id);
        let key = Arc::new(key);
        self.by_key.insert(Arc::clone(&key), id);
        let set = Set {
            key,
            compiled,
            pods: BTreeSet::from([name.clone()]),
            stale: false,
        };
        self.sets.insert(id, set);
        made.insert(id);
        Some(head)
    }
}
