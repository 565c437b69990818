//! Names, labels and owners of a set's pods.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::storage::update_storage;
use crate::objects::{controller_of, controller_ref, guarded_patch, label, name, uid};
use crate::plan::Action;

/// The label with the pod's own name.
pub const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the pod's ordinal.
pub const POD_INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// The label with the revision that the pod was made from.
pub const REVISION_LABEL: &str = "controller-revision-hash";

/// What a label's value can hold, in bytes.
const LABEL_VALUE_MAX: usize = 63;

/// The name of the pod with this ordinal.
pub fn pod_name(set: &StatefulSet, ordinal: i64) -> String {
    format!("{}-{ordinal}", name(&set.metadata))
}

/// The set's name and the ordinal that a pod's name tells of. `None` for names that no set gives (`web-01`).
pub fn parent_and_ordinal(pod_name: &str) -> Option<(&str, i64)> {
    let (parent, digits) = pod_name.rsplit_once('-')?;
    let ordinal = as_ordinal(digits)?;
    (!parent.is_empty()).then_some((parent, ordinal))
}

/// The number that is written like this, without a sign or leading zeros.
fn as_ordinal(digits: &str) -> Option<i64> {
    let is_plain = digits == "0" || !digits.starts_with('0');
    if is_plain && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// The ordinal of a pod that the set could have made, by its name.
pub fn ordinal_of(set: &StatefulSet, pod: &Pod) -> Option<i64> {
    let (parent, ordinal) = parent_and_ordinal(name(&pod.metadata))?;
    (parent == name(&set.metadata)).then_some(ordinal)
}

/// Whether the set manages the object.
pub(super) fn is_owned(set: &StatefulSet, meta: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|owner| owner.uid == uid(&set.metadata))
}

/// The value of the revision label: the revision's name, or its hash alone where the name does not fit.
pub fn revision_label(revision: &str) -> &str {
    if revision.len() <= LABEL_VALUE_MAX {
        return revision;
    }
    revision.rsplit_once('-').map_or(revision, |(_, hash)| hash)
}

/// The revision that the pod was made from, as its label says it.
pub fn pod_revision(pod: &Pod) -> &str {
    label(&pod.metadata, REVISION_LABEL).unwrap_or_default()
}

/// The pod with this ordinal, made from `template` (`newVersionedStatefulSetPod`).
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i64) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    let name = pod_name(set, ordinal);
    let mut labels = meta.labels.unwrap_or_default();
    labels.insert(POD_NAME_LABEL.to_owned(), name.clone());
    labels.insert(POD_INDEX_LABEL.to_owned(), ordinal.to_string());
    labels.insert(REVISION_LABEL.to_owned(), revision_label(revision).to_owned());
    let mut spec = template.spec.clone().unwrap_or_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.as_ref().and_then(|s| s.service_name.clone()).filter(|s| !s.is_empty());
    update_storage(set, ordinal, &mut spec);
    Pod {
        metadata: ObjectMeta {
            name: Some(name),
            generate_name: Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default())),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_ref(set)]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Whether the labels that name the pod are right.
pub(crate) fn identity_matches(pod: &Pod, ordinal: i64) -> bool {
    let meta = &pod.metadata;
    label(meta, POD_NAME_LABEL) == meta.name.as_deref()
        && label(meta, POD_INDEX_LABEL).and_then(as_ordinal) == Some(ordinal)
}

/// Puts the labels right that name the pod.
pub(super) fn repair_identity(pod: &Pod, ordinal: i64) -> Action {
    let labels = json!({POD_NAME_LABEL: pod.metadata.name, POD_INDEX_LABEL: ordinal.to_string()});
    guarded_patch(pod, json!({"metadata": {"labels": labels}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_set_gives_tell_an_ordinal() {
        let check =
            |name: &str, expect: Option<(&str, i64)>| assert_eq!(parent_and_ordinal(name), expect, "{name}");
        check("web-0", Some(("web", 0)));
        check("my-web-17", Some(("my-web", 17)));
        check("web-9223372036854775807", Some(("web", i64::MAX)));
        for name in
            ["web", "web-", "web-01", "web-00", "web-+1", "web--", "-1", "web-1a", "web-9223372036854775808"]
        {
            check(name, None);
        }
        // The sign belongs to the name.
        check("web--1", Some(("web-", 1)));
    }
}
