//! kubectl's dialect of JSONPath (`k8s.io/client-go/util/jsonpath`): a template of text and `{actions}`, with `range`
//! and `end`, filters like `?(@.type=="Ready")`, slices, unions, recursive descent. It is older than RFC 9535 and
//! differs from it.

mod eval;
mod parse;

use serde_json::Value;

/// A template, read once and used many times.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Text between actions.
    Text(String),
    /// `{…}`.
    Action(Vec<Step>),
    /// `{range …}…{end}`.
    Range(Vec<Step>, Vec<Part>),
}

/// One step from values to values.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// A quoted text, whatever the input.
    Text(String),
    /// A number or a boolean, one for each input.
    Literal(Value),
    Field(String),
    Wildcard,
    Recursive,
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: Option<i64>,
    },
    Index(i64),
    Union(Vec<Vec<Step>>),
    Filter {
        left: Vec<Step>,
        /// `None`: whether `left` is there at all.
        comparison: Option<(Operator, Vec<Step>)>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is wrong with a template, or with what it asks of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Error(String);

impl Error {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl Template {
    /// Reads a template as `-o jsonpath=` takes it: text, and actions in braces.
    ///
    /// # Errors
    /// When the template is malformed.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        parse::template(text).map(Self)
    }

    /// Reads one path as `--sort-by`, `wait` and custom columns take it: `{.a.b}`, `.a.b` or `a.b`.
    ///
    /// # Errors
    /// When the path is malformed.
    pub(crate) fn relaxed(path: &str) -> Result<Self, Error> {
        let inner = match path.strip_prefix('{') {
            None => path,
            Some(rest) => rest.strip_suffix('}').ok_or_else(|| {
                Error::new(format!("unexpected path string, expected a '}}' at the end of {path:?}"))
            })?,
        };
        if inner.is_empty() {
            return Err(Error::new("the path is empty: expected something like .metadata.name"));
        }
        let dot = if inner.starts_with(['.', '[', '$', '@']) { "" } else { "." };
        Self::parse(&format!("{{{dot}{inner}}}"))
    }

    /// Fills the template in. What is not there is left out.
    ///
    /// # Errors
    /// When an index is out of bounds, or values cannot be compared.
    pub(crate) fn render(&self, value: &Value) -> Result<String, Error> {
        eval::render(&self.0, value)
    }

    /// The values that the template finds, all actions together.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(crate) fn find(&self, value: &Value) -> Result<Vec<Value>, Error> {
        eval::find(&self.0, value)
    }
}

/// A value as text: strings as they are, collections as JSON.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Value {
        json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
             "status": {"restarts": 3, "ok": true, "conditions": [{"type": "Ready", "status": "True"}, {"type": "Init", "status": "False"}]}},
            {"metadata": {"name": "b"}, "status": {"restarts": 0, "ok": false, "conditions": [{"type": "Ready", "status": "False"}]}},
            {"metadata": {"name": "c"}, "status": {}},
        ]})
    }

    #[track_caller]
    fn check(template: &str, expect: &str) {
        let parsed = Template::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
        assert_eq!(
            parsed.render(&pods()).unwrap_or_else(|e| panic!("{template}: {e}")),
            expect,
            "{template}"
        );
    }

    #[track_caller]
    fn refused(template: &str) -> String {
        Template::parse(template).and_then(|t| t.render(&pods())).expect_err("an error").to_string()
    }

    #[test]
    fn fields_and_wildcards_join_with_spaces() {
        check("{.kind}", "List");
        check("plain text", "plain text");
        check("{.items[*].metadata.name}", "a b c");
        check("{.items[*]['metadata.name']}", "a b c");
        check("{$.items[0].metadata.name}", "a");
        check("{.items[0]['metadata.name','status.restarts']}", "a 3");
        check("{.items..name}", "a b c");
        check("{..restarts}", "3 0");
        check("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x");
        check("{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}", "x");
        check("{.missing.deeper}", "");
        check("{.items[*].status.ok}", "true false");
        check("{.items[0].status.conditions[0]}", r#"{"status":"True","type":"Ready"}"#);
        check("{.items[0].metadata.*}", r#"{"app.kubernetes.io/name":"x"} a"#);
    }

    #[test]
    fn ranges_repeat_what_is_inside() {
        check("{range .items[*]}{.metadata.name}{\"\\n\"}{end}", "a\nb\nc\n");
        check("{range .items[*]}{.metadata.name}={.status.restarts};{end}done", "a=3;b=0;c=;done");
        check(
            "{range .items[*]}{.metadata.name}:{range .status.conditions[*]} {.type}{end}{'\\t'}{end}",
            "a: Ready Init\tb: Ready\tc:\t",
        );
        check("{range .nothing[*]}x{end}y", "y");
    }

    #[test]
    fn filters_compare_and_test_for_presence() {
        check("{.items[?(@.metadata.name==\"b\")].status.restarts}", "0");
        check("{.items[?(@.metadata.name!='b')].metadata.name}", "a c");
        check("{.items[?(@.status.restarts>0)].metadata.name}", "a");
        check("{.items[?(@.status.restarts>=0)].metadata.name}", "a b");
        check("{.items[?(@.status.ok==true)].metadata.name}", "a");
        check("{.items[?(@.status.conditions)].metadata.name}", "a b");
        check("{.items[*].status.conditions[?(@.type==\"Ready\")].status}", "True False");
        check("{.items[?(@.metadata.name==\"a)b\")].metadata.name}", "");
    }

    #[test]
    fn indexes_may_be_negative_and_slices_have_steps() {
        check("{.items[-1].metadata.name}", "c");
        check("{.items[-1:].metadata.name}", "c");
        check("{.items[0:2].metadata.name}", "a b");
        check("{.items[:2].metadata.name}", "a b");
        check("{.items[1:].metadata.name}", "b c");
        check("{.items[::2].metadata.name}", "a c");
        check("{.items[0,2].metadata.name}", "a c");
        check("{.items[1:1].metadata.name}", "");
    }

    #[test]
    fn mistakes_are_told() {
        assert_eq!(refused("{.items[7]}"), "array index out of bounds: index 7, length 3");
        assert_eq!(refused("{.kind[0]}"), "\"List\" is not a list: it has no index");
        assert_eq!(refused("{.items"), "unclosed action: a } is missing");
        assert_eq!(refused("{.items[0}"), "unterminated array: a ] is missing");
        assert_eq!(refused("{.items[x]}"), "invalid array index x");
        assert_eq!(refused("{end}"), "not in range, nothing to end");
        assert_eq!(refused("{range .items[*]}x"), "range without an {end}");
        assert_eq!(refused("{foo}"), "unrecognized identifier foo: a field starts with a dot");
        assert_eq!(refused("{\"x}"), "unterminated quoted string");
        assert_eq!(refused("{.items[?(@.a==\"b]}"), "unterminated filter: )] is missing");
        assert_eq!(refused("{.items[?(@.metadata.name<1)]}"), "cannot compare \"a\" with 1");
        assert_eq!(refused("{.items[?(@.metadata.name=~\"a\")]}"), "unrecognized filter operator =~");
    }

    #[test]
    fn single_paths_need_no_braces() {
        for path in ["{.metadata.name}", ".metadata.name", "metadata.name", "{metadata.name}"] {
            let template = Template::relaxed(path).expect("a path");
            assert_eq!(template.find(&pods()["items"][0]), Ok(vec![json!("a")]), "{path}");
        }
        assert!(Template::relaxed("{.a").is_err());
    }
}
