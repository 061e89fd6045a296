//! This node's dealings with one VIP: take it, hold it, record it, give it away.
//!
//! Giving takes a release and one write, of this node's own lease: the node stops answering, and once the
//! kernel has confirmed that, the lease names the heir ([`Offer`]), who starts at once. Until the offer is
//! on its way the node may change its mind. From then on the VIP is not this node's to answer for until it
//! is known that the write was not done: every later write of the lease carries the offer as well, so
//! whichever of them is done, the heir is the same.

use super::bequest::Bequest;
use super::message::RequestId;
use super::moment::Moment;
use super::record::{Cause, Holder, ServiceLease, Term};
use super::table::{LeaseTable, Possession, Seen};
use crate::model::NodeName;

#[derive(Clone, Debug, Default)]
pub(super) struct Claim {
    /// The VIP is in the kernel's table by this process's word.
    pub(super) held: bool,
    /// Asked to be taken out, not confirmed yet.
    pub(super) stopping: bool,
    /// Confirmed to be out of the kernel's table.
    pub(super) stopped: bool,
    /// The write to the service lease under way.
    pub(super) request: Option<RequestId>,
    /// No write to the service lease before this.
    pub(super) retry_at: Moment,
    /// Since when the VIP is free (or, where nobody wants it, its lease of no use), as seen here.
    pub(super) vacant_since: Option<Moment>,
    /// To be given away although wanted, for an even share; or on its way out.
    pub(super) giving: bool,
    /// What the node's own lease is to tell of the VIP.
    pub(super) offer: Option<Offer>,
}

/// A bequest that is not known to be in this node's lease yet.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) transition: u64,
    pub(super) bequest: Bequest,
    /// A write with it may have been done.
    pub(super) submitted: bool,
}

impl Claim {
    /// Whether the claim says nothing and can be dropped.
    pub(super) fn is_idle(&self) -> bool {
        !self.held
            && !self.stopping
            && self.request.is_none()
            && self.vacant_since.is_none()
            && !self.giving
            && self.offer.is_none()
    }

    /// Whether the VIP is on its way out.
    pub(super) fn is_leaving(&self) -> bool {
        self.stopping || self.giving || self.offer.is_some()
    }

    /// Whether something is still to be done before the agent may end.
    pub(super) fn is_busy(&self) -> bool {
        self.held || self.stopping || self.request.is_some() || self.offer.is_some()
    }

    /// The offer, where a write with it may have been done.
    pub(super) fn submitted(&self) -> Option<&Offer> {
        self.offer.as_ref().filter(|offer| offer.submitted)
    }
}

/// From when on the VIP is free; nothing where its holder's term goes on.
pub(super) fn vacant_from(
    table: &LeaseTable,
    seen: Option<&Seen<ServiceLease>>,
    found: Option<&Possession>,
    patience: std::time::Duration,
) -> Option<Moment> {
    let Some(seen) = seen else {
        return Some(Moment::default());
    };
    let holder = found.and_then(|found| found.holder.as_ref());
    match holder {
        Some(holder) if table.standing(holder) == super::Standing::Holding => None,
        // Whoever wrote what cannot be read is given the time to write it again.
        _ if seen.torn => Some(seen.changed_at + patience),
        _ => Some(Moment::default()),
    }
}

/// The record by which `node` takes a free VIP, last `found` in other hands; `first` is the transition of a
/// lease made anew.
pub(super) fn taking(
    found: Option<&Possession>,
    first: u64,
    node: &NodeName,
    term: Term,
    unix: u64,
) -> ServiceLease {
    let last = found.and_then(|found| found.holder.as_ref());
    let previous = last
        .map(|holder| holder.node.clone())
        .or_else(|| found.and_then(|found| found.previous.clone()));
    let cause = match (last, &previous) {
        (Some(_), _) => Cause::Takeover,
        (None, Some(_)) => Cause::HandOver,
        (None, None) => Cause::First,
    };
    ServiceLease {
        holder: Some(Holder {
            node: node.clone(),
            term,
        }),
        previous,
        cause,
        acquired_unix: unix,
        transitions: found.map_or(first, |found| found.transition.saturating_add(1)),
    }
}

/// The record of what node leases tell already.
pub(super) fn recording(found: &Possession, unix: u64) -> ServiceLease {
    ServiceLease {
        holder: found.holder.clone(),
        previous: found.previous.clone(),
        cause: found.cause,
        acquired_unix: unix,
        transitions: found.transition,
    }
}
