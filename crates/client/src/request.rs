//! One request and its answer, both JSON.

use http::{Method, Request};
use kube::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Sends `body` (nothing when it is null) and returns what the API answers. A PATCH is a JSON merge patch
/// (RFC 7396).
///
/// # Errors
/// When the API refuses, or cannot be reached.
pub async fn send_json(
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    send_for(client, method, path, body).await
}

/// The same, for an answer that is read as something else.
pub(crate) async fn send_for<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<T, kube::Error> {
    let content_type =
        if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(bytes)
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
