//! tc by filters in the clsact qdisc, for kernels without links for tc (before 6.6) and where the setting asks for it.
//!
//! A filter stays by itself when its process ends, and nothing pins it: a successor finds it by its place and replaces the
//! program in it, `landfall cleanup` finds it by its name. One with a neighbouring layout has another place, so that both are
//! there while it takes over. The qdisc itself is left alone, others may have filters in it.

use std::io;

use aya::programs::links::Link;
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
    qdisc_detach_program,
};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType};
use landfall_ebpf_abi::{LAYOUT_VERSION, map};
use nix::net::if_::if_nameindex;
use tracing::debug;

/// Places of our filters, of even and odd layouts. Not 49152, the priority the kernel gives to the first who asks for none.
const PRIORITIES: [u16; 2] = [1_000, 999];
const PRIORITY: u16 = PRIORITIES[LAYOUT_VERSION as usize % 2];
const OTHER_PRIORITY: u16 = PRIORITIES[(LAYOUT_VERSION as usize + 1) % 2];
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Where each of the programs for tc is.
const PLACES: [(&str, TcAttachType); 2] = [
    (map::PROGRAM_TC_UPLINK, TcAttachType::Ingress),
    (map::PROGRAM_TC_RESTORE, TcAttachType::Egress),
];

/// Attaches a program, in place of an earlier daemon's if there is one: not a packet passes in between.
pub(crate) fn attach(
    classifier: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
) -> Result<(), ProgramError> {
    // It is an error to add the qdisc twice.
    let _ = qdisc_add_clsact(interface);
    let held = SchedClassifierLink::attached(interface, direction, PRIORITY, HANDLE, None)
        .map_err(TcError::IoError)?;
    // The kernel replaces only what is there, and creates only what is not.
    let id = classifier.attach_to_link(held).or_else(|_| {
        let options = NlOptions {
            priority: PRIORITY,
            handle: HANDLE,
            ..NlOptions::default()
        };
        classifier.attach_with_options(interface, direction, TcAttachOptions::Netlink(options))
    })?;
    // The filter shall outlive this process.
    std::mem::forget(classifier.take_link(id)?);
    Ok(())
}

/// Detaches a program from an interface; whether it was there.
pub(crate) fn detach(interface: &str, program: &str) -> io::Result<bool> {
    let places = PLACES.iter().filter(|(name, _)| *name == program);
    let mut removed = false;
    for (name, direction) in places {
        removed |= match qdisc_detach_program(interface, *direction, name) {
            Ok(()) => true,
            Err(error) if is_absence(&error) => false,
            Err(error) => return Err(io::Error::other(error)),
        };
    }
    Ok(removed)
}

/// Detaches what is in the place of the layouts beside this one, if it is there.
pub(crate) fn detach_other(interface: &str, program: &str) {
    for (_, direction) in PLACES.iter().filter(|(name, _)| *name == program) {
        let held =
            SchedClassifierLink::attached(interface, *direction, OTHER_PRIORITY, HANDLE, None);
        let detached = held.map_err(io::Error::other).and_then(|held| {
            let detached = Link::detach(held);
            detached.map_err(io::Error::other)
        });
        if let Err(error) = detached {
            debug!(interface, program, %error, "no filter of another layout was in clsact");
        }
    }
}

/// Detaches our programs from every interface of this network namespace, and counts them.
///
/// # Errors
/// The first failure, after everything was attempted.
pub fn detach_everywhere() -> io::Result<usize> {
    let mut removed = 0;
    let mut failure = None;
    for interface in &if_nameindex()? {
        let interface = interface.name().to_string_lossy();
        for (program, _) in PLACES {
            match detach(&interface, program) {
                Ok(there) => removed += usize::from(there),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
    }
    failure.map_or(Ok(removed), Err)
}

/// Whether there is no such filter, no such qdisc, or no such interface any more.
fn is_absence(error: &TcError) -> bool {
    match error {
        TcError::IoError(error) => {
            matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidInput
            ) || error.raw_os_error() == Some(libc::ENODEV)
        }
        TcError::NetlinkError(error) => matches!(
            error.raw_os_error(),
            Some(libc::EINVAL | libc::ENOENT | libc::ENODEV)
        ),
        _ => false,
    }
}
