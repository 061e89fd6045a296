//! Nodes and this node's interfaces, as the kernel programs need them.

use std::collections::HashMap;

use aya::maps::MapError;
use landfall_ebpf_abi::map;
use landfall_ebpf_abi::node::{
    INTERFACE_SLOTS, Interface, MAX_NODES, NODE_INDEX_SELF, NODE_L2_DSR, NODE_SELF, NODE_SNAT,
    Node, PeerKey,
};

use crate::filter::Filter;
use crate::loader::{Array, Hash, Loaded};

/// How another node is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over a shared LAN: its Ethernet address, and this node's address and interface there.
    L2Dsr {
        /// Its Ethernet address.
        mac: [u8; 6],
        /// This node's Ethernet address there.
        own_mac: [u8; 6],
        /// This node's interface there.
        ifindex: u32,
    },
    /// By source translation, along the routes.
    Snat,
    /// Not at all.
    Unreachable,
}

/// Why a node or an interface could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PeersError {
    /// The node array is full.
    #[error("node {0} is one more than the {MAX_NODES} that the data path holds")]
    TooManyNodes(String),
    /// Two interfaces fall on one place.
    #[error(
        "interface {0} and interface {1} have indexes equal modulo {INTERFACE_SLOTS}; re-create one of them"
    )]
    InterfaceClash(u32, u32),
    /// The kernel's.
    #[error("the kernel refused an entry")]
    Map(#[from] MapError),
}

/// The node, peer and interface maps. One owner: the data path effect.
pub struct Peers {
    nodes: Array<Node>,
    peers: Hash<PeerKey, u32>,
    filter: Filter,
    interfaces: Array<Interface>,
    indexes: HashMap<String, u16>,
    held: HashMap<u16, Node>,
    macs: HashMap<[u8; 6], u32>,
}

impl Peers {
    /// Takes the maps out of the loaded data path.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(loaded: &mut Loaded) -> Result<Self, MapError> {
        let nodes: Array<Node> = loaded.take(map::NODES);
        let peers: Hash<PeerKey, u32> = loaded.take(map::PEERS);
        let held = (0..nodes.len())
            .filter_map(|index| Some((index as u16, nodes.get(&index, 0).ok()?)))
            .filter(|(_, node)| *node != Node::default())
            .collect();
        let mut peers = Self {
            nodes,
            peers,
            filter: Filter::new(loaded.take(map::PEER_FILTER)),
            interfaces: loaded.take(map::INTERFACES),
            indexes: HashMap::new(),
            held,
            macs: HashMap::new(),
        };
        let this = Node {
            flags: NODE_SELF,
            ..Node::default()
        };
        peers.nodes.set(u32::from(NODE_INDEX_SELF), this, 0)?;
        peers.held.insert(NODE_INDEX_SELF, this);
        Ok(peers)
    }

    /// The index of a node, giving it one on first sight: that under which an earlier daemon reached the same Ethernet
    /// address, so that tables which still stand stay true.
    ///
    /// # Errors
    /// [`PeersError`]
    pub fn index(&mut self, name: &str, reach: Reach) -> Result<u16, PeersError> {
        let index = match self.indexes.get(name) {
            Some(index) => *index,
            None => {
                let index = self
                    .free_index(reach)
                    .ok_or_else(|| PeersError::TooManyNodes(name.to_owned()))?;
                self.indexes.insert(name.to_owned(), index);
                index
            }
        };
        let node = match reach {
            Reach::L2Dsr {
                mac,
                own_mac,
                ifindex,
            } => Node {
                mac,
                own_mac,
                ifindex,
                flags: NODE_L2_DSR,
            },
            Reach::Snat => Node {
                flags: NODE_SNAT,
                ..Node::default()
            },
            Reach::Unreachable => Node::default(),
        };
        if self.held.get(&index) != Some(&node) {
            self.nodes.set(u32::from(index), node, 0)?;
            self.held.insert(index, node);
        }
        Ok(index)
    }

    fn free_index(&self, reach: Reach) -> Option<u16> {
        let named = |index: &u16| self.indexes.values().any(|taken| taken == index);
        if let Reach::L2Dsr { mac, .. } = reach
            && let Some((index, _)) = self
                .held
                .iter()
                .find(|(index, node)| node.mac == mac && !named(index))
        {
            return Some(*index);
        }
        (1..MAX_NODES as u16)
            .find(|index| !named(index) && !self.held.contains_key(index))
            .or_else(|| {
                // Left-overs of an earlier daemon whose nodes have not come back.
                (1..MAX_NODES as u16).find(|index| !named(index))
            })
    }

    /// Names the Ethernet addresses from which other nodes send: all their interfaces on shared LANs.
    ///
    /// # Errors
    /// The kernel's; the remaining addresses were not written.
    pub fn set_macs(&mut self, wanted: &HashMap<[u8; 6], u32>) -> Result<(), MapError> {
        for (mac, index) in wanted {
            match self.macs.insert(*mac, *index) {
                Some(held) if held == *index => {}
                Some(_) => self
                    .peers
                    .insert(PeerKey { mac: *mac, zero: 0 }, *index, 0)?,
                None => {
                    self.peers
                        .insert(PeerKey { mac: *mac, zero: 0 }, *index, 0)?;
                    self.filter.add_mac(mac)?;
                }
            }
        }
        let gone: Vec<[u8; 6]> = self
            .macs
            .keys()
            .filter(|mac| !wanted.contains_key(*mac))
            .copied()
            .collect();
        for mac in gone {
            self.macs.remove(&mac);
            self.peers.remove(&PeerKey { mac, zero: 0 })?;
            self.filter.remove_mac(&mac)?;
        }
        Ok(())
    }

    /// Writes an interface that programs are attached to.
    ///
    /// # Errors
    /// [`PeersError::InterfaceClash`], or the kernel's.
    pub fn set_interface(&mut self, interface: Interface) -> Result<(), PeersError> {
        let place = interface.ifindex % INTERFACE_SLOTS;
        let held = self.interfaces.get(&place, 0)?;
        if held.ifindex != 0 && held.ifindex != interface.ifindex && exists(held.ifindex) {
            return Err(PeersError::InterfaceClash(held.ifindex, interface.ifindex));
        }
        if held != interface {
            self.interfaces.set(place, interface, 0)?;
        }
        Ok(())
    }

    /// Forgets an interface.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_interface(&mut self, ifindex: u32) -> Result<(), MapError> {
        let place = ifindex % INTERFACE_SLOTS;
        if self.interfaces.get(&place, 0)?.ifindex == ifindex {
            self.interfaces.set(place, Interface::default(), 0)?;
        }
        Ok(())
    }
}

fn exists(ifindex: u32) -> bool {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call asks for.
    unsafe { !libc::if_indextoname(ifindex, name.as_mut_ptr()).is_null() }
}
