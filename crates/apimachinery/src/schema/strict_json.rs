//! JSON into a [`Value`], telling which keys stand twice, and refusing what is nested too deep.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::trail::Trail;

/// How deep lists and objects may nest. The deepest built-in object has about 20 levels; a
/// CustomResourceDefinition's schema may have a hundred.
pub const MAX_DEPTH: usize = 120;

/// How many duplicates are told; a body full of them is no longer of interest.
const MAX_DUPLICATES: usize = 100;

/// Why a text is no JSON that stead reads.
#[derive(Debug, thiserror::Error)]
#[error("couldn't read the body as JSON: {0}")]
pub struct Error(#[from] serde_json::Error);

/// What was read.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// The value; of keys that stand twice the last counts, as in Go.
    pub value: Value,
    /// The paths of keys that stand twice.
    pub duplicates: Vec<String>,
}

impl Parsed {
    /// What upstream's strict decoding says about each key that stands twice: `duplicate field "spec.replicas"`.
    pub fn messages(&self) -> impl Iterator<Item = String> {
        self.duplicates.iter().map(|path| format!("duplicate field {path:?}"))
    }
}

/// Reads one JSON value and nothing behind it.
///
/// # Errors
/// When the text is no JSON, or nests deeper than [`MAX_DEPTH`].
pub fn parse(text: &[u8]) -> Result<Parsed, Error> {
    parse_at(text, 0)
}

/// As [`parse`], for JSON that stands `depth` levels deep in something larger.
pub(crate) fn parse_at(text: &[u8], depth: usize) -> Result<Parsed, Error> {
    let mut duplicates = BTreeSet::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Seed { trail: &Trail::top(), depth, duplicates: &mut duplicates }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(Parsed { value, duplicates: duplicates.into_iter().collect() })
}

/// Reads one value at a place.
struct Seed<'a> {
    trail: &'a Trail<'a>,
    depth: usize,
    duplicates: &'a mut BTreeSet<String>,
}

impl Seed<'_> {
    fn check_depth<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.depth < MAX_DEPTH {
            return Ok(());
        }
        Err(E::custom(format_args!("it nests deeper than {MAX_DEPTH} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut list = Vec::new();
        loop {
            let trail = self.trail.index(list.len());
            let seed = Seed { trail: &trail, depth: self.depth + 1, duplicates: self.duplicates };
            match items.next_element_seed(seed)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.check_depth()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let trail = self.trail.field(&key);
            if map.contains_key(&key) && self.duplicates.len() < MAX_DUPLICATES {
                self.duplicates.insert(trail.path().to_string());
            }
            let seed = Seed { trail: &trail, depth: self.depth + 1, duplicates: self.duplicates };
            let value = entries.next_value_seed(seed)?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
