//! The kernel's interfaces as a source: rtnetlink.
//!
//! Multicast events only say that something changed; what is, is asked for anew, all of it. So an
//! event lost (`ENOBUFS`) or misread costs nothing but one more question, and the answer is always
//! one consistent picture. Fed by the kernel of the network namespace in which the task is started;
//! feeds the reconciler with `Change::Links`, whenever the picture is another.
//!
//! Channels: sends [`Batch`]es, the first with `Change::Synced` behind the links. Cancelled, the
//! task ends at once.

mod dump;
mod kind;

use std::io;
use std::time::Duration;

use landfall_core::model::{Change, Link, ObjectError, SourceId};
use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::dump::Asker;
use super::Batch;
use super::reading::whole;

/// `RTNLGRP_LINK`, `RTNLGRP_IPV4_IFADDR` and `RTNLGRP_IPV6_IFADDR` of linux/rtnetlink.h.
const GROUPS: [u32; 3] = [1, 5, 9];
/// How long events are gathered before the kernel is asked: adding an interface brings a handful.
const GATHER: Duration = Duration::from_millis(2);
/// How often the kernel is asked without an event.
const RESCAN: Duration = Duration::from_secs(30);
/// How soon a question that failed is asked again.
const RETRY: Duration = Duration::from_secs(1);

/// Opens the sockets in the calling thread's network namespace.
///
/// # Errors
/// The kernel refuses a netlink socket.
pub fn open() -> io::Result<LinkSource> {
    // Listening comes first, so that no change falls between the first answer and the first event.
    let events = NlSocket::connect(NlFamily::Route, None, Groups::new_groups(&GROUPS))?;
    events.nonblock()?;
    Ok(LinkSource {
        events,
        asker: Asker::open()?,
    })
}

/// The sockets, not yet in use.
pub struct LinkSource {
    events: NlSocket,
    asker: Asker,
}

impl LinkSource {
    /// Follows the interfaces until cancelled or until nobody receives any more.
    pub async fn run(self, changes: mpsc::Sender<Batch>, cancelled: CancellationToken) {
        let _stopped = cancelled.run_until_cancelled(self.follow(changes)).await;
    }

    async fn follow(self, changes: mpsc::Sender<Batch>) {
        // SAFETY: the socket owns its descriptor, names the same one whenever asked, and closes it
        // only when it is dropped.
        let events = unsafe { AsyncFd::register_with_interest(self.events, Interest::READABLE) };
        let mut events = events.expect("a netlink socket can be polled");
        let mut asker = self.asker;
        let mut known: Option<Vec<Link>> = None;
        let mut complained = false;
        loop {
            let (returned, answer) = ask(asker).await;
            asker = returned;
            let failed = answer.is_err();
            let batch = match answer {
                Ok(links) => {
                    let mut batch = Batch::new();
                    if std::mem::take(&mut complained) {
                        batch.push(Change::Errors(SourceId::Links, Vec::new()));
                    }
                    if known.as_ref() != Some(&links) {
                        batch.push(Change::Links(links.clone()));
                    }
                    if known.replace(links).is_none() {
                        batch.push(Change::Synced(SourceId::Links));
                    }
                    batch
                }
                Err(error) if !complained => {
                    warn!(%error, "the kernel's interfaces cannot be listed");
                    complained = true;
                    vec![Change::Errors(SourceId::Links, vec![complaint(&error)])]
                }
                Err(_) => Batch::new(),
            };
            if !batch.is_empty() && changes.send(batch).await.is_err() {
                return;
            }
            let patience = if failed { RETRY } else { RESCAN };
            if let Ok(told) = tokio::time::timeout(patience, told(&mut events)).await {
                if let Err(error) = told {
                    warn!(%error, "events of the kernel's interfaces cannot be read");
                    tokio::time::sleep(RETRY).await;
                }
                tokio::time::sleep(GATHER).await;
                drain(&mut events);
            }
        }
    }
}

/// Asks on a blocking thread: the kernel may hold its lock on interfaces for a while.
async fn ask(mut asker: Asker) -> (Asker, io::Result<Vec<Link>>) {
    let asked = tokio::task::spawn_blocking(move || {
        let answer = asker.links();
        (asker, answer)
    });
    match asked.await {
        Ok(answered) => answered,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down: nobody waits for the answer.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Waits for an event.
async fn told(events: &mut AsyncFd<NlSocket>) -> io::Result<()> {
    loop {
        let mut guard = events.readable_mut().await?;
        match guard.try_io(|events| receive(events.get_ref())) {
            Ok(received) => return received,
            Err(_would_block) => {}
        }
    }
}

/// Takes the events that are there.
fn drain(events: &mut AsyncFd<NlSocket>) {
    while receive(events.get_ref()).is_ok() {}
}

/// Takes one datagram and its content for read. Events lost for want of room are an event as well.
fn receive(events: &NlSocket) -> io::Result<()> {
    let mut scratch = [0_u8; 4096];
    match events.recv(&mut scratch[..], Msg::empty()) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
        Err(error) => Err(error),
    }
}

fn complaint(error: &io::Error) -> ObjectError {
    whole(
        "kernel",
        format!("interfaces cannot be listed: {error}"),
        "the last list stays in force; look into the kernel's log",
    )
}

#[cfg(test)]
mod tests;
