//! Services that lack something, queued by what could help them.
//!
//! Owns the queues that make an event concern only those it can serve. A service that lacks
//! something holds a ticket for each thing that would help; in every queue the oldest comes first.
//! Fed by the settling of services; feeds the choice of who is served next.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::classes::ClassId;
use crate::range::Family;
use crate::request::Turn;

/// Something a service can wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ticket {
    /// A free address of a family in a pool of a class.
    Class(ClassId, Family),
    /// A free address of a family in the pool of this name.
    Pool(Arc<str>, Family),
    /// This address, to be free or to be shared.
    Address(IpAddr),
    /// A set of addresses of this sharing key.
    Key(String),
}

/// The queues.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    queues: BTreeMap<Ticket, BTreeSet<Turn>>,
    everyone: BTreeSet<Turn>,
}

impl Waiting {
    /// Puts a service into the queues of its tickets.
    pub(super) fn enter(&mut self, turn: &Turn, tickets: &[Ticket]) {
        self.everyone.insert(turn.clone());
        for ticket in tickets {
            self.queues
                .entry(ticket.clone())
                .or_default()
                .insert(turn.clone());
        }
    }

    /// Takes a service out of the queues of its tickets.
    pub(super) fn leave(&mut self, turn: &Turn, tickets: &[Ticket]) {
        self.everyone.remove(turn);
        for ticket in tickets {
            if let Some(queue) = self.queues.get_mut(ticket) {
                queue.remove(turn);
                if queue.is_empty() {
                    self.queues.remove(ticket);
                }
            }
        }
    }

    /// Those who wait for `ticket`, the oldest first.
    pub(super) fn queue(&self, ticket: &Ticket) -> impl Iterator<Item = &Turn> {
        self.queues.get(ticket).into_iter().flatten()
    }

    /// Those who wait for an address of `first..=last`.
    pub(super) fn for_addresses(&self, first: IpAddr, last: IpAddr) -> impl Iterator<Item = &Turn> {
        self.queues
            .range(Ticket::Address(first)..=Ticket::Address(last))
            .flat_map(|(_, queue)| queue)
    }

    /// All who wait, the oldest first.
    pub(super) fn everyone(&self) -> impl Iterator<Item = &Turn> {
        self.everyone.iter()
    }
}
