//! The kernel's announcement table, written by the effect and read by those who show it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use landfall_core::model::LinkIndex;
use landfall_ebpf::abi::Address;
use landfall_ebpf::abi::announce::AnnouncedKey;
use landfall_ebpf::announce::Announcements;

/// A handle on the table. The lock is held over system calls, never over an await.
#[derive(Clone)]
pub struct AnnouncedTable(pub(super) Arc<Mutex<Announcements>>);

impl AnnouncedTable {
    pub(super) fn replace(
        &self,
        wanted: &BTreeMap<(LinkIndex, IpAddr), [u8; 6]>,
    ) -> Result<(), anyhow::Error> {
        let wanted = wanted
            .iter()
            .map(|((index, ip), mac)| {
                (
                    AnnouncedKey {
                        ifindex: index.0,
                        address: Address::from(*ip),
                    },
                    *mac,
                )
            })
            .collect();
        Ok(self.0.lock().expect("no holder panics").replace(&wanted)?)
    }

    /// Answers the kernel has sent, by interface and address.
    pub fn answers(&self) -> BTreeMap<(LinkIndex, IpAddr), u64> {
        let answers = self.0.lock().expect("no holder panics").answers();
        answers
            .into_iter()
            .map(|((index, address), count)| ((LinkIndex(index), IpAddr::from(address)), count))
            .collect()
    }
}
