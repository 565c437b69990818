//! The OpenAPI definitions: fields, their types, and what Kubernetes' extensions say about lists and patches.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Definitions by the table's names, `core.v1.PodSpec`.
pub(super) type Definitions = BTreeMap<String, Definition>;

pub(super) struct Definition {
    pub(super) properties: BTreeMap<String, Property>,
    /// `apps/v1/StatefulSet`.
    pub(super) kinds: Vec<String>,
    pub(super) description: String,
}

pub(super) struct Property {
    /// As the table writes it: `[]core.v1.Container`.
    pub(super) shape: String,
    pub(super) required: bool,
    /// As the table writes them: `list=map keys=name patch=merge merge=name`.
    pub(super) facts: String,
    pub(super) description: String,
}

impl Definition {
    /// The properties without `kind` and `apiVersion` of objects, which are not fields of the message.
    pub(super) fn own_properties(&self) -> impl Iterator<Item = (&str, &Property)> {
        let is_type_meta = |name: &str| !self.kinds.is_empty() && matches!(name, "kind" | "apiVersion");
        self.properties
            .iter()
            .map(|(name, p)| (name.as_str(), p))
            .filter(move |(name, _)| !is_type_meta(name))
    }
}

pub(super) fn read(path: &Path) -> anyhow::Result<Definitions> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    let document: Value = serde_json::from_slice(&text)?;
    let all = document["$defs"].as_object().context("no $defs among the definitions")?;
    all.iter()
        .map(|(name, definition)| {
            Ok((short_name(name), self::definition(definition).with_context(|| name.clone())?))
        })
        .collect()
}

fn described(of: &Value) -> String {
    of["description"].as_str().unwrap_or_default().to_owned()
}

fn definition(definition: &Value) -> anyhow::Result<Definition> {
    let required = texts(&definition["required"]);
    let mut properties = BTreeMap::new();
    for (name, property) in definition["properties"].as_object().into_iter().flatten() {
        let property = Property {
            shape: shape(property).with_context(|| name.clone())?,
            required: required.contains(&name.as_str()),
            facts: facts(property),
            description: described(property),
        };
        properties.insert(name.clone(), property);
    }
    let kinds = definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten();
    let kinds = kinds.map(|gvk| {
        let text = |field: &str| gvk[field].as_str().unwrap_or_default();
        format!("{}/{}/{}", text("group"), text("version"), text("kind")).trim_start_matches('/').to_owned()
    });
    let (kinds, description) = (kinds.collect(), described(definition));
    Ok(Definition { properties, kinds, description })
}

/// `io.k8s.api.core.v1.PodSpec` is `core.v1.PodSpec`; what does not come from the main API has a letter in front.
fn short_name(name: &str) -> String {
    const PREFIXES: [(&str, &str); 5] = [
        ("io.k8s.kube-aggregator.pkg.apis.", "a:"),
        ("io.k8s.apiextensions-apiserver.pkg.apis.", "x:"),
        ("io.k8s.apimachinery.pkg.apis.", ""),
        ("io.k8s.apimachinery.pkg.", ""),
        ("io.k8s.api.", ""),
    ];
    let short =
        PREFIXES.iter().find_map(|(long, short)| Some(format!("{short}{}", name.strip_prefix(long)?)));
    short.unwrap_or_else(|| name.to_owned())
}

fn shape(property: &Value) -> anyhow::Result<String> {
    if let Some(reference) = property["$ref"].as_str() {
        return Ok(short_name(reference.rsplit('/').next().unwrap_or(reference)));
    }
    // A field that may be null says `["string", "null"]`.
    let types = match &property["type"] {
        Value::Array(_) => texts(&property["type"]),
        one => one.as_str().into_iter().collect(),
    };
    let of_type = types.into_iter().find(|t| *t != "null").unwrap_or_default();
    Ok(match (of_type, property["format"].as_str().unwrap_or_default()) {
        ("array", _) => format!("[]{}", shape(&property["items"])?),
        ("object", _) => format!("{{}}{}", shape(&property["additionalProperties"])?),
        ("string", "byte") => "y".to_owned(),
        ("string", _) => "s".to_owned(),
        ("integer", "int32") => "j".to_owned(),
        ("integer", "int64") => "i".to_owned(),
        ("boolean", _) => "b".to_owned(),
        ("number", _) => "d".to_owned(),
        other => bail!("a type that the table has no word for: {other:?}"),
    })
}

fn facts(property: &Value) -> String {
    let extensions = [
        ("list", "x-kubernetes-list-type"),
        ("keys", "x-kubernetes-list-map-keys"),
        ("patch", "x-kubernetes-patch-strategy"),
        ("merge", "x-kubernetes-patch-merge-key"),
        ("map", "x-kubernetes-map-type"),
    ];
    let said = extensions.iter().filter_map(|(word, extension)| match &property[*extension] {
        Value::String(text) => Some(format!("{word}={text}")),
        list @ Value::Array(_) => Some(format!("{word}={}", texts(list).join(","))),
        _ => None,
    });
    said.collect::<Vec<_>>().join(" ")
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_become_the_tables_words() {
        let definition = definition(&json!({
            "required": ["ports"],
            "properties": {
                "kind": {"type": "string"},
                "ports": {
                    "type": "array", "items": {"$ref": "#/$defs/io.k8s.api.core.v1.ContainerPort"},
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                    "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "containerPort",
                },
                "data": {"type": ["object", "null"], "additionalProperties": {"type": "string", "format": "byte"}},
            },
            "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Pod"}],
        }))
        .expect("a definition");
        assert_eq!(definition.kinds, ["v1/Pod"]);
        let own: Vec<_> =
            definition.own_properties().map(|(name, p)| (name, p.shape.as_str(), p.required)).collect();
        assert_eq!(own, [("data", "{}y", false), ("ports", "[]core.v1.ContainerPort", true)]);
        let facts = "list=map keys=containerPort,protocol patch=merge merge=containerPort";
        assert_eq!(definition.properties["ports"].facts, facts);
    }
}
