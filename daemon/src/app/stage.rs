//! Stages: tasks that start and stop together.
//!
//! A task that ends although nobody cancelled it is a fault of the agent. It is logged here, once,
//! and stops the agent in order, so that the service manager starts a whole one in its place.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

/// Tasks that start and stop together.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    name: &'static str,
    tasks: TaskTracker,
    cancel: CancellationToken,
    /// Cancelled when a task of any stage has failed.
    failed: CancellationToken,
}

impl Stage {
    /// An empty stage that reports failures through `failed`.
    pub(super) fn new(name: &'static str, failed: &CancellationToken) -> Self {
        Self {
            name,
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
            failed: failed.clone(),
        }
    }

    /// A token for a task of this stage.
    pub(super) fn token(&self) -> CancellationToken {
        self.cancel.child_token()
    }

    /// Runs a task that ends only when [`Self::token`] is cancelled.
    pub(super) fn spawn(
        &self,
        task: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let (cancel, failed) = (self.cancel.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            // Cancels on the way out of a panic too.
            let failed = failed.drop_guard();
            future.await;
            if cancel.is_cancelled() {
                failed.disarm();
            } else {
                error!(task, "a task ended by itself; the agent stops");
            }
        });
    }

    /// Asks the tasks to end and does not wait.
    pub(super) fn stop_intake(&self) {
        self.cancel.cancel();
    }

    /// Cancels the stage and waits for its tasks, `patience` at most.
    pub(super) async fn stop(self, patience: Duration) {
        self.cancel.cancel();
        self.tasks.close();
        match tokio::time::timeout(patience, self.tasks.wait()).await {
            Ok(()) => debug!(stage = self.name, "stage stopped"),
            Err(_) => warn!(
                stage = self.name,
                ?patience,
                "stage does not stop in time; going on"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_a_stage_cancels_its_tasks_and_waits_for_them() {
        let failed = CancellationToken::new();
        let stage = Stage::new("test", &failed);
        let (token, done) = (stage.token(), CancellationToken::new());
        let told = done.clone();
        stage.spawn("task", async move {
            token.cancelled().await;
            told.cancel();
        });
        stage.stop(Duration::from_secs(5)).await;
        assert!(done.is_cancelled());
        assert!(!failed.is_cancelled());
    }

    #[tokio::test]
    async fn a_task_that_ends_by_itself_fails_the_agent() {
        let failed = CancellationToken::new();
        let stage = Stage::new("test", &failed);
        stage.spawn("task", async {});
        tokio::time::timeout(Duration::from_secs(5), failed.cancelled())
            .await
            .expect("it failed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_listen_holds_the_stop_up_no_longer_than_the_patience() {
        let failed = CancellationToken::new();
        let stage = Stage::new("test", &failed);
        stage.spawn("task", std::future::pending());
        let begun = tokio::time::Instant::now();
        stage.stop(Duration::from_secs(3)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
    }
}
