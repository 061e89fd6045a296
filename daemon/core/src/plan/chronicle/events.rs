//! The events of all Services: repeats are counted, and only so many are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::News;
use crate::model::ServiceName;
use crate::report::{Account, Event};

/// Events kept of one Service.
pub(super) const OF_ONE: usize = 16;
/// Events kept in all: two of each of two thousand Services.
pub(super) const OF_ALL: usize = 4096;

/// Which Service has which event, in the order of their last occurrence.
#[derive(Debug, Default)]
pub(super) struct Events {
    order: BTreeMap<u64, ServiceName>,
    next: u64,
}

impl Events {
    /// Adds to the events of a Service, or counts the same again. Where there are too many in all, names the one
    /// that is to be forgotten, which is no longer known here.
    pub(super) fn add(
        &mut self,
        service: &ServiceName,
        account: &mut Account,
        (kind, reason, message): News,
        now: SystemTime,
    ) -> Option<(ServiceName, u64)> {
        let serial = self.next;
        self.next += 1;
        let same = |event: &Event| {
            (event.kind, event.reason, &*event.message) == (kind, reason, message.as_str())
        };
        let event = match account.events.iter().position(same) {
            Some(known) => {
                let known = account.events.remove(known);
                self.order.remove(&known.serial);
                Event {
                    last: now,
                    count: known.count.saturating_add(1),
                    serial,
                    ..known
                }
            }
            None => Event {
                kind,
                reason,
                message: Arc::from(message),
                first: now,
                last: now,
                count: 1,
                serial,
            },
        };
        if account.events.len() >= OF_ONE {
            let oldest = account.events.remove(0);
            self.order.remove(&oldest.serial);
        }
        account.events.push(event);
        self.order.insert(serial, service.clone());
        if self.order.len() <= OF_ALL {
            return None;
        }
        let (serial, oldest) = self.order.pop_first()?;
        Some((oldest, serial))
    }

    /// Forgets all events of a Service that is gone.
    pub(super) fn forget(&mut self, account: &Account) {
        for event in &account.events {
            self.order.remove(&event.serial);
        }
    }
}
