//! The last touch to an answer: laid out for people, as YAML, compressed, as the client wishes
//! (upstream: apiserver/pkg/endpoints/handlers/responsewriters, negotiation).

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, USER_AGENT, VARY,
};
use http::{HeaderMap, Uri};
use serde_json::Value;

use crate::body::Body;
use crate::negotiate;
use crate::query::Query;
use crate::respond::Answer;

/// Shorter answers are not worth compressing (upstream: `defaultGzipThresholdBytes`).
const GZIP_THRESHOLD: usize = 128 << 10;
/// How hard it is tried (upstream: `defaultGzipContentEncodingLevel`).
const GZIP_LEVEL: u32 = 1;
/// Programs of people, who like to read what they get (upstream: `isPrettyPrint`).
const HUMAN_CLIENTS: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// What the client wishes of an answer besides what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    pretty: bool,
    yaml: bool,
    gzip: bool,
}

impl Wishes {
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        let about_objects = uri.path().starts_with("/api");
        Self {
            // Upstream lays the version out for everybody.
            pretty: uri.path() == "/version" || (about_objects && wants_pretty(uri, headers)),
            yaml: about_objects && negotiate::prefers_yaml(headers),
            gzip: accepts_gzip(headers),
        }
    }

    /// The answer as the client wishes it. Streams stay as they are.
    pub(crate) async fn fulfil(self, mut answer: Answer) -> Answer {
        if !self.pretty && !self.yaml && !self.gzip {
            return answer;
        }
        let content_type = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_json = content_type == b"application/json";
        // What is no JSON is only compressed.
        let is_packed = self.gzip && content_type.ends_with(b"+protobuf");
        if !is_json && !is_packed {
            return answer;
        }
        let Some(whole) = answer.body_mut().take_whole() else { return answer };
        let mut bytes = whole;
        if self.yaml
            && is_json
            && let Ok(value) = serde_json::from_slice::<Value>(&bytes)
        {
            bytes = apimachinery::yaml::to_string(&value).into();
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
        } else if self.pretty && is_json {
            bytes = indented(&bytes).into();
        }
        if self.gzip && bytes.len() > GZIP_THRESHOLD {
            let plain = bytes.clone();
            // Some milliseconds for each megabyte: not on a thread that others wait for.
            if let Ok(Some(compressed)) = tokio::task::spawn_blocking(move || gzip(&plain)).await {
                bytes = compressed;
                let headers = answer.headers_mut();
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
            }
        }
        answer.headers_mut().remove(CONTENT_LENGTH);
        *answer.body_mut() = Body::full(bytes);
        answer
    }
}

fn wants_pretty(uri: &Uri, headers: &HeaderMap) -> bool {
    match Query::parse(uri.query().unwrap_or_default()).get("pretty") {
        // Upstream: `strconv.ParseBool`.
        Some(said) => matches!(said, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        None => {
            let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
            HUMAN_CLIENTS.iter().any(|client| agent.starts_with(client.as_bytes()))
        }
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|encoding| encoding.trim() == "gzip")
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::new(GZIP_LEVEL));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// JSON with a line for each entry, as Go's `json.Indent` lays it out.
fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let mut bytes = json.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                if matches!(bytes.peek(), Some(b'}' | b']')) {
                    out.extend(bytes.next());
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

fn new_line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn indented_json_is_the_same_json_laid_out() {
        let value = json!({"a": {"b": [1, "x, {\"y\": 2}\\", []], "c": {}}, "d": null});
        let laid_out = indented(format!("{value}\n").as_bytes());
        assert_eq!(serde_json::from_slice::<Value>(&laid_out).expect("JSON"), value);
        assert_eq!(
            String::from_utf8(laid_out).expect("text"),
            serde_json::to_string_pretty(&value).expect("JSON")
        );
    }

    #[test]
    fn people_get_it_laid_out_unless_they_say_otherwise() {
        let check = |uri: &str, agent: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().expect("a header value"));
            let wishes = Wishes::of(&uri.parse().expect("a URI"), &headers);
            assert_eq!(wishes.pretty, expect, "{uri} {agent}");
        };
        check("/api/v1/pods", "curl/8.5.0", true);
        check("/api/v1/pods?pretty=false", "curl/8.5.0", false);
        check("/api/v1/pods?pretty=true", "kubectl/v1.36", true);
        check("/api/v1/pods", "kubectl/v1.36", false);
        check("/openapi/v3", "curl/8.5.0", false);
        check("/version", "kubectl/v1.36", true);
    }
}
