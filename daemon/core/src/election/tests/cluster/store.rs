//! The simulated lease store: compare-and-swap, news of it, and people who meddle with it.

use std::cmp::Reverse;
use std::time::Duration;

use super::{Cluster, Step};
use crate::election::*;

/// Writers of service leases that a node has, as the file store does; one more writes the node lease.
pub(super) const SERVICE_WRITERS: usize = 3;

/// What happens to a lease from outside.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Harm {
    /// It is deleted.
    Delete,
    /// It can no longer be read, at the revision it has.
    Rot,
    /// Something that is not a lease is written over it.
    Overwrite,
}

impl Cluster {
    /// Hands a write to the node's next writer.
    pub(super) fn submit(&mut self, node: usize, write: Write) {
        let refused = self.no_records && write.name.kind() == LeaseKind::Service;
        if refused || self.rng.per_mille(self.weather.lost_request) {
            self.answer(node, write.request, Outcome::Failed);
            return;
        }
        let delay = self.rng.millis(0, self.weather.slowest_ms);
        let sim = &mut self.nodes[node];
        let writer = match write.name.kind() {
            LeaseKind::Node => SERVICE_WRITERS,
            LeaseKind::Service | LeaseKind::Members => {
                sim.next_writer = (sim.next_writer + 1) % SERVICE_WRITERS;
                sim.next_writer
            }
        };
        let mut at = self.now + delay;
        if self.weather.write_ms > 0 {
            at = at.max(sim.writers_free[writer]) + Duration::from_millis(self.weather.write_ms);
            sim.writers_free[writer] = at;
        }
        self.push(at, node, Step::Apply(write));
    }

    pub(super) fn answer(&mut self, node: usize, request: RequestId, outcome: Outcome) {
        let delay = self.rng.millis(0, self.weather.slowest_ms);
        let event = Event::Done { request, outcome };
        self.push(self.now + delay, node, Step::Event(event));
    }

    pub(super) fn apply(&mut self, node: usize, process: u64, write: Write) {
        let reply = process == self.nodes[node].process;
        if self.now < self.store_down_until {
            if reply {
                self.answer(node, write.request, Outcome::Failed);
            }
            return;
        }
        self.writes += 1;
        let (found, content) = match self.store.get(&write.name) {
            Some((revision, content)) => (Some(*revision), content.clone()),
            None => (None, Content::Absent),
        };
        let outcome = if found == write.expected {
            self.service_writes += u64::from(write.name.kind() == LeaseKind::Service);
            self.count_bequests(&content, write.record.as_ref());
            let content = write.record.map_or(Content::Absent, Content::Record);
            let revision = self.put(&write.name, content.clone());
            if content == Content::Absent {
                // Cleared away on purpose, not lost.
                let holder = self.witness.holder(&write.name);
                assert_eq!(holder, None, "{} is cleared away while held", write.name);
                self.witness.forget(&write.name);
            }
            Outcome::Written(revision)
        } else {
            Outcome::Conflict {
                revision: found,
                content,
            }
        };
        if reply && !self.rng.per_mille(self.weather.lost_answer) {
            self.answer(node, write.request, outcome);
        }
    }

    /// Counts the bequests that a write adds and takes out, and checks that it changes none.
    fn count_bequests(&mut self, before: &Content, after: Option<&Record>) {
        let (Content::Record(Record::Node(before)), Some(Record::Node(after))) = (before, after)
        else {
            return;
        };
        for (vip, transition, bequest) in before.bequests.iter() {
            match after.bequests.get(vip, transition) {
                None => self.pruned += 1,
                Some(kept) => assert_eq!(kept, bequest, "{vip}@{transition} of {}", after.node),
            }
        }
        let new = after.bequests.iter();
        let new =
            new.filter(|(vip, transition, _)| before.bequests.get(vip, *transition).is_none());
        self.bequests += new.count() as u64;
    }

    /// Puts `content` into the store, and tells.
    fn put(&mut self, name: &LeaseName, content: Content) -> Revision {
        self.revision += 1;
        let revision = Revision(self.revision);
        if content == Content::Absent {
            self.store.remove(name);
            self.tell(name, None, &content);
        } else {
            self.store.insert(name.clone(), (revision, content.clone()));
            self.tell(name, Some(revision), &content);
        }
        revision
    }

    fn tell(&mut self, name: &LeaseName, revision: Option<Revision>, content: &Content) {
        self.witness
            .observe(name, revision, content.clone(), Moment::default());
        for node in 0..self.nodes.len() {
            if self.rng.per_mille(self.weather.lost_news) {
                continue;
            }
            let at = self.now + self.rng.millis(0, self.weather.slowest_ms * 2);
            let at = at.max(self.nodes[node].news_at);
            self.nodes[node].news_at = at;
            let event = Event::Observed {
                name: name.clone(),
                revision,
                content: content.clone(),
            };
            self.push(at, node, Step::Event(event));
        }
    }

    /// Everything in the store, and what is gone from it, as the safety net tells now and then.
    pub(super) fn rescan(&mut self, node: usize) -> Vec<Event> {
        if self.now < self.store_down_until || self.now < self.nodes[node].news_at {
            // News under way is older than this scan would be: first things first.
            let delay = self.rng.millis(1, 50);
            self.push(self.now + delay, node, Step::Rescan);
            return Vec::new();
        }
        let delay = self.rng.millis(1500, 2500);
        self.push(self.now + delay, node, Step::Rescan);
        let Some(election) = &self.nodes[node].election else {
            return Vec::new();
        };
        let table = election.table();
        let services = table
            .services()
            .filter(|(_, seen)| seen.revision.is_some())
            .map(|(name, _)| name);
        let nodes = table
            .nodes()
            .filter(|(_, seen)| seen.revision.is_some())
            .map(|(name, _)| name);
        let gone = services
            .chain(nodes)
            .filter(|name| !self.store.contains_key(*name))
            .map(|name| Event::Observed {
                name: name.clone(),
                revision: None,
                content: Content::Absent,
            });
        let there = self
            .store
            .iter()
            .map(|(name, (revision, content))| Event::Observed {
                name: name.clone(),
                revision: Some(*revision),
                content: content.clone(),
            });
        let as_of = self.local(node);
        gone.chain(there).chain([Event::Synced { as_of }]).collect()
    }

    /// Somebody meddles with a lease that is there. A node's own lease may come to harm at any time, unless
    /// it tells where VIPs went; such a one, and a service's, only where every node runs an agent that knows
    /// what it says and no write to it is under way, which is what the election asks for. Tells whether it
    /// was done.
    pub(crate) fn harm(&mut self, name: &LeaseName, harm: Harm) -> bool {
        let Some((revision, content)) = self.store.get(name) else {
            return false;
        };
        let revision = *revision;
        let knows = |node: &super::SimNode| {
            // What an agent remembers goes when it reads the store.
            let knowing = |it: &&Election| !node.stopped && it.is_synced();
            let Some(election) = node.election.as_ref().filter(knowing) else {
                return false;
            };
            let table = election.table();
            match content {
                Content::Record(Record::Service(lease)) => {
                    table.service(name).and_then(Seen::present) == Some(lease)
                }
                Content::Record(Record::Node(lease)) => table
                    .node(&lease.node)
                    .and_then(Seen::present)
                    .is_some_and(|known| known.bequests == lease.bequests),
                _ => false,
            }
        };
        let tells = match content {
            Content::Record(Record::Node(lease)) => !lease.bequests.is_empty(),
            _ => name.kind() == LeaseKind::Service,
        };
        if tells && (self.is_being_written(name) || !self.nodes.iter().all(knows)) {
            return false;
        }
        match harm {
            Harm::Delete => {
                self.put(name, Content::Absent);
            }
            Harm::Rot => {
                self.store.insert(name.clone(), (revision, Content::Torn));
                self.tell(name, Some(revision), &Content::Torn);
            }
            Harm::Overwrite => {
                self.put(name, Content::Torn);
            }
        }
        self.harms += 1;
        true
    }

    /// Whether a write to the lease is on its way, or about to be.
    fn is_being_written(&self, name: &LeaseName) -> bool {
        let writes = |step: &Step| match step {
            Step::Apply(write) => write.name == *name,
            Step::Act(actions) => actions
                .iter()
                .any(|action| matches!(action, Action::Cas(write) if write.name == *name)),
            _ => false,
        };
        let waiting = || self.nodes.iter().flat_map(|node| &node.waiting);
        self.queue
            .iter()
            .any(|Reverse(queued)| writes(&queued.step))
            || waiting().any(writes)
    }

    /// Whether some node has a VIP of which the store does not tell, as a lease came to harm and is not
    /// mended: its kernel has it, or its term as heir or holder goes on, whether it knows yet or not. An agent
    /// without memory that starts now would take it for another's, or for free.
    pub(crate) fn has_unrecorded_holders(&self) -> bool {
        let mut table = LeaseTable::default();
        for (name, (revision, content)) in &self.store {
            table.observe(name, Some(*revision), content.clone(), Moment::default());
        }
        let told = |vip: &LeaseName| {
            table
                .possession(vip)
                .and_then(|found| found.holder.as_ref())
        };
        let known = self.witness.possessions();
        let mut known = known.filter_map(|(vip, _)| Some((vip, self.witness.holder(vip)?)));
        let kernels = |node: &super::SimNode| {
            let mut answers = node.answers.iter();
            answers.any(|vip| told(vip).is_none_or(|holder| holder.node != node.name))
        };
        known.any(|(vip, holder)| told(vip) != Some(holder)) || self.nodes.iter().any(kernels)
    }
}
