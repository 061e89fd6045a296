//! The compiler: told of objects one by one, it keeps the tables, and says what each change changes in them.
//!
//! `fold` takes changes in. `population` numbers pods, namespaces and nodes, `claims` knows whose an address is, `selections`
//! keeps whom each selector selects. `applied` finds the policies of a pod and `rules` puts their rules in order; `parts` and
//! `ports` work out what each peer is told, `networks` each prefix, and `set` holds what came of it. `addresses` and `assign` bring
//! the tables up to date, `delta` orders the writes, `told` answers for what is in them.

mod addresses;
mod applied;
mod assign;
#[cfg(test)]
mod canonical;
mod claims;
mod delta;
mod fold;
mod identity;
mod networks;
mod numbers;
mod parts;
mod population;
mod ports;
mod rules;
mod selections;
mod set;
mod told;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::{ClusterNetworkPolicy, NetworkPolicy, PodName, Tier};

use super::objects::PolicySettings;
use super::table::{Peer, PeerId, PodVerdicts, SetId};

use self::claims::Claims;
use self::delta::Stages;
use self::fold::{LocalPod, PodEntry};
use self::numbers::Numbers;
use self::parts::Cast;
use self::population::Population;
use self::selections::Selections;
use self::set::{Set, SetKey};

pub use self::delta::{Delta, Touched};

/// Where a ClusterNetworkPolicy stands among the others.
type Standing = (Tier, u16, Arc<str>);

/// The compiler of one node.
#[derive(Clone, Debug)]
pub struct Compiler {
    settings: PolicySettings,
    population: Population,
    claims: Claims,
    selections: Selections,
    pods: HashMap<PodName, PodEntry>,
    /// Pods of this node that policies may apply to.
    local: BTreeMap<PodName, LocalPod>,
    /// NetworkPolicies by namespace and name.
    network_policies: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<NetworkPolicy>>>,
    cluster_policies: BTreeMap<Standing, Arc<ClusterNetworkPolicy>>,
    standings: BTreeMap<Arc<str>, Standing>,
    set_numbers: Numbers,
    sets: BTreeMap<SetId, Set>,
    by_key: HashMap<Arc<SetKey>, SetId>,
    /// Who has which address, as the tables say.
    peers: BTreeMap<IpAddr, Peer>,
    /// What applies to whom, as the tables say.
    verdicts: BTreeMap<PodName, PodVerdicts>,
    /// Pods of this node that were, are, or are no longer there, and of which is to be asked what applies to them.
    dirty: BTreeSet<PodName>,
}

impl Compiler {
    /// A compiler that knows of no objects yet.
    pub fn new(settings: PolicySettings) -> Self {
        let mut population = Population::new();
        // Its addresses are known from its interfaces, whether its object is or not.
        population.put_node(&settings.node, None);
        Self {
            settings,
            population,
            claims: Claims::default(),
            selections: Selections::new(),
            pods: HashMap::new(),
            local: BTreeMap::new(),
            network_policies: BTreeMap::new(),
            cluster_policies: BTreeMap::new(),
            standings: BTreeMap::new(),
            set_numbers: Numbers::from(1),
            sets: BTreeMap::new(),
            by_key: HashMap::new(),
            peers: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            dirty: BTreeSet::new(),
        }
    }

    /// Brings the tables up to date with all changes folded since the last time.
    pub fn compile(&mut self) -> Delta {
        let mut stages = Stages::default();
        let mut touched = Touched::default();
        self.assign_addresses(&mut stages, &mut touched);
        self.population.sweep();
        let seen_otherwise = self.selections.settle(&mut self.population);
        let new = self.assign_sets(&mut stages, &mut touched);
        for (set, peer) in seen_otherwise {
            if !new.contains(&set) {
                touched.peers += usize::from(self.tell(set, peer, &mut stages));
            }
        }
        self.retire(&mut stages);
        self.population.rest();
        Delta {
            operations: stages.in_order(),
            touched,
        }
    }

    fn make_stale(&mut self, which: impl Fn(&Set) -> bool) {
        for set in self.sets.values_mut() {
            if which(set) {
                set.stale = true;
                self.dirty.extend(set.pods.iter().cloned());
            }
        }
    }

    /// What a peer is told by a set in force, anew. Whether the set is in force at all.
    fn tell(&mut self, id: SetId, peer: PeerId, stages: &mut Stages) -> bool {
        let Some(set) = self
            .sets
            .get_mut(&id)
            .filter(|set| !set.stale && !set.pods.is_empty())
        else {
            return false;
        };
        let cast = Cast {
            rules: &set.compiled.rules,
            population: &self.population,
            selections: &self.selections,
        };
        let after = cast.group_of(peer);
        let before = match &after {
            Some(group) => set.compiled.groups.insert(peer, Arc::clone(group)),
            None => set.compiled.groups.remove(&peer),
        };
        stages.replace(id, peer, before.as_ref(), after.as_ref());
        true
    }

    /// Drops sets that apply to no pod.
    fn retire(&mut self, stages: &mut Stages) {
        let unused: Vec<SetId> = self
            .sets
            .iter()
            .filter(|(_, set)| set.pods.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in unused {
            let Some(set) = self.sets.remove(&id) else {
                continue;
            };
            if self.by_key.get(&set.key) == Some(&id) {
                self.by_key.remove(&set.key);
            }
            self.selections.release(set.compiled.selections(), id);
            stages.clear.extend(set.compiled.operations(id, false));
            self.set_numbers.give_back(id.0);
        }
    }
}
