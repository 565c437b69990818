//! Tables as kubectl prints them (`k8s.io/cli-runtime/pkg/printers`): three spaces between columns, headings in upper
//! case.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

/// Spaces between columns.
const PADDING: usize = 3;
/// The least width of a column, its padding counted.
const LEAST_WIDTH: usize = 6;

/// What is shown of a table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    /// Also the columns that only `-o wide` shows.
    pub(crate) wide: bool,
    /// The namespace, first.
    pub(crate) namespace: bool,
    /// All labels, last.
    pub(crate) labels: bool,
    /// These labels, each in a column of its own.
    pub(crate) label_columns: Vec<String>,
    /// The kind before the name, as `statefulset.apps/`.
    pub(crate) kind: Option<String>,
}

/// The answer to a request for a table, as rows of text.
#[derive(Debug)]
pub(crate) struct Grid {
    /// The headings, in upper case.
    pub(crate) headings: Vec<String>,
    /// The rows, one word for each heading.
    pub(crate) rows: Vec<Vec<String>>,
}

/// Reads a `meta.k8s.io/v1.Table`. `definitions` are its `columnDefinitions`, or those of an earlier table of the same
/// watch, which tells them only once.
pub(crate) fn grid(table: &Value, definitions: &Value, columns: &Columns) -> Grid {
    let definitions = definitions.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<usize> =
        (0..definitions.len()).filter(|i| columns.wide || definitions[*i]["priority"] == 0).collect();
    let mut headings = Vec::new();
    if columns.namespace {
        headings.push("NAMESPACE".to_owned());
    }
    headings
        .extend(shown.iter().map(|i| definitions[*i]["name"].as_str().unwrap_or_default().to_uppercase()));
    headings.extend(columns.label_columns.iter().map(|key| label_heading(key)));
    if columns.labels {
        headings.push("LABELS".to_owned());
    }
    let rows = table["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = rows.iter().map(|row| {
        let object = &row["object"];
        let mut words = Vec::new();
        if columns.namespace {
            words.push(object.namespace().to_owned());
        }
        for (position, column) in shown.iter().enumerate() {
            let word = cell(&row["cells"][*column]);
            words.push(match &columns.kind {
                Some(kind) if position == 0 => format!("{kind}/{word}"),
                _ => word,
            });
        }
        words
            .extend(columns.label_columns.iter().map(|key| object.label(key).unwrap_or("<none>").to_owned()));
        if columns.labels {
            words.push(labels(object));
        }
        words
    });
    Grid { rows: rows.collect(), headings }
}

/// `app.kubernetes.io/name` is headed `NAME`.
fn label_heading(key: &str) -> String {
    key.rsplit('/').next().unwrap_or(key).to_uppercase()
}

/// `a=b,c=d`, or `<none>`.
pub(crate) fn labels(object: &Value) -> String {
    let pairs: Vec<String> = object
        .meta_map("labels")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

/// A cell on one line: what follows a line break is cut off, and what a terminal would obey is only shown
/// (CVE-2021-25743).
fn cell(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "<none>".to_owned(),
        other => other.to_string(),
    };
    let text = text.replace('\u{1b}', "^[");
    match text.split_once(['\n', '\r', '\u{c}']) {
        Some((first, _)) => format!("{first}..."),
        None => text,
    }
}

/// Rows aligned at once.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let mut aligner = Aligner::default();
    aligner.lines(rows)
}

/// Aligns rows that come in portions: columns never get narrower, so that the rows of a watch stand below each other.
#[derive(Debug, Default)]
pub(crate) struct Aligner {
    widths: Vec<usize>,
}

impl Aligner {
    /// The rows as lines. The last column is not padded.
    pub(crate) fn lines(&mut self, rows: &[Vec<String>]) -> String {
        for row in rows {
            let padded = row.len().saturating_sub(1);
            self.widths.resize(self.widths.len().max(padded), LEAST_WIDTH);
            for (width, word) in self.widths.iter_mut().zip(&row[..padded]) {
                *width = (*width).max(word.chars().count() + PADDING);
            }
        }
        let mut out = String::new();
        for row in rows {
            for (column, word) in row.iter().enumerate() {
                if column + 1 == row.len() {
                    out.push_str(word);
                } else {
                    out.push_str(&format!("{word:<width$}", width = self.widths[column]));
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Value {
        json!({
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Ready", "priority": 0},
                {"name": "Node", "priority": 1}, {"name": "Age", "priority": 0},
            ],
            "rows": [
                {"cells": ["web-0", "1/1", "n1", "5m"], "object": {"metadata": {"namespace": "shop", "labels": {"app": "web", "tier": "front"}}}},
                {"cells": ["a-long-name", "0/1", null, "3d\nx"], "object": {"metadata": {"namespace": "default"}}},
            ],
        })
    }

    fn print(columns: &Columns) -> String {
        let table = pods();
        let grid = grid(&table, &table["columnDefinitions"], columns);
        let mut rows = vec![grid.headings];
        rows.extend(grid.rows);
        align(&rows)
    }

    #[test]
    fn rows_stand_under_headings() {
        insta::assert_snapshot!(print(&Columns::default()), @r"
NAME          READY   AGE
web-0         1/1     5m
a-long-name   0/1     3d...
");
    }

    #[test]
    fn more_is_shown_on_demand() {
        let columns = Columns {
            wide: true,
            namespace: true,
            labels: true,
            label_columns: vec!["example.com/app".to_owned(), "app".to_owned()],
            kind: Some("pod".to_owned()),
        };
        insta::assert_snapshot!(print(&columns), @r"
NAMESPACE   NAME              READY   NODE     AGE     APP      APP      LABELS
shop        pod/web-0         1/1     n1       5m      <none>   web      app=web,tier=front
default     pod/a-long-name   0/1     <none>   3d...   <none>   <none>   <none>
");
    }

    #[test]
    fn words_do_not_steer_the_terminal() {
        assert_eq!(cell(&json!("\u{1b}[2Jgone\rhere")), "^[[2Jgone...");
    }

    #[test]
    fn rows_of_a_watch_keep_their_columns() {
        let mut aligner = Aligner::default();
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(aligner.lines(&[row("NAME", "AGE"), row("web-10", "1s")]), "NAME     AGE\nweb-10   1s\n");
        assert_eq!(aligner.lines(&[row("web-0", "2s")]), "web-0    2s\n");
        assert_eq!(aligner.lines(&[row("a-longer-one", "2s")]), "a-longer-one   2s\n");
    }
}
