//! The [`Door`] to the kernel's deadline, for two threads, with the kernel behind it: whoever shuts it knows on return that
//! nothing is answered.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use landfall_core::election::{Moment, Term};
use landfall_core::node::Door;

use super::slack::Slack;
use crate::effect::lease::{DeadlineSink, clock};

/// The door and what is behind it.
pub struct Gate {
    inner: Mutex<Inner>,
    slack: Slack,
}

struct Inner {
    sink: Box<dyn DeadlineSink>,
    door: Door,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.lock();
        f.debug_struct("Gate")
            .field("door", &inner.door)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// A shut door before `sink`. What the kernel was told by an earlier process stands until it passes.
    pub fn new(sink: impl DeadlineSink + 'static) -> Self {
        Self {
            inner: Mutex::new(Inner {
                sink: Box::new(sink),
                door: Door::default(),
            }),
            slack: Slack::default(),
        }
    }

    /// Lets deadlines for `term` through.
    pub fn open(&self, term: Term) {
        self.lock().door.open(term);
    }

    /// Lets nothing through any more, and takes back what went through. In force when this returns.
    pub fn shut(&self) {
        let mut inner = self.lock();
        inner.door.shut();
        inner.sink.silence();
    }

    /// The node may answer in `term` until `until`, or not at all.
    pub fn push(&self, term: Term, until: Option<Moment>) {
        let mut inner = self.lock();
        let before = inner.door.pushed();
        if !inner.door.push(term, until) {
            return;
        }
        match until {
            Some(until) => inner.sink.push(until),
            None => inner.sink.silence(),
        }
        // By the one thread that pushes, and under the lock.
        if let (Some(before), Some(_)) = (before, until) {
            self.slack.note(before, clock::now());
        }
    }

    /// The least that was left of a deadline in the last minute when the next was pushed, zero where it had passed.
    pub fn least_slack(&self) -> Option<Duration> {
        self.slack.least(clock::now())
    }

    /// The deadline in force, as far as this process knows.
    pub fn pushed(&self) -> Option<Moment> {
        self.lock().door.pushed()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked here left nothing half done: each step is one store.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Option<Moment>>>);

    impl DeadlineSink for Recorder {
        fn push(&mut self, until: Moment) {
            *self.0.lock().expect("not poisoned") = Some(until);
        }

        fn silence(&mut self) {
            *self.0.lock().expect("not poisoned") = None;
        }
    }

    #[test]
    fn a_deadline_of_another_term_or_after_the_shutting_does_not_get_through() {
        let kernel = Recorder::default();
        let gate = Gate::new(kernel.clone());
        let at = |seconds| Some(Moment::from_boot(Duration::from_secs(seconds)));
        let now = || *kernel.0.lock().expect("not poisoned");
        gate.push(Term(1), at(1));
        assert_eq!(now(), None);
        gate.open(Term(1));
        gate.push(Term(1), at(2));
        assert_eq!(now(), at(2));
        gate.push(Term(2), at(3));
        assert_eq!(now(), at(2));
        gate.push(Term(1), at(1));
        assert_eq!((now(), gate.pushed()), (at(1), at(1)));
        gate.shut();
        gate.push(Term(1), at(9));
        assert_eq!((now(), gate.pushed()), (None, None));
    }
}
