//! Finds a kind by the words of paths, objects and people, and builds storage keys.

use crate::kind::{Kind, Scope};
use crate::kinds::{ANSWERED, KINDS, MEASURED};
use crate::versions::VERSIONS;

/// Every kind with a path: those that are stored, their second versions, and those that are answered.
pub fn served() -> impl Iterator<Item = &'static Kind> {
    own().chain(VERSIONS.iter().map(|version| &version.served))
}

/// The kinds that have rules of their own: those that are stored, those that are answered, those that are measured.
fn own() -> impl Iterator<Item = &'static Kind> {
    let answered = ANSWERED.iter().map(|answered| &answered.kind);
    KINDS.iter().copied().chain(answered).chain(MEASURED.iter().map(|measured| &measured.kind))
}

/// The kind of which a kind is measured; `None` for the kinds that are not.
pub fn measured(kind: &Kind) -> Option<&'static Kind> {
    let found = MEASURED.iter().find(|measured| std::ptr::eq(&raw const measured.kind, kind));
    found.map(|measured| measured.of)
}

/// The kind that lives under `/apis/<group>/<version>/<plural>` (`/api/<version>/<plural>` when `group` is
/// empty).
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    own().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// The kind of an object that says `apiVersion` and `kind`.
pub fn by_gvk(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    own().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// The kind that a person means by `pods`, `pod`, `po`, `Pod`, `statefulsets.apps` or
/// `statefulsets.v1.apps`, in any case. A word that several kinds share means the first in the table, as
/// kubectl prefers the earlier group.
pub fn by_word(word: &str) -> Option<&'static Kind> {
    let word = word.to_lowercase();
    let (noun, rest) = word.split_once('.').map_or((word.as_str(), None), |(noun, rest)| (noun, Some(rest)));
    KINDS.iter().copied().find(|kind| {
        let names_it = kind.plural == noun
            || kind.singular == noun
            || kind.short_names.contains(&noun)
            || kind.kind.eq_ignore_ascii_case(noun);
        names_it && rest.is_none_or(|rest| is_group(kind, rest))
    })
}

/// Whether `text` names the kind's group, alone or after its version: `apps`, `v1.apps`, `v1` for core.
fn is_group(kind: &Kind, text: &str) -> bool {
    let after_version = text.strip_prefix(kind.version);
    text == kind.group
        || after_version.is_some_and(|rest| rest.strip_prefix('.').unwrap_or(rest) == kind.group)
}

/// The storage prefix of all objects of a kind: `/core/pods/`.
pub fn storage_prefix(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { "core" } else { kind.group };
    format!("/{group}/{}/", kind.plural)
}

/// The storage prefixes of the kinds whose objects lie encrypted.
pub fn sealed_prefixes() -> Vec<String> {
    KINDS.iter().filter(|kind| kind.strategy.is_sealed()).map(|kind| storage_prefix(kind)).collect()
}

/// The storage prefix of a kind's objects in one namespace: `/core/pods/default/`.
pub fn namespace_prefix(kind: &Kind, namespace: &str) -> String {
    format!("{}{namespace}/", storage_prefix(kind))
}

/// The storage key of one object: `/core/pods/default/web-0`, or `/core/nodes/n1` for a cluster-scoped kind,
/// whatever `namespace` says.
pub fn key(kind: &Kind, namespace: &str, name: &str) -> String {
    match kind.scope {
        Scope::Cluster => format!("{}{name}", storage_prefix(kind)),
        Scope::Namespaced => format!("{}{namespace}/{name}", storage_prefix(kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_find_kinds_by_any_of_their_names() {
        let check = |word: &str, kind: Option<&str>| {
            assert_eq!(by_word(word).map(|k| k.kind), kind, "{word}");
        };
        check("po", Some("Pod"));
        check("Pods", Some("Pod"));
        check("StatefulSet", Some("StatefulSet"));
        check("statefulsets.apps", Some("StatefulSet"));
        check("sts.v1.apps", Some("StatefulSet"));
        check("pods.v1", Some("Pod"));
        check("pods.apps", None);
        check("statefulsets.v1", None);
        check("sc", Some("StorageClass"));
        check("deployment", Some("Deployment"));
        check("gateway", None);
        check("", None);
    }

    #[test]
    fn objects_name_their_kind() {
        assert_eq!(by_gvk("v1", "Pod").map(|k| k.plural), Some("pods"));
        assert_eq!(by_gvk("apps/v1", "StatefulSet").map(|k| k.plural), Some("statefulsets"));
        assert!(by_gvk("apps/v1beta1", "StatefulSet").is_none());
        assert!(by_gvk("v1", "pod").is_none());
        assert_eq!(
            by_resource("storage.k8s.io", "v1", "storageclasses").map(|k| k.kind),
            Some("StorageClass")
        );
        assert!(by_resource("", "v1", "statefulsets").is_none());
    }

    #[test]
    fn keys_have_a_namespace_part_only_where_names_have_one() {
        let pod = by_word("pod").expect("pod");
        let node = by_word("node").expect("node");
        assert_eq!(key(pod, "default", "web-0"), "/core/pods/default/web-0");
        assert_eq!(key(node, "default", "n1"), "/core/nodes/n1");
        assert_eq!(namespace_prefix(pod, "default"), "/core/pods/default/");
    }
}
