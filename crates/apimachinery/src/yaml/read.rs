//! Documents of YAML as JSON values.

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};
use serde_json::{Map, Value};

use super::scalar;
use crate::schema::strict_json::MAX_DEPTH;

/// The most memory that one text may ask for through aliases: a few short lines can otherwise ask for
/// gigabytes.
const MAX_COPIED_BYTES: usize = 64 << 20;

/// What a value takes in memory besides its text.
const VALUE_BYTES: usize = 32;

/// How many duplicates are told; a text full of them is no longer of interest.
const MAX_DUPLICATES: usize = 100;

/// Why a text is no YAML that stead reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Error {
    /// Where, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl Error {
    fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }

    /// What the scanner says, and where it comes from the two slips that everybody makes: what to do.
    fn of_scan(error: &ScanError, text: &str) -> Self {
        let (line, why) = (error.marker().line(), error.info());
        let is_tabbed = |line: &str| line.trim_start_matches(' ').starts_with('\t');
        if why.contains("tab") {
            // The scanner names the line in which the value began.
            let mut lines = text.lines().zip(1..).skip(line.saturating_sub(1));
            let found = lines.find(|(text, _)| is_tabbed(text)).map_or(line, |(_, found)| found);
            return Self { line: found, why: "a tab indents this line: indent with spaces".to_owned() };
        }
        let hint = if why.contains("expected key") { "; is the indentation right?" } else { "" };
        Self { line, why: why + hint }
    }
}

/// What was read.
#[derive(Debug, PartialEq)]
pub struct Parsed {
    /// All documents of the text; empty ones are `null`. Of keys that stand twice the last counts, as in Go.
    pub documents: Vec<Value>,
    /// The keys that stand twice in a map, in order.
    pub duplicates: Vec<Duplicate>,
}

/// A key that stands twice in a map. Its words are upstream's (`goyaml.v2/decode.go`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: key {key:?} already set in map")]
pub struct Duplicate {
    /// Where it stands the second time, counted from 1.
    pub line: usize,
    /// The key.
    pub key: String,
}

/// All documents of a text; empty ones are `null`.
///
/// # Errors
/// When the text is no YAML, when a key stands twice in a map, when it nests deeper than [`MAX_DEPTH`], or
/// when its aliases make far too much of it.
pub fn parse(text: &str) -> Result<Vec<Value>, Error> {
    let Parsed { documents, duplicates } = parse_leniently(text)?;
    match duplicates.into_iter().next() {
        None => Ok(documents),
        Some(Duplicate { line, key }) => {
            Err(Error { line, why: format!("key {key:?} stands twice in this map") })
        }
    }
}

/// As [`parse`], but tells the keys that stand twice beside what was read.
///
/// # Errors
/// As [`parse`], duplicates aside.
pub fn parse_leniently(text: &str) -> Result<Parsed, Error> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| Error::of_scan(&error, text))?;
        builder.take(event, span)?;
    }
    Ok(Parsed { documents: builder.documents, duplicates: builder.duplicates })
}

/// A collection that is not closed yet.
enum Open {
    List { items: Vec<Value>, anchor: usize },
    Map { fields: Map<String, Value>, merged: Vec<Value>, key: Option<Key>, anchor: usize },
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
    duplicates: Vec<Duplicate>,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    copied_bytes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Error> {
        let line = span.start.line();
        let fail = |why: &str| Error::at(line, why);
        match event {
            Event::DocumentStart(..) => self.anchors.clear(),
            Event::Scalar(text, style, anchor, tag) => {
                if style == ScalarStyle::Plain && tag.is_none() && text == "<<" && self.expects_key() {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                let value = typed(&text, style, tag.as_deref()).map_err(|why| Error::at(line, why))?;
                self.place(value, anchor, line)?;
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(Open::List { items: Vec::new(), anchor }, line)?;
            }
            Event::MappingStart(_, anchor, _) => {
                let map = Open::Map { fields: Map::new(), merged: Vec::new(), key: None, anchor };
                self.open(map, line)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let (value, anchor) = match self.open.pop() {
                    Some(Open::List { items, anchor }) => (Value::Array(items), anchor),
                    Some(Open::Map { fields, merged, anchor, .. }) => (with_merged(fields, merged), anchor),
                    None => return Err(fail("a collection ends that never started")),
                };
                self.place(value, anchor, line)?;
            }
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned();
                let value = value.ok_or_else(|| fail("an alias inside the value that it names"))?;
                self.copied(&value, line)?;
                self.place(value, 0, line)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, collection: Open, line: usize) -> Result<(), Error> {
        self.open.push(collection);
        if self.open.len() > MAX_DEPTH { Err(too_deep(line)) } else { Ok(()) }
    }

    /// Counts what a copy of the value takes, here.
    fn copied(&mut self, value: &Value, line: usize) -> Result<(), Error> {
        let Size { bytes, depth } = size(value);
        self.copied_bytes += bytes;
        if self.copied_bytes > MAX_COPIED_BYTES {
            let why = format!("its aliases make more than {MAX_COPIED_BYTES} bytes: write less of it");
            return Err(Error::at(line, why));
        }
        // Aliases nest what the text does not.
        if self.open.len() + depth > MAX_DEPTH { Err(too_deep(line)) } else { Ok(()) }
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
    fn place(&mut self, value: Value, anchor: usize, line: usize) -> Result<(), Error> {
        if anchor != 0 {
            self.copied(&value, line)?;
            self.anchors.insert(anchor, value.clone());
        }
        let fail = |why: &str| Error::at(line, why);
        match self.open.last_mut() {
            None => self.documents.push(value),
            Some(Open::List { items, .. }) => items.push(value),
            Some(Open::Map { fields, merged, key, .. }) => match key.take() {
                None => *key = Some(Key::Field(key_text(&value).ok_or_else(|| {
                    fail("the key of a map must be a word, not a list or a map; is a quote or a brace missing?")
                })?)),
                Some(Key::Merge) => {
                    let maps = if let Value::Array(maps) = value { maps } else { vec![value] };
                    if !maps.iter().all(Value::is_object) {
                        return Err(fail("what is merged with << must be a map or a list of maps"));
                    }
                    merged.extend(maps);
                }
                Some(Key::Field(name)) => {
                    if fields.contains_key(&name) && self.duplicates.len() < MAX_DUPLICATES {
                        self.duplicates.push(Duplicate { line, key: name.clone() });
                    }
                    fields.insert(name, value);
                }
            },
        }
        Ok(())
    }
}

fn too_deep(line: usize) -> Error {
    Error::at(line, format!("it nests deeper than {MAX_DEPTH} levels"))
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
fn with_merged(mut fields: Map<String, Value>, merged: Vec<Value>) -> Value {
    for map in merged {
        if let Value::Object(map) = map {
            for (key, value) in map {
                fields.entry(key).or_insert(value);
            }
        }
    }
    Value::Object(fields)
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

/// What a value takes: an estimate of its memory, and how deep it nests (0: no collection).
#[derive(Clone, Copy, Default)]
struct Size {
    bytes: usize,
    depth: usize,
}

fn size(value: &Value) -> Size {
    let of_all = |parts: &mut dyn Iterator<Item = (usize, &Value)>| {
        let start = Size { bytes: VALUE_BYTES, depth: 0 };
        let inner = parts.fold(start, |all, (key_bytes, part)| {
            let part = size(part);
            Size { bytes: all.bytes + key_bytes + part.bytes, depth: all.depth.max(part.depth) }
        });
        Size { depth: inner.depth + 1, ..inner }
    };
    match value {
        Value::Array(items) => of_all(&mut items.iter().map(|item| (0, item))),
        Value::Object(fields) => {
            of_all(&mut fields.iter().map(|(key, value)| (VALUE_BYTES + key.len(), value)))
        }
        Value::String(text) => Size { bytes: VALUE_BYTES + text.len(), depth: 0 },
        _ => Size { bytes: VALUE_BYTES, depth: 0 },
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
    fn slips_in_indentation_are_told_as_such() {
        for text in ["a: 1\nb:\n\tc: 2\n", "a: 1\nb: x\n\tc: 2\n", "a: 1\nb: 2\n\t- c\n"] {
            assert_eq!(refused(text), "line 3: a tab indents this line: indent with spaces", "{text:?}");
        }
        let said = refused("a:\n  b: 1\n c: 2\n");
        assert!(said.starts_with("line 3: ") && said.ends_with("; is the indentation right?"), "{said}");
    }

    #[test]
    fn the_last_of_two_counts_where_duplicates_are_forgiven() {
        let parsed = parse_leniently("a: 1\nb: {c: 1, c: 2}\na: 3\n").expect("YAML");
        assert_eq!(parsed.documents, [json!({"a": 3, "b": {"c": 2}})]);
        let told: Vec<String> = parsed.duplicates.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["line 2: key \"c\" already set in map", "line 3: key \"a\" already set in map"]);
    }

    #[test]
    fn only_maps_are_merged() {
        assert_eq!(
            refused("a:\n  <<: 5\n"),
            "line 2: what is merged with << must be a map or a list of maps"
        );
    }

    #[test]
    fn aliases_cannot_ask_for_endless_memory() {
        let mut bomb = "l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = vec![format!("*l{}", level - 1); 10].join(", ");
            bomb += &format!("l{level}: &l{level} [{below}]\n");
        }
        assert!(refused(&bomb).contains("aliases make more than"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 1000].join(", "));
        assert!(refused(&long).contains("aliases make more than"));
    }

    #[test]
    fn depth_is_bounded_through_aliases_too() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert!(refused(&nested(MAX_DEPTH + 1)).contains("nests deeper than"));
        let half = MAX_DEPTH / 2 + 1;
        let (open, close) = ("[".repeat(half), "]".repeat(half));
        assert!(
            refused(&format!("a: &a {}\nb: {open}*a{close}\n", nested(half))).contains("nests deeper than")
        );
    }
}
