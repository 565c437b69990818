//! What of a running pod may be resized: the cpu and memory of its containers and sidecars, through `/resize`
//! (`ValidatePodResize`, `dropNonResizeUpdates`, `validateResizePolicy`).

use std::collections::BTreeSet;

use apimachinery::field::{FieldError, Path};
use serde_json::{Map, Value};

use super::qos::qos_class;
use crate::check::{self, Errors};
use crate::value::{entries, is_empty, items, same, text};

/// The lists of containers that go on running.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// What may be resized.
const RESOURCES: [&str; 2] = ["cpu", "memory"];

/// Takes over from `sent` what a resize may speak of, by the containers' names.
pub(crate) fn take_over_resize(stored: &mut Value, sent: &Value) {
    for list in LISTS {
        let containers = stored.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let Some(asked) = items(&sent[list]).iter().find(|c| Some(&c["name"]) == container.get("name"))
            else {
                continue;
            };
            for field in ["resources", "resizePolicy"] {
                match asked.get(field) {
                    Some(value) => drop(container.insert(field.to_owned(), value.clone())),
                    None => drop(container.remove(field)),
                }
            }
        }
    }
}

/// What is wrong with resizing the pod `old` to `new`.
pub(crate) fn validate_resize(errors: &mut Errors, new: &Value, old: &Value) {
    let path = Path::new("spec");
    if !is_empty(&old["spec"]["resources"]) {
        let words = "pods with pod-level resources cannot be resized";
        return errors.push(FieldError::forbidden(&path, words));
    }
    let class = text(&old["status"]["qosClass"]);
    let before = if class.is_empty() { qos_class(&old["spec"]) } else { class };
    if before != qos_class(&new["spec"]) {
        let words = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, before, words));
    }
    for list in LISTS {
        let pairs = items(&new["spec"][list]).iter().zip(items(&old["spec"][list]));
        for (i, (new, old)) in pairs.enumerate() {
            validate_container(errors, &path, &path.child(list).index(i), (new, old), list);
        }
    }
}

fn validate_container(
    errors: &mut Errors,
    spec: &Path,
    path: &Path,
    (new, old): (&Value, &Value),
    list: &str,
) {
    let is_sidecar = old["restartPolicy"] == "Always";
    if list == "initContainers" && !is_sidecar {
        if !same(new, old) {
            let words = "resources for non-sidecar init containers are immutable";
            errors.push(FieldError::forbidden(spec, words));
        }
        return;
    }
    for (kind, words) in
        [("requests", "resource requests cannot be removed"), ("limits", "resource limits cannot be removed")]
    {
        let kept = |name: &str| !new["resources"][kind][name].is_null();
        if !entries(&old["resources"][kind]).all(|(name, _)| kept(name)) {
            errors.push(FieldError::forbidden(&path.child("resources").child(kind), words));
        }
    }
    if !same(&without_sizes(new), &without_sizes(old)) {
        let whose = if is_sidecar { " for sidecar containers" } else { "" };
        let words = format!("only cpu and memory resources{whose} are mutable");
        errors.push(FieldError::forbidden(spec, words));
    }
}

/// The container without what may be resized.
fn without_sizes(container: &Value) -> Value {
    let mut rest = container.clone();
    let Some(resources) = rest.get_mut("resources").and_then(Value::as_object_mut) else { return rest };
    for kind in ["requests", "limits"] {
        let list = resources.get_mut(kind).and_then(Value::as_object_mut);
        list.into_iter().for_each(|list| list.retain(|name, _| !RESOURCES.contains(&name.as_str())));
    }
    resources.retain(|_, list| list.as_object().is_none_or(|list: &Map<String, Value>| !list.is_empty()));
    if resources.is_empty()
        && let Some(container) = rest.as_object_mut()
    {
        container.remove("resources");
    }
    rest
}

/// `resizePolicy` of the containers: each resource once.
pub(super) fn validate_policies(errors: &mut Errors, path: &Path, spec: &Value) {
    for list in LISTS {
        for (i, container) in items(&spec[list]).iter().enumerate() {
            let mut seen = BTreeSet::new();
            for (j, policy) in items(&container["resizePolicy"]).iter().enumerate() {
                let at = path.child(list).index(i).child("resizePolicy").index(j);
                let name = text(&policy["resourceName"]);
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(&at, name));
                }
                check::one_of(errors, &at.child("resourceName"), &policy["resourceName"], &RESOURCES);
                let restart = &policy["restartPolicy"];
                let known = &["NotRequired", "RestartContainer"];
                check::one_of(errors, &at.child("restartPolicy"), restart, known);
                if spec["restartPolicy"] == "Never" && restart != "NotRequired" {
                    let words = "must be 'NotRequired' when `restartPolicy` is 'Never'";
                    errors.push(FieldError::invalid(&at.child("restartPolicy"), restart.clone(), words));
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(container: Value) -> Value {
        let mut container = container;
        container["name"] = "db".into();
        json!({"spec": {"containers": [container], "nodeName": "n"}, "status": {"qosClass": "Burstable"}})
    }

    fn resized(old: Value, new: Value) -> Vec<String> {
        let (old, sent) = (pod(json!({"resources": old})), pod(new));
        let mut new = old.clone();
        take_over_resize(&mut new["spec"], &sent["spec"]);
        assert_eq!(new["spec"]["nodeName"], "n", "what is not of a resize stays");
        let mut errors = Vec::new();
        validate_resize(&mut errors, &new, &old);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cpu_and_memory_may_change_and_nothing_else() {
        let old = || json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "2Gi"}});
        let to = |resources: Value| resized(old(), json!({"resources": resources}));
        assert_eq!(
            to(json!({"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"memory": "1Gi", "cpu": "3"}})),
            [""; 0]
        );
        assert_eq!(
            to(json!({"requests": {"cpu": "2"}, "limits": {}})),
            [
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
                "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"
            ]
        );
        let mut disk = old();
        disk["limits"]["ephemeral-storage"] = "1Gi".into();
        assert_eq!(to(disk), ["spec: Forbidden: only cpu and memory resources are mutable"]);
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        assert_eq!(
            resized(old(), json!({"resources": old(), "resizePolicy": policy})),
            ["spec: Forbidden: only cpu and memory resources are mutable"]
        );
        assert_eq!(
            resized(old(), json!({"resources": old(), "image": "other"})),
            [""; 0],
            "it is not looked at"
        );
    }

    #[test]
    fn the_class_of_a_pod_stays_what_it_is() {
        let list = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(
            resized(json!({"requests": list}), json!({"resources": {"requests": list, "limits": list}})),
            ["spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"]
        );
    }

    #[test]
    fn only_sidecars_of_the_init_containers_are_resized() {
        let with = |policy: &str, cpu: &str| {
            let init = json!({"name": "i", "restartPolicy": policy, "resources": {"requests": {"cpu": cpu}}});
            json!({"spec": {"initContainers": [init]}, "status": {"qosClass": "Burstable"}})
        };
        let check = |policy: &str| {
            let mut errors = Vec::new();
            validate_resize(&mut errors, &with(policy, "2"), &with(policy, "1"));
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(check("Always"), [""; 0]);
        assert_eq!(check(""), ["spec: Forbidden: resources for non-sidecar init containers are immutable"]);
    }

    #[test]
    fn a_policy_names_each_resource_once() {
        let policy = |name: &str, restart: &str| json!({"resourceName": name, "restartPolicy": restart});
        let policies = json!([
            policy("cpu", "RestartContainer"),
            policy("cpu", "NotRequired"),
            policy("disk", "NotRequired")
        ]);
        let spec =
            json!({"restartPolicy": "Never", "containers": [{"name": "db", "resizePolicy": policies}]});
        let mut errors = Vec::new();
        validate_policies(&mut errors, &Path::new("spec"), &spec);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let at = "spec.containers[0].resizePolicy";
        assert_eq!(
            said,
            [
                format!(
                    "{at}[0].restartPolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when \
                     `restartPolicy` is 'Never'"
                ),
                format!("{at}[1]: Duplicate value: \"cpu\""),
                format!(
                    "{at}[2].resourceName: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""
                ),
            ]
        );
    }
}
