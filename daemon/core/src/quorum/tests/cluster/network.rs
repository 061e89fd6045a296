//! What carries messages.

use std::time::Duration;

use super::{Cluster, Step};
use crate::quorum::Event;
use crate::quorum::message::Message;

impl Cluster {
    pub(super) fn send(&mut self, from: usize, to: usize, message: Message) {
        let weather = self.weather;
        if to >= self.nodes.len() || self.nodes[to].quorum.is_none() {
            return;
        }
        if weather.belated > 0 && self.rng.chance(weather.belated) {
            let span = self.rng.millis(100, 4000);
            self.push(span, to, Step::Event(Event::Received(message.clone())));
        }
        if self.cut[from][to] || (weather.lost > 0 && self.rng.chance(weather.lost)) {
            return;
        }
        if weather.doubled > 0 && self.rng.chance(weather.doubled) {
            let span = self.under_way();
            self.push(span, to, Step::Event(Event::Received(message.clone())));
        }
        let span = self.under_way();
        self.push(span, to, Step::Event(Event::Received(message)));
    }

    /// Most messages are quick.
    fn under_way(&mut self) -> Duration {
        let slowest = if self.rng.chance(7000) {
            3
        } else {
            self.weather.slowest_ms
        };
        Duration::from_micros(100) + self.rng.millis(0, slowest)
    }
}
