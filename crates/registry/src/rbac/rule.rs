//! One rule, and whether it allows what is asked (upstream: `pkg/apis/rbac/v1/evaluation_helpers.go`).

use serde_json::{Map, Value};

use crate::value::items;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// `get`, `list`, `create`, …; for paths the HTTP method in small letters.
    pub verb: &'a str,
    /// The API group; empty for core.
    pub group: &'a str,
    /// `pods`; empty when it is about a path.
    pub resource: &'a str,
    /// `log`, or empty.
    pub subresource: &'a str,
    /// Empty for the cluster scope and for all namespaces.
    pub namespace: &'a str,
    /// Empty when it is about a collection.
    pub name: &'a str,
    /// The path of a request that is about no resource.
    pub path: Option<&'a str>,
    /// The fields of which a list or a watch demands a value by its field selector, with that value.
    pub fields: &'a [(String, String)],
}

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// What may be done; `*` for everything.
    pub verbs: Vec<String>,
    /// In which groups; `*` for all.
    pub api_groups: Vec<String>,
    /// To which resources: `pods`, `pods/log`, `*/scale`, `*`.
    pub resources: Vec<String>,
    /// To which objects; empty for all.
    pub resource_names: Vec<String>,
    /// To which paths; a `*` at the end stands for the rest.
    pub non_resource_urls: Vec<String>,
}

const ALL: &str = "*";

impl Rule {
    /// Reads one entry of `rules`.
    pub fn from_value(rule: &Value) -> Self {
        let list = |field: &str| {
            items(&rule[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
        };
        Self {
            verbs: list("verbs"),
            api_groups: list("apiGroups"),
            resources: list("resources"),
            resource_names: list("resourceNames"),
            non_resource_urls: list("nonResourceURLs"),
        }
    }

    /// Reads the `rules` of a Role or ClusterRole.
    pub fn all_of(role: &Value) -> Vec<Self> {
        items(&role["rules"]).iter().map(Self::from_value).collect()
    }

    /// The entry of `rules` that says this; what is empty is left out.
    pub fn to_value(&self) -> Value {
        let mut rule = Map::new();
        for (field, list) in self.fields() {
            if !list.is_empty() {
                rule.insert(field.to_owned(), list.iter().cloned().collect());
            }
        }
        rule.into()
    }

    /// Each field with its name in JSON, in the order in which refusals name them.
    pub(super) fn fields(&self) -> [(&'static str, &[String]); 5] {
        [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("nonResourceURLs", &self.non_resource_urls),
            ("resourceNames", &self.resource_names),
            ("verbs", &self.verbs),
        ]
    }

    /// Whether the rule allows what is asked, wherever it is bound.
    pub fn allows(&self, asked: &Attributes<'_>) -> bool {
        if !has(&self.verbs, asked.verb) {
            return false;
        }
        if let Some(path) = asked.path {
            return self.non_resource_urls.iter().any(|url| url_matches(url, path));
        }
        has(&self.api_groups, asked.group)
            && self.resources.iter().any(|resource| resource_matches(resource, asked))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == asked.name))
    }
}

/// Whether a list names the word, or everything.
pub(super) fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == word)
}

/// Whether a rule's path stands for `path`.
pub(super) fn url_matches(url: &str, path: &str) -> bool {
    url == ALL || url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

fn resource_matches(resource: &str, asked: &Attributes<'_>) -> bool {
    if resource == ALL {
        return true;
    }
    if asked.subresource.is_empty() {
        return resource == asked.resource;
    }
    let Some((of, part)) = resource.split_once('/') else { return false };
    part == asked.subresource && (of == ALL || of == asked.resource)
}
