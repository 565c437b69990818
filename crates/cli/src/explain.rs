//! Texts of `explain`, made from an OpenAPI document; they are laid out as kubectl's are (its template `plaintext`).

use serde_json::Value;

use crate::error::Error;

/// How wide descriptions may be, with what they are indented by.
const WIDTH: usize = 80;
/// How far below each other fields are listed at the most: types that hold themselves (JSON schemas) have no end.
const MAX_DEPTH: usize = 20;

/// A kind and a path below it.
pub(crate) struct Wanted<'a> {
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) fields: &'a [String],
}

/// The schemas of a group's version.
pub(crate) struct Document<'d> {
    schemas: &'d Value,
}

impl<'d> Document<'d> {
    pub(crate) fn new(document: &'d Value) -> Self {
        Self { schemas: &document["components"]["schemas"] }
    }

    /// The text about a kind or a field of it.
    pub(crate) fn explain(&self, wanted: &Wanted<'_>, recursive: bool) -> Result<String, Error> {
        let mut out = String::new();
        let mut line = |text: String| out += &format!("{text}\n");
        if !wanted.group.is_empty() {
            line(format!("GROUP:      {}", wanted.group));
        }
        line(format!("KIND:       {}", wanted.kind));
        line(format!("VERSION:    {}\n", wanted.version));
        let mut schema = self.kind(wanted)?;
        let mut said = vec![text(&schema["description"])];
        for (depth, name) in wanted.fields.iter().enumerate() {
            let property = &self.content(schema)["properties"][name];
            if property.is_null() {
                return Err(Error::plain(format!("field \"{name}\" does not exist")));
            }
            if depth + 1 == wanted.fields.len() {
                let marks = self.marks(schema, name);
                line(format!("FIELD: {name} <{}>{marks}\n", self.type_of(property)));
                said = vec![text(&property["description"]), text(&self.target(property)["description"])];
            }
            schema = property;
        }
        said.retain(|text| !text.is_empty());
        said.dedup();
        line(
            "\nDESCRIPTION:".trim_start_matches(if wanted.fields.is_empty() { "\n" } else { "" }).to_owned(),
        );
        if said.is_empty() {
            line("    <empty>".to_owned());
        }
        for text in said {
            wrap(text, 4).into_iter().for_each(&mut line);
        }
        // kubectl's template ends the texts with an indented line of nothing.
        line("    ".to_owned());
        let inner = self.content(schema);
        if !entries(&inner["properties"]).is_empty() {
            line("FIELDS:".to_owned());
            let mut lines = Vec::new();
            self.fields(&mut lines, inner, recursive, 1);
            lines.into_iter().for_each(&mut line);
        }
        line(String::new());
        Ok(out)
    }

    fn kind(&self, wanted: &Wanted<'_>) -> Result<&'d Value, Error> {
        let is_it = |schema: &&Value| {
            let kinds = schema["x-kubernetes-group-version-kind"].as_array();
            kinds.into_iter().flatten().any(|gvk| {
                gvk["group"] == wanted.group && gvk["version"] == wanted.version && gvk["kind"] == wanted.kind
            })
        };
        let schemas = self.schemas.as_object().into_iter().flatten().map(|(_, schema)| schema);
        schemas.into_iter().find(is_it).ok_or_else(|| {
            Error::plain(format!(
                "the server does not describe {} in version {}: see api-versions for other versions",
                wanted.kind, wanted.version
            ))
        })
    }

    /// What a reference leads to; the schema itself when it is none.
    fn target(&self, schema: &'d Value) -> &'d Value {
        let inner = &schema["allOf"][0];
        let reference = inner["$ref"].as_str().or_else(|| schema["$ref"].as_str());
        match reference.and_then(|reference| reference.rsplit('/').next()) {
            Some(name) => &self.schemas[name],
            None => schema,
        }
    }

    /// Whose fields a path goes on with: of the items, for lists and maps.
    fn content(&self, schema: &'d Value) -> &'d Value {
        let target = self.target(schema);
        match (&target["items"], &target["additionalProperties"]) {
            (Value::Null, Value::Null) => target,
            (Value::Null, values) => self.content(values),
            (items, _) => self.content(items),
        }
    }

    /// `[]Container`, `map[string]string`, `StatefulSetSpec`.
    fn type_of(&self, schema: &'d Value) -> String {
        let inner = &schema["allOf"][0];
        if let Some(reference) = inner["$ref"].as_str().or_else(|| schema["$ref"].as_str()) {
            let target = self.target(schema);
            if target["properties"].is_null() && target["type"].is_string() && target["type"] != "object" {
                return self.type_of(target);
            }
            return reference.rsplit(['/', '.']).next().unwrap_or_default().to_owned();
        }
        match (schema["type"].as_str(), &schema["additionalProperties"]) {
            (Some("array"), _) => format!("[]{}", self.type_of(&schema["items"])),
            (Some("object"), values) if !values.is_null() => format!("map[string]{}", self.type_of(values)),
            (Some("object") | None, _) => "Object".to_owned(),
            (Some(simple), _) => simple.to_owned(),
        }
    }

    fn marks(&self, of: &'d Value, name: &str) -> &'static str {
        let required = self.content(of)["required"].as_array();
        if required.into_iter().flatten().any(|required| required == name) { " -required-" } else { "" }
    }

    fn fields(&self, lines: &mut Vec<String>, schema: &'d Value, recursive: bool, depth: usize) {
        for (name, property) in entries(&schema["properties"]) {
            let (kind, marks) = (self.type_of(property), self.marks(schema, name));
            lines.push(format!("{}{name}\t<{kind}>{marks}", "  ".repeat(depth)));
            if recursive {
                if depth < MAX_DEPTH {
                    self.fields(lines, self.content(property), recursive, depth + 1);
                }
                continue;
            }
            match text(&property["description"]) {
                "" => lines.push("    <no description>".to_owned()),
                said => lines.extend(wrap(said, 4)),
            }
            lines.push(String::new());
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn entries(map: &Value) -> Vec<(&String, &Value)> {
    map.as_object().into_iter().flatten().collect()
}

/// The text in lines that fit, indented; its own line ends are kept.
fn wrap(text: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - indent {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.into_iter().map(|line| format!("{}{line}", " ".repeat(indent))).collect()
}
