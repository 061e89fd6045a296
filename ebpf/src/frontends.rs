//! The service table in the kernel: frontends, their lookup tables, endpoints and source ranges.
//!
//! A change never shows half: lookup tables and endpoints are written to ranges that nothing refers to yet, then the
//! frontend's entry is replaced, then the old ranges rest and are given back.
//!
//! What flows need that no longer match the tables is in `moved`.

mod moved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{MapData, MapError};
use landfall_ebpf_abi::service::{
    Backend, FRONTEND_ADDRESS, FRONTEND_AFFINITY, FRONTEND_EXTERNAL, FRONTEND_PREVIOUS,
    FRONTEND_SOURCE_RANGES, FRONTEND_UNSETTLED, Frontend, FrontendKey, SLOT_DRAINED,
    SOURCE_RANGE_FRONTEND_BITS, SlotTable, SourceRange,
};
use landfall_ebpf_abi::{Address, PortNumber, map};

use crate::filter::Filter;
use crate::loader::{Array, Hash, Loaded};
use crate::maglev;
use crate::range::Ranges;
use crate::tables::{SlotTables, TableError};

pub use moved::{Change, Choice, Choices, ROOM as MOVED_ROOM};

/// An endpoint of this node, or of another that is reached by SNAT or by a local client.
pub type Endpoint = (Address, PortNumber);

/// The endpoints of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeShare {
    /// The node's index; 0 is this node.
    pub index: u16,
    /// The node's identity, the same on all nodes: [`maglev::identity`] of its name.
    pub identity: u64,
    /// Whether its endpoints are reached by SNAT.
    pub snat: bool,
    /// Its endpoints for new flows.
    pub endpoints: Vec<Endpoint>,
}

/// What a frontend shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Reachable from outside the cluster.
    pub external: bool,
    /// Whether the address itself answers echo and rejects ports without a service: not where it is a node's own.
    pub owns_address: bool,
    /// Affinity's timeout in seconds; 0 for none.
    pub affinity_s: u32,
    /// Admitted clients as mapped addresses with prefix lengths of 0 to 128 bits; empty admits everybody.
    pub source_ranges: Vec<(Address, u8)>,
    /// Nodes that external packets may be sent to, this one included.
    pub nodes: Vec<NodeShare>,
    /// All endpoints, for local clients, by whatever node; those of `nodes` need not be repeated.
    pub others: Vec<Endpoint>,
    /// Endpoints of this node that finish established connections only.
    pub draining: Vec<Endpoint>,
}

/// Why a frontend was not written. What it was before stays in force.
#[derive(Debug, thiserror::Error)]
pub enum FrontendError {
    /// No room for another entry.
    #[error("the frontend table is full at {0} entries; raise datapath.max_frontends")]
    Frontends(u32),
    /// No room for its endpoints.
    #[error("no room for {wanted} more endpoints in {size}; raise datapath.max_backends")]
    Backends {
        /// Endpoints of the frontend.
        wanted: usize,
        /// Size of the array.
        size: u32,
    },
    /// Its lookup tables were not written.
    #[error(transparent)]
    Tables(#[from] TableError),
    /// More endpoints than an entry can count.
    #[error("a frontend has {0} endpoints; the data path counts to 65535")]
    TooManyEndpoints(usize),
    /// The kernel's.
    #[error("the kernel refused an entry")]
    Map(#[from] MapError),
}

/// A frontend as it stands in the kernel.
struct Held {
    entry: Frontend,
    spec: Option<Spec>,
    /// When its node table changed last, while that is not settled.
    unsettled: Option<(Change, Instant)>,
}

/// The service table. One owner: the data path effect.
pub struct Frontends {
    map: Hash<FrontendKey, Frontend>,
    filter: Filter,
    tables: SlotTables,
    backends: Array<Backend>,
    backend_filter: Filter,
    source_ranges: LpmTrie<MapData, SourceRange, u32>,
    held: BTreeMap<FrontendKey, Held>,
    addresses: HashMap<Address, u32>,
    own: BTreeSet<Address>,
    places: Ranges,
    next_id: u32,
    max_frontends: u32,
    moved: moved::MovedFlows,
}

impl Frontends {
    /// Takes the maps out of the loaded data path and adopts what an earlier daemon left in them: it stays in force until
    /// it is replaced, or swept by [`Frontends::settle`].
    ///
    /// # Errors
    /// The kernel's.
    pub fn take(loaded: &mut Loaded) -> Result<Self, MapError> {
        let options = loaded.options().clone();
        let map: Hash<FrontendKey, Frontend> = loaded.take(map::FRONTENDS);
        let mut tables = SlotTables::new(loaded.take(map::SLOTS), options.max_rows);
        let mut places = Ranges::new(options.max_backends);
        let mut held = BTreeMap::new();
        let mut next_id = 1;
        for entry in map.iter() {
            let (key, entry) = entry?;
            if entry.flags & FRONTEND_ADDRESS != 0 {
                continue;
            }
            for table in [entry.nodes, entry.previous_nodes, entry.local] {
                tables.adopt(table)?;
            }
            places.claim(entry.backend_base, u32::from(entry.backend_count));
            next_id = next_id.max(entry.id.saturating_add(1));
            let unsettled = (entry.flags & FRONTEND_UNSETTLED != 0)
                .then(|| (Change::default(), Instant::now()));
            held.insert(
                key,
                Held {
                    entry,
                    spec: None,
                    unsettled,
                },
            );
        }
        let moved = moved::MovedFlows::take(loaded)?;
        Ok(Self {
            map,
            filter: Filter::new(loaded.take(map::FRONTEND_FILTER)),
            tables,
            backends: loaded.take(map::BACKENDS),
            backend_filter: Filter::new(loaded.take(map::BACKEND_FILTER)),
            source_ranges: loaded.take(map::SOURCE_RANGES),
            held,
            addresses: HashMap::new(),
            own: BTreeSet::new(),
            places,
            next_id,
            max_frontends: options.max_frontends,
            moved,
        })
    }

    /// Entries of frontends and their addresses, of all there is room for.
    pub fn fill(&self) -> (u32, u32) {
        (
            (self.held.len() + self.addresses.len()) as u32,
            self.max_frontends,
        )
    }

    /// Endpoints and lookup table rows in use, each of all.
    pub fn ranges_fill(&self) -> [(u32, u32); 2] {
        [self.places.fill(), self.tables.fill()]
    }

    /// Brings one frontend about. Nothing is written where nothing changed.
    ///
    /// # Errors
    /// [`FrontendError`]; the frontend stays as it was.
    pub fn put(
        &mut self,
        key: FrontendKey,
        spec: &Spec,
        now: Instant,
    ) -> Result<(), FrontendError> {
        if self
            .held
            .get(&key)
            .is_some_and(|held| held.spec.as_ref() == Some(spec))
        {
            return Ok(());
        }
        let fresh = self.held.get(&key).is_none_or(|held| held.spec.is_none());
        let new_address = spec.owns_address && !self.addresses.contains_key(&key.address);
        let needed = 1 + u32::from(new_address);
        if !self.held.contains_key(&key) && self.fill().0 + needed > self.max_frontends {
            return Err(FrontendError::Frontends(self.max_frontends));
        }
        let before = self.held.get(&key).map(|held| held.entry);
        let mut entry = self.write_parts(spec, before, now)?;
        let unsettled = self.unsettle(&key, &mut entry, now);
        if let Err(error) = self.map.insert(key, entry, 0) {
            self.give_back(&entry, now);
            return Err(error.into());
        }
        if let Some(before) = before {
            self.give_back(&before, now);
        }
        let old = self
            .held
            .insert(
                key,
                Held {
                    entry,
                    spec: Some(spec.clone()),
                    unsettled,
                },
            )
            .and_then(|held| held.spec);
        self.count_addresses(&key, spec, old.as_ref(), fresh)?;
        Ok(())
    }

    /// Ends a frontend.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, key: &FrontendKey, now: Instant) -> Result<(), MapError> {
        let Some(held) = self.held.remove(key) else {
            return Ok(());
        };
        self.map.remove(key)?;
        self.give_back(&held.entry, now);
        let Some(spec) = held.spec else { return Ok(()) };
        for range in &spec.source_ranges {
            self.source_ranges.remove(&trie_key(held.entry.id, range))?;
        }
        for (address, _) in local_endpoints(&spec) {
            self.backend_filter.remove(&address)?;
        }
        self.release_address(&key.address, spec.owns_address)?;
        self.filter.remove(&key.address)
    }

    /// Ends every frontend that was not [put](Frontends::put) since this daemon started.
    ///
    /// # Errors
    /// The kernel's.
    pub fn settle(&mut self, now: Instant) -> Result<(), MapError> {
        let left: Vec<FrontendKey> = self
            .held
            .iter()
            .filter(|(_, held)| held.spec.is_none())
            .map(|(key, _)| *key)
            .collect();
        for key in &left {
            self.remove(key, now)?;
        }
        let addresses: Vec<FrontendKey> = self
            .map
            .keys()
            .filter_map(Result::ok)
            .filter(|key| key.protocol == 0 && !self.addresses.contains_key(&key.address))
            .collect();
        for key in &addresses {
            self.map.remove(key)?;
        }
        self.filter.settle()?;
        self.backend_filter.settle()
    }

    /// Has packets to this node's own addresses looked at as well: answers to translated flows come to them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_own_addresses(&mut self, wanted: &BTreeSet<Address>) -> Result<(), MapError> {
        for address in wanted.difference(&self.own) {
            self.filter.add(address)?;
        }
        for address in self.own.difference(wanted) {
            self.filter.remove(address)?;
        }
        self.own.clone_from(wanted);
        Ok(())
    }

    /// Keys of all frontends.
    pub fn keys(&self) -> impl Iterator<Item = &FrontendKey> {
        self.held.keys()
    }

    fn write_parts(
        &mut self,
        spec: &Spec,
        before: Option<Frontend>,
        now: Instant,
    ) -> Result<Frontend, FrontendError> {
        let id = before.map_or(self.next_id, |before| before.id);
        let ordered = ordered_backends(spec);
        let backend_count = u16::try_from(ordered.len())
            .map_err(|_| FrontendError::TooManyEndpoints(ordered.len()))?;
        let [nodes, previous_nodes, local] = self.take_tables(spec, before, now)?;
        let Some(base) = self.places.take(ordered.len() as u32, now) else {
            for table in [nodes, previous_nodes, local] {
                self.tables.release(table, now);
            }
            return Err(FrontendError::Backends {
                wanted: ordered.len(),
                size: self.places.fill().1,
            });
        };
        for (offset, backend) in ordered.iter().enumerate() {
            self.backends.set(base + offset as u32, backend, 0)?;
        }
        for range in &spec.source_ranges {
            self.source_ranges.insert(&trie_key(id, range), 1, 0)?;
        }
        if before.is_none() {
            self.next_id += 1;
        }
        let mut flags = 0;
        for (set, flag) in [
            (spec.external, FRONTEND_EXTERNAL),
            (spec.affinity_s > 0, FRONTEND_AFFINITY),
            (!spec.source_ranges.is_empty(), FRONTEND_SOURCE_RANGES),
        ] {
            flags |= if set { flag } else { 0 };
        }
        if previous_nodes.slots > 0 {
            flags |= FRONTEND_PREVIOUS;
        }
        Ok(Frontend {
            id,
            flags,
            nodes,
            previous_nodes,
            local,
            backend_base: base,
            local_count: spec
                .nodes
                .iter()
                .filter(|node| node.index == 0)
                .map(|node| node.endpoints.len() as u16)
                .sum(),
            backend_count,
            snat_count: spec
                .nodes
                .iter()
                .filter(|node| node.snat)
                .map(|node| node.endpoints.len() as u16)
                .sum(),
            zero: 0,
            affinity_s: spec.affinity_s,
        })
    }

    /// The node table, the one before it, and the local table, each with a reference counted.
    fn take_tables(
        &mut self,
        spec: &Spec,
        before: Option<Frontend>,
        now: Instant,
    ) -> Result<[SlotTable; 3], FrontendError> {
        let nodes = self.tables.take(&node_table(spec), now)?;
        let rest = self.previous(spec, before, nodes).and_then(|previous| {
            let previous = self.tables.take(&previous, now)?;
            match self.tables.take(&local_table(spec), now) {
                Ok(local) => Ok([previous, local]),
                Err(error) => {
                    self.tables.release(previous, now);
                    Err(error.into())
                }
            }
        });
        match rest {
            Ok([previous, local]) => Ok([nodes, previous, local]),
            Err(error) => {
                self.tables.release(nodes, now);
                Err(error)
            }
        }
    }

    /// The table that flows of before may still follow: the last different one, its slots of nodes without endpoints marked.
    fn previous(
        &self,
        spec: &Spec,
        before: Option<Frontend>,
        nodes: SlotTable,
    ) -> Result<Vec<u16>, FrontendError> {
        let Some(before) = before else {
            return Ok(Vec::new());
        };
        // Of an unsettled table not all was told: what is older is found by the one before.
        let unsettled = before.flags & FRONTEND_UNSETTLED != 0 && before.previous_nodes.slots > 0;
        let table = if before.nodes == nodes || unsettled {
            before.previous_nodes
        } else {
            before.nodes
        };
        let serving = |index: u16| {
            spec.nodes
                .iter()
                .any(|node| node.index == index && !node.endpoints.is_empty())
        };
        let mut slots = self.tables.read(table)?;
        for slot in &mut slots {
            let index = *slot & !SLOT_DRAINED;
            *slot = if serving(index) {
                index
            } else {
                index | SLOT_DRAINED
            };
        }
        Ok(slots)
    }

    /// Gives back what `entry` holds and nothing else does.
    fn give_back(&mut self, entry: &Frontend, now: Instant) {
        for table in [entry.nodes, entry.previous_nodes, entry.local] {
            self.tables.release(table, now);
        }
        self.places
            .give(entry.backend_base, u32::from(entry.backend_count), now);
    }

    fn count_addresses(
        &mut self,
        key: &FrontendKey,
        spec: &Spec,
        old: Option<&Spec>,
        fresh: bool,
    ) -> Result<(), FrontendError> {
        for (address, _) in local_endpoints(spec) {
            self.backend_filter.add(&address)?;
        }
        for (address, _) in old.into_iter().flat_map(local_endpoints) {
            self.backend_filter.remove(&address)?;
        }
        let id = self.held[key].entry.id;
        for range in old.into_iter().flat_map(|old| &old.source_ranges) {
            if !spec.source_ranges.contains(range) {
                self.source_ranges.remove(&trie_key(id, range))?;
            }
        }
        if fresh {
            self.filter.add(&key.address)?;
        }
        if spec.owns_address && old.is_none_or(|old| !old.owns_address) {
            let count = self.addresses.entry(key.address).or_default();
            *count += 1;
            if *count == 1 {
                let entry = Frontend {
                    flags: FRONTEND_ADDRESS,
                    ..Frontend::default()
                };
                self.map
                    .insert(FrontendKey::of_address(key.address), entry, 0)?;
            }
        } else if !spec.owns_address && old.is_some_and(|old| old.owns_address) {
            self.release_address(&key.address, true)?;
        }
        Ok(())
    }

    fn release_address(&mut self, address: &Address, owned: bool) -> Result<(), MapError> {
        if !owned {
            return Ok(());
        }
        let Some(count) = self.addresses.get_mut(address) else {
            return Ok(());
        };
        *count -= 1;
        if *count == 0 {
            self.addresses.remove(address);
            self.map.remove(&FrontendKey::of_address(*address))?;
        }
        Ok(())
    }
}

fn trie_key(frontend: u32, range: &(Address, u8)) -> Key<SourceRange> {
    Key::new(
        SOURCE_RANGE_FRONTEND_BITS + u32::from(range.1),
        SourceRange {
            frontend,
            client: range.0,
        },
    )
}

/// Endpoints in the order that the kernel counts on: this node's, other nodes', those reached by SNAT.
fn ordered_backends(spec: &Spec) -> Vec<Backend> {
    let of = |node: &NodeShare| {
        let index = node.index;
        node.endpoints
            .iter()
            .map(move |(address, port)| Backend {
                address: *address,
                port: *port,
                node: index,
            })
            .collect::<Vec<_>>()
    };
    let local = spec.nodes.iter().filter(|node| node.index == 0);
    let remote = spec
        .nodes
        .iter()
        .filter(|node| node.index != 0 && !node.snat);
    let snat = spec
        .nodes
        .iter()
        .filter(|node| node.index != 0 && node.snat);
    let others = spec.others.iter().map(|(address, port)| Backend {
        address: *address,
        port: *port,
        node: u16::MAX,
    });
    local
        .chain(remote)
        .flat_map(of)
        .chain(others)
        .chain(snat.flat_map(of))
        .collect()
}

fn local_endpoints(spec: &Spec) -> impl Iterator<Item = Endpoint> {
    spec.nodes
        .iter()
        .filter(|node| node.index == 0)
        .flat_map(|node| &node.endpoints)
        .chain(&spec.draining)
        .copied()
}

fn local_table(spec: &Spec) -> Vec<u16> {
    let endpoints = spec
        .nodes
        .iter()
        .filter(|node| node.index == 0)
        .flat_map(|node| &node.endpoints);
    let entries: Vec<maglev::Entry> = endpoints
        .enumerate()
        .map(|(slot, (address, port))| {
            let mut octets = [0; 18];
            octets[..16].copy_from_slice(&address.octets());
            octets[16..].copy_from_slice(&port.0.to_ne_bytes());
            maglev::Entry {
                identity: maglev::identity(&octets),
                weight: 1,
                slot: slot as u16,
            }
        })
        .collect();
    maglev::table(&entries)
}

fn node_table(spec: &Spec) -> Vec<u16> {
    let entries: Vec<maglev::Entry> = spec
        .nodes
        .iter()
        .map(|node| maglev::Entry {
            identity: node.identity,
            weight: node.endpoints.len() as u32,
            slot: node.index,
        })
        .collect();
    maglev::table(&entries)
}
