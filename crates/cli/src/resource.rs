//! Kinds as the command line needs them: names, scope, paths.

use apimachinery::spelling;
use registry::{Kind, Scope};
use serde_json::Value;

use crate::api::{Api, Url, segment};
use crate::error::Error;

/// A kind of object that the server has, from the built-in table or from discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    /// The API group; empty for core.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// `StatefulSet`.
    pub(crate) kind: String,
    /// `statefulsets`.
    pub(crate) plural: String,
    /// `statefulset`.
    pub(crate) singular: String,
    /// `sts`.
    pub(crate) short_names: Vec<String>,
    /// `all`.
    pub(crate) categories: Vec<String>,
    /// Whether objects live inside namespaces.
    pub(crate) namespaced: bool,
}

impl From<&Kind> for Resource {
    fn from(kind: &Kind) -> Self {
        let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        Self {
            group: kind.group.to_owned(),
            version: kind.version.to_owned(),
            kind: kind.kind.to_owned(),
            plural: kind.plural.to_owned(),
            singular: kind.singular.to_owned(),
            short_names: owned(kind.short_names),
            categories: owned(kind.categories),
            namespaced: kind.scope == Scope::Namespaced,
        }
    }
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `statefulset.apps`: how results name the kind.
    pub(crate) fn type_name(&self) -> String {
        self.with_group(&self.kind.to_lowercase())
    }

    /// `statefulsets.apps`: how errors and `wait` name the kind.
    pub(crate) fn plural_name(&self) -> String {
        self.with_group(&self.plural)
    }

    fn with_group(&self, noun: &str) -> String {
        if self.group.is_empty() { noun.to_owned() } else { format!("{noun}.{}", self.group) }
    }

    /// Whether a person may mean this kind by `word`.
    pub(crate) fn answers_to(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let (noun, rest) = word.split_once('.').map_or((word.as_str(), None), |(n, r)| (n, Some(r)));
        let names_it = noun == self.plural
            || noun == self.singular
            || noun == self.kind.to_lowercase()
            || self.short_names.iter().any(|short| short == noun);
        let versioned = format!("{}.{}", self.version, self.group);
        names_it && rest.is_none_or(|rest| rest == self.group || rest == versioned.trim_end_matches('.'))
    }

    /// The objects of the kind: in a namespace, or everywhere when it has none or `namespace` is `None`.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> Url {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let base = format!("{root}/{}", self.api_version());
        match namespace {
            Some(namespace) if self.namespaced => {
                Url::new(format!("{base}/namespaces/{}/{}", segment(namespace), self.plural))
            }
            _ => Url::new(format!("{base}/{}", self.plural)),
        }
    }

    /// One object.
    pub(crate) fn url(&self, namespace: &str, name: &str) -> Url {
        Url::new(format!("{}/{}", self.collection(Some(namespace)).as_str(), segment(name)))
    }

    /// A part of an object that has a path of its own.
    pub(crate) fn part_url(&self, namespace: &str, name: &str, part: &str) -> Url {
        Url::new(format!("{}/{part}", self.url(namespace, name).as_str()))
    }
}

/// The refusal of a word that names no kind, with the one that was probably meant.
pub(crate) fn unknown_word(all: &[Resource], word: &str) -> Error {
    let words = all.iter().flat_map(|resource| {
        let short_names = resource.short_names.iter().map(String::as_str);
        [resource.plural.as_str(), resource.singular.as_str()].into_iter().chain(short_names)
    });
    let hint = match spelling::nearest(word, words) {
        Some(near) => format!("did you mean {near:?}?"),
        None => "api-resources lists those it has".to_owned(),
    };
    Error::plain(format!("the server doesn't have a resource type {word:?}; {hint}"))
}

/// The refusal of what an object says it is, with what it should probably say.
pub(crate) fn unknown_kind(all: &[Resource], api_version: &str, kind: &str) -> Error {
    let near = spelling::nearest(kind, all.iter().map(|resource| resource.kind.as_str()));
    let hint = match all.iter().find(|resource| Some(resource.kind.as_str()) == near) {
        Some(near) if near.kind == kind => format!("write apiVersion: {}", near.api_version()),
        Some(near) => format!("did you mean kind {} in version {}?", near.kind, near.api_version()),
        None => "api-resources lists the kinds that there are".to_owned(),
    };
    Error::plain(format!("no matches for kind {kind:?} in version {api_version:?}: {hint}"))
}

/// Everything that the server offers, core first, then the groups in the server's order with the version that
/// it prefers.
pub(crate) async fn discover(api: &Api) -> Result<Vec<Resource>, Error> {
    let mut all = resources_of(&api.get(&Url::new("/api/v1")).await?);
    let groups = api.get(&Url::new("/apis")).await?;
    for group in groups["groups"].as_array().map(Vec::as_slice).unwrap_or_default() {
        if let Some(group_version) = group["preferredVersion"]["groupVersion"].as_str() {
            all.extend(resources_of(&api.get(&Url::new(format!("/apis/{group_version}"))).await?));
        }
    }
    Ok(all)
}

/// Reads an `APIResourceList`; parts of objects (`pods/log`) are left out.
fn resources_of(list: &Value) -> Vec<Resource> {
    let group_version = list["groupVersion"].as_str().unwrap_or_default();
    let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
    let items = list["resources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
    let words = |item: &Value, field: &str| {
        let words = item[field].as_array().map(Vec::as_slice).unwrap_or_default();
        words.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let whole = items.iter().filter(|item| !text(item, "name").contains('/'));
    whole
        .map(|item| Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text(item, "kind"),
            plural: text(item, "name"),
            singular: text(item, "singularName"),
            short_names: words(item, "shortNames"),
            categories: words(item, "categories"),
            namespaced: item["namespaced"] == true,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(word: &str) -> Resource {
        Resource::from(registry::by_word(word).expect("a built-in kind"))
    }

    #[test]
    fn paths_have_a_namespace_only_where_the_kind_has_one() {
        let (pods, nodes, sets) = (resource("pods"), resource("nodes"), resource("sts"));
        assert_eq!(pods.url("shop", "db-0").as_str(), "/api/v1/namespaces/shop/pods/db-0");
        assert_eq!(pods.collection(None).as_str(), "/api/v1/pods");
        assert_eq!(nodes.url("shop", "n1").as_str(), "/api/v1/nodes/n1");
        assert_eq!(
            sets.part_url("shop", "db", "scale").as_str(),
            "/apis/apps/v1/namespaces/shop/statefulsets/db/scale"
        );
    }

    #[test]
    fn kinds_of_other_servers_come_from_discovery() {
        let found = resources_of(&json!({"groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "singularName": "deployment", "namespaced": true, "kind": "Deployment",
             "shortNames": ["deploy"], "categories": ["all"]},
            {"name": "deployments/scale", "namespaced": true, "kind": "Scale"},
        ]}));
        let [deployment] = found.as_slice() else { panic!("one kind: {found:?}") };
        assert_eq!(deployment.type_name(), "deployment.apps");
        for word in ["deploy", "Deployment", "deployments.apps", "deployments.v1.apps"] {
            assert!(deployment.answers_to(word), "{word}");
        }
        assert!(!deployment.answers_to("deployments.extensions"));
    }

    #[test]
    fn unknown_kinds_are_refused_with_what_was_probably_meant() {
        let all = [resource("sts"), resource("pods")];
        let kind = |api_version, kind| unknown_kind(&all, api_version, kind).to_string();
        assert_eq!(
            kind("apps/v1beta1", "StatefulSet"),
            "error: no matches for kind \"StatefulSet\" in version \"apps/v1beta1\": write apiVersion: apps/v1"
        );
        assert_eq!(
            kind("apps/v1", "Statefulset"),
            "error: no matches for kind \"Statefulset\" in version \"apps/v1\": \
             did you mean kind StatefulSet in version apps/v1?"
        );
        assert!(kind("example.com/v1", "Tree").ends_with(": api-resources lists the kinds that there are"));
        let word = |word| unknown_word(&all, word).to_string();
        assert_eq!(
            word("stss"),
            "error: the server doesn't have a resource type \"stss\"; did you mean \"sts\"?"
        );
        assert!(word("trees").ends_with("; api-resources lists those it has"));
    }
}
