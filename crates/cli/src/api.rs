//! Requests to the API, answers as JSON, refusals as [`Error`].

use std::io;

use bytes::BytesMut;
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::error::Error;
use crate::session::Out;

/// What may stand as it is in a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Asks for rows and columns, as kubectl does.
pub(crate) const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Asks for objects.
const AS_JSON: &str = "application/json";
/// The longest line of a watch: an object may have 3 MB, and a table row carries one and a half.
const LONGEST_LINE: usize = 16 << 20;

/// The ways to say a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PatchType {
    /// JSON patch (RFC 6902)
    Json,
    /// JSON merge patch (RFC 7396)
    Merge,
    /// Strategic merge patch: lists are merged by their keys
    Strategic,
}

impl PatchType {
    fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json-patch+json",
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// A name as a part of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, UNRESERVED).to_string()
}

/// A path with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url(String);

impl Url {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// Adds a parameter; an empty value adds none.
    pub(crate) fn with(self, key: &str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        if value.is_empty() { self } else { self.repeated(key, value) }
    }

    /// Adds a parameter that may stand there several times, empty or not.
    pub(crate) fn repeated(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0 += &format!("{key}={}", utf8_percent_encode(value, UNRESERVED));
        self
    }

    /// Adds `key=true` when asked to.
    pub(crate) fn flag(self, key: &str, set: bool) -> Self {
        self.with(key, if set { "true" } else { "" })
    }

    /// The text that goes over the wire.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The server.
pub(crate) struct Api {
    client: kube::Client,
    server: String,
    /// The command that starts the server, for the message when nobody answers.
    start: String,
    err: Out,
}

impl Api {
    pub(crate) fn new(client: kube::Client, server: String, start: String, err: Out) -> Self {
        Self { client, server, start, err }
    }

    /// Where the server is.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The client, for what is more than a request.
    pub(crate) fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Sends a request; only a success is an answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(http::HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<Response<Body>, Error> {
        let mut request = Request::builder().method(method).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|e| Error::plain(format!("cannot ask for {}: {e}", url.as_str())))?;
        let response = self.client.send(request).await.map_err(|e| self.unreachable(&e))?;
        for warning in response.headers().get_all(WARNING) {
            if let Some(text) = warning.to_str().ok().and_then(warning_text) {
                self.err.line(&format!("Warning: {text}"))?;
            }
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        Err(Error::from_status(code, &self.collect(response).await?))
    }

    async fn collect(&self, response: Response<Body>) -> Result<Vec<u8>, Error> {
        let body = response.into_body().collect().await.map_err(|e| self.unreachable(&e))?;
        Ok(body.to_bytes().to_vec())
    }

    async fn json(
        &self,
        method: Method,
        url: &Url,
        headers: &[(http::HeaderName, &str)],
        body: Vec<u8>,
    ) -> Result<Value, Error> {
        let response = self.send(method, url, headers, body).await?;
        let bytes = self.collect(response).await?;
        serde_json::from_slice(&bytes)
            .map_err(|e| Error::plain(format!("the server's answer to {} is no JSON: {e}", url.as_str())))
    }

    /// What stands at `url`, as text.
    pub(crate) async fn get_text(&self, url: &Url) -> Result<String, Error> {
        let response = self.send(Method::GET, url, &[], Vec::new()).await?;
        Ok(String::from_utf8_lossy(&self.collect(response).await?).into_owned())
    }

    /// The object or list at `url`.
    pub(crate) async fn get(&self, url: &Url) -> Result<Value, Error> {
        self.get_as(url, AS_JSON).await
    }

    /// What stands at `url` in the form that `accept` asks for.
    pub(crate) async fn get_as(&self, url: &Url, accept: &str) -> Result<Value, Error> {
        self.json(Method::GET, url, &[(ACCEPT, accept)], Vec::new()).await
    }

    /// The object at `url`, or `None` when there is none.
    pub(crate) async fn find(&self, url: &Url) -> Result<Option<Value>, Error> {
        match self.get(url).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object; unknown fields are refused.
    pub(crate) async fn create(&self, url: &Url, object: &Value) -> Result<Value, Error> {
        let url = url.clone().with("fieldValidation", "Strict");
        let headers = [(ACCEPT, AS_JSON), (CONTENT_TYPE, AS_JSON)];
        self.json(Method::POST, &url, &headers, object.to_string().into_bytes()).await
    }

    /// Changes an object; unknown fields are refused.
    pub(crate) async fn patch(&self, url: &Url, form: PatchType, patch: &Value) -> Result<Value, Error> {
        let url = url.clone().with("fieldValidation", "Strict");
        let headers = [(ACCEPT, AS_JSON), (CONTENT_TYPE, form.media_type())];
        self.json(Method::PATCH, &url, &headers, patch.to_string().into_bytes()).await
    }

    /// Applies a configuration on the server; unknown fields are refused.
    pub(crate) async fn apply(&self, url: &Url, config: &Value) -> Result<Value, Error> {
        let url = url.clone().with("fieldValidation", "Strict");
        let headers = [(ACCEPT, AS_JSON), (CONTENT_TYPE, "application/apply-patch+yaml")];
        self.json(Method::PATCH, &url, &headers, config.to_string().into_bytes()).await
    }

    /// Deletes an object with `DeleteOptions`; the answer is the object or a `Status`.
    pub(crate) async fn delete(&self, url: &Url, options: &Value) -> Result<Value, Error> {
        let headers = [(ACCEPT, AS_JSON), (CONTENT_TYPE, AS_JSON)];
        self.json(Method::DELETE, url, &headers, options.to_string().into_bytes()).await
    }

    /// A body that goes on.
    pub(crate) async fn stream(&self, url: &Url) -> Result<Lines<'_>, Error> {
        self.stream_as(url, "*/*").await
    }

    /// The events of a watch at `url` (which names its resourceVersion), objects as `accept` asks for them.
    pub(crate) async fn watch(&self, url: &Url, as_table: bool) -> Result<Watch<'_>, Error> {
        let url = url.clone().with("watch", "true");
        let accept = if as_table { AS_TABLE } else { AS_JSON };
        Ok(Watch(self.stream_as(&url, accept).await?))
    }

    async fn stream_as(&self, url: &Url, accept: &str) -> Result<Lines<'_>, Error> {
        let response = self.send(Method::GET, url, &[(ACCEPT, accept)], Vec::new()).await?;
        Ok(Lines { api: self, body: response.into_body(), buffer: BytesMut::new(), ended: false })
    }

    /// What to say of a request that got no answer.
    pub(crate) fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> Error {
        let mut cause = error;
        loop {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            if kind == Some(io::ErrorKind::ConnectionRefused) {
                let why = format!("nothing answers at {}", self.server);
                return Error::NotRunning { why, start: self.start.clone() };
            }
            match cause.source() {
                Some(deeper) => cause = deeper,
                None => return Error::Unreachable(format!("{}: {cause}", self.server)),
            }
        }
    }
}

/// A body, line by line.
pub(crate) struct Lines<'a> {
    api: &'a Api,
    body: Body,
    buffer: BytesMut,
    ended: bool,
}

impl Lines<'_> {
    /// The next line with its line break, or what is left at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, Error> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|b| *b == b'\n') {
                return Ok(Some(self.buffer.split_to(searched + end + 1)));
            }
            searched = self.buffer.len();
            if self.ended {
                return Ok(if searched == 0 { None } else { Some(self.buffer.split()) });
            }
            if searched > LONGEST_LINE {
                return Err(Error::plain(format!(
                    "the server sent a line of more than {LONGEST_LINE} bytes"
                )));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().ok()),
                Some(Err(error)) => return Err(self.api.unreachable(&error)),
                None => self.ended = true,
            }
        }
    }
}

/// A watch.
pub(crate) struct Watch<'a>(Lines<'a>);

impl Watch<'_> {
    /// The next event (`type`, `object`), or `None` when the server ended the watch. A 410 inside the stream
    /// is an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, Error> {
        let Some(line) = self.0.next().await? else { return Ok(None) };
        let event: Value = serde_json::from_slice(&line)
            .map_err(|e| Error::plain(format!("an event of a watch is no JSON: {e}")))?;
        if event["type"] == "ERROR" {
            return Err(Error::from_status(500, event["object"].to_string().as_bytes()));
        }
        Ok(Some(event))
    }
}

/// The sentence of a `Warning:` header: `299 - "text"` (RFC 7234, section 5.5).
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.splitn(3, ' ').nth(2)?.trim();
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    Some(inner.replace("\\\"", "\"").replace("\\\\", "\\"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        let url = Url::new("/api/v1/pods")
            .with("labelSelector", "app in (a,b)")
            .with("fieldSelector", "")
            .flag("watch", true);
        assert_eq!(url.as_str(), "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&watch=true");
    }

    #[test]
    fn warnings_are_told_without_their_dressing() {
        assert_eq!(
            warning_text(r#"299 - "unknown field \"spec.x\"""#).as_deref(),
            Some("unknown field \"spec.x\"")
        );
        assert_eq!(warning_text("nonsense"), None);
    }
}
