//! `apps/v1` StatefulSet.

mod growth;

use apimachinery::annotations::{self, PAUSED, RESERVE_ORDINALS};
use apimachinery::field::{FieldError, Path};
use apimachinery::labels::Selector;
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use apimachinery::ordinals::Reserved;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scale, Scope, Strategy, Subresource};
use crate::kinds::persistent_volume_claim;
use crate::pod_spec;
use crate::print::{self, AGE, NAME, column, wide};
use crate::value::{
    default_object, default_to, entries, is_empty, items, number, object, object_in, objects_mut, same, text,
};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status, Subresource::Scale],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

const ORDERED_READY: &str = "OrderedReady";
const PARALLEL: &str = "Parallel";
const ROLLING_UPDATE: &str = "RollingUpdate";
const ON_DELETE: &str = "OnDelete";

/// What the status counts; none of them is more than the first.
const COUNTS: [&str; 5] =
    ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];

/// The fields of the spec that may change, in the order that the refusal names them.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

const IMMUTABLE_WORDS: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
    'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
    'minReadySeconds' are forbidden";

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state, of those wanted."),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
];

/// Upstream: `pkg/registry/apps/statefulset/strategy.go`, `pkg/apis/apps/v1/defaults.go`,
/// `pkg/apis/apps/validation/validation.go`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, set: &mut Value) {
        let Some(spec) = object(set, "spec") else { return };
        default_to(spec, "podManagementPolicy", ORDERED_READY);
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        if let Some(strategy) = object_in(spec, "updateStrategy") {
            let unset = strategy.get("type").is_none_or(is_empty);
            default_to(strategy, "type", ROLLING_UPDATE);
            // An explicit type without rollingUpdate stays without one, as upstream's does.
            if unset {
                default_object(strategy, "rollingUpdate");
            }
            if strategy.get("type").is_some_and(|t| t == ROLLING_UPDATE)
                && let Some(Value::Object(rolling)) = strategy.get_mut("rollingUpdate")
            {
                default_to(rolling, "partition", 0);
                default_to(rolling, "maxUnavailable", 1);
            }
        }
        if let Some(retention) = object_in(spec, "persistentVolumeClaimRetentionPolicy") {
            default_to(retention, "whenDeleted", "Retain");
            default_to(retention, "whenScaled", "Retain");
        }
        if let Some(template) = object_in(spec, "template") {
            default_object(template, "metadata");
            if let Some(pod) = object_in(template, "spec") {
                pod_spec::default_pod_spec(pod);
            }
        }
        for claim in objects_mut(spec, "volumeClaimTemplates") {
            claim.insert("kind".into(), "PersistentVolumeClaim".into());
            claim.insert("apiVersion".into(), "v1".into());
            if let Some(claim_spec) = object_in(claim, "spec") {
                pod_spec::default_claim_spec(claim_spec);
            }
            if let Some(status) = object_in(claim, "status") {
                default_to(status, "phase", "Pending");
            }
        }
    }

    fn prepare_for_create(&self, set: &mut Value) {
        crate::value::set(set, "status", json!({"replicas": 0, "availableReplicas": 0}));
    }

    fn validate(&self, set: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &set["spec"]);
        let policy = &spec["podManagementPolicy"];
        if !matches!(text(policy), ORDERED_READY | PARALLEL) {
            errors.push(FieldError::invalid(
                &path.child("podManagementPolicy"),
                policy.clone(),
                format!("must be '{ORDERED_READY}' or '{PARALLEL}'"),
            ));
        }
        validate_update_strategy(&mut errors, &path.child("updateStrategy"), &spec["updateStrategy"]);
        let retention = path.child("persistentVolumeClaimRetentionPolicy");
        for when in ["whenDeleted", "whenScaled"] {
            let policy = &spec["persistentVolumeClaimRetentionPolicy"][when];
            check::one_of(&mut errors, &retention.child(when), policy, &["Retain", "Delete"]);
        }
        for field in ["replicas", "minReadySeconds"] {
            check::nonnegative(&mut errors, &path.child(field), &spec[field]);
        }
        for (i, claim) in items(&spec["volumeClaimTemplates"]).iter().enumerate() {
            let at = path.child("volumeClaimTemplates").index(i).child("spec");
            persistent_volume_claim::validate_spec(&mut errors, &at, &claim["spec"]);
        }
        let start = &spec["ordinals"]["start"];
        check::nonnegative(&mut errors, &path.child("ordinals").child("start"), start);
        let service_name = text(&spec["serviceName"]);
        if !service_name.is_empty() {
            let at = path.child("serviceName");
            check::name(&mut errors, &at, service_name, names::dns1123_label);
        }
        validate_selector(&mut errors, &path, spec);
        validate_template(&mut errors, &path.child("template"), spec);
        validate_own_annotations(&mut errors, set);
        errors
    }

    /// Upstream: `ValidateStatefulSetStatusUpdate`.
    fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, path, status) = (Errors::new(), Path::new("status"), &new["status"]);
        for field in COUNTS.iter().chain(&["observedGeneration", "collisionCount"]) {
            check::nonnegative(&mut errors, &path.child(field), &status[*field]);
        }
        let mut at_most = |field: &str, bound: &str| {
            let count = number(&status[field]);
            if count > number(&status[bound]) {
                let words = format!("cannot be greater than status.{bound}");
                errors.push(FieldError::invalid(&path.child(field), count, words));
            }
        };
        for field in &COUNTS[1..] {
            at_most(field, "replicas");
        }
        at_most("availableReplicas", "readyReplicas");
        let collisions = number(&status["collisionCount"]);
        if collisions < number(&old["status"]["collisionCount"]) {
            let at = path.child("collisionCount");
            errors.push(FieldError::invalid(&at, collisions, "cannot be decremented"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let shrinks = growth::validate(new, old);
        if !shrinks.is_empty() {
            return shrinks;
        }
        let frozen = |object: &Value| {
            let mut spec = object["spec"].clone();
            growth::take_sizes(&mut spec, old);
            if let Some(map) = spec.as_object_mut() {
                map.retain(|field, _| !MUTABLE.contains(&field.as_str()));
            }
            spec
        };
        if same(&frozen(new), &frozen(old)) {
            return Vec::new();
        }
        vec![FieldError::forbidden(&Path::new("spec"), IMMUTABLE_WORDS)]
    }

    fn warnings(&self, set: &Value) -> Vec<String> {
        let (path, spec) = (Path::new("spec"), &set["spec"]);
        let mut warnings = Vec::new();
        if number(&spec["revisionHistoryLimit"]) < 0 {
            warnings.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                 recommended"
                    .to_owned(),
            );
        }
        let annotations = Path::new("metadata").child("annotations");
        let strange = entries(&set["metadata"]["annotations"])
            .map(|(key, _)| key.as_str())
            .filter(|key| key.starts_with(annotations::PREFIX) && ![RESERVE_ORDINALS, PAUSED].contains(key));
        warnings.extend(strange.map(|key| {
            format!("{}: stead reads only {RESERVE_ORDINALS} and {PAUSED} of a set", annotations.key(key))
        }));
        warnings.extend(warn_of_long_name(set));
        let pod_spec = path.child("template").child("spec");
        warnings.extend(pod_spec::pod_spec_warnings(&pod_spec, &spec["template"]["spec"]));
        warnings
    }

    /// A label, as pods are named `<set>-<ordinal>` and that is their host name too.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns1123_label(name)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, set: &Value, now: Timestamp) -> Vec<Value> {
        let (names, images) = print::containers(&set["spec"]["template"]["spec"]);
        let ready = number(&set["status"]["readyReplicas"]);
        vec![
            print::name(set),
            format!("{ready}/{}", number(&set["spec"]["replicas"])).into(),
            print::age(set, now),
            names.into(),
            images.into(),
        ]
    }

    fn scale(&self, set: &Value) -> Option<Scale> {
        let selector = Selector::from_label_selector(&set["spec"]["selector"]);
        Some(Scale {
            spec_replicas: number(&set["spec"]["replicas"]),
            status_replicas: number(&set["status"]["replicas"]),
            selector: selector.map(|s| s.to_string()).unwrap_or_default(),
        })
    }

    fn set_replicas(&self, set: &mut Value, replicas: i64) {
        if let Some(spec) = object(set, "spec") {
            spec.insert("replicas".into(), replicas.into());
        }
    }
}

fn validate_update_strategy(errors: &mut Errors, path: &Path, strategy: &Value) {
    let rolling = &strategy["rollingUpdate"];
    let at = path.child("rollingUpdate");
    match text(&strategy["type"]) {
        ROLLING_UPDATE => {
            check::nonnegative(errors, &at.child("partition"), &rolling["partition"]);
            validate_max_unavailable(errors, &at.child("maxUnavailable"), &rolling["maxUnavailable"]);
        }
        ON_DELETE => {
            if !rolling.is_null() {
                errors.push(FieldError::invalid(
                    &at,
                    rolling.clone(),
                    format!("only allowed for updateStrategy '{ROLLING_UPDATE}'"),
                ));
            }
        }
        _ => errors.push(FieldError::invalid(
            path,
            strategy.clone(),
            format!("must be '{ROLLING_UPDATE}' or '{ON_DELETE}'"),
        )),
    }
}

/// A positive number, or 1 to 100 per cent.
fn validate_max_unavailable(errors: &mut Errors, path: &Path, value: &Value) {
    check::int_or_percent(errors, path, value);
    let is_zero = match value.as_str() {
        Some(share) => share.strip_suffix('%').and_then(|n| n.parse::<u32>().ok()) == Some(0),
        None => value.as_i64() == Some(0),
    };
    if is_zero {
        errors.push(FieldError::invalid(path, value.clone(), "cannot be 0"));
    }
}

/// stead's own annotations: the planner reads them, so that a wrong one must not come so far.
fn validate_own_annotations(errors: &mut Errors, set: &Value) {
    let (path, annotations) = (Path::new("metadata").child("annotations"), &set["metadata"]["annotations"]);
    if let Some(reserved) = annotations[RESERVE_ORDINALS].as_str()
        && let Err(why) = Reserved::parse(reserved)
    {
        errors.push(FieldError::invalid(&path.key(RESERVE_ORDINALS), reserved, why.to_string()));
    }
    if let Some(paused) = annotations[PAUSED].as_str()
        && !matches!(paused, "true" | "false")
    {
        let words = "write \"true\" to hold the rollout, or \"false\" to let it go on";
        errors.push(FieldError::invalid(&path.key(PAUSED), paused, words));
    }
}

/// The name of a pod is a label and a host name, too: those of a set with a very long name are refused one by one,
/// when they are made.
fn warn_of_long_name(set: &Value) -> Option<String> {
    let reserved =
        Reserved::parse(text(&set["metadata"]["annotations"][RESERVE_ORDINALS])).unwrap_or_default();
    let start = number(&set["spec"]["ordinals"]["start"]);
    let last = reserved.nth_free(start, number(&set["spec"]["replicas"]) - 1)?;
    let pod = format!("{}-{last}", set.name());
    (pod.len() > names::DNS1123_LABEL_MAX_LENGTH).then(|| {
        format!(
            "metadata.name: pod {pod} cannot be made: its name has {} characters, and may have {}; give the set a \
             shorter one",
            pod.len(),
            names::DNS1123_LABEL_MAX_LENGTH
        )
    })
}

fn validate_selector(errors: &mut Errors, path: &Path, spec: &Value) {
    let (at, selector) = (path.child("selector"), &spec["selector"]);
    if selector.is_null() {
        errors.push(FieldError::required(&at, ""));
        return;
    }
    check::label_selector(errors, &at, selector);
    if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
        let words = "empty selector is invalid for statefulset";
        errors.push(FieldError::invalid(&at, selector.clone(), words));
        return;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    let empty = serde_json::Map::new();
    let matches = Selector::from_label_selector(selector)
        .is_ok_and(|selector| selector.matches(labels.as_object().unwrap_or(&empty)));
    if !matches {
        errors.push(FieldError::invalid(
            &path.child("template").child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        ));
    }
}

/// Upstream leaves most of the template to the moment when pods are made of it; here a set that could
/// never have a pod is refused, as a Deployment's is upstream.
fn validate_template(errors: &mut Errors, path: &Path, spec: &Value) {
    let template = &spec["template"];
    pod_spec::validate_pod_template(errors, path, template, items(&spec["volumeClaimTemplates"]));
    let path = path.child("spec");
    let restart_policy = text(&template["spec"]["restartPolicy"]);
    if matches!(restart_policy, "OnFailure" | "Never") {
        let at = path.child("restartPolicy");
        errors.push(FieldError::not_supported(&at, restart_policy, &["Always"]));
    }
    let deadline = &template["spec"]["activeDeadlineSeconds"];
    if !deadline.is_null() {
        let at = path.child("activeDeadlineSeconds");
        errors.push(FieldError::forbidden(&at, "activeDeadlineSeconds in StatefulSet is not Supported"));
    }
}
