//! What the kernel's answer table is to be, by the election's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::election::{Action, Cause, Event, LeaseName};

/// What to answer for, and what has to be confirmed. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// The VIPs to answer for, and why they came here.
    pub held: Arc<BTreeMap<LeaseName, Cause>>,
    /// VIPs whose removal from the answer table has yet to be confirmed.
    pub releasing: Arc<BTreeSet<LeaseName>>,
    /// The answer table is to be emptied, and that confirmed.
    pub silencing: bool,
}

impl Answers {
    /// Takes over what the election decided.
    pub(super) fn carry_out(&mut self, action: &Action) {
        match action {
            Action::Hold { vip, cause } => {
                Arc::make_mut(&mut self.held).insert(vip.clone(), *cause);
            }
            Action::Release { vip } => {
                Arc::make_mut(&mut self.held).remove(vip);
                Arc::make_mut(&mut self.releasing).insert(vip.clone());
            }
            Action::Silence => {
                *self = Self {
                    silencing: true,
                    ..Self::default()
                };
            }
            _ => {}
        }
    }

    /// Takes note of a confirmation.
    pub(super) fn confirm(&mut self, event: &Event) {
        match event {
            Event::Released(vip) if self.releasing.contains(vip) => {
                Arc::make_mut(&mut self.releasing).remove(vip);
            }
            Event::Silenced => self.silencing = false,
            _ => {}
        }
    }
}
