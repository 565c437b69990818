//! What selectors look at in an object, read once however many watch
//! (upstream: the attributes that a watch cache keeps with each event).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use registry::Kind;
use serde::Deserialize;
use serde_json::Value;
use store::{Revision, Versioned};

/// How many objects [`Lately`] knows the attributes of.
const HELD: usize = 512;

/// An object, as far as selectors ask.
pub(crate) struct Attributes {
    name: String,
    namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// The kind's own fields; `None` when nobody has asked for them.
    fields: Option<Vec<(&'static str, String)>>,
}

/// As much of an object as most selectors look at.
#[derive(Deserialize)]
struct Shallow<'a> {
    #[serde(borrow)]
    metadata: ShallowMeta<'a>,
}

#[derive(Deserialize)]
struct ShallowMeta<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl Attributes {
    /// Reads them; the kind's own fields, for which the whole object is read, only when `deep`.
    pub(crate) fn read(kind: &Kind, bytes: &[u8], deep: bool) -> Result<Self, Status> {
        let broken = |e: serde_json::Error| {
            Status::internal(format!("the store holds an object that is no JSON: {e}"))
        };
        if deep {
            let object: Value = serde_json::from_slice(bytes).map_err(broken)?;
            let labels = object.meta_map("labels").into_iter().flatten();
            return Ok(Self {
                name: object.name().to_owned(),
                namespace: object.namespace().to_owned(),
                labels: labels.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect(),
                fields: Some(kind.strategy.selectable_fields(&object)),
            });
        }
        let Shallow { metadata } = serde_json::from_slice(bytes).map_err(broken)?;
        let (name, namespace) = (metadata.name.into_owned(), metadata.namespace.into_owned());
        Ok(Self { name, namespace, labels: metadata.labels, fields: None })
    }

    /// The value of a field; empty when there is none.
    pub(crate) fn field(&self, field: &str) -> &str {
        match field {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => {
                let mut own = self.fields.iter().flatten();
                own.find(|(name, _)| *name == field).map(|(_, value)| value.as_str()).unwrap_or_default()
            }
        }
    }
}

/// The attributes of the objects that watches have asked about last, by the write that made each.
#[derive(Default)]
pub(crate) struct Lately(Mutex<Held>);

#[derive(Default)]
struct Held {
    by_write: HashMap<Revision, Arc<Attributes>>,
    /// The oldest first.
    order: VecDeque<Revision>,
}

impl Lately {
    /// The attributes of what a watch told of.
    pub(crate) fn attributes(
        &self,
        kind: &Kind,
        told: &Versioned,
        deep: bool,
    ) -> Result<Arc<Attributes>, Status> {
        let held = |held: &Held| held.by_write.get(&told.revision).cloned();
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held(&lock()).filter(|known| known.fields.is_some() || !deep) {
            return Ok(known);
        }
        let read = Arc::new(Attributes::read(kind, &told.value, deep)?);
        let mut held = lock();
        if held.by_write.insert(told.revision, Arc::clone(&read)).is_none() {
            held.order.push_back(told.revision);
        }
        if held.order.len() > HELD
            && let Some(oldest) = held.order.pop_front()
        {
            held.by_write.remove(&oldest);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(revision: Revision, node: &str) -> Versioned {
        let object = serde_json::json!({"metadata": {"name": "db-0", "labels": {"app": "db"}},
            "spec": {"nodeName": node}});
        Versioned { key: "/core/pods/default/db-0".into(), value: object.to_string().into(), revision }
    }

    #[test]
    fn an_object_is_read_once_and_again_only_for_more() {
        let kind = registry::by_word("pod").expect("a kind");
        let lately = Lately::default();
        let ask = |told: &Versioned, deep| lately.attributes(kind, told, deep).expect("JSON");
        let shallow = ask(&pod(7, "a"), false);
        assert_eq!((shallow.field("metadata.name"), shallow.field("spec.nodeName")), ("db-0", ""));
        let deep = ask(&pod(7, "a"), true);
        assert_eq!(deep.field("spec.nodeName"), "a");
        assert!(Arc::ptr_eq(&deep, &ask(&pod(7, "a"), false)));
        assert_eq!(ask(&pod(8, "b"), true).field("spec.nodeName"), "b", "another write, another object");
    }

    #[test]
    fn only_so_many_are_held() {
        let kind = registry::by_word("pod").expect("a kind");
        let lately = Lately::default();
        for revision in 0..HELD as u64 + 10 {
            lately.attributes(kind, &pod(revision, "a"), true).expect("JSON");
        }
        let held = lately.0.lock().expect("no panic");
        assert_eq!((held.by_write.len(), held.order.len()), (HELD, HELD));
        assert!(!held.by_write.contains_key(&0));
    }
}
