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
use self::parts::{Cast, Known};
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
        let seen_otherwise: Vec<(SetId, PeerId)> = seen_otherwise
            .into_iter()
            .filter(|(set, _)| !new.contains(set))
            .collect();
        for of_set in seen_otherwise.chunk_by(|a, b| a.0 == b.0) {
            touched.peers += self.tell(of_set, &mut stages);
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

    /// What peers are told by one set, anew, if it is in force. How many were asked about.
    fn tell(&mut self, peers: &[(SetId, PeerId)], stages: &mut Stages) -> usize {
        let in_force = |set: &&mut Set| !set.stale && !set.pods.is_empty();
        let id = peers.first().map(|(set, _)| *set);
        let set = id.and_then(|id| self.sets.get_mut(&id)).filter(in_force);
        let Some((id, set)) = id.zip(set) else {
            return 0;
        };
        let cast = Cast {
            rules: &set.compiled.rules,
            population: &self.population,
            selections: &self.selections,
        };
        let mut known = Known::default();
        for (_, peer) in peers {
            let after = cast.group_of(*peer, &mut known);
            let before = match &after {
                Some(group) => set.compiled.groups.insert(*peer, Arc::clone(group)),
                None => set.compiled.groups.remove(peer),
            };
            stages.replace(id, *peer, before.as_ref(), after.as_ref());
        }
        peers.len()
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
