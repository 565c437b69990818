//! As much of an object on the wire as is needed to know whether the rest is worth reading.

use std::borrow::Cow;

use planner::Key;
use planner::world::KindName;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What an object begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metadata: Meta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

impl<'a> Head<'a> {
    /// The head of an object; an empty one of what is no object.
    pub(crate) fn of(object: &'a RawValue) -> Self {
        serde_json::from_str(object.get()).unwrap_or(Self {
            api_version: Cow::default(),
            kind: Cow::default(),
            metadata: Meta::default(),
        })
    }

    /// The kind, when planners know it.
    pub(crate) fn known_kind(&self) -> Option<KindName> {
        let kinds = planner::World::KINDS.iter().copied();
        kinds.into_iter().find(|(version, kind)| *version == self.api_version && *kind == self.kind)
    }

    /// Its place within its kind.
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.metadata.namespace, &self.metadata.name)
    }

    pub(crate) fn name(&self) -> &str {
        &self.metadata.name
    }

    pub(crate) fn uid(&self) -> &str {
        &self.metadata.uid
    }

    pub(crate) fn revision(&self) -> Option<u64> {
        self.metadata.resource_version.parse().ok()
    }
}
