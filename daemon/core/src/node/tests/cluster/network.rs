//! What carries messages between nodes.

use std::time::Duration;

use super::{Cluster, Step, index_of};
use crate::model::NodeName;
use crate::quorum::Event;
use crate::quorum::message::Message;

impl Cluster {
    pub(super) fn send(&mut self, from: usize, to: &NodeName, message: Message) {
        let weather = self.weather;
        let to = index_of(to);
        if self.machines[to].process.is_none() {
            return;
        }
        if weather.belated > 0 && self.rng.chance(weather.belated) {
            let span = self.rng.millis(100, 4000);
            self.push(span, to, Step::Quorum(Event::Received(message.clone())));
        }
        if self.cut[from][to] || (weather.lost > 0 && self.rng.chance(weather.lost)) {
            return;
        }
        // What waits for a machine that stands still is mostly lost.
        if self.machines[to].paused_until > self.now && self.rng.chance(7000) {
            return;
        }
        if weather.doubled > 0 && self.rng.chance(weather.doubled) {
            let span = self.message_span();
            self.push(span, to, Step::Quorum(Event::Received(message.clone())));
        }
        let span = self.message_span();
        self.push(span, to, Step::Quorum(Event::Received(message)));
    }

    /// Most messages are quick.
    fn message_span(&mut self) -> Duration {
        let slowest = if self.rng.chance(7000) {
            3
        } else {
            self.weather.slowest_ms
        };
        Duration::from_micros(100) + self.rng.millis(0, slowest)
    }
}
