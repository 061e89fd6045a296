//! Who has which address, brought up to date.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::policy::table::{Operation, Peer, PeerId};

use super::Compiler;
use super::claims::Owner;
use super::delta::{Stages, Touched};

impl Compiler {
    /// Finds the owners of addresses anew. Sets that depend on which pod has an address become stale.
    pub(super) fn assign_addresses(&mut self, stages: &mut Stages, touched: &mut Touched) {
        let mut port_names = BTreeSet::new();
        for address in std::mem::take(&mut self.claims.dirty) {
            touched.addresses += 1;
            let after = self.peer(address);
            let before = self.peers.get(&address).copied();
            if before == after {
                continue;
            }
            for peer in [before, after].into_iter().flatten() {
                if let Some(identity) = self.population.identity(peer.identity) {
                    let ports = identity.key.ports.iter();
                    port_names.extend(ports.map(|port| Arc::clone(&port.name)));
                }
            }
            match after {
                Some(peer) => self.peers.insert(address, peer),
                None => self.peers.remove(&address),
            };
            stages.peers.push(Operation::Peer(address, after));
        }
        if !port_names.is_empty() {
            self.make_stale(|set| {
                let mut names = set.compiled.port_names_in_blocks();
                names.any(|name| port_names.contains(name))
            });
        }
    }

    fn peer(&self, address: IpAddr) -> Option<Peer> {
        match self.claims.owner(address, &self.settings.node)? {
            Owner::Node(name) => self.population.node(name).map(|node| Peer {
                identity: node.id,
                group: PeerId::ANY_NODE,
                named_ports: None,
                own_node: *name == self.settings.node,
            }),
            Owner::Pod(name) => {
                let identity = self.pods.get(name)?.identity?;
                let known = self.population.identity(identity)?;
                Some(Peer {
                    identity,
                    group: known.namespace,
                    named_ports: known.named_ports,
                    own_node: false,
                })
            }
        }
    }
}
