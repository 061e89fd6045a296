//! What of a proposal there is room for, where the record has outgrown its object. Pure.
//!
//! Who has an entry keeps it; of the others the oldest come first. Parts of two states are never put together, as one address
//! could be in both: what is written is a part of the proposal, or else of what is written already.

use std::collections::BTreeSet;
use std::net::IpAddr;

use landfall_core::model::{AssignmentRecord, ServiceName};

/// A record that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fitted {
    pub(super) record: AssignmentRecord,
    /// Services whose entries in the proposal are not in it.
    pub(super) left_out: BTreeSet<ServiceName>,
}

/// The part of `proposed` that fits, given what is `written`; nothing where not even that fits.
pub(super) fn fit(
    proposed: &AssignmentRecord,
    written: &AssignmentRecord,
    fits: impl Fn(&AssignmentRecord) -> bool,
) -> Option<Fitted> {
    let known = |name: &ServiceName| written.services.contains_key(name);
    let mut newcomers: Vec<(u64, &ServiceName)> = proposed
        .services
        .iter()
        .filter(|(name, _)| !known(name))
        .map(|(name, entry)| (entry.created, name))
        .collect();
    newcomers.sort_unstable();
    let with = |count: usize| {
        let taken: BTreeSet<&ServiceName> = newcomers[..count].iter().map(|it| it.1).collect();
        part(proposed, |name| known(name) || taken.contains(name))
    };
    // Between the most that is known to fit and the least that is known not to.
    let (mut most, mut least) = (None, newcomers.len() + 1);
    let mut next = 0;
    while next < least {
        let record = with(next);
        if fits(&record) {
            most = Some((next, record));
        } else {
            least = next;
        }
        let from = most.as_ref().map_or(0, |(count, _)| count + 1);
        next = from + least.saturating_sub(from) / 2;
    }
    if let Some((count, record)) = most {
        let left_out = newcomers[count..].iter().map(|(_, name)| (*name).clone());
        let left_out = left_out.collect();
        return Some(Fitted { record, left_out });
    }
    // Entries have grown: they stay as they are, but for those that are gone.
    let record = part(written, |name| proposed.services.contains_key(name));
    let otherwise = proposed
        .services
        .iter()
        .filter(|(name, entry)| record.services.get(*name) != Some(entry));
    let left_out = otherwise.map(|(name, _)| name.clone()).collect();
    fits(&record).then_some(Fitted { record, left_out })
}

/// The entries that `keeps` names, and the leases of their addresses.
fn part(record: &AssignmentRecord, keeps: impl Fn(&ServiceName) -> bool) -> AssignmentRecord {
    let mut part = record.clone();
    part.services.retain(|name, _| keeps(name));
    let vips = part.services.values().flat_map(|entry| entry.vips());
    let vips: BTreeSet<IpAddr> = vips.collect();
    part.leases.retain(|address, _| vips.contains(address));
    part
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use landfall_core::model::{AssignedAddress, Assignment};

    use super::*;

    fn record(services: &[(&str, u64, u8)]) -> AssignmentRecord {
        let entry = |(name, created, address): &(&str, u64, u8)| {
            let address = AssignedAddress {
                address: [10, 0, 0, *address].into(),
                pool: "lan".into(),
            };
            let entry = Assignment {
                created: *created,
                addresses: vec![address],
                external_ips: Vec::new(),
                reason: "satisfied".into(),
                message: "".into(),
            };
            (ServiceName::new("default", *name), Arc::new(entry))
        };
        AssignmentRecord {
            services: services.iter().map(entry).collect(),
            ..AssignmentRecord::default()
        }
    }

    fn names(left_out: &BTreeSet<ServiceName>) -> Vec<&str> {
        left_out.iter().map(|name| &*name.name).collect()
    }

    #[test]
    fn who_has_an_entry_keeps_it_and_of_the_others_the_oldest_come_first() {
        let written = record(&[("b", 90, 1), ("gone", 1, 2)]);
        let all = [("a", 50, 2), ("b", 90, 1), ("c", 30, 3), ("d", 40, 4)];
        let mut proposed = record(&all);
        let lease = |address: u8| ([10, 0, 0, address].into(), ServiceName::new("x", "y"));
        proposed.leases = [lease(1), lease(2)].into();
        for room in 1..=3 {
            let fits = |record: &AssignmentRecord| record.services.len() <= room;
            let fitted = fit(&proposed, &written, fits).expect("it fits");
            let expected: &[&str] = match room {
                1 => &["a", "c", "d"],
                2 => &["a", "d"],
                _ => &["a"],
            };
            assert_eq!(names(&fitted.left_out), expected, "{room}");
            assert_eq!(fitted.record.services.len(), room);
            // That of an address which nobody has is no use, and takes room.
            assert_eq!(fitted.record.leases, [lease(1)].into(), "{room}");
        }
    }

    #[test]
    fn where_entries_outgrow_the_room_what_is_written_stays_but_for_what_is_gone() {
        let written = record(&[("a", 1, 1), ("b", 2, 2), ("gone", 3, 3)]);
        // b's address goes to c, which would have it beside b.
        let proposed = record(&[("a", 1, 1), ("b", 2, 4), ("c", 4, 2)]);
        let held = &[10, 0, 0, 4];
        let fits = |record: &AssignmentRecord| {
            let mut vips = record.services.values().flat_map(|entry| entry.vips());
            vips.all(|vip| vip != IpAddr::from(*held))
        };
        let fitted = fit(&proposed, &written, fits).expect("what is written fits");
        assert_eq!(fitted.record, record(&[("a", 1, 1), ("b", 2, 2)]));
        assert_eq!(names(&fitted.left_out), ["b", "c"]);
        assert_eq!(fit(&proposed, &written, |_| false), None);
    }
}
