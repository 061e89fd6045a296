//! The exchange with all peers: a stream to and from each, and the ledger of what they tell. Sans-IO: frames, scans, the
//! dead and `now` go in; frames and changes to the kernel's map come out.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use landfall_core::model::NodeName;
use landfall_ebpf::abi::flow::FlowKey;
use landfall_ebpf::frontends::Change;
use landfall_ebpf::maglev;

use super::codec::{self, Body, Fingerprint, Message, Process, Seal};
use super::ledger::{Entry, Ledger};
use super::stream::{Arrival, Incoming, Outgoing};

/// How long what a silent agent told is kept, while its node's program lives on: longer than agents are away for an upgrade.
pub(super) const KEPT_SILENT: Duration = Duration::from_secs(600);

/// A payload for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outbound {
    /// The peer.
    pub(super) to: NodeName,
    /// The octets after the Ethernet header.
    pub(super) payload: Vec<u8>,
}

#[derive(Debug)]
struct Peer {
    identity: u64,
    /// Octets that a frame to it may have after its Ethernet header.
    mtu: usize,
    outgoing: Outgoing,
    incoming: Incoming,
    heard_at: Instant,
    /// The process that told something which is not acknowledged yet.
    owes: Option<Process>,
}

/// All that one agent knows of the exchange.
#[derive(Debug)]
pub(super) struct Exchange {
    identity: u64,
    process: Process,
    seal: Seal,
    peers: BTreeMap<NodeName, Peer>,
    ledger: Ledger,
    refused: u64,
}

impl Exchange {
    /// The exchange of the process `process` on `node`.
    pub(super) fn new(node: &NodeName, process: Process, seal: Seal) -> Self {
        Self {
            identity: identity(node),
            process,
            seal,
            peers: BTreeMap::new(),
            ledger: Ledger::default(),
            refused: 0,
        }
    }

    /// Names the peers that packets are re-sent to, each with the octets that a frame to it may have after its Ethernet
    /// header. What others have told is forgotten.
    pub(super) fn set_peers(
        &mut self,
        peers: &BTreeMap<NodeName, usize>,
        now: Instant,
        out: &mut Vec<Entry>,
    ) {
        self.peers.retain(|name, _| peers.contains_key(name));
        for (name, mtu) in peers {
            let process = self.process;
            let peer = self.peers.entry(name.clone()).or_insert_with(|| Peer {
                identity: identity(name),
                mtu: *mtu,
                outgoing: Outgoing::new(process, now),
                incoming: Incoming::default(),
                heard_at: now,
                owes: None,
            });
            peer.mtu = *mtu;
        }
        self.forget_others(out);
    }

    /// Takes a payload that came from a peer's Ethernet address.
    pub(super) fn receive(
        &mut self,
        from: &NodeName,
        payload: &[u8],
        now: Instant,
        out: &mut Vec<Entry>,
    ) {
        let Some(peer) = self.peers.get_mut(from) else {
            return;
        };
        let message = match Message::decode(payload, &self.seal) {
            Ok(message) if message.from == peer.identity && message.to == self.identity => message,
            Ok(_) | Err(_) => {
                self.refused += 1;
                return;
            }
        };
        peer.heard_at = now;
        if message.process > peer.outgoing.heard {
            // A later process than before, or its first word.
            peer.outgoing.heard = message.process;
            peer.outgoing.begin(now);
        }
        let known = message.heard == self.process;
        match message.body {
            Body::Telling {
                generation,
                number,
                items,
            } => {
                // Answered in any case: that is how a peer learns of this process.
                peer.owes = Some(message.process);
                if !known {
                    return;
                }
                let stream = codec::Stream {
                    process: message.process,
                    generation,
                };
                match peer.incoming.arrive(stream, number) {
                    Arrival::Unread => {}
                    Arrival::Beginning => {
                        self.ledger.begin(from);
                        self.ledger.take(from, &items, out);
                    }
                    Arrival::Next => self.ledger.take(from, &items, out),
                }
            }
            Body::Heard { stream, next } if known => {
                if stream.process > self.process {
                    // The clock went back while this agent was away.
                    self.process = Process(stream.process.0 + 1);
                    for peer in self.peers.values_mut() {
                        peer.outgoing.outbid(self.process, now);
                    }
                } else if peer.outgoing.heard(stream, next, now) {
                    for item in self.ledger.everything() {
                        peer.outgoing.tell(item);
                    }
                }
            }
            Body::Heard { .. } => {}
        }
    }

    /// This node goes by other tables.
    pub(super) fn set_tables(&mut self, print: Fingerprint, change: Change) {
        self.ledger.set_tables(print, change);
    }

    /// Takes the flows of this node that are another's by the tables. `again` says that all nodes were seen to go by the
    /// same tables before they were looked for.
    pub(super) fn set_own(&mut self, found: HashSet<FlowKey>, again: bool, out: &mut Vec<Entry>) {
        for item in self.ledger.set_own(found, again, out) {
            for peer in self.peers.values_mut() {
                peer.outgoing.tell(item);
            }
        }
    }

    /// Frames that are due. `dead` nodes are neither waited for nor believed any more.
    pub(super) fn poll(
        &mut self,
        dead: &dyn Fn(&NodeName) -> bool,
        now: Instant,
        out: &mut Vec<Entry>,
    ) -> Vec<Outbound> {
        let mut frames = Vec::new();
        for (name, peer) in &mut self.peers {
            if dead(name) || now - peer.heard_at > KEPT_SILENT {
                self.ledger.forget(name, out);
                // Whatever it says later, it has to say from the beginning.
                peer.incoming.refuse();
            }
            let frame = |heard, body| Message {
                from: self.identity,
                to: peer.identity,
                process: self.process,
                heard,
                body,
            };
            let room = peer.mtu.saturating_sub(codec::length(&[], &self.seal));
            for due in peer.outgoing.due(room, now) {
                let body = Body::Telling {
                    generation: due.stream.generation,
                    number: due.number,
                    items: due.items,
                };
                frames.push(Outbound {
                    to: name.clone(),
                    payload: frame(peer.outgoing.heard, body).encode(&self.seal),
                });
            }
            if let Some(heard) = peer.owes.take() {
                let (stream, next) = peer.incoming.heard();
                let message = frame(heard, Body::Heard { stream, next });
                frames.push(Outbound {
                    to: name.clone(),
                    payload: message.encode(&self.seal),
                });
            }
        }
        frames
    }

    /// When [`poll`](Exchange::poll) is due again, if nothing happens.
    pub(super) fn next(&self) -> Option<Instant> {
        self.peers.values().map(|peer| peer.outgoing.next()).min()
    }

    /// Whether all peers but the dead go by this node's tables, and it has yet to look through its flows since.
    pub(super) fn is_to_look_again(&self, dead: &dyn Fn(&NodeName) -> bool) -> bool {
        !self.ledger.has_looked_again() && self.ledger.all_go_by_the_tables(self.living(dead))
    }

    /// The change up to which everything has been told by all peers but the dead, once it has.
    pub(super) fn settled(&self, dead: &dyn Fn(&NodeName) -> bool) -> Option<Change> {
        self.ledger.settled(self.living(dead))
    }

    /// What is known of moved flows.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Frames that were not read: a wrong tag, or nonsense.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn living<'a>(
        &'a self,
        dead: &'a dyn Fn(&NodeName) -> bool,
    ) -> impl Iterator<Item = &'a NodeName> {
        self.peers.keys().filter(|name| !dead(name))
    }

    fn forget_others(&mut self, out: &mut Vec<Entry>) {
        let gone: Vec<NodeName> = self
            .ledger
            .tellers()
            .filter(|name| !self.peers.contains_key(name))
            .cloned()
            .collect();
        for name in gone {
            self.ledger.forget(&name, out);
        }
    }
}

fn identity(node: &NodeName) -> u64 {
    maglev::identity(node.as_str().as_bytes())
}

#[cfg(test)]
mod tests;
