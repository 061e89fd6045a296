//! This node's dealings with one service lease: take it, hold it, give it away.
//!
//! Giving takes two writes, so that neither a lost answer nor a restart in between can make two nodes
//! answer: the holder first marks the lease as *leaving* while it still answers, then stops answering,
//! and once the kernel has confirmed that, it names the successor, who starts at once. A holder that
//! finds the mark on its lease (after a restart, or a change of mind) takes it back by
//! compare-and-swap before it answers again; the write that names the successor, still under way, then fails.

use super::message::RequestId;
use super::moment::Moment;
use super::record::{Cause, Holder, ServiceLease, Term};
use super::table::{LeaseTable, Seen, Standing};
use crate::model::NodeName;

#[derive(Clone, Debug, Default)]
pub(super) struct Claim {
    /// The VIP is in the kernel's table by this process's word.
    pub(super) held: bool,
    /// Asked to be taken out, not confirmed yet.
    pub(super) stopping: bool,
    /// Confirmed to be out of the kernel's table.
    pub(super) stopped: bool,
    /// The write under way.
    pub(super) request: Option<RequestId>,
    /// No write before this.
    pub(super) retry_at: Moment,
    /// Since when the lease is free (or, where nobody wants the VIP, of no use), as seen here.
    pub(super) vacant_since: Option<Moment>,
    /// To be given away although wanted, for an even share.
    pub(super) giving: bool,
}

impl Claim {
    /// Whether the claim says nothing and can be dropped.
    pub(super) fn is_idle(&self) -> bool {
        !self.held
            && !self.stopping
            && self.request.is_none()
            && self.vacant_since.is_none()
            && !self.giving
    }

    /// Whether the VIP is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.stopping || self.giving
    }
}

/// Whether the lease, as last known, names `node` in `term`. Also true where the lease has since been
/// deleted or torn: nobody takes it from a live holder, who writes it again.
pub(super) fn is_held_by(seen: Option<&Seen<ServiceLease>>, node: &NodeName, term: Term) -> bool {
    let holder = seen.and_then(|seen| seen.record.as_ref()?.holder.as_ref());
    holder.is_some_and(|holder| holder.node == *node && holder.term == term)
}

/// From when on the lease is free; nothing where its holder's term goes on.
pub(super) fn vacant_from(
    table: &LeaseTable,
    seen: Option<&Seen<ServiceLease>>,
    patience: std::time::Duration,
) -> Option<Moment> {
    let Some(seen) = seen else {
        return Some(Moment::default());
    };
    let holder = seen
        .record
        .as_ref()
        .and_then(|record| record.holder.as_ref());
    match holder {
        Some(holder) if table.standing(holder) == Standing::Holding => None,
        // Whoever wrote what cannot be read is given the time to write it again.
        _ if seen.torn => Some(seen.changed_at + patience),
        _ => Some(Moment::default()),
    }
}

/// The record by which `node` takes a free lease.
pub(super) fn taking(
    last: Option<&ServiceLease>,
    node: &NodeName,
    term: Term,
    unix: u64,
) -> ServiceLease {
    let previous = last.and_then(|last| {
        last.holder
            .as_ref()
            .map(|holder| holder.node.clone())
            .or_else(|| last.previous.clone())
    });
    let cause = match (last.and_then(|last| last.holder.as_ref()), &previous) {
        (Some(_), _) => Cause::Takeover,
        (None, Some(_)) => Cause::HandOver,
        (None, None) => Cause::First,
    };
    ServiceLease {
        holder: Some(Holder {
            node: node.clone(),
            term,
        }),
        leaving: false,
        previous,
        cause,
        acquired_unix: unix,
        transitions: last.map_or(0, |last| last.transitions + 1),
    }
}

/// The record by which the holder gives its lease to `successor`, or to nobody.
pub(super) fn giving(last: &ServiceLease, successor: Option<Holder>, unix: u64) -> ServiceLease {
    let previous = last.holder.as_ref().map(|holder| holder.node.clone());
    ServiceLease {
        holder: successor,
        leaving: false,
        previous,
        cause: Cause::HandOver,
        acquired_unix: unix,
        transitions: last.transitions + 1,
    }
}
