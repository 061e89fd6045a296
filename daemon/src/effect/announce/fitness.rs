//! What this node has resigned because it could not prove that its answers get through, and until when.
//!
//! Sans-IO: findings and `now` go in. A wire is an interface on which nothing that this node answers is heard, a VIP is one
//! that alone is not. Both are tried again later, and each time in a row that they fail later still, so that nothing flaps.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use landfall_core::election::LeaseName;
use landfall_core::model::{LinkIndex, MacAddress};

/// How long the first resignation lasts at least; each further one twice as long.
const FIRST: Duration = Duration::from_secs(10);
/// How long any lasts at most, where it is tried again at all.
const MOST: Duration = Duration::from_secs(600);
/// After so long without a failure the next one is the first again.
const FORGET: Duration = Duration::from_secs(900);

/// What is resigned at present, for the lease effect and the peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resigned {
    /// Interfaces on which nothing that this node answers is heard.
    pub interfaces: BTreeSet<LinkIndex>,
    /// Leases with an address that is concerned, for whatever reason.
    pub leases: BTreeSet<LeaseName>,
}

/// Addresses that this node holds and other machines on the LAN have; told to the peers, that each can say so.
pub type Conflicts = BTreeMap<IpAddr, MacAddress>;

/// One story of failures.
#[derive(Clone, Copy, Debug)]
struct Spell {
    failures: u32,
    /// Not tried again before.
    until: Instant,
    resigned: bool,
}

/// The book of resignations.
#[derive(Debug, Default)]
pub(super) struct Fitness {
    wires: BTreeMap<LinkIndex, Spell>,
    vips: BTreeMap<(LinkIndex, IpAddr), Spell>,
}

impl Fitness {
    /// Nothing that this node answers on an interface is heard. Whether that is news.
    pub(super) fn wire_denied(&mut self, index: LinkIndex, now: Instant) -> bool {
        fail(self.wires.entry(index), now)
    }

    /// A VIP alone is not heard. Whether that is news.
    pub(super) fn vip_denied(&mut self, index: LinkIndex, ip: IpAddr, now: Instant) -> bool {
        fail(self.vips.entry((index, ip)), now)
    }

    /// This node is heard on an interface again. Whether its resignation ends with that.
    pub(super) fn wire_works(&mut self, index: LinkIndex, now: Instant) -> bool {
        let spell = self.wires.get_mut(&index);
        spell.is_some_and(|spell| {
            let ends = spell.resigned && now >= spell.until;
            spell.resigned &= !ends;
            ends
        })
    }

    /// Ends the resignations of VIPs whose time has come, since only holding them can prove them, and forgets old stories.
    /// Gives those that end.
    pub(super) fn pass(&mut self, now: Instant) -> Vec<(LinkIndex, IpAddr)> {
        let mut ended = Vec::new();
        for (place, spell) in &mut self.vips {
            if spell.resigned && now >= spell.until {
                spell.resigned = false;
                ended.push(*place);
            }
        }
        let is_young = |spell: &Spell| spell.resigned || now < spell.until + FORGET;
        self.vips.retain(|_, spell| is_young(spell));
        self.wires.retain(|_, spell| is_young(spell));
        ended
    }

    /// An interface that is gone takes its story along.
    pub(super) fn retain_interfaces(&mut self, is_there: impl Fn(LinkIndex) -> bool) {
        self.wires.retain(|index, _| is_there(*index));
        self.vips.retain(|(index, _), _| is_there(*index));
    }

    /// Whether an interface is resigned.
    pub(super) fn is_wire_resigned(&self, index: LinkIndex) -> bool {
        self.wires.get(&index).is_some_and(|spell| spell.resigned)
    }

    /// Interfaces that are resigned.
    pub(super) fn wires(&self) -> impl Iterator<Item = LinkIndex> {
        let resigned = self.wires.iter().filter(|(_, spell)| spell.resigned);
        resigned.map(|(index, _)| *index)
    }

    /// VIPs that alone are resigned.
    pub(super) fn vips(&self) -> impl Iterator<Item = (LinkIndex, IpAddr)> {
        let resigned = self.vips.iter().filter(|(_, spell)| spell.resigned);
        resigned.map(|(place, _)| *place)
    }

    /// Whether an address on an interface is resigned, with the interface or alone.
    pub(super) fn is_resigned(&self, index: LinkIndex, ip: IpAddr) -> bool {
        let vip = self.vips.get(&(index, ip));
        self.is_wire_resigned(index) || vip.is_some_and(|spell| spell.resigned)
    }
}

fn fail<K: Ord>(entry: std::collections::btree_map::Entry<'_, K, Spell>, now: Instant) -> bool {
    let spell = entry.or_insert(Spell {
        failures: 0,
        until: now,
        resigned: false,
    });
    if spell.resigned {
        return false;
    }
    let doublings = spell.failures.min(16);
    spell.failures = spell.failures.saturating_add(1);
    spell.until = now + FIRST.saturating_mul(1 << doublings).min(MOST);
    spell.resigned = true;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: LinkIndex = LinkIndex(3);
    const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 80));

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_wire_is_taken_back_when_it_works_and_its_time_has_come() {
        let (mut fitness, now) = (Fitness::default(), Instant::now());
        assert!(fitness.wire_denied(LAN, now));
        assert!(!fitness.wire_denied(LAN, now), "no news");
        assert!(fitness.is_resigned(LAN, VIP));
        assert!(!fitness.wire_works(LAN, now + seconds(9)), "too early");
        assert_eq!(fitness.pass(now + seconds(60)), [], "not proved");
        assert!(fitness.is_wire_resigned(LAN));
        assert!(fitness.wire_works(LAN, now + seconds(61)));
        assert!(!fitness.is_resigned(LAN, VIP));
    }

    #[test]
    fn a_vip_is_tried_again_ever_later_while_it_fails_in_a_row() {
        let (mut fitness, mut now) = (Fitness::default(), Instant::now());
        for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
            assert!(fitness.vip_denied(LAN, VIP, now));
            assert_eq!(fitness.pass(now + seconds(wait - 1)), []);
            now += seconds(wait);
            assert_eq!(fitness.pass(now), [(LAN, VIP)]);
            assert!(!fitness.is_resigned(LAN, VIP));
        }
        // Long good, it starts from the beginning.
        now += seconds(1_000);
        assert_eq!(fitness.pass(now), []);
        fitness.vip_denied(LAN, VIP, now);
        assert_eq!(fitness.pass(now + seconds(10)), [(LAN, VIP)]);
    }

    #[test]
    fn an_interface_that_goes_takes_its_story_along() {
        let (mut fitness, now) = (Fitness::default(), Instant::now());
        fitness.wire_denied(LAN, now);
        fitness.vip_denied(LinkIndex(4), VIP, now);
        fitness.retain_interfaces(|index| index != LAN);
        assert_eq!(fitness.wires().count(), 0);
        assert_eq!(fitness.vips().count(), 1);
    }
}
