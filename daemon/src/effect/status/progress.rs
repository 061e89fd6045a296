//! How far the writing of one object's status is; without I/O.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::difference::{Application, difference};
use super::wish::Wish;
use crate::source::kubernetes_status::{LiveKey, LiveStatus};

/// How long what may pass by itself must have lasted: longer than a node's VIPs take to move, and agents to restart.
const LASTING: Duration = Duration::from_secs(5);
/// How long a Service must have been none of ours before it is released.
const LASTING_RELEASE: Duration = Duration::from_secs(1);
/// Objects other than Services are written no more often.
const PACE: Duration = Duration::from_secs(1);
/// How long a refusal holds where nothing changes.
const REFUSED: Duration = Duration::from_secs(300);

/// What is known of an object besides its status and the wish.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// It is being written.
    pub(super) in_flight: bool,
    /// The status as the server told it after a write, where the source may yet have to tell of that.
    after: Option<Arc<LiveStatus>>,
    refused: Option<Refusal>,
    /// Since when something differs that may pass.
    passing_since: Option<Instant>,
    not_before: Option<Instant>,
    ready: Option<Flight>,
}

/// The server would not have a wish.
#[derive(Debug)]
struct Refusal {
    wish: Wish,
    /// The status as it was.
    revision: u64,
    /// When it is asked for again though nothing changed: permissions may have.
    again: Instant,
}

/// A write that may begin.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) application: Application,
    pub(super) api_version: Arc<str>,
    /// The status it was made from.
    pub(super) revision: u64,
}

/// When an object is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// At once.
    Now {
        /// Its addresses, not conditions alone.
        addresses: bool,
    },
    /// Not before then.
    At(Instant),
    /// Not as things are.
    Never,
}

impl Progress {
    /// When the object is to be written, and whether its addresses are another controller's.
    pub(super) fn examine(
        &mut self,
        key: &LiveKey,
        wish: &Wish,
        live: &Arc<LiveStatus>,
        (now, clock): (Instant, SystemTime),
    ) -> (Due, bool) {
        self.ready = None;
        let live = self.latest(live);
        let lasting = if wish.is_release() {
            LASTING_RELEASE
        } else {
            LASTING
        };
        let lasted = |since: Instant| now >= since + lasting;
        let has_lasted = self.passing_since.is_some_and(lasted);
        let found = difference(key, &live, wish, has_lasted, clock);
        let mut at = None;
        if found.passing {
            let since = *self.passing_since.get_or_insert(now);
            at = Some(since + lasting);
        } else if found.apply.is_none() {
            self.passing_since = None;
        }
        if self.in_flight {
            return (Due::Never, found.foreign);
        }
        self.refused = self.refused.take().filter(|refusal| {
            now < refusal.again && refusal.revision == live.revision && refusal.wish == *wish
        });
        let again = self.refused.as_ref().map(|refusal| refusal.again);
        let due = match found.apply {
            Some(_) if again.is_some() => again.map_or(Due::Never, Due::At),
            Some(application) => match self.not_before.filter(|at| *at > now) {
                Some(at) => Due::At(at),
                None => {
                    let addresses = application.addresses;
                    self.ready = Some(Flight {
                        application,
                        api_version: Arc::clone(&live.api_version),
                        revision: live.revision,
                    });
                    Due::Now { addresses }
                }
            },
            None => at.map_or(Due::Never, Due::At),
        };
        self.not_before = self.not_before.filter(|at| *at > now);
        (due, found.foreign)
    }

    /// The status as it is: the source's word, unless the server has told something newer.
    fn latest(&mut self, live: &Arc<LiveStatus>) -> Arc<LiveStatus> {
        let newer =
            |after: &Arc<LiveStatus>| after.uid == live.uid && after.revision > live.revision;
        self.after = self.after.take().filter(newer);
        Arc::clone(self.after.as_ref().unwrap_or(live))
    }

    /// The write that was found due.
    pub(super) fn take_off(&mut self) -> Option<Flight> {
        self.in_flight |= self.ready.is_some();
        self.ready.take()
    }

    /// The server has written. `paced` is the time, where the next one has to wait.
    pub(super) fn written(&mut self, status: LiveStatus, paced: Option<Instant>) {
        self.after = Some(Arc::new(status));
        self.passing_since = None;
        self.not_before = paced.map(|now| now + PACE);
    }

    /// The server will not have the wish, or there is no such object, as it was at `revision`.
    pub(super) fn refused(&mut self, revision: u64, wish: Option<&Wish>, now: Instant) {
        self.refused = wish.map(|wish| Refusal {
            wish: wish.clone(),
            revision,
            again: now + REFUSED,
        });
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether there is nothing to be remembered.
    pub(super) fn is_nothing(&self) -> bool {
        !self.in_flight
            && self.after.is_none()
            && self.refused.is_none()
            && self.passing_since.is_none()
            && self.not_before.is_none()
            && self.ready.is_none()
    }
}
