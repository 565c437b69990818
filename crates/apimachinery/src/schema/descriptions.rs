//! What upstream says about each type and field, in words: for `explain` and OpenAPI.
//!
//! The texts are packed in `data/descriptions.txt.gz`, made by `cargo xtask schema` like the table of fields. They are
//! unpacked for who asks and gone with [`Descriptions`]: an idle program holds none of them.

use std::collections::HashMap;
use std::io::Read as _;

pub(super) static PACKED: &[u8] = include_bytes!("../../data/descriptions.txt.gz");

/// All texts, unpacked: about 700 KB.
pub struct Descriptions {
    text: String,
    /// Where the lines of each type are in the text.
    types: HashMap<String, std::ops::Range<usize>>,
}

impl Descriptions {
    /// Unpacks the texts.
    pub fn unpack() -> Self {
        // The data is part of the program; a test reads all of it.
        Self::read(unpacked().expect("the packed descriptions can be read"))
    }

    /// Reads the form of the data: `type NAME`, then the type's own text after a tab, then `field<TAB>text`. In texts
    /// `\n` is a line's end and `\\` a backslash.
    fn read(text: String) -> Self {
        let mut types = HashMap::new();
        let mut current = None;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if let Some(name) = line.strip_prefix("type ") {
                let start = at + line.len();
                if let Some((name, from)) = current.replace((name.trim_end().to_owned(), start)) {
                    types.insert(name, from..at);
                }
            }
            at += line.len();
        }
        if let Some((name, from)) = current {
            types.insert(name, from..at);
        }
        Self { text, types }
    }

    /// What is said about the type, by the table's name for it; empty when nothing is.
    pub fn of_type(&self, type_name: &str) -> String {
        self.of_field(type_name, "")
    }

    /// What is said about the field; empty when nothing is.
    pub fn of_field(&self, type_name: &str, field: &str) -> String {
        let Some(range) = self.types.get(type_name) else { return String::new() };
        let mut lines = self.text[range.clone()].lines().filter_map(|line| line.split_once('\t'));
        lines.find(|(name, _)| *name == field).map(|(_, text)| unescape(text)).unwrap_or_default()
    }
}

/// The whole text as `cargo xtask schema` packed it.
///
/// # Errors
/// When the data is no gzip or no UTF-8: then the program was built with broken data.
pub fn unpacked() -> std::io::Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(PACKED).read_to_string(&mut text)?;
    Ok(text)
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.as_str().starts_with('n') => {
                chars.next();
                out.push('\n');
            }
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn texts_are_found_by_type_and_field() {
        let text = "type a.B\n\tA thing.\nname\tIts name.\\nOne \\\\n.\ntype a.C\n\tAnother.\n";
        let read = Descriptions::read(text.to_owned());
        assert_eq!(read.of_type("a.B"), "A thing.");
        assert_eq!(read.of_field("a.B", "name"), "Its name.\nOne \\n.");
        assert_eq!(read.of_field("a.C", "name"), "");
        assert_eq!(read.of_type("a.C"), "Another.");
        assert_eq!(read.of_type("a.D"), "");
    }

    #[test]
    fn every_type_that_is_described_is_in_the_table() {
        let all = Descriptions::unpack();
        let schema = Schema::builtin();
        let unknown: Vec<&String> =
            all.types.keys().filter(|name| schema.type_named(name).is_none()).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let set = all.of_field("apps.v1.StatefulSetSpec", "serviceName");
        assert!(
            set.starts_with("serviceName is the name of the service that governs this StatefulSet"),
            "{set}"
        );
    }
}
