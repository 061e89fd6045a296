//! Who has each VIP, by all that was seen: the service lease, and from there the bequests in one holder's
//! node lease after the other's.
//!
//! Worked out when something that it depends on changes, so that looking it up costs nothing.

use super::{LeaseTable, Standing};
use crate::election::moment::Moment;
use crate::election::name::LeaseName;
use crate::election::record::{Cause, Holder, Term};
use crate::model::NodeName;

/// Who has a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Possession {
    /// The holder, whose term may be over; nobody where the one before gave the VIP up.
    pub holder: Option<Holder>,
    /// The holder before.
    pub previous: Option<NodeName>,
    /// Why the VIP came to its holder.
    pub cause: Cause,
    /// The number of this holding.
    pub transition: u64,
    /// Whether the service lease tells of this holding; if not, node leases alone do, and the holder has
    /// yet to write the record.
    pub recorded: bool,
    /// When this node learned of this holding.
    pub since: Moment,
}

impl Possession {
    /// Whether the holder is `node` in `term`.
    #[must_use]
    pub fn is_of(&self, node: &NodeName, term: Term) -> bool {
        let holder = self.holder.as_ref();
        holder.is_some_and(|holder| holder.node == *node && holder.term == term)
    }
}

impl LeaseTable {
    /// Who has `vip`; nothing where no service lease was ever seen.
    #[must_use]
    pub fn possession(&self, vip: &LeaseName) -> Option<&Possession> {
        self.possessions.get(vip)
    }

    /// Who has each VIP that has, or had, a service lease.
    pub fn possessions(&self) -> impl Iterator<Item = (&LeaseName, &Possession)> {
        self.possessions.iter()
    }

    /// The holder of `vip`, while its term goes on as far as can be told.
    #[must_use]
    pub fn holder(&self, vip: &LeaseName) -> Option<&Holder> {
        let holder = self.possession(vip)?.holder.as_ref()?;
        (self.standing(holder) == Standing::Holding).then_some(holder)
    }

    /// What a service lease that is made anew begins to count from: past all that any node still tells.
    #[must_use]
    pub fn first_transition(&self, vip: &LeaseName) -> u64 {
        let leases = self.nodes.values().filter_map(|seen| seen.record.as_ref());
        let last = leases.filter_map(|lease| lease.bequests.last_of(vip)).max();
        last.map_or(0, |last| last.saturating_add(2))
    }

    /// Works out anew who has `vip`. Tells whether that changed.
    pub(super) fn resolve(&mut self, vip: &LeaseName, now: Moment) -> bool {
        let record = self.services.get(vip).and_then(|seen| seen.record.as_ref());
        let Some(record) = record else {
            let known = self.possessions.remove(vip).is_some();
            self.possession_changes += u64::from(known);
            return known;
        };
        let mut found = Possession {
            holder: record.holder.clone(),
            previous: record.previous.clone(),
            cause: record.cause,
            transition: record.transitions,
            recorded: true,
            since: now,
        };
        // Ends, as every step needs an entry with a greater number.
        while let Some(holder) = &found.holder {
            let lease = self
                .node(&holder.node)
                .and_then(|seen| seen.record.as_ref());
            let Some(bequest) = lease.and_then(|lease| lease.bequests.get(vip, found.transition))
            else {
                break;
            };
            found.previous = Some(holder.node.clone());
            found.holder.clone_from(&bequest.heir);
            found.cause = bequest.cause;
            found.transition += 1;
            found.recorded = false;
        }
        let known = self.possessions.get(vip);
        let same = known
            .filter(|known| (&known.holder, known.transition) == (&found.holder, found.transition));
        let moved = same.is_none();
        if let Some(same) = same {
            found.since = same.since;
        }
        self.possession_changes += u64::from(moved);
        self.possessions.insert(vip.clone(), found);
        moved
    }
}
