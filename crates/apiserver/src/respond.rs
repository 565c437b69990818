//! Answers: objects, refusals, headers.

use apimachinery::status::Status;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use serde_json::Value;

use crate::body::Body;

/// A `Warning:` header is at most this long (upstream: apiserver/pkg/endpoints/filters/warning.go).
const MAX_WARNING: usize = 256;
/// At most so many warnings travel with one answer.
const MAX_WARNINGS: usize = 16;

pub(crate) type Answer = Response<Body>;

/// An answer in JSON.
pub(crate) fn json_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Answer {
    typed(code, "application/json", bytes)
}

/// An answer in JSON.
pub(crate) fn json_value(code: StatusCode, value: &Value) -> Answer {
    let mut bytes = serde_json::to_vec(value).expect("a JSON value can be written");
    // As upstream's encoder: for who looks at it in a terminal.
    bytes.push(b'\n');
    json_bytes(code, bytes)
}

/// An answer of the given media type.
pub(crate) fn typed(code: StatusCode, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::full(bytes));
    *answer.status_mut() = code;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

/// A refusal. One that names when to ask again says so in `Retry-After:` too (RFC 9110 section 10.2.3).
pub(crate) fn refusal(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json_value(code, &status.to_json());
    if let Some(seconds) = status.details["retryAfterSeconds"].as_u64().filter(|seconds| *seconds > 0) {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// Adds `Warning:` headers (RFC 9111 section 5.5, KEP-1693).
pub(crate) fn warn(mut answer: Answer, warnings: &[String]) -> Answer {
    for warning in warnings.iter().take(MAX_WARNINGS) {
        let mut text: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.len() > MAX_WARNING {
            let cut = (0..=MAX_WARNING).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(cut);
        }
        let quoted = text.replace('\\', r"\\").replace('"', r#"\""#);
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            answer.headers_mut().append(WARNING, value);
        }
    }
    answer
}
