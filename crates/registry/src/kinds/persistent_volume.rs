//! `v1` PersistentVolume.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::meta::add_finalizer;
use crate::pod_spec::{self, canonical_quantities, validate_host_path, validate_node_selector};
use crate::print::{self, AGE, NAME, UNSET, column, wide};
use crate::value::{default_to, entries, is_empty, items, object, same, set, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[Subresource::Status],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Keeps a volume until no claim is bound to it (upstream's admission plugin StorageObjectInUseProtection).
pub(crate) const PROTECTION_FINALIZER: &str = "kubernetes.io/pv-protection";

/// The fields of the spec that are not the volume's source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

const COLUMNS: &[Column] = &[
    NAME,
    column("Capacity", "string", "How much the volume holds."),
    column("Access Modes", "string", "How the volume may be mounted."),
    column("Reclaim Policy", "string", "What becomes of the volume when its claim is gone."),
    column("Status", "string", "Pending, Available, Bound, Released or Failed; Terminating once deleted."),
    column("Claim", "string", "The claim that the volume is bound to."),
    column("StorageClass", "string", "The class of storage that the volume belongs to."),
    column("VolumeAttributesClass", "string", "The class of the volume's attributes."),
    column("Reason", "string", "Why the volume is in a failed state."),
    AGE,
    wide("VolumeMode", "string", "Whether the volume is a file system or a device."),
];

/// Upstream: `pkg/registry/core/persistentvolume`, `ValidatePersistentVolume`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, volume: &mut Value) {
        if let Some(spec) = object(volume, "spec") {
            default_to(spec, "persistentVolumeReclaimPolicy", "Retain");
            default_to(spec, "volumeMode", "Filesystem");
            canonical_quantities(spec, "capacity");
            if let Some(Value::Object(path)) = spec.get_mut("hostPath") {
                path.entry("type").or_insert_with(|| "".into());
            }
        }
        if let Some(status) = object(volume, "status") {
            default_to(status, "phase", "Pending");
        }
    }

    fn prepare_for_create(&self, volume: &mut Value) {
        add_finalizer(volume, PROTECTION_FINALIZER);
        set(volume, "status", json!({"phase": "Pending"}));
    }

    fn validate(&self, volume: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &volume["spec"]);
        check::required(&mut errors, &path.child("accessModes"), &spec["accessModes"]);
        validate_access_modes(&mut errors, &path.child("accessModes"), &spec["accessModes"]);
        validate_capacity(&mut errors, &path.child("capacity"), &spec["capacity"]);
        let policies = &["Delete", "Recycle", "Retain"];
        let policy = &spec["persistentVolumeReclaimPolicy"];
        check::one_of_if_set(&mut errors, &path.child("persistentVolumeReclaimPolicy"), policy, policies);
        validate_source(&mut errors, &path, spec);
        let affinity = &spec["nodeAffinity"];
        if !affinity.is_null() {
            let at = path.child("nodeAffinity").child("required");
            if affinity["required"].is_null() {
                errors.push(FieldError::required(&at, "must specify required node constraints"));
            } else {
                validate_node_selector(&mut errors, &at, &affinity["required"]);
            }
        } else if !spec["local"].is_null() {
            let words = "Local volume requires node affinity";
            errors.push(FieldError::required(&path.child("nodeAffinity"), words));
        }
        let class = text(&spec["storageClassName"]);
        if !class.is_empty() {
            check::name(&mut errors, &path.child("storageClassName"), class, names::dns1123_subdomain);
        }
        let modes = &["Block", "Filesystem"];
        check::one_of_if_set(&mut errors, &path.child("volumeMode"), &spec["volumeMode"], modes);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, after, before) = (Errors::new(), &new["spec"], &old["spec"]);
        if !same(&source(after), &source(before)) {
            errors.push(FieldError::forbidden(
                &Path::new("spec").child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            ));
        }
        check::immutable(&mut errors, &Path::new("volumeMode"), &after["volumeMode"], &before["volumeMode"]);
        if !before["nodeAffinity"].is_null() {
            let path = Path::new("spec").child("nodeAffinity");
            check::immutable(&mut errors, &path, &after["nodeAffinity"], &before["nodeAffinity"]);
        }
        errors
    }

    fn warnings(&self, volume: &Value) -> Vec<String> {
        let spec = &volume["spec"];
        let mut warnings: Vec<String> = sources(spec)
            .filter(|kind| !matches!(*kind, "hostPath" | "local"))
            .map(|kind| format!("spec.{kind}: stead does not act on this field yet"))
            .collect();
        if spec["persistentVolumeReclaimPolicy"] == "Recycle" {
            warnings.push(
                "spec.persistentVolumeReclaimPolicy: stead does not recycle volumes; it keeps them as with Retain"
                    .to_owned(),
            );
        }
        warnings
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, volume: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&volume["spec"], &volume["status"]);
        let phase = if volume.is_terminating() { "Terminating" } else { text(&status["phase"]) };
        let claim = &spec["claimRef"];
        let claim = match text(&claim["name"]) {
            "" => String::new(),
            name => format!("{}/{name}", text(&claim["namespace"])),
        };
        let or_unset = |value: &Value| if is_empty(value) { UNSET.into() } else { value.clone() };
        vec![
            print::name(volume),
            text(&spec["capacity"]["storage"]).into(),
            print::access_modes(&spec["accessModes"]).into(),
            text(&spec["persistentVolumeReclaimPolicy"]).into(),
            phase.into(),
            claim.into(),
            text(&spec["storageClassName"]).into(),
            or_unset(&spec["volumeAttributesClassName"]),
            text(&status["reason"]).into(),
            print::age(volume, now),
            or_unset(&spec["volumeMode"]),
        ]
    }
}

/// The kinds of source that the spec names.
fn sources(spec: &Value) -> impl Iterator<Item = &str> {
    entries(spec)
        .filter(|(field, value)| !value.is_null() && !NOT_SOURCES.contains(&field.as_str()))
        .map(|(field, _)| field.as_str())
}

fn source(spec: &Value) -> Value {
    let source: Map<String, Value> =
        sources(spec).map(|field| (field.to_owned(), spec[field].clone())).collect();
    Value::Object(source)
}

fn validate_source(errors: &mut Errors, path: &Path, spec: &Value) {
    let mut found = sources(spec);
    let Some(kind) = found.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    for more in found {
        errors.push(FieldError::forbidden(&path.child(more), "may not specify more than 1 volume type"));
    }
    match kind {
        "hostPath" => validate_host_path(errors, &path.child(kind), &spec[kind]),
        "local" => {
            let local_path = text(&spec[kind]["path"]);
            let at = path.child(kind).child("path");
            if local_path.is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else {
                check::no_backsteps(errors, &at, local_path);
            }
        }
        _ => {}
    }
}

fn validate_capacity(errors: &mut Errors, path: &Path, capacity: &Value) {
    if is_empty(capacity) {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if capacity["storage"].is_null() || entries(capacity).count() > 1 {
        errors.push(FieldError::not_supported(path, capacity.clone(), &["storage"]));
    }
    if !capacity["storage"].is_null() {
        validate_storage_amount(errors, &path.key("storage"), &capacity["storage"]);
    }
}

/// An amount of storage: there, and more than nothing.
pub(crate) fn validate_storage_amount(errors: &mut Errors, path: &Path, value: &Value) {
    if value.is_null() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let before = errors.len();
    pod_spec::validate_quantity(errors, path, value);
    if errors.len() == before && pod_spec::is_zero_quantity(value) {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than zero"));
    }
}

/// The access modes of a volume or a claim.
pub(crate) fn validate_access_modes(errors: &mut Errors, path: &Path, modes: &Value) {
    const SUPPORTED: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    for mode in items(modes) {
        check::one_of(errors, path, mode, SUPPORTED);
    }
    let exclusive = items(modes).iter().any(|mode| mode == "ReadWriteOncePod");
    let others =
        items(modes).iter().any(|mode| mode != "ReadWriteOncePod" && SUPPORTED.contains(&text(mode)));
    if exclusive && others {
        let words = "may not use ReadWriteOncePod with other access modes";
        errors.push(FieldError::forbidden(path, words));
    }
}
