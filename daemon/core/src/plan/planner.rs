//! The planner that remembers: folds changes and observations, and plans anew what they concern.
//!
//! Owns the folded [`DesiredState`] and [`Observed`]. One change of one object costs what its own Services
//! cost, plus a copy of each map of `Arc`s that changes (readers keep the old ones).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::addresses::AddressPlanner;
use super::announcement::{AnnouncementPlanner, Ground};
use super::endpoints::{self, EndpointIndex, ServiceEndpoints};
use super::fold::{Dirty, replace};
use super::service_table::{Claims, frontends};
use super::{Plan, PlanSettings};
use crate::election::LeaseName;
use crate::model::{Change, DesiredState, Observation, Observed, ServiceName, SourceId};

/// Plans step by step; see the module's text.
#[derive(Debug)]
pub struct Planner {
    settings: PlanSettings,
    state: DesiredState,
    observed: Observed,
    /// Sources that have not synced.
    missing: BTreeSet<SourceId>,
    /// Sources that are remembered only.
    recalled: BTreeSet<SourceId>,
    dirty: Dirty,
    endpoints: EndpointIndex,
    addresses: AddressPlanner,
    claims: Claims,
    announcements: AnnouncementPlanner,
    ground: Ground,
    plan: Plan,
}

impl Planner {
    /// A planner that knows of nothing.
    pub fn new(settings: PlanSettings) -> Self {
        Self {
            state: DesiredState::default(),
            observed: Observed::default(),
            missing: settings.sources.clone(),
            recalled: BTreeSet::new(),
            dirty: Dirty {
                ground: true,
                any: true,
                ..Dirty::default()
            },
            endpoints: EndpointIndex::new(settings.endpoints),
            addresses: AddressPlanner::default(),
            claims: Claims::default(),
            announcements: AnnouncementPlanner::default(),
            ground: Ground::default(),
            plan: Plan::default(),
            settings,
        }
    }

    /// The folded state.
    pub fn state(&self) -> &DesiredState {
        &self.state
    }

    /// The folded observations.
    pub fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Takes in a change.
    pub fn fold(&mut self, change: Change) {
        let mut touched = BTreeSet::new();
        match change {
            Change::Service(name, new) => {
                let (_, changed) = replace(&mut self.state.services, name.clone(), new);
                if changed {
                    self.endpoints
                        .service_changed(&name, self.state.services.get(&name));
                    touched.insert(name);
                }
            }
            Change::EndpointSlice(name, new) => {
                let (before, changed) = replace(&mut self.state.slices, name.clone(), new);
                if changed {
                    let after = self.state.slices.get(&name);
                    self.endpoints
                        .slice_changed(before.as_ref(), after, &mut touched);
                }
            }
            Change::Pod(name, new) => {
                let (before, changed) = replace(&mut self.state.pods, name.clone(), new);
                if changed {
                    let after = self.state.pods.get(&name);
                    let index = &mut self.endpoints;
                    index.pod_changed(&self.state, before.as_ref(), after, &mut touched);
                }
            }
            Change::Node(name, new) => {
                self.dirty.ground |= replace(&mut self.state.nodes, name, new).1;
            }
            Change::Namespace(name, new) => {
                replace(&mut self.state.namespaces, name, new);
            }
            Change::Pool(name, new) => {
                self.dirty.pools |= replace(&mut self.state.pools, name, new).1;
            }
            Change::Policy(name, new) => {
                self.dirty.ground |= replace(&mut self.state.policies, name, new).1;
            }
            Change::Links(links) => {
                if self.state.links != links {
                    self.plan.links = Arc::new(links.clone());
                    self.state.links = links;
                    self.dirty.ground = true;
                }
            }
            Change::Errors(source, errors) => {
                if self.plan.errors.get(&source) != Some(&errors) {
                    Arc::make_mut(&mut self.plan.errors).insert(source, errors);
                    self.dirty.any = true;
                }
            }
            Change::Recalled(source) => {
                if self.missing.remove(&source) {
                    self.dirty.any |= self.recalled.insert(source);
                }
            }
            Change::Synced(source) => {
                self.dirty.any |= self.missing.remove(&source) | self.recalled.remove(&source);
            }
        }
        self.dirty.any |= self.dirty.ground || self.dirty.pools;
        self.touch(touched);
    }

    /// Takes in what an effect reports.
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Peers(peers) => {
                if self.observed.peers != peers {
                    self.observed.peers = peers;
                    self.dirty.ground = true;
                    self.dirty.any = true;
                }
            }
            Observation::Dead(dead) => {
                if self.observed.dead == dead {
                    return;
                }
                let before = std::mem::replace(&mut self.observed.dead, dead);
                let moved = self
                    .observed
                    .dead
                    .symmetric_difference(&before)
                    .cloned()
                    .collect();
                let concerned = self.claims.with_endpoints_on(&moved);
                self.touch(concerned);
            }
            Observation::Assignments(assignments) => {
                if self.observed.assignments.as_ref() != Some(&assignments) {
                    if assignments.recalled {
                        self.recalled.insert(SourceId::Assignments);
                    } else {
                        self.recalled.remove(&SourceId::Assignments);
                    }
                    self.observed.assignments = Some(assignments.clone());
                    let concerned = self.addresses.observe(assignments);
                    self.dirty.any = true;
                    self.touch(concerned);
                }
            }
            Observation::LeftOut(left_out) => {
                if self.observed.left_out != left_out {
                    let concerned = self.addresses.set_left_out(&left_out);
                    self.observed.left_out = left_out;
                    self.touch(concerned);
                }
            }
            Observation::Allocating(allocating) => {
                self.dirty.any |= self.observed.allocating != allocating;
                self.observed.allocating = allocating;
            }
            // Nothing is planned by these: the chronicle tells of them.
            Observation::Holdings(holdings) => self.observed.holdings = holdings,
            Observation::Announced(report) => self.observed.announced = report,
            Observation::Conflicts(conflicts) => self.observed.conflicts = conflicts,
        }
    }

    /// The plan for everything taken in so far.
    pub fn plan(&mut self) -> &Plan {
        if std::mem::take(&mut self.dirty.any) {
            self.plan_anew();
        }
        &self.plan
    }

    fn touch(&mut self, services: BTreeSet<ServiceName>) {
        self.dirty.any |= !services.is_empty();
        self.dirty.services.extend(services);
    }

    fn plan_anew(&mut self) {
        let Dirty {
            services: mut touched,
            pools,
            ground,
            ..
        } = std::mem::take(&mut self.dirty);
        // Without the record of assignments there would be no frontends, and a restarted agent would sweep the data path.
        let complete = self.missing.is_empty() && self.observed.assignments.is_some();
        self.addresses
            .set_allocating(complete && self.recalled.is_empty() && self.observed.allocating);
        let own = ground.then(|| self.own_addresses());
        touched.extend(self.addresses.set_ground(&self.state, own, pools));
        self.addresses.update(&self.state, &touched);

        let leases: BTreeSet<LeaseName> = self.announcements.set_holders(
            &self.state,
            self.addresses.plan(),
            self.addresses.record(),
            &touched,
        );
        for name in &touched {
            self.plan_service(name);
        }
        if ground {
            let own = self.addresses.own_addresses();
            self.ground = Ground::new(&self.settings.node, &self.state, &self.observed, own);
        }
        let concerned = (!ground).then_some(&leases);
        let addresses = self.addresses.plan();
        self.announcements
            .update(&self.state, addresses, &self.ground, concerned);
        self.put_together(complete);
    }

    /// Plans the frontends and local endpoints of one Service.
    fn plan_service(&mut self, name: &ServiceName) {
        let Some(service) = self.state.services.get(name) else {
            self.claims.set(name, 0, Vec::new());
            self.announcements.set_endpoints(name, None);
            return;
        };
        let endpoints: ServiceEndpoints = endpoints::resolve(&self.endpoints, &self.state, service);
        let entry = self.addresses.plan().services.get(name);
        let own = self.addresses.own_addresses();
        let assigned: Vec<IpAddr> = entry
            .into_iter()
            .flat_map(|entry| entry.addresses.iter().map(|assigned| assigned.address))
            .filter(|address| !own.contains(address))
            .collect();
        let created = entry.map_or(service.created, |entry| entry.created);
        let wanted = frontends(service, &assigned, &endpoints, &self.observed.dead);
        self.claims.set(name, created, wanted);
        self.announcements
            .set_endpoints(name, Some((service, &endpoints)));
    }

    fn put_together(&mut self, complete: bool) {
        let conflicts = self.claims.conflicts();
        if *self.plan.conflicts != conflicts {
            self.plan.conflicts = Arc::new(conflicts);
        }
        self.plan.complete = complete;
        self.plan.table = Arc::clone(self.claims.table());
        self.plan.addresses = self.addresses.plan().clone();
        self.plan.announcements = Arc::clone(self.announcements.plan());
        self.plan.missing.clone_from(&self.missing);
        self.plan.recalled.clone_from(&self.recalled);
    }

    /// Every address that is some node's own: by Node objects, this node's interfaces and its peers'.
    fn own_addresses(&self) -> BTreeSet<IpAddr> {
        let of_nodes = self
            .state
            .nodes
            .values()
            .flat_map(|node| node.addresses.iter().copied());
        let peers = self.observed.peers.values().flatten();
        let links = self.state.links.iter().chain(peers);
        let of_links = links.flat_map(|link| link.addresses.iter().map(|own| own.address));
        of_nodes.chain(of_links).collect()
    }
}
