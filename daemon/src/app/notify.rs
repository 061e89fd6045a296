//! Tells the service manager how things are (`sd_notify(3)`); silent where there is none.

use sd_notify::NotifyState;
use tracing::debug;

/// Ready: whoever waits for the service may go on.
pub(super) fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Stopping has begun.
pub(super) fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        debug!(%error, "the service manager cannot be told");
    }
}
