//! Answers that a client may keep: they carry an `ETag`, and who has one already is told so with a 304
//! (RFC 9110 section 13).

use bytes::Bytes;
use http::StatusCode;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH};
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::api::Request;
use crate::respond::{self, Answer};

/// The hash that upstream names such documents by: SHA-512 in capital hexadecimals.
pub(crate) fn hash(bytes: &[u8]) -> String {
    Sha512::digest(bytes).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// An answer in JSON.
pub(crate) fn json(request: &Request, value: &Value) -> Answer {
    typed(request, "application/json", serde_json::to_vec(value).expect("a JSON value can be written"))
}

/// An answer of the given media type, or word that the client has it.
pub(crate) fn typed(request: &Request, media_type: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let bytes = bytes.into();
    let tag = format!("\"{}\"", hash(&bytes));
    let known = request.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    });
    let mut answer = if is_known {
        respond::typed(StatusCode::NOT_MODIFIED, media_type, Bytes::new())
    } else {
        respond::typed(StatusCode::OK, media_type, bytes)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}
