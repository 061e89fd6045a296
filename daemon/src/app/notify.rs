//! Tells the service manager how things are (`sd_notify(3)`); silent where there is none. Those who ask of their own accord
//! are told that the process is stopping, once it is.

use std::sync::atomic::{AtomicBool, Ordering};

use sd_notify::NotifyState;
use tracing::debug;

/// A process stops once, and never goes back.
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Ready: whoever waits for the service may go on.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Stopping has begun.
pub(super) fn stopping(status: &str) {
    STOPPING.store(true, Ordering::Relaxed);
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// Whether stopping has begun.
pub(super) fn is_stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}
