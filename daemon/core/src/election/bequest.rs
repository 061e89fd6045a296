//! Bequests: what a node's lease says of the VIPs that went from that node to others.
//!
//! A VIP's holdings are numbered by *transitions*. The holder as of transition `k` passes the VIP on by an
//! entry `VIP@k -> heir` in its own node lease; the heir is the holder as of `k + 1`. There is never a
//! second entry for one VIP and transition: the holder writes it once, or the fence that ends its term.

use std::collections::BTreeMap;

use super::name::LeaseName;
use super::record::{Cause, Holder};

/// Where a VIP went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bequest {
    /// The next holder; nobody where the VIP was given up.
    pub heir: Option<Holder>,
    /// Why it went.
    pub cause: Cause,
}

/// The bequests in one node lease, by VIP and transition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bequests(BTreeMap<(LeaseName, u64), Bequest>);

impl Bequests {
    /// What became of `vip` as of `transition`.
    #[must_use]
    pub fn get(&self, vip: &LeaseName, transition: u64) -> Option<&Bequest> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(vip.clone(), transition))
    }

    /// Adds an entry, where there is none for this VIP and transition. What is there stays.
    pub fn add(&mut self, vip: LeaseName, transition: u64, bequest: Bequest) {
        self.0.entry((vip, transition)).or_insert(bequest);
    }

    /// The last transition of `vip` that there is an entry for.
    #[must_use]
    pub fn last_of(&self, vip: &LeaseName) -> Option<u64> {
        let all = (vip.clone(), 0)..=(vip.clone(), u64::MAX);
        let ((_, transition), _) = self.0.range(all).next_back()?;
        Some(*transition)
    }

    /// All entries, in the order of VIPs and transitions.
    pub fn iter(&self) -> impl Iterator<Item = (&LeaseName, u64, &Bequest)> {
        self.0
            .iter()
            .map(|((vip, transition), bequest)| (vip, *transition, bequest))
    }

    /// Whether `other` has every entry that is here.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.keys().all(|key| other.0.contains_key(key))
    }

    /// The VIPs about which `self` and `other` say different things; a VIP may come more than once.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a LeaseName> {
        let missing = |these: &'a Self, those: &'a Self| {
            let lacking = these
                .0
                .iter()
                .filter(|(key, bequest)| those.0.get(key) != Some(bequest));
            lacking.map(|((vip, _), _)| vip)
        };
        missing(self, other).chain(missing(other, self))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(LeaseName, u64, Bequest)> for Bequests {
    fn from_iter<I: IntoIterator<Item = (LeaseName, u64, Bequest)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        Self(
            entries
                .map(|(vip, transition, bequest)| ((vip, transition), bequest))
                .collect(),
        )
    }
}
