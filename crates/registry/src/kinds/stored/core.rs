//! Core kinds that are stored: ReplicationController, PodTemplate, ResourceQuota, LimitRange.

use apimachinery::field::FieldError;
use apimachinery::field::Path;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::replica_set::{self, CONTAINERS, IMAGES, SELECTOR};
use super::{Stored, kind};
use crate::check::{self, Errors};
use crate::kind::Scope::Namespaced;
use crate::kind::{Column, Kind, Scale, Subresource};
use crate::pod_spec;
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, entries, is_empty, number, object, set, text};

pub(crate) static REPLICATION_CONTROLLER: Kind = Kind {
    subresources: &[Subresource::Status, Subresource::Scale],
    ..kind(
        "",
        "v1",
        ["ReplicationController", "replicationcontrollers", "replicationcontroller"],
        Namespaced,
        &Stored {
            defaults: default_controller,
            prepare: |controller| set(controller, "status", json!({"replicas": 0})),
            selectable: &["status.replicas"],
            required: &["spec.selector"],
            checks: check_controller,
            columns: CONTROLLER_COLUMNS,
            row: controller_row,
            scale: Some(controller_scale),
            ..Stored::PLAIN
        },
    )
    .short(&["rc"])
    .with_generation()
    .in_categories(&["all"])
};
pub(crate) static POD_TEMPLATE: Kind = kind(
    "",
    "v1",
    ["PodTemplate", "podtemplates", "podtemplate"],
    Namespaced,
    &Stored {
        defaults: |template| default_template(template.as_object_mut()),
        checks: |errors, object| {
            pod_spec::validate_pod_template(errors, &Path::new("template"), &object["template"], &[]);
        },
        columns: &[
            NAME,
            column("Containers", "string", "Names of each container in the template."),
            column("Images", "string", "Images referenced by each container in the template."),
            column("Pod Labels", "string", "The labels of the pods that are made from the template."),
        ],
        row: |object, _| {
            let (names, images) = print::containers(&object["template"]["spec"]);
            let labels = print::labels(&object["template"]["metadata"]["labels"]);
            vec![print::name(object), names.into(), images.into(), labels.into()]
        },
        ..Stored::PLAIN
    },
)
.with_generation();
pub(crate) static RESOURCE_QUOTA: Kind = kind(
    "",
    "v1",
    ["ResourceQuota", "resourcequotas", "resourcequota"],
    Namespaced,
    &Stored {
        columns: &[
            NAME,
            column(
                "Request",
                "string",
                "What is used and what may be used of requests and of numbers of objects.",
            ),
            column("Limit", "string", "What is used and what may be used of limits."),
            AGE,
        ],
        row: quota_row,
        ..Stored::PLAIN
    },
)
.short(&["quota"])
.with_status();
pub(crate) static LIMIT_RANGE: Kind = kind(
    "",
    "v1",
    ["LimitRange", "limitranges", "limitrange"],
    Namespaced,
    &Stored { defaults: default_limits, ..Stored::PLAIN },
)
.short(&["limits"]);

const CONTROLLER_COLUMNS: &[Column] = &[
    NAME,
    column("Desired", "integer", "How many pods are wanted."),
    column("Current", "integer", "How many pods there are."),
    column("Ready", "integer", "How many pods are Ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// Fills in the pod template under `template`.
pub(super) fn default_template(parent: Option<&mut Map<String, Value>>) {
    if let Some(parent) = parent {
        replica_set::default_template(parent);
    }
}

/// Upstream: `SetDefaults_ReplicationController`.
fn default_controller(controller: &mut Value) {
    let labels = controller["spec"]["template"]["metadata"]["labels"].clone();
    if !is_empty(&labels)
        && is_empty(&controller["metadata"]["labels"])
        && let Some(metadata) = object(controller, "metadata")
    {
        metadata.insert("labels".into(), labels.clone());
    }
    let Some(spec) = object(controller, "spec") else { return };
    default_to(spec, "replicas", 1);
    if !is_empty(&labels) && spec.get("selector").is_none_or(is_empty) {
        spec.insert("selector".into(), labels);
    }
    default_template(Some(spec));
}

/// Upstream: `ValidateReplicationControllerSpec`.
fn check_controller(errors: &mut Errors, controller: &Value) {
    let (path, spec) = (Path::new("spec"), &controller["spec"]);
    for field in ["replicas", "minReadySeconds"] {
        check::nonnegative(errors, &path.child(field), &spec[field]);
    }
    let path = path.child("template");
    let labels = &spec["template"]["metadata"]["labels"];
    if entries(&spec["selector"]).any(|(key, value)| labels[key] != *value) {
        let words = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&path.child("metadata").child("labels"), labels.clone(), words));
    }
    pod_spec::validate_pod_template(errors, &path, &spec["template"], &[]);
}

fn controller_row(controller: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&controller["spec"], &controller["status"]);
    let (names, images) = print::containers(&spec["template"]["spec"]);
    vec![
        print::name(controller),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        print::age(controller, now),
        names.into(),
        images.into(),
        print::labels(&spec["selector"]).into(),
    ]
}

fn controller_scale(controller: &Value) -> Scale {
    let (spec, status) = (&controller["spec"], &controller["status"]);
    let mut pairs: Vec<String> =
        entries(&spec["selector"]).map(|(k, v)| format!("{k}={}", text(v))).collect();
    pairs.sort();
    Scale {
        spec_replicas: number(&spec["replicas"]),
        status_replicas: number(&status["replicas"]),
        selector: pairs.join(","),
    }
}

/// What is used of each thing that has a bound, by the names of the bounds.
fn quota_row(quota: &Value, now: Timestamp) -> Vec<Value> {
    let (used, hard) = (&quota["status"]["used"], &quota["status"]["hard"]);
    let mut names: Vec<&String> = entries(hard).map(|(name, _)| name).collect();
    names.sort();
    let told = |limits: bool| {
        let told = names.iter().filter(|name| name.starts_with("limits") == limits).map(|name| {
            let used = match text(&used[name.as_str()]) {
                "" => "0",
                used => used,
            };
            format!("{name}: {used}/{}", text(&hard[name.as_str()]))
        });
        Value::from(told.collect::<Vec<_>>().join(", "))
    };
    vec![print::name(quota), told(false), told(true), print::age(quota, now)]
}

/// Upstream: `SetDefaults_LimitRangeItem`: what a container may use at the most is what it gets, and what it gets
/// is what it asks for.
fn default_limits(range: &mut Value) {
    super::each(range, "spec.limits", |limit| {
        if limit.get("type").and_then(Value::as_str) != Some("Container") {
            return;
        }
        for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
            let Some(Value::Object(known)) = limit.get(from).cloned() else { continue };
            if let Some(filled) = crate::value::object_in(limit, to) {
                known.into_iter().for_each(|(name, value)| {
                    filled.entry(name).or_insert(value);
                });
            }
        }
    });
}
