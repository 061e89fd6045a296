//! Probers, peers and stalls on a virtual clock.

use std::time::Duration;

use super::*;
use crate::effect::liveness::{MISSED_BY_ALL, PATIENCE, PERIOD};

/// A prober whose peers echo or do not.
struct Lab {
    judge: Judge,
    zero: Instant,
    now: Duration,
    serial: Serial,
}

impl Lab {
    fn with(roads: &[(&str, u32, u8)]) -> Self {
        let mut by_node = Roads::new();
        for (name, index, host) in roads {
            by_node
                .entry(NodeName::new(*name))
                .or_default()
                .insert(road(*index, *host));
        }
        let mut judge = Judge::new(PATIENCE, MISSED_BY_ALL);
        judge.set_roads(by_node);
        Self {
            judge,
            zero: Instant::now(),
            now: Duration::ZERO,
            serial: 0,
        }
    }

    fn at(&self) -> Instant {
        self.zero + self.now
    }

    fn send(&mut self) -> Vec<Road> {
        self.serial += 1;
        let roads: Vec<Road> = self.judge.roads().copied().collect();
        for (place, road) in (0..).zip(&roads) {
            let at = self.at() + Duration::from_micros(place);
            self.judge.sent(road, self.serial, at);
        }
        roads
    }

    /// One period: a probe on every road, echoed at once on those for which `echoes` holds, and a verdict at each
    /// millisecond. Gives the times at which the set of the dead changed.
    fn period(&mut self, echoes: impl Fn(&Road) -> bool) -> Vec<(Duration, Vec<String>)> {
        let mut last = self.dead();
        let mut changes = Vec::new();
        for road in self.send().iter().filter(|road| echoes(road)) {
            self.judge.heard(road.index, road.peer, self.serial);
        }
        for _ in 0..PERIOD.as_millis() {
            let dead = self.dead();
            if dead != last {
                changes.push((self.now, dead.clone()));
                last = dead;
            }
            self.now += Duration::from_millis(1);
        }
        changes
    }

    /// Periods until the set of the dead changes: how long that took, and who they are.
    fn until_dead(&mut self, echoes: impl Fn(&Road) -> bool) -> (Duration, Vec<String>) {
        let from = self.now;
        for _ in 0..100 {
            if let Some((at, dead)) = self.period(&echoes).pop() {
                return (at - from, dead);
            }
        }
        panic!("nobody is found dead");
    }

    fn dead(&mut self) -> Vec<String> {
        let verdict = self.judge.judge(self.at());
        verdict.dead.iter().map(ToString::to_string).collect()
    }
}

fn road(index: u32, host: u8) -> Road {
    let lan = u8::try_from(index).expect("a small number");
    Road {
        index: LinkIndex(index),
        own: MacAddress([2, 0, 0, 0, lan, 1]),
        peer: MacAddress([2, 0, 0, 0, lan, host]),
    }
}

fn two_peers() -> Lab {
    Lab::with(&[("node2", 3, 12), ("node3", 3, 13)])
}

fn not_node2(road: &Road) -> bool {
    *road != self::road(3, 12)
}

#[test]
fn a_node_is_dead_within_330_milliseconds_of_its_last_echo() {
    let mut lab = two_peers();
    for _ in 0..20 {
        assert_eq!(lab.period(|_| true), []);
    }
    // It died right after the last echo, the worst moment of all: one period before the first probe that it missed.
    let (took, dead) = lab.until_dead(not_node2);
    assert_eq!(dead, ["node2"]);
    let took = took + PERIOD;
    assert!(took <= Duration::from_millis(330), "{took:?}");
    assert!(took >= Duration::from_millis(200), "too hasty: {took:?}");
}

#[test]
fn a_node_lives_while_one_of_its_roads_does_and_the_silent_road_is_told() {
    let mut lab = Lab::with(&[("node2", 3, 12), ("node2", 4, 12), ("node3", 3, 13)]);
    for _ in 0..20 {
        assert_eq!(lab.period(not_node2), []);
    }
    let verdict = lab.judge.judge(lab.at());
    let silent = (LinkIndex(3), MacAddress([2, 0, 0, 0, 3, 12]));
    assert_eq!(verdict.silent, BTreeSet::from([silent]));
}

#[test]
fn a_node_that_echoes_again_is_alive_after_a_few_echoes() {
    let mut lab = two_peers();
    lab.until_dead(not_node2);
    // A lucky echo or two is not a life.
    for _ in 0..2 {
        lab.period(|_| true);
        lab.period(not_node2);
    }
    assert_eq!(lab.dead(), ["node2"]);
    for _ in 0..3 {
        lab.period(|_| true);
    }
    assert_eq!(lab.dead(), Vec::<String>::new());
}

#[test]
fn probes_lost_now_and_then_kill_nobody() {
    let mut lab = two_peers();
    for round in 0..200 {
        // Four of five are lost on one road.
        let changes = lab.period(|road| round % 5 == 0 || not_node2(road));
        assert_eq!(changes, [], "round {round}");
    }
}

#[test]
fn a_prober_that_slept_blames_nobody() {
    let mut lab = two_peers();
    lab.period(|_| true);
    // The echoes wait in the socket for ten seconds, and are read before the verdict.
    let roads = lab.send();
    lab.now += Duration::from_secs(10);
    for road in &roads {
        lab.judge.heard(road.index, road.peer, lab.serial);
    }
    assert_eq!(lab.dead(), Vec::<String>::new());
    // Even one that is lost is not a row of them, however long ago it was sent.
    lab.send();
    lab.now += Duration::from_secs(10);
    assert_eq!(lab.dead(), Vec::<String>::new());
}

#[test]
fn where_all_fall_silent_together_the_verdict_takes_longer() {
    let mut lab = two_peers();
    lab.period(|_| true);
    let (took, dead) = lab.until_dead(|_| false);
    assert_eq!(dead, ["node2", "node3"]);
    let second = Duration::from_millis(900)..=Duration::from_millis(1_100);
    assert!(second.contains(&took), "{took:?}");
}

#[test]
fn the_only_peer_is_found_dead_as_fast_as_one_of_many() {
    let mut lab = Lab::with(&[("node2", 3, 12)]);
    lab.period(|_| true);
    let (took, _) = lab.until_dead(|_| false);
    assert!(took <= Duration::from_millis(280), "{took:?}");
    let mut lab = two_peers();
    lab.until_dead(not_node2);
    let (took, dead) = lab.until_dead(|_| false);
    assert_eq!(dead, ["node2", "node3"]);
    assert!(took <= Duration::from_millis(280), "{took:?}");
}

#[test]
fn a_road_that_goes_takes_its_silence_along() {
    let mut lab = two_peers();
    lab.until_dead(not_node2);
    let left = BTreeSet::from([road(3, 13)]);
    lab.judge
        .set_roads(Roads::from([(NodeName::new("node3"), left)]));
    assert_eq!(lab.judge.judge(lab.at()), Verdict::default());
}

#[test]
fn echoes_of_old_or_foreign_probes_count_for_nothing() {
    let mut lab = two_peers();
    let node2 = road(3, 12).peer;
    for _ in 0..10 {
        lab.period(not_node2);
        lab.judge.heard(LinkIndex(3), node2, 9_999);
        lab.judge.heard(LinkIndex(4), node2, lab.serial);
    }
    assert_eq!(lab.dead(), ["node2"]);
}

#[test]
fn the_judge_says_when_to_ask_it_next() {
    let mut judge = Judge::new(PATIENCE, MISSED_BY_ALL);
    let node2 = BTreeSet::from([road(3, 12)]);
    judge.set_roads(Roads::from([(NodeName::new("node2"), node2)]));
    let sent = Instant::now();
    for serial in 1..=5 {
        assert_eq!(judge.due(sent), None);
        judge.sent(&road(3, 12), serial, sent);
    }
    assert_eq!(judge.due(sent), Some(sent + PATIENCE.echo));
    assert_eq!(judge.due(sent + PATIENCE.echo), None, "it was told");
}
