//! Addresses that this node answers ARP and neighbour solicitations for.

use crate::Address;

/// Key of the announcement table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnouncedKey {
    /// Interface that is asked.
    pub ifindex: u32,
    /// Address that is asked for.
    pub address: Address,
}

/// Value of the announcement table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Ethernet address to answer with.
    pub mac: [u8; 6],
    /// Zero.
    pub zero: u16,
    /// Answers sent.
    pub answers: u64,
}

/// The right to answer: CLOCK_BOOTTIME in nanoseconds at which it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadline {
    /// End of the right; 0 for none.
    pub boottime_ns: u64,
}

crate::pod!(AnnouncedKey: 20, Announced: 16, Deadline: 8);
