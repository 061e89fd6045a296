//! When to announce a VIP that this node holds.
//!
//! Sans-IO: VIPs, `now` and the node's deadline go in, the VIPs whose announcement is to be sent come out. Neighbours
//! hear of a takeover at once; again after 1.1 s, because Linux holds a neighbour entry against change for one second
//! after it was set (`locktime`, arp(7)) and a frame may be lost; and then now and then, for switches and neighbours that
//! were rebooted or relearned meanwhile.
//!
//! An announcement is a claim, so none is made from the deadline on. A node that was frozen past its deadline must not
//! call the traffic back when it wakes; once its right is renewed it announces from the beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::address::InterfaceAddress;
use crate::clock::BootInstant;
use crate::schedule::Schedule;

/// How soon a node without the right looks again whether it has it.
const RECHECK: Duration = Duration::from_millis(10);

/// When announcements are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceTiming {
    /// From the first announcement to the second.
    pub repeat: Duration,
    /// Between the later ones; the first of these comes somewhere in its second half, so that VIPs taken over together
    /// are not refreshed together.
    pub refresh: Duration,
}

impl Default for AnnounceTiming {
    fn default() -> Self {
        Self {
            repeat: Duration::from_millis(1_100),
            refresh: Duration::from_secs(60),
        }
    }
}

/// The announcements still to be made, per interface and VIP.
#[derive(Debug)]
pub struct Takeover {
    timing: AnnounceTiming,
    next: BTreeMap<InterfaceAddress, Announcement>,
    schedule: Schedule<InterfaceAddress>,
    /// Due, but the node has no right; looked at again at `recheck`.
    without_right: BTreeSet<InterfaceAddress>,
    recheck: BootInstant,
}

#[derive(Clone, Copy, Debug)]
enum Announcement {
    First,
    Repeated,
    Refreshing,
}

impl Takeover {
    /// A machine that announces nothing yet.
    pub fn new(timing: AnnounceTiming) -> Self {
        Self {
            timing,
            next: BTreeMap::new(),
            schedule: Schedule::default(),
            without_right: BTreeSet::new(),
            recheck: BootInstant::default(),
        }
    }

    /// Announces `vip` from the beginning: at the next [`poll`](Self::poll), and so on.
    pub fn announce(&mut self, vip: InterfaceAddress, now: BootInstant) {
        self.without_right.remove(&vip);
        self.next.insert(vip, Announcement::First);
        self.schedule.set(vip, now);
    }

    /// Never announces `vip` again.
    pub fn cancel(&mut self, vip: InterfaceAddress) {
        self.without_right.remove(&vip);
        self.next.remove(&vip);
        self.schedule.cancel(vip);
    }

    /// The VIPs to announce now, given that the node's right ends at `deadline`.
    pub fn poll(&mut self, now: BootInstant, deadline: BootInstant) -> Vec<InterfaceAddress> {
        let mut due = Vec::new();
        while let Some(vip) = self.schedule.pop_due(now) {
            due.push(vip);
        }
        if now >= deadline {
            for &vip in &due {
                self.next.insert(vip, Announcement::First);
            }
            self.without_right.extend(due);
            self.recheck = now + RECHECK;
            return Vec::new();
        }
        due.extend(std::mem::take(&mut self.without_right));
        for &vip in &due {
            self.advance(vip, now);
        }
        due
    }

    /// When [`poll`](Self::poll) has to be called next, if nothing else happens.
    pub fn poll_deadline(&self) -> Option<BootInstant> {
        let recheck = (!self.without_right.is_empty()).then_some(self.recheck);
        self.schedule.next().into_iter().chain(recheck).min()
    }

    fn advance(&mut self, vip: InterfaceAddress, now: BootInstant) {
        let Some(announcement) = self.next.get_mut(&vip) else {
            return;
        };
        let (following, wait) = match announcement {
            Announcement::First => (Announcement::Repeated, self.timing.repeat),
            Announcement::Repeated => (Announcement::Refreshing, spread(vip, self.timing.refresh)),
            Announcement::Refreshing => (Announcement::Refreshing, self.timing.refresh),
        };
        *announcement = following;
        self.schedule.set(vip, now + wait);
    }
}

/// A point in the second half of `period`, always the same for one VIP.
pub(crate) fn spread(vip: InterfaceAddress, period: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    vip.hash(&mut hasher);
    // Sixteen bits of the hash as a fraction of half the period.
    let fraction = u32::try_from(hasher.finish() >> 48).expect("sixteen bits");
    period / 2 + period / 2 * fraction / (1 << 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::InterfaceIndex;

    const FOREVER: BootInstant = BootInstant::from_nanos(u64::MAX);

    fn vip(last: u8) -> InterfaceAddress {
        InterfaceAddress {
            interface: InterfaceIndex(3),
            ip: [192, 0, 2, last].into(),
        }
    }

    fn ms(milliseconds: u64) -> BootInstant {
        BootInstant::from_nanos(milliseconds * 1_000_000)
    }

    /// Runs the machine by its own deadlines and tells when it announced what, in milliseconds.
    fn run(
        takeover: &mut Takeover,
        until: BootInstant,
        right: BootInstant,
    ) -> Vec<(u64, InterfaceAddress)> {
        let mut announced = Vec::new();
        while let Some(now) = takeover.poll_deadline().filter(|&at| at <= until) {
            let vips = takeover.poll(now, right);
            announced.extend(
                vips.into_iter()
                    .map(|vip| (now.as_nanos() / 1_000_000, vip)),
            );
        }
        announced
    }

    #[test]
    fn a_takeover_is_announced_at_once_after_locktime_and_now_and_then() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        takeover.announce(vip(1), ms(1_000));
        let times: Vec<u64> = run(&mut takeover, ms(200_000), FOREVER)
            .into_iter()
            .map(|(at, _)| at)
            .collect();
        let [first, second, third, fourth, ..] = times[..] else {
            panic!("{times:?}")
        };
        assert_eq!((first, second), (1_000, 2_100));
        assert!(
            (second + 30_000..=second + 60_000).contains(&third),
            "{times:?}"
        );
        assert_eq!(fourth, third + 60_000);
    }

    #[test]
    fn a_cancelled_vip_is_never_announced_again() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        takeover.announce(vip(1), ms(0));
        takeover.announce(vip(2), ms(0));
        assert_eq!(takeover.poll(ms(0), FOREVER), [vip(1), vip(2)]);
        takeover.cancel(vip(1));
        assert!(
            run(&mut takeover, ms(300_000), FOREVER)
                .iter()
                .all(|&(_, announced)| announced == vip(2))
        );
        takeover.cancel(vip(2));
        assert_eq!(takeover.poll_deadline(), None);
    }

    #[test]
    fn nothing_is_announced_from_the_deadline_on() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        takeover.announce(vip(1), ms(0));
        let announced = run(&mut takeover, ms(5_000), ms(1_100));
        assert_eq!(
            announced,
            [(0, vip(1))],
            "the one at 1,100 ms falls on the deadline"
        );
    }

    #[test]
    fn a_renewed_right_announces_from_the_beginning() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        takeover.announce(vip(1), ms(0));
        run(&mut takeover, ms(5_000), ms(1_000));
        let announced = run(&mut takeover, ms(7_000), FOREVER);
        let [(first, _), (second, _)] = announced[..] else {
            panic!("{announced:?}")
        };
        assert!((5_000..=5_010).contains(&first), "{announced:?}");
        assert_eq!(second, first + 1_100);
    }

    #[test]
    fn a_vip_cancelled_without_the_right_stays_silent() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        takeover.announce(vip(1), ms(0));
        assert!(takeover.poll(ms(0), ms(0)).is_empty());
        takeover.cancel(vip(1));
        assert_eq!(takeover.poll_deadline(), None);
        assert!(takeover.poll(ms(1), FOREVER).is_empty());
    }

    #[test]
    fn vips_taken_over_together_are_not_refreshed_together() {
        let mut takeover = Takeover::new(AnnounceTiming::default());
        for last in 0..200 {
            takeover.announce(vip(last), ms(0));
        }
        let announced = run(&mut takeover, ms(61_100), FOREVER);
        let in_a_second = |second: u64| {
            announced
                .iter()
                .filter(|&&(at, _)| at / 1_000 == second)
                .count()
        };
        assert_eq!(in_a_second(0), 200);
        let busiest = (3..62).map(in_a_second).max().unwrap();
        assert!(busiest < 30, "{busiest} of 200 in one second of thirty");
    }
}
