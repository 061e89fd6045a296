//! The deadline, on its way from the election's thread into the kernel and to the socket task.

use landfall_arp_responder::{BootInstant, Deadline};
use landfall_core::election::Moment;
use landfall_ebpf::announce::DeadlineCell;
use tracing::error;

use crate::effect::lease::DeadlineSink;

/// Both bearers of the deadline. Owned by the election's thread; a push is one system call and one atomic store.
pub struct KernelDeadline {
    cell: DeadlineCell,
    socket: Deadline,
}

impl KernelDeadline {
    /// Pushes into the kernel's cell and to the socket task.
    pub fn new(cell: DeadlineCell, socket: Deadline) -> Self {
        Self { cell, socket }
    }
}

impl DeadlineSink for KernelDeadline {
    fn push(&mut self, until: Moment) {
        let until = until.since_boot();
        if let Err(error) = self.cell.set(until) {
            error!(%error, "the kernel's deadline was not pushed on; this node falls silent when it passes");
        }
        self.socket.set(BootInstant::from_nanos(
            u64::try_from(until.as_nanos()).unwrap_or(u64::MAX),
        ));
    }

    fn silence(&mut self) {
        self.socket.revoke();
        if let Err(error) = self.cell.set(std::time::Duration::ZERO) {
            error!(%error, "the kernel's deadline was not taken back; it passes by itself");
        }
    }
}
