//! Field selectors: `metadata.name=db-0,status.phase!=Running`
//! (`k8s.io/apimachinery/pkg/fields`).

use std::fmt;

/// What a list or a watch asks of fields; all terms must hold. Which fields can be asked for is the kind's say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    terms: Vec<Term>,
}

/// One comparison of a field with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The field's path, for instance `metadata.name`.
    pub field: String,
    /// The text that the field is compared with.
    pub value: String,
    /// Whether the field must be that text (`=`, `==`) or must not (`!=`).
    pub equal: bool,
}

/// Why a text is no field selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A term has no operator.
    #[error("invalid selector: '{selector}'; can't understand '{term}'")]
    NoOperator {
        /// The whole text.
        selector: String,
        /// The term at fault.
        term: String,
    },
    /// A backslash that escapes nothing that can be escaped.
    #[error("invalid field selector: invalid escape sequence: {sequence}")]
    Escape {
        /// The backslash and what follows it.
        sequence: String,
    },
    /// A `,` or `=` in a value must be written with a backslash before it.
    #[error("invalid field selector: unescaped character in value: {character}")]
    Unescaped {
        /// The character at fault.
        character: char,
    },
}

impl Selector {
    /// Reads the query form. In values a backslash escapes `,`, `=` and itself.
    ///
    /// # Errors
    /// When a term has no operator or a value is escaped wrongly.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(term) else {
                return Err(Error::NoOperator { selector: text.to_owned(), term: term.to_owned() });
            };
            terms.push(Term { field: field.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { terms })
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The terms, in the order in which they were written.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The fields that are asked for, to give them other names.
    pub fn fields_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.terms.iter_mut().map(|term| &mut term.field)
    }

    /// The text that `field` must equal, when the selector says so: `metadata.name=x` makes a list a get.
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|t| t.equal && t.field == field).map(|t| t.value.as_str())
    }

    /// Whether an object matches; `value_of` tells the object's fields, absent ones as empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> &'a str) -> bool {
        self.terms.iter().all(|t| (value_of(&t.field) == t.value) == t.equal)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, term) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at =
        term.char_indices().find(|&(at, _)| term[at..].starts_with("!=") || term[at..].starts_with('='))?.0;
    let (field, rest) = term.split_at(at);
    ["!=", "==", "="].iter().find_map(|op| Some((field, *op != "!=", rest.strip_prefix(op)?)))
}

fn unescape(value: &str) -> Result<String, Error> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    return Err(Error::Escape {
                        sequence: format!("\\{}", other.map(String::from).unwrap_or_default()),
                    });
                }
            },
            ',' | '=' => return Err(Error::Unescaped { character: c }),
            _ => out.push(c),
        }
    }
    Ok(out)
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let shown = match Selector::parse(text) {
            Ok(selector) => selector.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expect);
    }

    #[test]
    fn selectors_are_read_and_printed() {
        check("", "");
        check("metadata.name=db-0", "metadata.name=db-0");
        check("metadata.name==db-0,status.phase!=Running", "metadata.name=db-0,status.phase!=Running");
        check("a=", "a=");
        check(r"a=x\,y\=z\\", r"a=x\,y\=z\\");
        check("a=b,", "a=b");
        check("a", "invalid selector: 'a'; can't understand 'a'");
        check("a=b=c", "invalid field selector: unescaped character in value: =");
        check(r"a=\x", r"invalid field selector: invalid escape sequence: \x");
        check(r"a=b\", r"invalid field selector: invalid escape sequence: \");
    }

    #[test]
    fn every_term_must_hold() {
        let fields = |field: &str| match field {
            "metadata.name" => "db-0",
            "status.phase" => "Running",
            _ => "",
        };
        let matches = |text: &str| Selector::parse(text).expect(text).matches(fields);
        assert!(matches(""));
        assert!(matches("metadata.name=db-0,status.phase!=Failed"));
        assert!(matches("spec.nodeName="));
        assert!(!matches("metadata.name=db-0,status.phase!=Running"));
        assert!(!matches("metadata.name=db-1"));
        assert_eq!(Selector::parse("a!=b,a=c").expect("valid").required("a"), Some("c"));
    }
}
