//! `-o custom-columns=NAME:.metadata.name,…`.

use serde_json::Value;

use super::table;
use crate::error::Error;
use crate::jsonpath::{Template, text_of};

/// What stands where a path finds nothing.
const NONE: &str = "<none>";

/// Columns of the user's own.
#[derive(Clone, Debug)]
pub(crate) struct CustomColumns {
    headings: Vec<String>,
    paths: Vec<Template>,
}

impl CustomColumns {
    /// Reads `HEADING:PATH,…`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut columns = Self { headings: Vec::new(), paths: Vec::new() };
        for column in text.split(',') {
            let (heading, path) = column.split_once(':').ok_or_else(|| {
                format!("unexpected custom-columns spec: {column}, expected <header>:<json-path-expr>")
            })?;
            columns.push(heading, path)?;
        }
        Ok(columns)
    }

    /// Reads a line of headings and a line of paths.
    pub(super) fn from_file(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let words = |line: Option<&str>| -> Vec<String> {
            line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let (headings, paths) = (words(lines.next()), words(lines.next()));
        if headings.len() != paths.len() || headings.is_empty() {
            return Err(format!(
                "the file must hold a line of headings and a line with as many paths, not {} and {}",
                headings.len(),
                paths.len()
            ));
        }
        let mut columns = Self { headings: Vec::new(), paths: Vec::new() };
        headings.iter().zip(&paths).try_for_each(|(heading, path)| columns.push(heading, path))?;
        Ok(columns)
    }

    fn push(&mut self, heading: &str, path: &str) -> Result<(), String> {
        let template = Template::relaxed(path).map_err(|e| format!("column {heading}: {e}"))?;
        self.headings.push(heading.to_owned());
        self.paths.push(template);
        Ok(())
    }

    /// A row for the object, or one for each item of a list.
    pub(super) fn print(&self, object: &Value) -> Result<String, Error> {
        let items = match object["items"].as_array() {
            Some(items) => items.iter().collect(),
            None => vec![object],
        };
        let mut rows = vec![self.headings.clone()];
        for item in items {
            let mut row = Vec::new();
            for path in &self.paths {
                let found = path.find(item).map_err(|e| Error::plain(e.to_string()))?;
                let words: Vec<String> = found.iter().filter(|v| !v.is_null()).map(text_of).collect();
                row.push(if words.is_empty() { NONE.to_owned() } else { words.join(",") });
            }
            rows.push(row);
        }
        Ok(table::align(&rows))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_item_is_a_row() {
        let list = json!({"items": [
            {"metadata": {"name": "web-0"}, "spec": {"containers": [{"image": "a"}, {"image": "b"}]}},
            {"metadata": {"name": "x"}},
        ]});
        let columns =
            CustomColumns::parse("NAME:.metadata.name,IMAGES:.spec.containers[*].image").expect("columns");
        assert_eq!(columns.print(&list).expect("rows"), "NAME    IMAGES\nweb-0   a,b\nx       <none>\n");
        let same = CustomColumns::from_file("NAME IMAGES\nmetadata.name {.spec.containers[*].image}\n")
            .expect("columns");
        assert_eq!(same.print(&list).expect("rows"), columns.print(&list).expect("rows"));
        assert!(CustomColumns::parse("NAME").is_err());
    }
}
