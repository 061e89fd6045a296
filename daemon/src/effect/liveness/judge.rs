//! Which roads and nodes are silent. Sans-IO: what was sent and heard goes in with the time at which it was, and a verdict
//! comes out.
//!
//! A road is judged by probes that were really sent and had time to be echoed, counted in a row, and never by the clock
//! alone: a prober that was not scheduled has sent nothing, so it can blame nobody. The caller reads what waits in its
//! socket before it asks for a verdict; echoes that came while it slept count then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use landfall_core::model::{LinkIndex, MacAddress, NodeName};

use super::road::{Road, Roads};
use super::tally::{Patience, Serial, Tally};

/// The judge.
#[derive(Debug)]
pub struct Judge {
    patience: Patience,
    /// Probes in a row without an echo after which every road is silent, where nobody at all is heard: more likely this
    /// node is the one that cannot hear.
    missed_by_all: usize,
    roads: Roads,
    tallies: BTreeMap<Road, Tally>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Nodes that are silent on all their roads. A node without a road is none of them: nothing can be said of it.
    pub dead: BTreeSet<NodeName>,
    /// Roads that are silent.
    pub silent: BTreeSet<(LinkIndex, MacAddress)>,
}

impl Judge {
    /// A judge that knows no road.
    pub fn new(patience: Patience, missed_by_all: usize) -> Self {
        Self {
            patience,
            missed_by_all,
            roads: Roads::new(),
            tallies: BTreeMap::new(),
        }
    }

    /// Sets the roads there are. Those that stay are judged on, those that are new count as open.
    pub fn set_roads(&mut self, roads: Roads) {
        let all: BTreeSet<Road> = roads.values().flatten().copied().collect();
        self.tallies.retain(|road, _| all.contains(road));
        for road in all {
            self.tallies.entry(road).or_default();
        }
        self.roads = roads;
    }

    /// Every road there is.
    pub fn roads(&self) -> impl Iterator<Item = &Road> {
        self.tallies.keys()
    }

    /// A probe has left.
    pub fn sent(&mut self, road: &Road, serial: Serial, at: Instant) {
        let keep = self.patience.missed.max(self.missed_by_all);
        if let Some(tally) = self.tallies.get_mut(road) {
            tally.sent(serial, at, keep);
        }
    }

    /// An echo has come in on an interface.
    pub fn heard(&mut self, index: LinkIndex, peer: MacAddress, serial: Serial) {
        let tallies = self.tallies.iter_mut();
        for (_, tally) in tallies.filter(|(road, _)| road.index == index && road.peer == peer) {
            tally.heard(serial);
        }
    }

    /// Whether all but the last probe on a road were echoed.
    pub fn is_heard(&self, road: &Road) -> bool {
        let tally = self.tallies.get(road);
        tally.is_some_and(|tally| !tally.silent && tally.missing() <= 1)
    }

    /// When, after `now`, silence could next be found, if nothing is heard until then.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let tallies = self.tallies.values().filter(|tally| !tally.silent);
        let counts = [self.patience.missed, self.missed_by_all];
        let instants = tallies
            .flat_map(|tally| counts.map(|count| tally.missed_at(count, self.patience.echo)));
        instants.flatten().filter(|at| *at > now).min()
    }

    /// The verdict at `now`, after everything that has come in was told.
    pub fn judge(&mut self, now: Instant) -> Verdict {
        let missed = if self.hears_nobody() {
            self.missed_by_all
        } else {
            self.patience.missed
        };
        for tally in self.tallies.values_mut() {
            tally.judge(&self.patience, missed, now);
        }
        let is_silent = |road: &Road| self.tallies.get(road).is_some_and(|tally| tally.silent);
        let dead = self
            .roads
            .iter()
            .filter(|(_, roads)| roads.iter().all(is_silent));
        let silent = self.tallies.keys().filter(|road| is_silent(road));
        Verdict {
            dead: dead.map(|(name, _)| name.clone()).collect(),
            silent: silent.map(|road| (road.index, road.peer)).collect(),
        }
    }

    /// Whether all of several peers that were heard until now have fallen silent together.
    fn hears_nobody(&self) -> bool {
        let tallies_of = |roads: &BTreeSet<Road>| -> Vec<&Tally> {
            roads
                .iter()
                .filter_map(|road| self.tallies.get(road))
                .collect()
        };
        let nodes = self.roads.values().map(tallies_of);
        let alive: Vec<_> = nodes
            .filter(|tallies| tallies.iter().any(|tally| !tally.silent))
            .collect();
        // Without regard to how long the last probe has been out: it is the same moment for all.
        let is_missed = |tally: &&Tally| tally.silent || tally.missing() >= self.patience.missed;
        alive.len() > 1 && alive.iter().flatten().all(is_missed)
    }
}

#[cfg(test)]
mod tests;
