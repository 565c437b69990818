//! `ephemeralContainers`: containers that join a running pod to look at it (`validateEphemeralContainers`,
//! `ValidatePodEphemeralContainersUpdate`).

use std::collections::BTreeSet;

use apimachinery::field::{FieldError, Path};
use serde_json::Value;

use super::containers::{Pod, validate_common};
use crate::check::Errors;
use crate::value::{is_empty, items, text};

const NOT_FOR_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
/// What belongs to containers that are there to serve.
const SERVING: [&str; 8] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

pub(super) fn validate_ephemeral_containers(errors: &mut Errors, path: &Path, spec: &Value, pod: &Pod<'_>) {
    let others = ["containers", "initContainers"];
    let others: BTreeSet<&str> = others
        .iter()
        .flat_map(|list| items(&spec[*list]))
        .map(|container| text(&container["name"]))
        .collect();
    let mut seen = others.clone();
    for (i, container) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let at = path.index(i);
        validate_common(errors, &at, container, pod);
        let name = text(&container["name"]);
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        let target = text(&container["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            errors.push(FieldError::not_found(&at.child("targetContainerName"), target));
        }
        for field in SERVING.into_iter().filter(|field| !is_empty(&container[*field])) {
            errors.push(FieldError::forbidden(&at.child(field), NOT_FOR_EPHEMERAL));
        }
        for (j, mount) in items(&container["volumeMounts"]).iter().enumerate() {
            for field in ["subPath", "subPathExpr"].into_iter().filter(|field| !is_empty(&mount[*field])) {
                let at = at.child("volumeMounts").index(j).child(field);
                errors.push(FieldError::forbidden(&at, NOT_FOR_EPHEMERAL));
            }
        }
    }
}

/// One that is there stays, and stays as it is.
pub(crate) fn validate_ephemeral_containers_update(errors: &mut Errors, new: &Value, old: &Value) {
    let path = Path::new("spec").child("ephemeralContainers");
    let now = items(&new["ephemeralContainers"]);
    for before in items(&old["ephemeralContainers"]) {
        let name = text(&before["name"]);
        let what = match now.iter().find(|container| container["name"] == name) {
            Some(same) if same == before => continue,
            Some(_) => "changed",
            None => "removed",
        };
        errors.push(FieldError::forbidden(
            &path,
            format!("existing ephemeral containers {name:?} may not be {what}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
    fn check(container: Value) -> Vec<String> {
        let mut spec = json!({"containers": [{"name": "db"}], "ephemeralContainers": [container]});
        for field in ["terminationMessagePolicy", "imagePullPolicy", "image"] {
            let value = if field == "imagePullPolicy" { "Always" } else { "File" };
            spec["ephemeralContainers"][0][field] = value.into();
        }
        let pod = Pod { volumes: Default::default(), grace_period: 30 };
        let mut errors = Vec::new();
        validate_ephemeral_containers(&mut errors, &Path::new("e"), &spec, &pod);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn they_look_and_do_not_serve() {
        assert_eq!(check(json!({"name": "debug", "targetContainerName": "db"})), Vec::<String>::new());
        assert_eq!(check(json!({"name": "db"})), ["e[0].name: Duplicate value: \"db\""]);
        assert_eq!(
            check(json!({"name": "d", "targetContainerName": "x"})),
            ["e[0].targetContainerName: Not found: \"x\""]
        );
        let probed = json!({"name": "d", "livenessProbe": {"tcpSocket": {"port": 1}}});
        assert_eq!(
            check(probed),
            ["e[0].livenessProbe: Forbidden: cannot be set for an Ephemeral Container"]
        );
    }

    #[test]
    fn those_that_are_there_stay_as_they_are() {
        let old = json!({"ephemeralContainers": [{"name": "a"}, {"name": "b"}]});
        let check = |new: Value| {
            let mut errors = Vec::new();
            validate_ephemeral_containers_update(&mut errors, &json!({"ephemeralContainers": new}), &old);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(check(json!([{"name": "b"}, {"name": "c"}, {"name": "a"}])).is_empty());
        assert_eq!(
            check(json!([{"name": "b", "tty": true}])),
            [
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"a\" may not be removed",
                "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"b\" may not be changed"
            ]
        );
    }
}
