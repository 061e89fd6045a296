//! The lease store: compare-and-swap, and a watch on every node that tells of it.

use std::time::Duration;

use super::{Cluster, Step};
use crate::election::{
    Action, Content, Event, Holder, LeaseName, Moment, NodeLease, Outcome, Record, RequestId,
    Revision, Seen, Write,
};
use crate::node::Input;
use crate::quorum::record::MemberRecord;

impl Cluster {
    /// Sends a write on its way.
    pub(super) fn submit(&mut self, node: usize, write: Write) {
        let lost = self.weather.lost_request > 0 && self.rng.chance(self.weather.lost_request);
        if lost || self.machines[node].store_down_until > self.now {
            let process = self.machines[node].number;
            return self.fail(node, process, write.request);
        }
        let span = self.store_span() + self.slow_writes;
        self.push(span, node, Step::Write(write));
    }

    fn store_span(&mut self) -> Duration {
        let slowest = if self.rng.chance(8000) {
            10
        } else {
            self.weather.slowest_store_ms
        };
        self.rng.millis(1, slowest)
    }

    /// Nobody knows what became of the write.
    fn fail(&mut self, node: usize, process: u64, request: RequestId) {
        let span = self.rng.millis(50, 1500);
        self.reply(node, process, request, Outcome::Failed, span);
    }

    fn reply(
        &mut self,
        node: usize,
        process: u64,
        request: RequestId,
        outcome: Outcome,
        span: Duration,
    ) {
        let input = Input::Store(Event::Done { request, outcome });
        self.push_for(self.now + span, node, process, Step::Input(input));
    }

    pub(super) fn serve(&mut self, node: usize, process: u64, write: Write) {
        self.counts.steps += 1;
        let down = self.machines[node].store_down_until > self.now;
        if down && self.rng.chance(5000) {
            return self.fail(node, process, write.request);
        }
        let request = write.request;
        let name = write.name.clone();
        let outcome = self.compare_and_swap(write);
        self.say(node, || format!("writes {name}: {outcome:?}"));
        let lost = self.weather.lost_reply > 0 && self.rng.chance(self.weather.lost_reply);
        if down || lost {
            return self.fail(node, process, request);
        }
        let span = self.store_span();
        self.reply(node, process, request, outcome, span);
    }

    fn compare_and_swap(&mut self, write: Write) -> Outcome {
        let there = self.store.get(&write.name);
        let revision = there.map(|(revision, _)| *revision);
        if revision != write.expected {
            let content = there.map_or(Content::Absent, |(_, content)| content.clone());
            return Outcome::Conflict { revision, content };
        }
        let before = there.map(|(_, content)| content.clone());
        self.check_write(&write, before.as_ref());
        self.revision += 1;
        let revision = Revision(self.revision);
        match write.record {
            Some(record) => {
                let content = Content::Record(record);
                self.store.insert(write.name.clone(), (revision, content));
            }
            None => {
                self.store.remove(&write.name);
                self.holders.retain(|(vip, _), _| *vip != write.name);
                self.deleted.remove(&write.name);
            }
        }
        for node in 0..self.machines.len() {
            if !(self.weather.lost_news > 0 && self.rng.chance(self.weather.lost_news)) {
                let span = self.store_span();
                self.push(span, node, Step::News(write.name.clone()));
            }
        }
        Outcome::Written(revision)
    }

    /// Checks what the protocol promises of every write.
    fn check_write(&mut self, write: &Write, before: Option<&Content>) {
        match (&write.record, before) {
            (Some(Record::Members(record)), Some(Content::Record(Record::Members(before)))) => {
                assert_eq!(
                    record.epoch,
                    before.epoch.next(),
                    "epochs follow each other"
                );
                self.counts.records += 1;
            }
            (Some(Record::Node(lease)), before) => {
                let before = match before {
                    Some(Content::Record(Record::Node(before))) => Some(before),
                    _ => None,
                };
                self.check_lease(lease, before);
            }
            (Some(Record::Service(lease)), _) => {
                self.note_holder(&write.name, lease.transitions, lease.holder.as_ref());
            }
            _ => {}
        }
    }

    fn check_lease(&mut self, lease: &NodeLease, before: Option<&NodeLease>) {
        let fence = lease.fenced_by.as_ref();
        self.counts.fences += u64::from(fence.is_some_and(|fence| fence.node != lease.node));
        for (vip, transition, bequest) in lease.bequests.iter() {
            let known = before.and_then(|before| before.bequests.get(vip, transition));
            if let Some(known) = known {
                assert_eq!(known, bequest, "{vip}@{transition} of {}", lease.node);
                continue;
            }
            if let Some(before) = before {
                assert!(
                    before.fenced_by.is_none() || before.term < lease.term,
                    "{} adds {vip}@{transition} to a term that is over",
                    lease.node
                );
            }
            self.counts.bequests += 1;
            self.note_holder(vip, transition + 1, bequest.heir.as_ref());
        }
    }

    /// Each holding has one holder.
    fn note_holder(&mut self, vip: &LeaseName, transition: u64, holder: Option<&Holder>) {
        let key = (vip.clone(), transition);
        let known = self.holders.entry(key).or_insert_with(|| holder.cloned());
        assert_eq!(
            known.as_ref(),
            holder,
            "the holders of {vip} as of {transition}"
        );
    }

    fn watches(&self, node: usize) -> Duration {
        let machine = &self.machines[node];
        machine.deaf_until.max(machine.store_down_until)
    }

    pub(super) fn news(&mut self, node: usize, name: LeaseName) {
        let hangs = self.watches(node).saturating_sub(self.now);
        if !hangs.is_zero() {
            return self.push(hangs, node, Step::News(name));
        }
        self.tell_of(node, &name);
    }

    /// Has the watch tell of a lease where that is news.
    fn tell_of(&mut self, node: usize, name: &LeaseName) {
        let (revision, content) = match self.store.get(name) {
            Some((revision, content)) => (Some(*revision), content.clone()),
            None => (None, Content::Absent),
        };
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        let known = process.told.get(name).copied();
        if known == Some(revision) || (known.is_none() && revision.is_none()) {
            return;
        }
        process.told.insert(name.clone(), revision);
        let event = Event::Observed {
            name: name.clone(),
            revision,
            content,
        };
        self.hand_over(node, event);
    }

    /// The watch's thread hands an event over, in order.
    fn hand_over(&mut self, node: usize, event: Event) {
        let span = self.rng.millis(0, 2);
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.watch_at = process.watch_at.max(self.now + span);
        let delay = process.watch_at - self.now;
        self.push(delay, node, Step::Input(Input::Store(event)));
    }

    /// Begins a look at all there is: at the start, when asked to, and now and again, since news can be lost.
    pub(super) fn scan(&mut self, node: usize, again: bool) {
        let down = self.machines[node].store_down_until > self.now;
        let now = self.local(node);
        if let (true, Some(process)) = (down, &mut self.machines[node].process) {
            process.side.troubled(now);
        }
        if self.watches(node) > self.now {
            let span = Duration::from_millis(200);
            return self.push(span, node, Step::Scan { again });
        }
        if again {
            let span = self.rng.millis(1500, 2500);
            self.push(span, node, Step::Scan { again });
        }
        let (as_of, span) = (self.local(node), self.store_span());
        self.push(span, node, Step::Scanned(as_of));
    }

    pub(super) fn scanned(&mut self, node: usize, as_of: Moment) {
        if self.watches(node) > self.now {
            return;
        }
        let Some(process) = &self.machines[node].process else {
            return;
        };
        let told = process.told.keys();
        let gone = told.filter(|name| !self.store.contains_key(*name));
        let names: Vec<_> = self.store.keys().chain(gone).cloned().collect();
        for name in names {
            self.tell_of(node, &name);
        }
        self.hand_over(node, Event::Synced { as_of });
    }

    /// The record of members in the store.
    pub(crate) fn record(&self) -> Option<&MemberRecord> {
        match self.store.get(&LeaseName::members()) {
            Some((_, Content::Record(Record::Members(record)))) => Some(record),
            _ => None,
        }
    }

    /// Removes the lease of a VIP, as somebody might by hand. That is survived where every node runs an agent that has read
    /// what it says, and does not only remember it, and no write to it is under way, which is what the election asks for.
    /// Tells whether it was done.
    pub(crate) fn delete(&mut self, vip: usize) -> bool {
        let name = self.vips[vip].clone();
        if !self.is_known_to_all(&name) || self.is_being_written(&name) {
            return false;
        }
        self.store.remove(&name);
        self.deleted.insert(name.clone());
        // Where nobody is left to write it again, holdings are counted from the start.
        self.holders.retain(|(vip, _), _| *vip != name);
        for node in 0..self.machines.len() {
            let span = self.store_span();
            self.push(span, node, Step::News(name.clone()));
        }
        true
    }

    fn is_known_to_all(&self, name: &LeaseName) -> bool {
        let Some((_, Content::Record(Record::Service(lease)))) = self.store.get(name) else {
            return false;
        };
        self.machines.iter().all(|machine| {
            let table = |it: &super::machine::Process| {
                let seen = it.side.election().table().service(name);
                it.side.is_synced() && seen.and_then(Seen::present) == Some(lease)
            };
            !machine.leaving && machine.process.as_ref().is_some_and(table)
        })
    }

    fn is_being_written(&self, name: &LeaseName) -> bool {
        let cas = |action: &Action| matches!(action, Action::Cas(write) if write.name == *name);
        let writes = |step: &Step| match step {
            Step::Write(write) => write.name == *name,
            Step::Act(actions) => actions.iter().any(cas),
            _ => false,
        };
        let mut steps = self.under_way.iter().flatten();
        steps.any(|(_, _, step)| writes(step))
    }

    /// Whether a lease that was removed by hand is not there again. An agent that starts now would take it for free.
    pub(crate) fn is_harmed(&mut self) -> bool {
        self.deleted.retain(|name| !self.store.contains_key(name));
        !self.deleted.is_empty()
    }
}
