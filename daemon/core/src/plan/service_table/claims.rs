//! The table as it changes Service by Service, and who loses where two claim one frontend.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Frontend, FrontendKey, ServiceTable};
use crate::model::{NodeName, ServiceName};

/// A Service's place among claimants: the oldest first, then by name.
type Turn = (u64, ServiceName);

/// Which Service asks for which frontends, and the table that follows of it. Where two Services claim one
/// frontend, the older one has it, and the other gets it as soon as it is free.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    table: Arc<ServiceTable>,
    claimants: HashMap<ServiceName, Claimant>,
    /// Claims that lost.
    outdone: BTreeMap<FrontendKey, BTreeMap<Turn, Arc<Frontend>>>,
}

#[derive(Clone, Debug, Default)]
struct Claimant {
    created: u64,
    keys: BTreeSet<FrontendKey>,
}

/// A frontend that a Service does not get, because an older one has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendConflict {
    /// What both claim.
    pub frontend: FrontendKey,
    /// The Service that goes without.
    pub refused: ServiceName,
    /// The older one, which has it.
    pub holder: ServiceName,
}

impl Claims {
    /// The table now. Frontends that did not change are the same `Arc`s as before.
    pub fn table(&self) -> &Arc<ServiceTable> {
        &self.table
    }

    /// Claims that lost, by frontend and age.
    pub fn conflicts(&self) -> Vec<FrontendConflict> {
        let outdone = self.outdone.iter().flat_map(|(key, losers)| {
            losers
                .keys()
                .map(move |(_, refused)| (*key, refused.clone()))
        });
        outdone
            .filter_map(|(frontend, refused)| {
                let holder = self.table.frontends.get(&frontend)?.service.clone();
                Some(FrontendConflict {
                    frontend,
                    refused,
                    holder,
                })
            })
            .collect()
    }

    /// Replaces everything `service`, created at `created` (seconds since the Unix epoch), asks for.
    pub fn set(
        &mut self,
        service: &ServiceName,
        created: u64,
        wanted: Vec<(FrontendKey, Frontend)>,
    ) {
        let keys: BTreeSet<FrontendKey> = wanted.iter().map(|(key, _)| *key).collect();
        let before = self.claimants.remove(service).unwrap_or_default();
        let turn = (before.created, service.clone());
        for key in &before.keys {
            if before.created != created || !keys.contains(key) {
                self.withdraw(*key, &turn);
            }
        }
        for (key, frontend) in wanted {
            self.claim(key, created, frontend);
        }
        if !keys.is_empty() {
            self.claimants
                .insert(service.clone(), Claimant { created, keys });
        }
    }

    /// Services with an endpoint on any of `nodes`.
    pub fn with_endpoints_on(&self, nodes: &BTreeSet<NodeName>) -> BTreeSet<ServiceName> {
        let outdone = self.outdone.values().flat_map(BTreeMap::values);
        let frontends = self.table.frontends.values().chain(outdone);
        let concerned = frontends.filter(|frontend| {
            let mut backends = frontend.backends.iter().chain(&frontend.draining);
            backends.any(|backend| {
                backend
                    .node
                    .as_ref()
                    .is_some_and(|node| nodes.contains(node))
            })
        });
        concerned.map(|frontend| frontend.service.clone()).collect()
    }

    fn claim(&mut self, key: FrontendKey, created: u64, frontend: Frontend) {
        let turn = (created, frontend.service.clone());
        let Some(holder) = self.table.frontends.get(&key) else {
            self.put(key, Arc::new(frontend));
            return;
        };
        if holder.service == frontend.service {
            if **holder != frontend {
                self.put(key, Arc::new(frontend));
            }
            return;
        }
        let holder_turn = (self.created(&holder.service), holder.service.clone());
        let frontend = Arc::new(frontend);
        if turn < holder_turn {
            let holder = Arc::clone(holder);
            let losers = self.outdone.entry(key).or_default();
            losers.remove(&turn);
            losers.insert(holder_turn, holder);
            self.put(key, frontend);
        } else {
            self.outdone.entry(key).or_default().insert(turn, frontend);
        }
    }

    fn withdraw(&mut self, key: FrontendKey, turn: &Turn) {
        let mut next = None;
        let holds = self
            .table
            .frontends
            .get(&key)
            .is_some_and(|holder| holder.service == turn.1);
        if let Some(losers) = self.outdone.get_mut(&key) {
            if holds {
                next = losers.pop_first();
            } else {
                losers.remove(turn);
            }
            if losers.is_empty() {
                self.outdone.remove(&key);
            }
        }
        match next {
            Some((_, frontend)) => self.put(key, frontend),
            None if holds => {
                Arc::make_mut(&mut self.table).frontends.remove(&key);
            }
            None => {}
        }
    }

    fn created(&self, service: &ServiceName) -> u64 {
        self.claimants
            .get(service)
            .map_or(0, |claimant| claimant.created)
    }

    fn put(&mut self, key: FrontendKey, frontend: Arc<Frontend>) {
        Arc::make_mut(&mut self.table)
            .frontends
            .insert(key, frontend);
    }
}
