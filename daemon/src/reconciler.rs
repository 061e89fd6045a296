//! The reconciler: sole owner of the state. Folds what sources and effects say, plans, publishes the parts.
//!
//! Channels, in: a bounded queue of batches from the sources, and the latest word of each effect by
//! `watch` ([`Inputs`]). Out: each part of the plan by `watch` ([`Published`]), told only when it changed.
//!
//! Everything that waits in the queue is folded before planning, so a burst plans once. Until every source
//! has synced no part but the interfaces and the complaints is published: effects then find nothing that
//! would have them delete what a source has yet to tell of, and what is pinned in the kernel works on.
//!
//! What is observed of leases and announcements changes no plan; it goes with the plan into the chronicle of Services.
//!
//! It turns once a second though nothing happens, so that its [`Pulse`] tells that it lives.
//!
//! When cancelled it stops between two plans; receivers keep the last plan. It ends too when every source has.

mod pulse;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use landfall_core::election::{DesiredVips, LeaseName};
use landfall_core::model::{
    AnnounceReport, Holdings, Link, LinkIndex, Observation, ObservedAssignments, PeerConflicts,
    ServiceName,
};
use landfall_core::plan::addresses::{AddressPlan, Proposal};
use landfall_core::plan::announcement::Announcements;
use landfall_core::plan::chronicle::{Accounts, Chronicle};
use landfall_core::plan::service_table::ServiceTable;
use landfall_core::plan::{Plan, PlanSettings, Planner};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use crate::effect::changed;
use crate::effect::lease::LeaseState;
use crate::effect::liveness::DeadNodes;
use crate::effect::membership::Peers;
use crate::source::Batch;

pub use pulse::Pulse;

/// Batches folded before a plan is made regardless, so that an endless burst does not starve the effects.
const BURST: usize = 64;
/// How often it turns at least.
const BEAT: Duration = Duration::from_secs(1);

/// Addresses of each lease, with the interfaces this node announces them on.
pub type VipInterfaces = BTreeMap<LeaseName, BTreeMap<IpAddr, BTreeSet<LinkIndex>>>;

/// What the reconciler is told.
#[derive(Debug)]
pub struct Inputs {
    /// What sources see.
    pub batches: mpsc::Receiver<Batch>,
    /// Reachable nodes with their interfaces.
    pub peers: watch::Receiver<Peers>,
    /// Nodes whose kernel programs are out of reach.
    pub dead: watch::Receiver<DeadNodes>,
    /// The record of assignments; nothing before the lease store was read.
    pub assignments: watch::Receiver<Option<ObservedAssignments>>,
    /// Services that this node, while it allocates, found no room for in that record.
    pub left_out: watch::Receiver<Arc<BTreeSet<ServiceName>>>,
    /// Whether this node holds the allocator's lease.
    pub allocating: watch::Receiver<bool>,
    /// Who holds which lease.
    pub leases: watch::Receiver<LeaseState>,
    /// Addresses that peers hold and other machines on the LAN have.
    pub conflicts: watch::Receiver<PeerConflicts>,
    /// Where this node stands with the addresses of its leases.
    pub announced: watch::Receiver<Arc<AnnounceReport>>,
}

/// The parts of the plan. Those of type `Option` are empty until every source has synced.
#[derive(Clone, Debug)]
pub struct Published {
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// For the data path.
    pub table: watch::Receiver<Option<Arc<ServiceTable>>>,
    /// For the election: leases, and who may contend for them.
    pub desired: watch::Receiver<Option<Arc<DesiredVips>>>,
    /// For the announce effect: addresses and interfaces of leases.
    pub vips: watch::Receiver<Option<Arc<VipInterfaces>>>,
    /// For the lease effect: the record of assignments to be written, where there is one.
    pub proposal: watch::Receiver<Option<Arc<Proposal>>>,
    /// The whole plan, for status.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// Conditions and events of Services; none until every source has synced.
    pub accounts: watch::Receiver<Accounts>,
    /// When the reconciler last turned.
    pub pulse: Pulse,
}

/// The task's state.
#[derive(Debug)]
pub struct Reconciler {
    planner: Planner,
    chronicle: Chronicle,
    links: watch::Sender<Arc<Vec<Link>>>,
    table: watch::Sender<Option<Arc<ServiceTable>>>,
    desired: watch::Sender<Option<Arc<DesiredVips>>>,
    vips: watch::Sender<Option<Arc<VipInterfaces>>>,
    proposal: watch::Sender<Option<Arc<Proposal>>>,
    plan: watch::Sender<Arc<Plan>>,
    accounts: watch::Sender<Accounts>,
    pulse: Pulse,
}

impl Reconciler {
    /// A reconciler that knows of nothing, and what it will publish.
    pub fn new(settings: PlanSettings) -> (Self, Published) {
        let (links, links_seen) = watch::channel(Arc::default());
        let (table, table_seen) = watch::channel(None);
        let (desired, desired_seen) = watch::channel(None);
        let (vips, vips_seen) = watch::channel(None);
        let (proposal, proposal_seen) = watch::channel(None);
        let (plan, plan_seen) = watch::channel(Arc::default());
        let (accounts, accounts_seen) = watch::channel(Accounts::default());
        let chronicle = Chronicle::new(settings.node.clone());
        let planner = Planner::new(settings);
        let pulse = Pulse::new();
        let published = Published {
            links: links_seen,
            table: table_seen,
            desired: desired_seen,
            vips: vips_seen,
            proposal: proposal_seen,
            plan: plan_seen,
            accounts: accounts_seen,
            pulse: pulse.clone(),
        };
        (
            Self {
                planner,
                chronicle,
                links,
                table,
                desired,
                vips,
                proposal,
                plan,
                accounts,
                pulse,
            },
            published,
        )
    }

    /// Runs until cancelled, or until every source is gone.
    pub async fn run(mut self, mut inputs: Inputs, cancel: CancellationToken) {
        // What was said before this task began is as new as anything.
        inputs.peers.mark_changed();
        inputs.dead.mark_changed();
        inputs.assignments.mark_changed();
        inputs.left_out.mark_changed();
        inputs.allocating.mark_changed();
        inputs.leases.mark_changed();
        inputs.conflicts.mark_changed();
        inputs.announced.mark_changed();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.pulse.beat();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                batch = inputs.batches.recv() => match batch {
                    Some(batch) => self.fold(batch, &mut inputs.batches),
                    None => return,
                },
                () = changed(&mut inputs.peers) => {}
                () = changed(&mut inputs.dead) => {}
                () = changed(&mut inputs.assignments) => {}
                () = changed(&mut inputs.left_out) => {}
                () = changed(&mut inputs.allocating) => {}
                () = changed(&mut inputs.leases) => {}
                () = changed(&mut inputs.conflicts) => {}
                () = changed(&mut inputs.announced) => {}
                _ = beat.tick() => continue,
            }
            self.observe(&mut inputs);
            self.publish();
        }
    }

    /// Folds a batch and whatever waits behind it.
    fn fold(&mut self, first: Batch, waiting: &mut mpsc::Receiver<Batch>) {
        let mut batches = 0;
        let mut next = Some(first);
        while let Some(batch) = next {
            for change in batch {
                self.planner.fold(change);
            }
            batches += 1;
            next = if batches < BURST {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
    }

    fn observe(&mut self, inputs: &mut Inputs) {
        // `changed` marks as seen what it reports; reading all costs a comparison each.
        let peers = inputs.peers.borrow_and_update().clone();
        self.planner.observe(Observation::Peers(
            peers.map(Arc::unwrap_or_clone).unwrap_or_default(),
        ));
        let dead = inputs.dead.borrow_and_update().clone();
        self.planner
            .observe(Observation::Dead(Arc::unwrap_or_clone(dead)));
        if let Some(assignments) = inputs.assignments.borrow_and_update().clone() {
            self.planner.observe(Observation::Assignments(assignments));
        }
        let left_out = Arc::clone(&inputs.left_out.borrow_and_update());
        self.planner.observe(Observation::LeftOut(left_out));
        let allocating = *inputs.allocating.borrow_and_update();
        self.planner.observe(Observation::Allocating(allocating));
        let leases = inputs.leases.borrow_and_update();
        self.planner.observe(Observation::Holdings(Holdings {
            held: Arc::clone(&leases.held),
            holders: Arc::clone(&leases.holders),
            live: Arc::clone(&leases.live),
        }));
        drop(leases);
        let conflicts = Arc::clone(&inputs.conflicts.borrow_and_update());
        self.planner.observe(Observation::Conflicts(conflicts));
        let announced = Arc::clone(&inputs.announced.borrow_and_update());
        self.planner.observe(Observation::Announced(announced));
    }

    fn publish(&mut self) {
        let begun = Instant::now();
        let plan = self.planner.plan().clone();
        let before = self.plan.borrow().clone();
        tell(&self.links, &plan.links);
        if plan.complete {
            if !before.complete {
                info!(
                    services = plan.addresses.services.len(),
                    frontends = plan.table.frontends.len(),
                    "every source has synced"
                );
            }
            // The data path first: a VIP is announced when its packets can be forwarded.
            tell_some(&self.table, &plan.table);
            self.publish_vips(&before, &plan.announcements);
            self.publish_proposal(&plan.addresses);
            // Last: nobody waits for it.
            let observed = self.planner.observed();
            self.chronicle.follow(&plan, observed, SystemTime::now());
            tell(&self.accounts, self.chronicle.accounts());
        }
        if differs(&before, &plan) {
            self.plan.send_replace(Arc::new(plan));
            debug!(took = ?begun.elapsed(), "planned");
        }
    }

    fn publish_vips(&self, before: &Plan, announcements: &Arc<Announcements>) {
        if before.complete && Arc::ptr_eq(&before.announcements, announcements) {
            return;
        }
        let vips = announcements.interfaces_here();
        let desired = announcements.desired_vips();
        if self.vips.borrow().as_deref() != Some(&vips) {
            self.vips.send_replace(Some(Arc::new(vips)));
        }
        if self.desired.borrow().as_deref() != Some(&desired) {
            self.desired.send_replace(Some(Arc::new(desired)));
        }
    }

    fn publish_proposal(&self, addresses: &AddressPlan) {
        self.proposal.send_if_modified(|told| {
            let same = match (&*told, &addresses.proposal) {
                (Some(told), Some(new)) => Arc::ptr_eq(told, new),
                (None, None) => true,
                _ => false,
            };
            if !same {
                told.clone_from(&addresses.proposal);
            }
            !same
        });
    }
}

fn tell<T>(watch: &watch::Sender<Arc<T>>, part: &Arc<T>) {
    watch.send_if_modified(|told| {
        let new = !Arc::ptr_eq(told, part);
        if new {
            *told = Arc::clone(part);
        }
        new
    });
}

fn tell_some<T>(watch: &watch::Sender<Option<Arc<T>>>, part: &Arc<T>) {
    watch.send_if_modified(|told| {
        let new = !told.as_ref().is_some_and(|told| Arc::ptr_eq(told, part));
        if new {
            *told = Some(Arc::clone(part));
        }
        new
    });
}

/// Whether anything differs; parts that did not change are the same `Arc`s.
fn differs(a: &Plan, b: &Plan) -> bool {
    let same_proposal = match (&a.addresses.proposal, &b.addresses.proposal) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    };
    !(a.complete == b.complete
        && same_proposal
        && Arc::ptr_eq(&a.links, &b.links)
        && Arc::ptr_eq(&a.table, &b.table)
        && Arc::ptr_eq(&a.addresses.services, &b.addresses.services)
        && Arc::ptr_eq(&a.addresses.pools, &b.addresses.pools)
        && Arc::ptr_eq(&a.announcements, &b.announcements)
        && Arc::ptr_eq(&a.conflicts, &b.conflicts)
        && Arc::ptr_eq(&a.errors, &b.errors)
        && a.missing == b.missing
        && a.recalled == b.recalled)
}
