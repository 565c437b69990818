//! JSON values as YAML, laid out as kubectl lays it out: keys in order, lists not indented.

use serde_json::Value;

use super::scalar;

/// The value as a YAML document, with a line break at its end.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    if is_block(value) {
        block(&mut out, value, 0);
    } else {
        inline(&mut out, value, 0);
        out.push('\n');
    }
    out
}

/// A collection that is not empty, one line for each entry.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (index, (key, value)) in fields.iter().enumerate() {
                // The first line stands after the `- ` of a list, or at the start of a line already indented.
                if index > 0 {
                    pad(out, indent);
                }
                text(out, key, indent, false);
                out.push(':');
                entry(out, value, indent, indent + 2);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push_str("- ");
                if is_block(item) {
                    block(out, item, indent + 2);
                } else {
                    inline(out, item, indent + 2);
                    out.push('\n');
                }
            }
        }
        _ => unreachable!("only collections are blocks"),
    }
}

/// What stands after a key's colon.
fn entry(out: &mut String, value: &Value, list_indent: usize, map_indent: usize) {
    if is_block(value) {
        let indent = if value.is_array() { list_indent } else { map_indent };
        out.push('\n');
        pad(out, indent);
        block(out, value, indent);
    } else {
        out.push(' ');
        inline(out, value, map_indent);
        out.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::String(words) => text(out, words, indent, true),
        Value::Object(_) => out.push_str("{}"),
        Value::Array(_) => out.push_str("[]"),
        other => out.push_str(&other.to_string()),
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text in the lightest style that is read back as the same text.
fn text(out: &mut String, words: &str, indent: usize, may_be_block: bool) {
    if words.contains('\n') && may_be_block && fits_literal(words) {
        literal(out, words, indent);
    } else if !scalar::stays_text(words) || words.contains(|c: char| !is_printable(c)) {
        double_quoted(out, words);
    } else if fits_plain(words) {
        out.push_str(words);
    } else {
        out.push('\'');
        out.push_str(&words.replace('\'', "''"));
        out.push('\'');
    }
}

/// What go-yaml takes for printable, line breaks aside.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
        && !matches!(c, '\u{2028}' | '\u{2029}')
}

fn fits_plain(words: &str) -> bool {
    let first = words.chars().next().unwrap_or(' ');
    let second_is_space = words.chars().nth(1).is_none_or(|c| c == ' ');
    let starts_badly = matches!(
        first,
        ' ' | '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
    ) || (matches!(first, '-' | '?' | ':') && second_is_space);
    let is_marker = words.starts_with("---") || words.starts_with("...");
    let breaks_off = words.contains(": ") || words.contains(" #");
    !(starts_badly || is_marker || breaks_off || words.ends_with([' ', ':']))
}

fn fits_literal(words: &str) -> bool {
    words.chars().all(|c| c == '\n' || is_printable(c)) && !words.contains(" \n") && !words.ends_with(' ')
}

fn literal(out: &mut String, words: &str, indent: usize) {
    let indent = indent.max(2);
    out.push('|');
    if words.starts_with([' ', '\n']) {
        // The block's indent cannot be told from its first line, so it is said, relative to the parent's.
        out.push('2');
    }
    let body = match words.strip_suffix('\n') {
        None => {
            out.push('-');
            words
        }
        Some(body) => {
            if body.ends_with('\n') || body.is_empty() {
                out.push('+');
            }
            body
        }
    };
    for line in body.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, words: &str) {
    out.push('"');
    for c in words.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            c if is_printable(c) => out.push(c),
            c if u32::from(c) <= 0xff => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            c if u32::from(c) <= 0xffff => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[test]
    fn objects_are_laid_out_as_kubectl_does() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"labels": {"a": "true", "n": "5"}, "name": "x"},
            "spec": {
                "containers": [{"args": ["-c", "echo: hi", ""], "env": [], "image": "busybox:latest", "name": "c"}],
                "nested": [[1, 2], {}], "port": 80, "none": null, "ratio": 0.5,
            },
            "data": {"script": "set -e\nrun\n", "bare": "one\ntwo", "tabs": "a\n\tb\n", "wide": "  x\ny\n", "many": "x\n\n"},
        });
        insta::assert_snapshot!(to_string(&object), @r#"
apiVersion: v1
data:
  bare: |-
    one
    two
  many: |+
    x

  script: |
    set -e
    run
  tabs: "a\n\tb\n"
  wide: |2
      x
    y
kind: Pod
metadata:
  labels:
    a: "true"
    "n": "5"
  name: x
spec:
  containers:
  - args:
    - -c
    - 'echo: hi'
    - ""
    env: []
    image: busybox:latest
    name: c
  nested:
  - - 1
    - 2
  - {}
  none: null
  port: 80
  ratio: 0.5
"#);
    }

    #[test]
    fn every_text_is_read_back_as_it_was() {
        let texts = [
            "",
            " ",
            "a",
            "yes",
            "1",
            "0x1",
            "- a",
            "-a",
            "a: b",
            "a:",
            ":a",
            "a #b",
            "#a",
            "'q'",
            "\"q\"",
            "{a}",
            "[a]",
            "*a",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "|",
            ">",
            "?",
            "? a",
            "---",
            "...",
            "a\nb",
            "a\n",
            "\n",
            "\n\n",
            " a\nb",
            "a \nb",
            "a\n ",
            "tab\tx",
            "é",
            "日本",
            "\u{1F600}",
            "\u{7}",
            "\u{feff}",
            "\u{2028}",
            "1:30",
            "<<",
            "=",
            "~",
            "a\\b",
            "2024-01-02",
            "x\r\ny",
            "a\n\n b\n",
            "\n a",
        ];
        for words in texts {
            let value = json!({"k": words, "l": [words], words: 1, "m": {"n": [{"o": words}]}});
            let yaml = to_string(&value);
            assert_eq!(parse(&yaml).unwrap_or_else(|e| panic!("{words:?}: {e}\n{yaml}")), [value], "{yaml}");
        }
    }

    #[test]
    fn bare_values_are_documents_too() {
        assert_eq!(to_string(&json!({})), "{}\n");
        assert_eq!(to_string(&json!([])), "[]\n");
        assert_eq!(to_string(&json!("x")), "x\n");
        assert_eq!(to_string(&json!([[1]])), "- - 1\n");
    }
}
