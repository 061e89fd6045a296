//! The kernel ABI of the data path: keys, values and constants that kernel programs and the daemon share.
//!
//! Everything here is `repr(C)` without implicit padding and asserted for its size, so that a value's bytes are the same
//! on both sides. Addresses are 16 octets in network order, IPv4 in its mapped form (RFC 4291, section 2.5.5.2); ports are
//! in network order. A change of any layout raises [`LAYOUT_VERSION`]: maps are pinned below it, with
//! [`layout`]'s description beside them for the versions before and after.
#![no_std]

pub mod address;
pub mod announce;
pub mod checksum;
pub mod counter;
pub mod flow;
pub mod hash;
pub mod layout;
pub mod map;
pub mod node;
pub mod service;
pub mod socket;
pub mod wire;

pub use address::{Address, PortNumber};

/// Version of the layout of all maps. Pins live in a directory of this name.
pub const LAYOUT_VERSION: u32 = 2 + cfg!(feature = "neighbour-layout") as u32;

/// Declares that user space may read and write the types through aya's maps.
macro_rules! pod {
    ($($name:ty: $size:literal),+ $(,)?) => {
        $(
            const _: () = assert!(core::mem::size_of::<$name>() == $size);
            #[cfg(feature = "user")]
            // SAFETY: repr(C), no padding (sizes asserted above against the sum of fields), valid for any bit pattern.
            unsafe impl aya::Pod for $name {}
        )+
    };
}

pub(crate) use pod;
