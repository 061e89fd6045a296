//! The last VIPs that came to this node. Fed by the election's thread; read by `landfall l2 history`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use landfall_core::election::{Cause, LeaseName};
use landfall_core::model::NodeName;

use crate::telemetry::metric;

/// How many are kept. A node's death with thousands of VIPs pushes all before it out.
const KEPT: usize = 4096;

/// One change of hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When this node saw it.
    pub at: SystemTime,
    /// The lease of the VIP.
    pub lease: LeaseName,
    /// Who held it before, where that is known.
    pub from: Option<NodeName>,
    /// Who holds it now.
    pub to: Option<NodeName>,
    /// Why.
    pub cause: Cause,
    /// How long nobody answered, where this node can tell.
    pub silence: Option<Duration>,
}

/// The ring of changes. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<VecDeque<Change>>>);

impl History {
    /// Adds the latest change, and counts it.
    pub fn add(&self, change: Change) {
        metrics::counter!(metric::HANDOVERS.name, "cause" => change.cause.as_str()).increment(1);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_back();
        }
        kept.push_front(change);
    }

    /// All that are kept, the latest first.
    #[must_use]
    pub fn list(&self) -> Vec<Change> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_change_is_listed_first_and_the_oldest_is_forgotten() {
        let history = History::default();
        for number in 0..=KEPT {
            history.add(Change {
                at: SystemTime::UNIX_EPOCH,
                lease: LeaseName::of_service("default", &format!("s{number}")),
                from: None,
                to: Some(NodeName::new("node1")),
                cause: Cause::First,
                silence: None,
            });
        }
        let listed = history.list();
        assert_eq!(listed.len(), KEPT);
        assert_eq!(
            listed[0].lease.as_str(),
            format!("landfall-l2-default.s{KEPT}")
        );
        assert_eq!(listed[KEPT - 1].lease.as_str(), "landfall-l2-default.s1");
    }
}
