//! Whether packets of clients get through between two nodes. Sans-IO, like [`super::judge`].
//!
//! L2 DSR re-sends a client's packet with the client's source address, and the endpoint's node answers with the virtual
//! one. Switches and hypervisors may drop both, for they are not the sender's own. So each road is tried with a packet such as
//! those: as long as plain probes are echoed and these are not, clients' packets are taken to be filtered. Where plain
//! probes are not echoed either, nothing can be said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use landfall_core::model::{LinkIndex, MacAddress};

use super::road::Road;
use super::tally::{Patience, Serial, Tally};

/// A version of IP; filters often know one and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A road and a family.
pub type Lane = (Road, Family);

/// The machine.
#[derive(Debug)]
pub struct Passage {
    patience: Patience,
    lanes: BTreeMap<Lane, Tally>,
}

impl Passage {
    /// A machine that knows no lane.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            lanes: BTreeMap::new(),
        }
    }

    /// Sets the lanes there are. Those that are new count as free.
    pub fn set_lanes(&mut self, lanes: BTreeSet<Lane>) {
        self.lanes.retain(|lane, _| lanes.contains(lane));
        for lane in lanes {
            self.lanes.entry(lane).or_default();
        }
    }

    /// Every lane there is.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.keys()
    }

    /// A road probe has left.
    pub fn sent(&mut self, lane: &Lane, serial: Serial, at: Instant) {
        if let Some(tally) = self.lanes.get_mut(lane) {
            tally.sent(serial, at, self.patience.missed);
        }
    }

    /// One has come back.
    pub fn heard(&mut self, index: LinkIndex, peer: MacAddress, family: Family, serial: Serial) {
        for ((road, of), tally) in &mut self.lanes {
            if road.index == index && road.peer == peer && *of == family {
                tally.heard(serial);
            }
        }
    }

    /// The lanes on which clients' packets are filtered, given on which roads plain probes are echoed.
    pub fn judge(
        &mut self,
        now: Instant,
        is_heard: impl Fn(&Road) -> bool,
    ) -> BTreeSet<(LinkIndex, MacAddress, Family)> {
        for ((road, _), tally) in &mut self.lanes {
            if is_heard(road) {
                tally.judge(&self.patience, self.patience.missed, now);
            } else {
                tally.void();
            }
        }
        let filtered = self.lanes.iter().filter(|(_, tally)| tally.silent);
        filtered
            .map(|((road, family), _)| (road.index, road.peer, *family))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::effect::liveness::{LANE_PATIENCE, LANE_PERIOD};

    const ROAD: Road = Road {
        index: LinkIndex(3),
        own: MacAddress([2, 0, 0, 0, 0, 1]),
        peer: MacAddress([2, 0, 0, 0, 0, 2]),
    };

    struct Lab {
        passage: Passage,
        now: Instant,
        serial: Serial,
    }

    impl Lab {
        fn new() -> Self {
            let mut passage = Passage::new(LANE_PATIENCE);
            passage.set_lanes(BTreeSet::from([(ROAD, Family::V4), (ROAD, Family::V6)]));
            Self {
                passage,
                now: Instant::now(),
                serial: 0,
            }
        }

        /// Periods in which probes of `passing` come back while plain ones are echoed or not; which lanes are filtered then.
        fn periods(&mut self, count: u32, passing: &[Family], is_heard: bool) -> Vec<Family> {
            let mut filtered = BTreeSet::new();
            for _ in 0..count {
                self.serial += 1;
                for family in [Family::V4, Family::V6] {
                    self.passage.sent(&(ROAD, family), self.serial, self.now);
                    if passing.contains(&family) {
                        self.passage
                            .heard(ROAD.index, ROAD.peer, family, self.serial);
                    }
                }
                self.now += LANE_PERIOD;
                filtered = self.passage.judge(self.now, |_| is_heard);
            }
            filtered.into_iter().map(|(.., family)| family).collect()
        }
    }

    const BOTH: [Family; 2] = [Family::V4, Family::V6];

    #[test]
    fn a_lane_is_filtered_when_clients_packets_are_lost_and_plain_probes_are_not() {
        let mut lab = Lab::new();
        assert_eq!(lab.periods(10, &BOTH, true), []);
        assert_eq!(lab.periods(2, &[Family::V6], true), []);
        assert_eq!(lab.periods(1, &[Family::V6], true), [Family::V4]);
    }

    #[test]
    fn a_lane_of_a_silent_road_is_not_judged() {
        let mut lab = Lab::new();
        assert_eq!(lab.periods(100, &[], false), []);
        // What was filtered stays so while nothing can be said.
        assert_eq!(lab.periods(3, &[], true), BOTH);
        assert_eq!(lab.periods(100, &[], false), BOTH);
    }

    #[test]
    fn a_lane_is_free_again_when_probes_have_passed_for_ten_seconds() {
        let mut lab = Lab::new();
        lab.periods(3, &[], true);
        let ten_seconds = 20;
        assert_eq!(LANE_PERIOD * ten_seconds, Duration::from_secs(10));
        assert_eq!(lab.periods(ten_seconds - 1, &BOTH, true), BOTH);
        // One that is lost begins the count anew.
        assert_eq!(lab.periods(1, &[], true), BOTH);
        assert_eq!(lab.periods(ten_seconds - 1, &BOTH, true), BOTH);
        assert_eq!(lab.periods(1, &BOTH, true), []);
    }
}
