//! Between the lease effect and the rest: what this node publishes of itself, what peers publish, who may contend for what,
//! and whether this node allocates.
//!
//! Fed by this node's interfaces, the plan's wishes, what was resigned for want of proof, and the lease table; feeds the lease effect and two `watch`es. One
//! task. When cancelled it stops feeding; the lease effect has its own way to end.

use landfall_core::election::{DesiredVips, LeaseName};
use landfall_core::model::{Link, NodeName, PeerConflicts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::announce::{Conflicts, Resigned};
use super::lease::{LeaseHandle, LeaseState};
use super::payload::Payload;

/// Other nodes' interfaces by name; nothing before the lease store was read.
pub type Peers = Option<Arc<BTreeMap<NodeName, Vec<Link>>>>;

/// What the task is told.
#[derive(Debug)]
pub struct Inputs {
    /// This node's interfaces.
    pub links: watch::Receiver<Arc<Vec<Link>>>,
    /// Leases, and who may contend for them; nothing before the first plan.
    pub desired: watch::Receiver<Option<Arc<DesiredVips>>>,
    /// Where the leases stand.
    pub leases: watch::Receiver<LeaseState>,
    /// What this node could not prove.
    pub resigned: watch::Receiver<Arc<Resigned>>,
    /// What other machines on the LAN have of what this node holds.
    pub conflicts: watch::Receiver<Arc<Conflicts>>,
}

/// The task's state.
#[derive(Debug)]
pub struct MembershipTask {
    node: NodeName,
    handle: LeaseHandle,
    /// The allocator is the holder of a lease of the election; else it is chosen elsewhere.
    elects_allocator: bool,
    peers: watch::Sender<Peers>,
    allocating: watch::Sender<bool>,
    conflicts: watch::Sender<PeerConflicts>,
    published: Option<Payload>,
    told: Option<DesiredVips>,
    /// Leases that peers leave to others.
    resigned: BTreeMap<NodeName, BTreeSet<LeaseName>>,
    /// Words that were no payload, so that each is complained of once.
    unread: BTreeMap<NodeName, Arc<str>>,
}

/// What the task feeds.
#[derive(Debug)]
pub struct Outputs {
    /// Other nodes' interfaces.
    pub peers: watch::Receiver<Peers>,
    /// Whether this node allocates.
    pub allocating: watch::Receiver<bool>,
    /// Which addresses that they hold other machines on the LAN have.
    pub conflicts: watch::Receiver<PeerConflicts>,
}

impl MembershipTask {
    /// The task, with what it feeds. Without `elects_allocator` the node never allocates by the word of this task.
    pub fn new(node: NodeName, handle: LeaseHandle, elects_allocator: bool) -> (Self, Outputs) {
        let (peers, peers_seen) = watch::channel(None);
        let (allocating, allocating_seen) = watch::channel(false);
        let (conflicts, conflicts_seen) = watch::channel(Arc::default());
        let task = Self {
            node,
            handle,
            elects_allocator,
            peers,
            allocating,
            conflicts,
            published: None,
            told: None,
            resigned: BTreeMap::new(),
            unread: BTreeMap::new(),
        };
        let outputs = Outputs {
            peers: peers_seen,
            allocating: allocating_seen,
            conflicts: conflicts_seen,
        };
        (task, outputs)
    }

    /// Runs until cancelled, or until the lease effect has ended.
    pub async fn run(mut self, mut inputs: Inputs, cancel: CancellationToken) {
        loop {
            let links = inputs.links.borrow_and_update().clone();
            let desired = inputs.desired.borrow_and_update().clone();
            let leases = inputs.leases.borrow_and_update().clone();
            let resigned = inputs.resigned.borrow_and_update().clone();
            let conflicts = inputs.conflicts.borrow_and_update().clone();
            self.read_payloads(&leases);
            let payload = Payload::of(&links, &resigned, &conflicts);
            let told = self
                .publish(&links, payload)
                .and_then(|()| self.tell(desired.as_deref(), &leases, &resigned));
            if told.is_err() {
                break;
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = inputs.links.changed() => if changed.is_err() { break },
                changed = inputs.desired.changed() => if changed.is_err() { break },
                changed = inputs.leases.changed() => if changed.is_err() { break },
                changed = inputs.resigned.changed() => if changed.is_err() { break },
                changed = inputs.conflicts.changed() => if changed.is_err() { break },
            }
        }
        cancel.cancelled().await;
    }

    /// Tells the lease effect what this node is, once its interfaces are known.
    fn publish(&mut self, links: &[Link], payload: Payload) -> Result<(), super::lease::Closed> {
        if !links.is_empty() && self.published.as_ref() != Some(&payload) {
            self.handle.publish(&payload.encode())?;
            self.published = Some(payload);
        }
        Ok(())
    }

    /// Tells the lease effect what this node may contend for. The allocator's lease is open to all.
    fn tell(
        &mut self,
        desired: Option<&DesiredVips>,
        leases: &LeaseState,
        resigned: &Resigned,
    ) -> Result<(), super::lease::Closed> {
        let mut wanted = desired.cloned().unwrap_or_default();
        if self.elects_allocator {
            let mut candidates = BTreeSet::clone(&leases.live);
            candidates.insert(self.node.clone());
            wanted.insert(LeaseName::allocator(), candidates);
        }
        leave_to_others(&mut wanted, &leases.live, |node, lease| {
            let theirs = || {
                self.resigned
                    .get(node)
                    .is_some_and(|all| all.contains(lease))
            };
            if *node == self.node {
                resigned.leases.contains(lease)
            } else {
                theirs()
            }
        });
        // Nothing held is given up before there is a plan.
        if desired.is_some() && self.told.as_ref() != Some(&wanted) {
            self.handle.desire(wanted.clone())?;
            self.told = Some(wanted);
        }
        self.allocating.send_if_modified(|held| {
            let allocating = leases.held.contains_key(&LeaseName::allocator());
            std::mem::replace(held, allocating) != allocating
        });
        Ok(())
    }

    /// Reads what the other nodes publish. A node whose lease has run out is still there for the data path, which goes by
    /// its program's echo.
    fn read_payloads(&mut self, leases: &LeaseState) {
        if !leases.synced && !leases.remembered {
            return;
        }
        let mut peers = BTreeMap::new();
        let mut resigned = BTreeMap::new();
        let mut conflicts = BTreeMap::new();
        for (node, payload) in leases
            .payloads
            .iter()
            .filter(|(node, _)| **node != self.node)
        {
            if payload.is_empty() {
                continue;
            }
            match Payload::decode(payload) {
                Ok(word) => {
                    let taken = word.conflicts.into_iter();
                    conflicts.extend(taken.map(|(ip, mac)| (ip, (node.clone(), mac))));
                    peers.insert(node.clone(), word.links);
                    if !word.resigned.is_empty() {
                        resigned.insert(node.clone(), word.resigned);
                    }
                }
                Err(error) => {
                    if self
                        .unread
                        .insert(node.clone(), Arc::clone(payload))
                        .as_ref()
                        != Some(payload)
                    {
                        warn!(%node, %error, "a node's word on itself cannot be read; it is not forwarded to");
                    }
                }
            }
        }
        self.resigned = resigned;
        self.conflicts.send_if_modified(|held| {
            let changed = **held != conflicts;
            if changed {
                *held = Arc::new(conflicts);
            }
            changed
        });
        self.peers.send_if_modified(|held| {
            let changed = held.as_deref() != Some(&peers);
            if changed {
                *held = Some(Arc::new(peers));
            }
            changed
        });
    }
}

/// Takes the nodes that have resigned a lease out of its candidates, unless no live one is left: an answer that nobody could
/// prove is better than none.
fn leave_to_others(
    wanted: &mut DesiredVips,
    live: &BTreeSet<NodeName>,
    has_resigned: impl Fn(&NodeName, &LeaseName) -> bool,
) {
    for (lease, candidates) in wanted.iter_mut() {
        if !candidates.iter().any(|node| has_resigned(node, lease)) {
            continue;
        }
        let fit: BTreeSet<NodeName> = candidates
            .iter()
            .filter(|node| !has_resigned(node, lease))
            .cloned()
            .collect();
        if fit.iter().any(|node| live.contains(node)) {
            *candidates = fit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> BTreeSet<NodeName> {
        names.iter().map(|name| NodeName::new(*name)).collect()
    }

    /// The candidates for a lease that `resigned` have resigned, of which `live` live.
    fn candidates(resigned: &[&str], live: &[&str]) -> BTreeSet<NodeName> {
        let lease = LeaseName::parse("landfall-l2-default.svc1").expect("a lease's name");
        let mut wanted = DesiredVips::from([(lease.clone(), nodes(&["a", "b", "c"]))]);
        let resigned = nodes(resigned);
        leave_to_others(&mut wanted, &nodes(live), |node, _| resigned.contains(node));
        wanted.remove(&lease).expect("it stays")
    }

    #[test]
    fn a_node_that_has_resigned_a_lease_does_not_contend_for_it() {
        assert_eq!(candidates(&["a"], &["a", "b", "c"]), nodes(&["b", "c"]));
        assert_eq!(candidates(&[], &["a", "b"]), nodes(&["a", "b", "c"]));
    }

    #[test]
    fn where_nobody_fit_lives_those_who_resigned_contend_after_all() {
        assert_eq!(candidates(&["a"], &["a"]), nodes(&["a", "b", "c"]));
        assert_eq!(
            candidates(&["a", "b", "c"], &["a", "b", "c"]),
            nodes(&["a", "b", "c"])
        );
    }
}
