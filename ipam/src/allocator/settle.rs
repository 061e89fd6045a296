//! Giving and taking addresses, and the order in which services are served.
//!
//! Owns the working-off of one event: first every address that became illegal is released, so that
//! all that is free is known; then services are served from the oldest on, those the event concerns
//! and those whose tickets it made good, until nobody is left whom something free could help. Fed by
//! the public events of [`super::Allocator`]; feeds [`Changes`].

mod assign;
mod entry;
mod intake;
mod serve;

use std::collections::BTreeSet;

pub(super) use self::entry::Entry;
use self::entry::{Before, change};
use super::Allocator;
use super::services::Slot;
use super::waiting::Ticket;
use crate::outcome::Changes;
use crate::request::{ServiceId, Turn};

/// One event being worked off.
#[derive(Debug, Default)]
pub(super) struct Work {
    touched: Vec<Slot>,
    removed: Option<(ServiceId, Before)>,
    due: BTreeSet<Turn>,
    /// Tickets made good during the event, each with the oldest service that held it when that was
    /// last looked up; at most one call per ticket is current, others are dropped when met.
    calls: BTreeSet<(Turn, Ticket)>,
}

impl Work {
    /// Has the service served.
    pub(super) fn wake(&mut self, turn: &Turn) {
        if !self.due.contains(turn) {
            self.due.insert(turn.clone());
        }
    }

    /// Has all of them served; cheap when they come in order and nobody is due yet.
    pub(super) fn wake_all(&mut self, turns: impl Iterator<Item = Turn>) {
        self.due.append(&mut turns.collect());
    }
}

impl Allocator {
    /// Serves everybody the event concerns, the oldest first, and tells what changed.
    pub(super) fn finish(&mut self, mut work: Work) -> Changes {
        while let Some((turn, called_by)) = self.next_turn(&mut work) {
            work.due.remove(&turn);
            self.serve(&turn, &mut work);
            // Whoever was called for a free address has taken it; were it not so, calling again
            // would not help either.
            if let Some(ticket) = called_by
                && self
                    .services
                    .get(&turn.1)
                    .is_some_and(|entry| entry.tickets.contains(&ticket))
            {
                debug_assert!(false, "{} was called by {ticket:?} in vain", turn.1);
                work.calls.remove(&(turn, ticket));
            }
        }
        let pools = self.pools.take_touched();
        let removed = work
            .removed
            .map(|(id, before)| (id, change(before.addresses, None)));
        let services = &mut self.services;
        let changed = work.touched.into_iter().filter_map(|slot| {
            let entry = services.at_mut(slot)?;
            let before = entry.before.take()?;
            let same = entry.outcome == before.outcome && entry.has_just(&before.addresses);
            let id = || entry.request.id.clone();
            (!same).then(|| (id(), change(before.addresses, entry.outcome.clone())))
        });
        Changes {
            services: changed.chain(removed).collect(),
            pools,
        }
    }

    /// The oldest of those due and of those for whom an address became free; with the ticket that
    /// called the latter.
    fn next_turn(&mut self, work: &mut Work) -> Option<(Turn, Option<Ticket>)> {
        for (class, pool, family) in self.pools.take_opened() {
            self.call(Ticket::Class(class, family), work);
            self.call(Ticket::Pool(pool, family), work);
        }
        loop {
            let due = work.due.first();
            let Some(call) = work.calls.first() else {
                return due.map(|turn| (turn.clone(), None));
            };
            if let Some(due) = due
                && *due <= call.0
            {
                return Some((due.clone(), None));
            }
            let (turn, ticket) = call.clone();
            if self.is_good(&ticket) && self.waiting.queue(&ticket).next() == Some(&turn) {
                return Some((turn, Some(ticket)));
            }
            let (_, ticket) = work.calls.pop_first()?;
            self.call(ticket, work);
        }
    }

    /// Calls the oldest service that waits for `ticket`, if it is good.
    fn call(&self, ticket: Ticket, work: &mut Work) {
        let first = self
            .waiting
            .queue(&ticket)
            .next()
            .filter(|_| self.is_good(&ticket))
            .cloned();
        if let Some(turn) = first {
            work.calls.insert((turn, ticket));
        }
    }

    /// Whether an address is free for the holders of `ticket`.
    fn is_good(&self, ticket: &Ticket) -> bool {
        match ticket {
            Ticket::Class(class, family) => self.pools.classes.is_open(*class, *family),
            Ticket::Pool(name, family) => self
                .pools
                .by_name(name)
                .is_some_and(|state| state.is_open(*family)),
            // Whoever waits for these is woken by name.
            Ticket::Address(_) | Ticket::Key(_) => false,
        }
    }
}
