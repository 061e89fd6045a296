//! An XDP program that passes everything, for the switch's end of a wire.
//!
//! A frame that a node sends back with `XDP_TX` arrives at the other end of the veth pair, and
//! that end takes such frames only while it polls. Receive offload alone makes it poll too, but on
//! Linux 6.18 its queue then gets stuck after some packets; a program there keeps it going.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use super::link;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`, as the kernel's `struct bpf_insn` (opcode, registers, offset, value).
const PROGRAM: [u64; 2] = [0xb7 | 2 << 32, 0x95];

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The attachment; it ends when this is dropped or the harness ends.
#[derive(Debug)]
pub(super) struct PassAll {
    _link: OwnedFd,
}

impl PassAll {
    /// Attaches the program to `interface` of the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses the program.
    pub(super) fn attach(interface: &str) -> Result<Self> {
        let index = link::index(interface).with_context(|| format!("interface {interface}"))?;
        let load = ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: PROGRAM.len() as u32,
            insns: PROGRAM.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..ProgLoad::default()
        };
        let program = bpf(BPF_PROG_LOAD, &load).context("load a program that passes everything")?;
        let create = LinkCreate {
            prog_fd: program.as_raw_fd() as u32,
            target_ifindex: index,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        };
        let link = bpf(BPF_LINK_CREATE, &create)
            .with_context(|| format!("attach a program that passes everything to {interface}"))?;
        Ok(Self { _link: link })
    }
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is a live prefix of `union bpf_attr` whose pointers outlive the call; the
    // kernel takes bytes past the given size as zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands used here give a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
