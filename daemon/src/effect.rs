//! Effects: each compares its part of the plan with what is really there and brings it about.

pub mod allocator;
pub mod announce;
#[cfg(test)]
pub(crate) mod api_stand_in;
pub mod assignments;
pub mod datapath;
pub mod events;
pub mod history;
pub mod lease;
pub mod liveness;
pub mod membership;
pub mod moved;
pub mod payload;
pub mod quorum;
pub mod status;

use tokio::sync::watch;
use tokio::time::Instant;

/// Ends when there is something new; never, once the sender is gone.
pub(crate) async fn changed<T>(watch: &mut watch::Receiver<T>) {
    if watch.changed().await.is_err() {
        std::future::pending().await
    }
}

/// Ends at `at`; never, where there is no such time.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
