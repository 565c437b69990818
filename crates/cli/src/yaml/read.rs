//! Documents of YAML as JSON values.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use super::scalar;

/// The most values that one file may hold, aliases resolved: a few short lines can otherwise ask for
/// gigabytes.
const MOST_VALUES: usize = 2_000_000;

/// Why a text is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub(crate) struct Error {
    /// Where, counted from 1.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) why: String,
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        Self { line: error.marker().line(), why: error.info() }
    }
}

/// All documents of a text; empty ones are `null`.
///
/// # Errors
/// When the text is no YAML, when a key stands twice in a map, or when it holds far too many values.
pub(crate) fn parse(text: &str) -> Result<Vec<Value>, Error> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event?;
        builder.take(event, span)?;
    }
    Ok(builder.documents)
}

/// A collection that is not closed yet.
enum Open {
    List { items: Vec<Value>, anchor: usize },
    Map { fields: BTreeMap<String, Value>, merged: Vec<Value>, key: Option<Key>, anchor: usize },
}

/// A map's key whose value comes next.
enum Key {
    Field(String),
    /// `<<`: the fields of another map.
    Merge,
}

#[derive(Default)]
struct Builder {
    documents: Vec<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Error> {
        let fail = |why: &str| Error { line: span.start.line(), why: why.to_owned() };
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::Plain && tag.is_none() && text == "<<" && self.expects_key() {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                let value = typed(&text, style, tag.as_deref()).map_err(|why| fail(&why))?;
                self.place(value, anchor, &fail)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open.push(Open::List { items: Vec::new(), anchor }),
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map { fields: BTreeMap::new(), merged: Vec::new(), key: None, anchor });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (value, anchor) = match self.open.pop() {
                    Some(Open::List { items, anchor }) => (Value::Array(items), anchor),
                    Some(Open::Map { fields, merged, anchor, .. }) => (with_merged(fields, merged), anchor),
                    None => return Err(fail("a collection ends that never started")),
                };
                self.place(value, anchor, &fail)?;
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| fail("an alias inside the value that it names"))?;
                self.values += count(&value);
                self.place(value, 0, &fail)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some(new);
        }
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, value: Value, anchor: usize, fail: &dyn Fn(&str) -> Error) -> Result<(), Error> {
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(fail(&format!("more than {MOST_VALUES} values, aliases resolved: split the file")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut() {
            None => self.documents.push(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { fields, merged, key, .. }) => match key.take() {
                None => *key = Some(Key::Field(key_text(&value).ok_or_else(|| {
                    fail("the key of a map must be a word, not a list or a map; is a quote or a brace missing?")
                })?)),
                Some(Key::Merge) => match value {
                    Value::Array(maps) => merged.extend(maps),
                    map => merged.push(map),
                },
                Some(Key::Field(name)) => {
                    if fields.contains_key(&name) {
                        return Err(fail(&format!("key {name:?} stands twice in this map")));
                    }
                    fields.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

/// Keys of JSON are text: `80: x` and `true: x` become that text.
fn key_text(key: &Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

/// A map's own fields, then those of the maps that it merges, earlier ones first.
fn with_merged(fields: BTreeMap<String, Value>, merged: Vec<Value>) -> Value {
    let mut all: Map<String, Value> = fields.into_iter().collect();
    for map in merged {
        if let Value::Object(map) = map {
            for (key, value) in map {
                all.entry(key).or_insert(value);
            }
        }
    }
    Value::Object(all)
}

fn typed(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let suffix = tag.and_then(|tag| tag.core_suffix());
    let plain = match suffix {
        Some("str") => return Ok(Value::String(text.to_owned())),
        Some(_) => true,
        None => style == ScalarStyle::Plain,
    };
    let value = if plain { scalar::resolve(text) } else { Value::String(text.to_owned()) };
    let fits = match suffix {
        Some("int") => value.is_u64() || value.is_i64(),
        Some("float") => value.is_number(),
        Some("bool") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => true,
    };
    if fits { Ok(value) } else { Err(format!("{text:?} is no {}", suffix.unwrap_or_default())) }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &[Value]) {
        assert_eq!(parse(text).expect("YAML"), expect);
    }

    #[track_caller]
    fn refused(text: &str) -> String {
        parse(text).expect_err("no YAML").to_string()
    }

    #[test]
    fn quotes_decide_what_is_text() {
        check(
            "a: yes\nb: 'yes'\nc: \"0644\"\nd: 0644\ne: !!str 5\nf: |\n  1\ng: ~\nh:\n",
            &[
                json!({"a": true, "b": "yes", "c": "0644", "d": 420, "e": "5", "f": "1\n", "g": null, "h": null}),
            ],
        );
    }

    #[test]
    fn a_stream_holds_many_documents() {
        check("# head\n---\na: 1\n---\n---\nb: 2\n...\n", &[json!({"a": 1}), Value::Null, json!({"b": 2})]);
        check("", &[]);
        check("{\"a\": [1, 2.5, \"x\"]}", &[json!({"a": [1, 2.5, "x"]})]);
    }

    #[test]
    fn aliases_and_merges_are_resolved() {
        check(
            "base: &b {x: 1, z: 2}\none: {<<: *b, z: 3}\ntwo: *b\n",
            &[json!({"base": {"x": 1, "z": 2}, "one": {"x": 1, "z": 3}, "two": {"x": 1, "z": 2}})],
        );
    }

    #[test]
    fn keys_are_text_in_json() {
        check("80: a\ntrue: b\n", &[json!({"80": "a", "true": "b"})]);
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(refused("a: 1\nb: 2\na: 3\n"), "line 3: key \"a\" stands twice in this map");
        assert!(refused("a:\n  - b\n c: d\n").starts_with("line 3: "));
        assert!(refused("{{ .Values.name }}: x\n").starts_with("line 1: the key of a map must be a word"));
    }

    #[test]
    fn aliases_cannot_ask_for_endless_memory() {
        let mut bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = vec![format!("*l{}", level - 1); 10].join(", ");
            bomb += &format!("l{level}: &l{level} [{below}]\n");
        }
        assert!(refused(&bomb).contains("values, aliases resolved"));
    }
}
