//! XDP programs in the kernel's own instructions, such as the one that passes everything, for the
//! switch's end of a wire.
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

/// A program of instructions as the kernel's `struct bpf_insn`.
pub(super) type Program = [u64];

/// `r0 = XDP_PASS; exit`
pub(super) const PASS_ALL: &Program = &[insn(0xb7, 0, 0, 0, 2), insn(0x95, 0, 0, 0, 0)];

/// An instruction: opcode, destination and source register, offset, value.
const fn insn(opcode: u8, dst: u8, src: u8, offset: u8, value: u32) -> u64 {
    opcode as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (offset as u64) << 16
        | (value as u64) << 32
}

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

/// An attached program; it is detached when this is dropped or the harness ends.
#[derive(Debug)]
pub(super) struct Attachment {
    _link: OwnedFd,
}

impl Attachment {
    /// Attaches `program` to `interface` of the calling thread's network namespace, natively.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses the program.
    pub(super) fn attach(interface: &str, program: &Program) -> Result<Self> {
        let index = link::index(interface).with_context(|| format!("interface {interface}"))?;
        let load = ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: program.len() as u32,
            insns: program.as_ptr() as u64,
            license: c"GPL".as_ptr() as u64,
            ..ProgLoad::default()
        };
        let program = bpf(BPF_PROG_LOAD, &load).context("load an XDP program")?;
        let create = LinkCreate {
            prog_fd: program.as_raw_fd() as u32,
            target_ifindex: index,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        };
        let link = bpf(BPF_LINK_CREATE, &create)
            .with_context(|| format!("attach an XDP program to {interface}"))?;
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::lab::Lab;
    use crate::probe::packet::PacketSocket;

    /// An EtherType for experiments (IEEE 802, local experimental).
    const EXPERIMENT: u16 = 0x88b5;

    /// Sends frames of [`EXPERIMENT`] back to their senders with `XDP_TX`.
    const REFLECT: &Program = &[
        insn(0x61, 2, 1, 0, 0),       // r2 = data
        insn(0x61, 3, 1, 4, 0),       // r3 = data_end
        insn(0xbf, 4, 2, 0, 0),       // r4 = r2
        insn(0x07, 4, 0, 0, 14),      // r4 += 14
        insn(0x2d, 4, 3, 12, 0),      // if r4 > r3 goto pass
        insn(0x69, 5, 2, 12, 0),      // r5 = EtherType
        insn(0x55, 5, 0, 10, 0xb588), // if r5 != EXPERIMENT goto pass
        insn(0x61, 4, 2, 0, 0),       // the two MACs change places
        insn(0x69, 5, 2, 4, 0),
        insn(0x61, 6, 2, 6, 0),
        insn(0x69, 7, 2, 10, 0),
        insn(0x63, 2, 6, 0, 0),
        insn(0x6b, 2, 7, 4, 0),
        insn(0x63, 2, 4, 6, 0),
        insn(0x6b, 2, 5, 10, 0),
        insn(0xb7, 0, 0, 0, 3), // r0 = XDP_TX
        insn(0x95, 0, 0, 0, 0),
        insn(0xb7, 0, 0, 0, 2), // pass: r0 = XDP_PASS
        insn(0x95, 0, 0, 0, 0),
    ];

    #[test]
    fn frames_sent_back_by_xdp_cross_the_wire_by_the_ten_thousands() {
        const FRAMES: u32 = 50_000;
        let lab = Lab::builder().nodes(1).build().unwrap();
        let node = lab.node(0).host();
        let _reflect = node.run(|| Attachment::attach("ens3", REFLECT)).unwrap();
        let client = lab.client();
        let mut frame = vec![0; 64];
        frame[..6].copy_from_slice(&node.mac().0);
        frame[6..12].copy_from_slice(&client.mac().0);
        frame[12..14].copy_from_slice(&EXPERIMENT.to_be_bytes());
        let next = client.run(|| {
            let socket = PacketSocket::open("ens3", EXPERIMENT).unwrap();
            let mut buffer = [0; 128];
            // One at a time: what is lost is lost on the wire, not in a full queue.
            for number in 0..FRAMES {
                frame[14..18].copy_from_slice(&number.to_be_bytes());
                socket.send(&frame).unwrap();
                let sent = Instant::now();
                loop {
                    if let Some(back) = socket.receive(&mut buffer) {
                        assert_eq!(back[14..18], number.to_be_bytes());
                        break;
                    }
                    if sent.elapsed() > Duration::from_secs(1) {
                        return number;
                    }
                }
            }
            FRAMES
        });
        assert_eq!(next, FRAMES, "the wire got stuck");
    }
}
