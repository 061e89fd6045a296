//! How long to wait before a server that failed is asked again.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_millis(100);
/// The longest: whatever was away is found again within it.
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that double, each shortened by chance by up to a half, so that a cluster's agents do not ask in step.
#[derive(Debug)]
pub(crate) struct Pause {
    first: Duration,
    next: Duration,
}

impl Pause {
    pub(crate) fn new() -> Self {
        Self::beginning_with(FIRST)
    }

    /// The same, but for the first time there is none.
    pub(crate) fn after_one_more() -> Self {
        Self::beginning_with(Duration::ZERO)
    }

    fn beginning_with(first: Duration) -> Self {
        Self { first, next: first }
    }

    /// All is well: the next pause is the first one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// How long to wait this time.
    pub(crate) fn take(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).clamp(FIRST, LONGEST);
        whole.mul_f64(1.0 - chance() / 2.0)
    }
}

/// Anything from 0 to 1.
pub(crate) fn chance() -> f64 {
    // Every `RandomState` has keys of its own. 53 bits are what an `f64` holds.
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_none_is_like_the_other() {
        let mut pause = Pause::new();
        let taken: Vec<_> = (0..40).map(|_| pause.take()).collect();
        assert!(taken.iter().all(|taken| *taken <= LONGEST), "{taken:?}");
        assert!(taken[0] <= FIRST && taken[0] >= FIRST / 2);
        assert!(taken[4..].iter().all(|taken| *taken >= LONGEST / 2));
        let mut sorted = taken.clone();
        sorted.sort();
        sorted.dedup();
        assert!(sorted.len() > 30, "{taken:?}");
        pause.reset();
        assert!(pause.take() <= FIRST);
        let mut pause = Pause::after_one_more();
        assert_eq!(pause.take(), Duration::ZERO);
        assert!((FIRST / 2..=FIRST).contains(&pause.take()));
        pause.reset();
        assert_eq!(pause.take(), Duration::ZERO);
    }
}
