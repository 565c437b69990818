//! Pod templates: what one means, and the hash that what is made of it is called by.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

/// A template without what makes no difference: dates, empty lists, empty maps of labels and the like, and how an
/// amount is written.
pub(crate) fn meaning(mut template: PodTemplateSpec) -> Value {
    if let Some(meta) = template.metadata.as_mut() {
        meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    }
    if let Some(spec) = template.spec.as_mut() {
        spec.node_selector = spec.node_selector.take().filter(|selector| !selector.is_empty());
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            canonical_amounts(container);
        }
    }
    let mut value = serde_json::to_value(&template).unwrap_or_default();
    if let Some(meta) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("creationTimestamp");
    }
    prune(&mut value);
    value
}

fn canonical_amounts(container: &mut Container) {
    let Some(resources) = container.resources.as_mut() else { return };
    let canonical = |amounts: &mut Option<BTreeMap<String, Quantity>>| {
        *amounts = amounts.take().filter(|amounts| !amounts.is_empty());
        for amount in amounts.iter_mut().flat_map(BTreeMap::values_mut) {
            if let Ok(parsed) = apimachinery::quantity::Quantity::parse(&amount.0) {
                amount.0 = parsed.to_string();
            }
        }
    };
    canonical(&mut resources.requests);
    canonical(&mut resources.limits);
}

/// Removes nulls and empty lists. Empty objects stay: some of them mean something (`emptyDir: {}`).
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, v| !v.is_null() && v.as_array().is_none_or(|items| !items.is_empty()));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

/// FNV-1a, written with letters that spell nothing (`rand.SafeEncodeString`).
pub(crate) fn hash(text: &[u8]) -> String {
    let sum =
        text.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    safe_encode(&sum.to_string())
}

/// Maps each byte to a letter or digit that spells no word (`k8s.io/apimachinery/pkg/util/rand`).
pub(crate) fn safe_encode(text: &str) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()])).collect()
}
