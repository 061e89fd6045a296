//! Taking in what happened: observations, outcomes of writes, and words from the planner and the kernel.
//! Nothing is decided here but what is known.

use super::bequest::Bequests;
use super::ground::Ground;
use super::message::{Event, Outcome, RequestId};
use super::moment::Moment;
use super::name::{LeaseKind, LeaseName};
use super::record::{NodeLease, Record};
use super::table::{Change, Content};
use super::{Election, Mode, Pending};

impl<G: Ground> Election<G> {
    pub(super) fn take_in(&mut self, event: Event, now: Moment) {
        match event {
            Event::Desired(vips) => self.desired = Some(vips),
            Event::Payload(payload) => {
                if self.payload != payload {
                    self.payload = payload;
                    self.tenure.hurry(now);
                }
                return;
            }
            Event::Observed {
                name,
                revision,
                content,
            } => {
                if let Some(told) = &mut self.dark {
                    told.observe(&name, revision, content, now);
                    return;
                }
                let own = self.own_write(&content);
                let change = self.table.observe(&name, revision, content, now);
                self.learn(&name, own, change, now);
                return;
            }
            Event::Synced { as_of } => return self.complete(as_of, now),
            Event::Done { request, outcome } => return self.done(request, outcome, now),
            Event::Released(name) => {
                if let Some(claim) = self.claims.get_mut(&name).filter(|claim| claim.stopping) {
                    claim.stopping = false;
                    claim.stopped = true;
                }
            }
            Event::Silenced => {
                self.silencing = false;
                self.tenure.silent = true;
            }
            Event::Ground => {}
            Event::Tick => return,
            Event::Fit(fit) => self.fit = fit,
            Event::Drain(drain) => match (self.mode, drain) {
                (Mode::Serving, true) => self.mode = Mode::Draining,
                (Mode::Draining, false) => self.mode = Mode::Serving,
                _ => return,
            },
            Event::Stop => {
                if self.mode != Mode::Stopped {
                    self.mode = Mode::Stopping;
                }
            }
        }
        self.stirred = true;
    }

    /// The own lease in `content`, if this process wrote it.
    fn own_write(&self, content: &Content) -> Option<NodeLease> {
        match content {
            Content::Record(Record::Node(lease))
                if lease.node == self.me.node && lease.incarnation == self.me.incarnation =>
            {
                Some(lease.clone())
            }
            _ => None,
        }
    }

    /// All that was in the store at `as_of` has been seen.
    fn complete(&mut self, as_of: Moment, now: Moment) {
        if self.dark.is_some() && as_of == Moment::default() {
            // Not all of it could be read: what is remembered is the better word.
            return;
        }
        let told = self.dark.as_ref().unwrap_or(&self.table);
        let there = told.nodes().any(|(_, seen)| seen.revision.is_some());
        if !self.synced && self.expects_nodes && !there {
            return;
        }
        if let Some(told) = self.dark.take() {
            self.table.replace(told);
        }
        if !self.synced {
            self.synced = true;
            self.quiet_since = now;
            self.stirred = true;
        }
        let last = self.view_of.unwrap_or(as_of);
        if as_of.since(last) > self.settings.view_good_for() {
            self.doubtful = Some(now);
        }
        if let Some(since) = self.doubtful
            && as_of.since(since) > self.settings.memory
        {
            // So much may have been missed then that a lease already gone may have been given up before, as
            // nobody has written it again since.
            self.table.forget_absent(since);
            self.doubtful = None;
            self.stirred = true;
        }
        // A fence may have waited for this.
        self.stirred |= !self.has_fresh_view(now);
        self.view_of = Some(as_of.max(last));
    }

    fn learn(&mut self, name: &LeaseName, own: Option<NodeLease>, change: Change, now: Moment) {
        if let Some(lease) = own {
            let outside = self.tenure.term().is_none();
            // The store was out of this node's reach, so maybe out of its peers' too: none of them is
            // dead for not having renewed in that time, and each gets a moment to do it now.
            let duration = self.settings.lease_duration;
            if now.since(self.tenure.renewed_at) > duration / 2 {
                self.table
                    .excuse_nodes(now + self.settings.lease_renew_deadline - duration);
            }
            self.tenure
                .written(&lease, &self.settings, &mut self.ground, now);
            self.inherited = Bequests::default();
            self.stirred |= outside;
        }
        self.stirred |= match change {
            Change::Nothing => false,
            // Of a holding that was known. Matters to whoever has something to do about it.
            Change::Recorded => self.claims.contains_key(name),
            Change::Told | Change::Moved => true,
        };
        if change == Change::Moved {
            self.quiet_since = now;
        }
    }

    fn done(&mut self, request: RequestId, outcome: Outcome, now: Moment) {
        let Some(Pending { write, began }) = self.pending.remove(&request) else {
            return;
        };
        let own = write.name.kind() == LeaseKind::Node && self.is_own(&write.name);
        let mut retry_at = now;
        match outcome {
            Outcome::Written(revision) => match write.record {
                Some(record) => {
                    let content = Content::Record(record);
                    let lease = self.own_write(&content).filter(|_| own);
                    let change = self
                        .table
                        .observe(&write.name, Some(revision), content, now);
                    self.learn(&write.name, lease, change, now);
                }
                None => self.table.forget(&write.name),
            },
            Outcome::Conflict { revision, content } => {
                let lease = self.own_write(&content).filter(|_| own);
                let change =
                    self.table
                        .correct(&write.name, write.expected, revision, content, now);
                self.learn(&write.name, lease, change, now);
                if own {
                    self.tenure.conflicted(began, &self.settings, now);
                }
                if change == Change::Nothing {
                    retry_at = now + self.settings.lease_retry_period;
                }
            }
            Outcome::Failed => {
                retry_at = now + self.settings.lease_retry_period;
                if own {
                    self.tenure.failed(began, &self.settings, now);
                }
            }
        }
        self.settle(&write.name, request, retry_at);
    }

    /// A write is no longer waited for.
    fn settle(&mut self, name: &LeaseName, request: RequestId, retry_at: Moment) {
        if let Some(claim) = self
            .claims
            .get_mut(name)
            .filter(|claim| claim.request == Some(request))
        {
            claim.request = None;
            claim.retry_at = retry_at;
            self.stirred = true;
        }
        if let Some(at) = self.fencing.get_mut(name) {
            *at = retry_at;
        }
    }

    /// Stops waiting for writes to service leases that were not answered in time. Should they be done
    /// after all, an observation will tell.
    pub(super) fn give_up_waiting(&mut self, now: Moment) {
        let late: Vec<_> = self
            .pending
            .iter()
            .filter(|(_, pending)| now >= pending.began + self.settings.lease_renew_deadline)
            .map(|(request, pending)| (*request, pending.write.name.clone()))
            .collect();
        for (request, name) in late {
            self.settle(&name, request, now);
        }
        // Answers this late are of no use to anyone but the table, which observations serve as well.
        let old = self.settings.lease_duration * 10;
        self.pending.retain(|_, pending| now < pending.began + old);
    }
}
