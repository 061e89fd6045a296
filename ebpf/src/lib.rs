//! Loader.
use aya as _;
use libc as _;
/// The object.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/landfall-ebpf-programs"));
