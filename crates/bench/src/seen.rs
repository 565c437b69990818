//! As much of a pod as the bench looks at: reading the rest would cost more than what is measured.

use anyhow::Result;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use kube::Client;
use kube::core::WatchEvent;
use serde::Deserialize;

/// A pod, as far as it is read.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) metadata: Meta,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

/// `metadata`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) deletion_timestamp: Option<String>,
}

/// `spec`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) node_name: Option<String>,
    #[serde(default)]
    pub(crate) containers: Vec<Container>,
}

/// One of `spec.containers`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) image: String,
}

/// `status`.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Status {
    pub(crate) phase: Option<String>,
}

impl Seen {
    /// Whether it runs. A fake node's pods are Ready then, too.
    pub(crate) fn is_running(&self) -> bool {
        self.status.phase.as_deref() == Some("Running")
    }
}

/// Watches pods: those that there are come first, as `ADDED`. `query` selects them.
pub(crate) async fn watch_pods(
    client: &Client,
    query: &str,
) -> Result<BoxStream<'static, Result<WatchEvent<Seen>>>> {
    let request = http::Request::get(format!("/api/v1/pods?watch=true&{query}")).body(Vec::new())?;
    let events = client.request_events::<Seen>(request).await?;
    Ok(events.boxed().err_into().boxed())
}
