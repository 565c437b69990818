//! One request whose answer is of no interest but for whether it is a refusal.

use anyhow::Result;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::Value;

/// Asks the API for something. A PATCH is a JSON merge patch.
pub(crate) async fn ask(client: &Client, verb: &str, path: &str, body: &Value) -> Result<(), kube::Error> {
    let content = if verb == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder()
        .method(verb)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content)
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request::<IgnoredAny>(request).await.map(drop)
}
