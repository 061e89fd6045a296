//! Reading the verdict counters.

use aya::maps::{MapData, PerCpuArray};
use landfall_ebpf_abi::counter::Counter;
use landfall_ebpf_abi::map;

use crate::loader::Loaded;

/// The counters, summed over CPUs on each reading.
pub struct Counters {
    map: PerCpuArray<MapData, u64>,
}

impl Counters {
    /// Takes the counters out of the loaded data path.
    pub fn take(loaded: &mut Loaded) -> Self {
        Self {
            map: loaded.take(map::COUNTERS),
        }
    }

    /// Packets counted since the maps were made, by verdict.
    pub fn read(&self) -> Vec<(Counter, u64)> {
        Counter::ALL
            .iter()
            .map(|counter| (*counter, self.get(*counter)))
            .collect()
    }

    /// Packets of one verdict.
    pub fn get(&self, counter: Counter) -> u64 {
        self.map
            .get(&(counter as u32), 0)
            .map_or(0, |values| values.iter().sum())
    }
}
