//! The thinking behind `apply`: what was applied last stands in an annotation of the object, and from it, the manifest
//! and the object the server has, follows the patch.

use apimachinery::meta::ObjectExt;
use apimachinery::patch::three_way;
use apimachinery::schema::Schema;
use serde_json::Value;

use crate::api::PatchType;
use crate::error::Error;

/// Where the last applied manifest stands (`k8s.io/api/core/v1.LastAppliedConfigAnnotation`).
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manifest with itself as its annotation, as it goes to the server.
pub(crate) fn with_last_applied(manifest: &Value) -> Value {
    let mut bare = manifest.clone();
    annotations(&mut bare).remove(LAST_APPLIED);
    let mut annotated = bare.clone();
    annotations(&mut annotated).insert(LAST_APPLIED.to_owned(), encode(&bare).into());
    annotated
}

fn annotations(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    let annotations = object.meta_mut().entry("annotations").or_insert(Value::Null);
    if !annotations.is_object() {
        *annotations = Value::Object(serde_json::Map::new());
    }
    annotations.as_object_mut().expect("made an object above")
}

/// As Go's encoder writes it, so that switching between kubectl and this changes nothing: characters of HTML are
/// escaped, and a line break ends it.
fn encode(object: &Value) -> String {
    let mut out = String::new();
    for c in object.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

/// The patch that brings `current` to what `wanted` (with its annotation) says. An empty patch: there is nothing to do.
///
/// # Errors
/// When the annotation is damaged, or a list's item lacks its key.
pub(crate) fn patch(wanted: &Value, current: &Value) -> Result<(PatchType, Value), Error> {
    let original: Value = match current.annotation(LAST_APPLIED) {
        None => Value::Object(serde_json::Map::new()),
        Some(text) => serde_json::from_str(text).map_err(|e| {
            Error::plain(format!("the annotation {LAST_APPLIED} is damaged ({e}): remove it"))
        })?,
    };
    let word = |field: &str| wanted[field].as_str().unwrap_or_default();
    match Schema::builtin().gvk(word("apiVersion"), word("kind")) {
        Some(type_id) => {
            let patch = three_way::three_way_strategic(&original, wanted, current, type_id)
                .map_err(|e| Error::plain(e.to_string()))?;
            Ok((PatchType::Strategic, patch))
        }
        None => Ok((PatchType::Merge, three_way::three_way_merge(&original, wanted, current))),
    }
}

/// Whether a patch changes nothing.
pub(crate) fn is_empty(patch: &Value) -> bool {
    patch.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_annotation_is_what_kubectl_writes() {
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "c", "namespace": "default"}, "data": {"run": "a && b > c"}});
        let annotated = with_last_applied(&manifest);
        assert_eq!(
            annotated.annotation(LAST_APPLIED),
            Some(
                "{\"apiVersion\":\"v1\",\"data\":{\"run\":\"a \\u0026\\u0026 b \\u003e c\"},\"kind\":\"ConfigMap\",\
                 \"metadata\":{\"annotations\":{},\"name\":\"c\",\"namespace\":\"default\"}}\n"
            )
        );
        assert_eq!(with_last_applied(&annotated), annotated);
    }

    #[test]
    fn applying_the_same_again_is_an_empty_patch() {
        let wanted = with_last_applied(
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}),
        );
        let mut current = wanted.clone();
        current.meta_mut().insert("uid".to_owned(), "u".into());
        let (form, patch) = patch(&wanted, &current).expect("a patch");
        assert_eq!(form, PatchType::Strategic);
        assert!(is_empty(&patch), "{patch}");
    }

    #[test]
    fn what_the_manifest_no_longer_says_goes_and_what_others_said_stays() {
        let manifest = |data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data});
        let mut current = with_last_applied(&manifest(json!({"a": "1", "b": "2"})));
        current["data"]["theirs"] = "3".into();
        let wanted = with_last_applied(&manifest(json!({"a": "1"})));
        let (_, patch) = patch(&wanted, &current).expect("a patch");
        assert_eq!(patch["data"], json!({"b": null}));
    }

    #[test]
    fn a_damaged_annotation_is_told() {
        let current = json!({"metadata": {"annotations": {LAST_APPLIED: "{"}}});
        let wanted = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let error = patch(&wanted, &current).expect_err("refused").to_string();
        assert!(error.contains("is damaged"), "{error}");
    }
}
