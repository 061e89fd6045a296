//! Lookup tables in the kernel's array of slot rows, each kept once however many frontends use it.
//!
//! Services with endpoints on the same nodes in the same proportion have the same node table, and services with as many
//! endpoints on a node may have the same local one. Sharing them keeps the tables in the CPU's caches, and the array small.

use std::collections::HashMap;
use std::time::Instant;

use aya::maps::MapError;
use landfall_ebpf_abi::service::{ROW_SLOTS, SlotRow, SlotTable};

use crate::loader::Array;
use crate::range::Ranges;

/// Why a table was not written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// No room for its rows.
    #[error("no room for {wanted} more lookup table rows in {size}; raise datapath.max_rows")]
    Full {
        /// Rows wanted.
        wanted: u32,
        /// Size of the array.
        size: u32,
    },
    /// The kernel's.
    #[error("the kernel refused a row")]
    Map(#[from] MapError),
}

/// All lookup tables, by content. One owner: the service table.
pub(crate) struct SlotTables {
    slots: Array<SlotRow>,
    rows: Ranges,
    /// References to each table, by its first row.
    references: HashMap<u32, (SlotTable, u64, u32)>,
    by_content: HashMap<u64, Vec<SlotTable>>,
}

impl SlotTables {
    /// Tables in `slots`, an array of `rows` rows; those in use are to be [adopted](SlotTables::adopt).
    pub(crate) fn new(slots: Array<SlotRow>, rows: u32) -> Self {
        Self {
            slots,
            rows: Ranges::new(rows),
            references: HashMap::new(),
            by_content: HashMap::new(),
        }
    }

    /// Rows in use, of all.
    pub(crate) fn fill(&self) -> (u32, u32) {
        self.rows.fill()
    }

    /// Counts a reference to a table that an earlier daemon left.
    pub(crate) fn adopt(&mut self, table: SlotTable) -> Result<(), MapError> {
        if table.slots == 0 || self.count(table) {
            return Ok(());
        }
        self.rows.claim(table.row, rows_of(table.slots));
        let content = self.read(table)?;
        self.insert(table, hash(&content));
        Ok(())
    }

    /// A table with this content, with a reference counted; an empty one costs nothing.
    pub(crate) fn take(&mut self, content: &[u16], now: Instant) -> Result<SlotTable, TableError> {
        if content.is_empty() {
            return Ok(SlotTable::default());
        }
        let hash = hash(content);
        let alike = self.by_content.get(&hash).cloned().unwrap_or_default();
        for table in alike {
            if self.read(table)? == content {
                self.count(table);
                return Ok(table);
            }
        }
        let wanted = rows_of(content.len() as u32);
        let full = TableError::Full {
            wanted,
            size: self.rows.fill().1,
        };
        let row = self.rows.take(wanted, now).ok_or(full)?;
        for (offset, chunk) in content.chunks(ROW_SLOTS).enumerate() {
            let mut value = SlotRow {
                slots: [0; ROW_SLOTS],
            };
            value.slots[..chunk.len()].copy_from_slice(chunk);
            if let Err(error) = self.slots.set(row + offset as u32, value, 0) {
                self.rows.give(row, wanted, now);
                return Err(error.into());
            }
        }
        let table = SlotTable {
            row,
            slots: content.len() as u32,
        };
        self.insert(table, hash);
        Ok(table)
    }

    /// Takes a reference back; the last one frees the rows.
    pub(crate) fn release(&mut self, table: SlotTable, now: Instant) {
        let Some((_, hash, count)) = self
            .references
            .get_mut(&table.row)
            .filter(|_| table.slots > 0)
        else {
            return;
        };
        *count -= 1;
        if *count > 0 {
            return;
        }
        let hash = *hash;
        self.references.remove(&table.row);
        if let Some(alike) = self.by_content.get_mut(&hash) {
            alike.retain(|held| *held != table);
            if alike.is_empty() {
                self.by_content.remove(&hash);
            }
        }
        self.rows.give(table.row, rows_of(table.slots), now);
    }

    /// The content of a table.
    pub(crate) fn read(&self, table: SlotTable) -> Result<Vec<u16>, MapError> {
        let mut slots = Vec::with_capacity(table.slots as usize);
        for row in 0..rows_of(table.slots) {
            slots.extend_from_slice(&self.slots.get(&(table.row + row), 0)?.slots);
        }
        slots.truncate(table.slots as usize);
        Ok(slots)
    }

    fn count(&mut self, table: SlotTable) -> bool {
        let known = self
            .references
            .get_mut(&table.row)
            .filter(|(held, ..)| *held == table);
        known.map(|(_, _, count)| *count += 1).is_some()
    }

    fn insert(&mut self, table: SlotTable, hash: u64) {
        self.references.insert(table.row, (table, hash, 1));
        self.by_content.entry(hash).or_default().push(table);
    }
}

fn hash(content: &[u16]) -> u64 {
    content.iter().fold(0xcbf2_9ce4_8422_2325, |hash, slot| {
        (hash ^ u64::from(*slot)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

const fn rows_of(slots: u32) -> u32 {
    slots.div_ceil(ROW_SLOTS as u32)
}
