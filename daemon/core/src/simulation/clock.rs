//! The clock of a simulated machine: off by up to 1 %, and as far on as its machine has run.

use std::time::Duration;

use super::chance::Rng;
use crate::election::Moment;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// How fast it runs, in parts per million too fast.
    rate: i64,
    offset: Duration,
}

impl Clock {
    /// Often one of the worst.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let rate = match rng.below(3) {
            0 => -10_000,
            1 => 10_000,
            _ => i64::try_from(rng.below(20_001)).unwrap_or(0) - 10_000,
        };
        let offset = rng.millis(0, 1_000_000);
        Self { rate, offset }
    }

    /// The same, `span` further on.
    pub(crate) fn ahead_by(self, span: Duration) -> Self {
        let offset = self.offset + span;
        Self { offset, ..self }
    }

    /// What it shows when it has run for `ran`.
    pub(crate) fn after(&self, ran: Duration) -> Moment {
        let nanos = i64::try_from(ran.as_nanos()).unwrap_or(0);
        let nanos = nanos + nanos / 1_000_000 * self.rate;
        Moment::from_boot(self.offset + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }

    /// How long it has run when it shows `moment`.
    pub(crate) fn ran_at(&self, moment: Moment) -> Duration {
        let span = moment.since(Moment::from_boot(self.offset)).as_nanos();
        let rate = u128::try_from(1_000_000 + self.rate).unwrap_or(1_000_000);
        Duration::from_nanos(u64::try_from(span * 1_000_000 / rate).unwrap_or(u64::MAX))
    }

    /// How long it takes to go on by `span`; a little more, as timers do.
    pub(crate) fn true_span(&self, span: Duration) -> Duration {
        let nanos = i64::try_from(span.as_nanos()).unwrap_or(0);
        let nanos = nanos - nanos / 1_000_000 * self.rate + nanos / 5000 + 10_000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }
}
