//! Reads `application/vnd.kubernetes.protobuf` bodies, which client-go's typed clients send: the table of field
//! facts says what each number in a message is, and the outcome is the JSON that the same object has.
//!
//! The format is `k8s\0` and then `runtime.Unknown`, an envelope with the kind and the object's own message
//! (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`). Go's rules on what JSON leaves out are in
//! `message.rs`, and the types with JSON of their own in `special.rs`.

mod message;
mod special;
#[cfg(test)]
mod tests;
mod wire;

use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::schema::strict_json::MAX_DEPTH;
use message::Decoder;
use wire::{Reader, Wire};

/// What a body of this content type begins with.
pub const MAGIC: &[u8] = b"k8s\0";

/// How many values one object may have: messages of two bytes can stand for objects of a thousand.
pub const MAX_VALUES: usize = 500_000;

/// Why a body cannot be read; the API answers with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first four bytes are not [`MAGIC`].
    #[error("the body is no Kubernetes protobuf: it does not begin with k8s\\0")]
    NoMagic,
    /// The object inside is not protobuf but something else.
    #[error("the body's object is encoded as {encoding:?}; send it as plain protobuf or as JSON")]
    Encoding {
        /// The envelope's content type or encoding.
        encoding: String,
    },
    /// Neither the body nor the route says a kind that has a built-in message.
    #[error("no kind {kind:?} is registered for version {api_version:?}; send it as JSON")]
    UnknownKind {
        /// The group and version, for instance `apps/v1`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// The bytes end early, or are no protobuf.
    #[error("protobuf: {context}: {what}")]
    Malformed {
        /// The type or field being read.
        context: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// A field has another type in the message than it should.
    #[error("protobuf: {message}.{field} is of the wrong type")]
    WrongWireType {
        /// The message's type, as the table of facts calls it.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A quantity that is none.
    #[error("protobuf: {text:?} is no quantity: {source}")]
    Quantity {
        /// The text found.
        text: String,
        /// What is wrong with it.
        source: crate::quantity::Error,
    },
    /// Embedded JSON that is none.
    #[error("protobuf: embedded JSON: {0}")]
    EmbeddedJson(String),
    /// Messages nest too deep.
    #[error("protobuf: it nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// More values than one object may have.
    #[error("protobuf: more than {MAX_VALUES} values in one object")]
    TooManyValues,
}

/// Reads a body. `route` is the `apiVersion` and the kind that the request's path stands for; it counts when the
/// body does not say its own.
///
/// # Errors
/// When the body is not what its content type says, or names a kind without a built-in type.
pub fn decode(body: &[u8], route: Option<(&str, &str)>) -> Result<Value, Error> {
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(Error::NoMagic)?)?;
    let encoding =
        [&envelope.content_encoding, &envelope.content_type].into_iter().find(|text| !text.is_empty());
    if let Some(encoding) = encoding.filter(|text| *text != "application/vnd.kubernetes.protobuf") {
        return Err(Error::Encoding { encoding: encoding.clone() });
    }
    let (api_version, kind) = match route {
        Some(route) if envelope.kind.is_empty() => route,
        _ => (envelope.api_version.as_str(), envelope.kind.as_str()),
    };
    let unknown = || Error::UnknownKind { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let type_id = Schema::builtin().gvk(api_version, kind).ok_or_else(unknown)?;

    let mut object = Map::new();
    object.insert("kind".to_owned(), kind.into());
    object.insert("apiVersion".to_owned(), api_version.into());
    Decoder::new().fields(&mut object, type_id, envelope.raw, 1)?;
    Ok(Value::Object(object))
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: &'a [u8],
    content_encoding: String,
    content_type: String,
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        const CONTEXT: &str = "envelope";
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut envelope = Self::default();
        let mut reader = Reader::new(bytes, CONTEXT);
        while let Some((tag, wire)) = reader.next_field()? {
            match (tag, wire) {
                (1, Wire::Bytes(type_meta)) => {
                    let mut reader = Reader::new(type_meta, CONTEXT);
                    while let Some((tag, wire)) = reader.next_field()? {
                        match (tag, wire) {
                            (1, Wire::Bytes(bytes)) => envelope.api_version = text(bytes),
                            (2, Wire::Bytes(bytes)) => envelope.kind = text(bytes),
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(bytes)) => envelope.raw = bytes,
                (3, Wire::Bytes(bytes)) => envelope.content_encoding = text(bytes),
                (4, Wire::Bytes(bytes)) => envelope.content_type = text(bytes),
                (1..=4, _) => {
                    return Err(Error::Malformed { context: CONTEXT, what: "a field of the wrong type" });
                }
                _ => {}
            }
        }
        Ok(envelope)
    }
}
