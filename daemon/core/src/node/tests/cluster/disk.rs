//! What a machine's disk has of the leases, and the thread of each process that keeps it there: the daemon's journal
//! (`docs/decisions/0007`). What a write of the own lease gives away is on disk before it is submitted.

use std::time::Duration;

use super::{Cluster, Step, name_of};
use crate::election::{Incarnation, LeaseName, Memory, Moment, NodeLease, Record, Revision, Write};

/// A copy is made at most this often.
const COPY_EVERY: Duration = Duration::from_millis(500);

type Copy = Vec<(LeaseName, Revision, Record)>;

/// The files of a machine.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaseFiles {
    copy: Option<Copy>,
    attempt: Option<(NodeLease, Vec<Incarnation>)>,
}

impl LeaseFiles {
    /// What a process that starts finds.
    pub(super) fn memory(&self) -> Option<Memory> {
        let (attempted, writers) = self.attempt.clone().unzip();
        Some(Memory {
            leases: self.copy.clone()?,
            attempted,
            writers: writers.unwrap_or_default().into_iter().collect(),
        })
    }

    fn store_attempt(&mut self, lease: &NodeLease) {
        let (_, mut writers) = self.attempt.take().unzip();
        let writers = writers.get_or_insert_default();
        writers.retain(|writer| *writer != lease.incarnation);
        writers.push(lease.incarnation);
        self.attempt = Some((lease.clone(), std::mem::take(writers)));
    }
}

/// What the thread has yet to do.
#[derive(Debug)]
pub(super) enum Job {
    Copy(Copy),
    /// Remember what is about to be written, the copy first where there is one, and write it.
    Attempt(Box<Write>, Option<Copy>),
}

/// A process's side of it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    attempted: Option<NodeLease>,
    jobs: std::collections::VecDeque<Job>,
    copied: (u64, Moment),
}

impl Cluster {
    /// Hands a write on to the store, after it is on disk where it is of the own lease and says something new.
    pub(super) fn hand_on(&mut self, node: usize, write: Write) {
        let own = LeaseName::of_node(&name_of(node));
        let process = self.machines[node].process.as_mut();
        let Some(process) = process.filter(|_| self.remembers && write.name == own) else {
            return self.submit(node, write);
        };
        let Some(Record::Node(lease)) = &write.record else {
            return self.submit(node, write);
        };
        let journal = &mut process.journal;
        let before = journal.attempted.as_ref();
        if before.is_some_and(|before| says_the_same(before, lease)) {
            return self.submit(node, write);
        }
        let tells_less = before.is_none_or(|before| !before.bequests.is_within(&lease.bequests));
        journal.attempted = Some(lease.clone());
        let table = process.side.election().table();
        let copy = tells_less.then(|| table.copied().collect());
        self.begin(node, Job::Attempt(Box::new(write), copy));
    }

    /// Has the leases remembered where they have changed.
    pub(super) fn copy_leases(&mut self, node: usize, now: Moment) {
        let process = self.machines[node].process.as_mut();
        let Some(process) = process.filter(|_| self.remembers) else {
            return;
        };
        let table = process.side.election().table();
        let (changes, at) = process.journal.copied;
        if process.side.is_synced() && changes != table.changes() && now >= at + COPY_EVERY {
            let copy = table.copied().collect();
            process.journal.copied = (table.changes(), now);
            self.begin(node, Job::Copy(copy));
        }
    }

    fn begin(&mut self, node: usize, job: Job) {
        let Some(process) = &mut self.machines[node].process else {
            return;
        };
        process.journal.jobs.push_back(job);
        if process.journal.jobs.len() == 1 {
            self.push_remembered(node);
        }
    }

    fn push_remembered(&mut self, node: usize) {
        let span = self.rng.millis(0, self.weather.slowest_disk_ms);
        self.push(span, node, Step::Remembered);
    }

    /// The first job is on disk.
    pub(super) fn remembered(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else {
            return;
        };
        let job = process.journal.jobs.pop_front();
        let more = !process.journal.jobs.is_empty();
        match job {
            Some(Job::Copy(copy)) => machine.files.copy = Some(copy),
            Some(Job::Attempt(write, copy)) => {
                if let Some(copy) = copy {
                    machine.files.copy = Some(copy);
                }
                if let Some(Record::Node(lease)) = &write.record {
                    machine.files.store_attempt(lease);
                }
                self.submit(node, *write);
            }
            None => return,
        }
        if more {
            self.push_remembered(node);
        }
    }

    /// The process ends: of its first job something may have got to the disk.
    pub(super) fn end_journal(&mut self, node: usize) {
        if !self.remembers {
            return;
        }
        let how_far = self.rng.below(3);
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else {
            return;
        };
        let (copy, write) = match process.journal.jobs.pop_front() {
            Some(Job::Copy(copy)) => (Some(copy), None),
            Some(Job::Attempt(write, copy)) => (copy, Some(write)),
            None => return,
        };
        if let Some(copy) = copy.filter(|_| how_far > 0) {
            machine.files.copy = Some(copy);
        }
        if let Some(Record::Node(lease)) = write.filter(|_| how_far > 1).and_then(|it| it.record) {
            machine.files.store_attempt(&lease);
        }
    }

    /// The disk forgets the leases.
    pub(crate) fn forget_leases(&mut self, node: usize) {
        self.machines[node].files = LeaseFiles::default();
    }
}

/// Whether a write of `lease` after one of `before` gives nothing away and ends nothing.
fn says_the_same(before: &NodeLease, lease: &NodeLease) -> bool {
    (before.incarnation, before.term) == (lease.incarnation, lease.term)
        && before.fenced_by == lease.fenced_by
        && before.bequests == lease.bequests
}
