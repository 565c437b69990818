//! What the node does for pods at the same time, and its end in good order.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long the steps that are under way may take when the node ends. What they do survives a crash, too.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tasks of all pods.
#[derive(Default)]
pub(crate) struct Work {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Work {
    /// Runs a task that ends soon once [`Work::stopped`] resolves.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Runs a task that may be dropped wherever it waits, when the node ends.
    pub(crate) fn spawn_until_stop(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Resolves when the node ends.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Tells all tasks to end, and waits until they have.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("{} tasks of pods are cut off", self.tasks.len());
        }
    }
}
