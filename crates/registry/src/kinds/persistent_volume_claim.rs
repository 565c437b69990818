//! `v1` PersistentVolumeClaim.

use std::cmp::Ordering;

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use apimachinery::quantity::Quantity;
use apimachinery::status::Status;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::bootstrap::DEFAULT_CLASS_ANNOTATION;
use crate::check::{self, Errors};
use crate::kind::{ClusterView, Column, Kind, Scope, Strategy, Subresource};
use crate::kinds::persistent_volume::{validate_access_modes, validate_storage_amount};
use crate::meta::add_finalizer;
use crate::pod_spec;
use crate::print::{self, AGE, NAME, UNSET, column, wide};
use crate::value::{default_to, entries, is_empty, object, same, set, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Keeps a claim until no pod uses it (upstream's admission plugin StorageObjectInUseProtection).
pub(crate) const PROTECTION_FINALIZER: &str = "kubernetes.io/pvc-protection";

/// The annotation that was the class once.
const BETA_CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "Pending, Bound or Lost; Terminating once deleted."),
    column("Volume", "string", "The volume that the claim is bound to."),
    column("Capacity", "string", "How much the volume holds."),
    column("Access Modes", "string", "How the volume may be mounted."),
    column("StorageClass", "string", "The class of storage that was asked for."),
    column("VolumeAttributesClass", "string", "The class of the volume's attributes."),
    AGE,
    wide("VolumeMode", "string", "Whether the volume is a file system or a device."),
];

/// Upstream: `pkg/registry/core/persistentvolumeclaim`, `ValidatePersistentVolumeClaim`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, claim: &mut Value) {
        if let Some(spec) = object(claim, "spec") {
            pod_spec::default_claim_spec(spec);
        }
        if let Some(status) = object(claim, "status") {
            default_to(status, "phase", "Pending");
        }
    }

    fn prepare_for_create(&self, claim: &mut Value) {
        add_finalizer(claim, PROTECTION_FINALIZER);
        set(claim, "status", json!({"phase": "Pending"}));
    }

    fn validate(&self, claim: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_spec(&mut errors, &Path::new("spec"), &claim["spec"]);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, path) = (Errors::new(), Path::new("spec"));
        let (after, before) = (&new["spec"], &old["spec"]);
        let mut munged = after.clone();
        if let Some(map) = munged.as_object_mut() {
            // Each may be set once; a bound claim may grow.
            if is_empty(&before["volumeName"]) {
                map.insert("volumeName".into(), before["volumeName"].clone());
            }
            if before["storageClassName"].is_null() {
                map.insert("storageClassName".into(), Value::Null);
            }
            if old["status"]["phase"] == "Bound" {
                map.insert("resources".into(), before["resources"].clone());
                map.insert("volumeAttributesClassName".into(), before["volumeAttributesClassName"].clone());
            }
        }
        if !same(&munged, before) {
            errors.push(FieldError::forbidden(
                &path,
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for \
                 bound claims",
            ));
        }
        let storage = path.child("resources").child("requests").child("storage");
        let holds = &old["status"]["capacity"]["storage"];
        if compare(request(new), request(old)) == Some(Ordering::Less)
            && matches!(compare(request(new), holds), Some(Ordering::Less | Ordering::Equal))
        {
            errors.push(FieldError::forbidden(&storage, "field can not be less than status.capacity"));
        }
        check::immutable(&mut errors, &Path::new("volumeMode"), &after["volumeMode"], &before["volumeMode"]);
        errors
    }

    /// Upstream: `ValidatePersistentVolumeClaimStatusUpdate`.
    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let path = Path::new("status").child("capacity");
        for (resource, amount) in entries(&new["status"]["capacity"]) {
            if compare(amount, &json!("0")) == Some(Ordering::Less) {
                let words = "must be a valid resource quantity";
                errors.push(FieldError::invalid(&path.key(resource), amount.clone(), words));
            }
        }
        errors
    }

    fn warnings(&self, claim: &Value) -> Vec<String> {
        let (path, spec) = (Path::new("spec"), &claim["spec"]);
        let warnings = ["dataSource", "dataSourceRef", "volumeAttributesClassName"]
            .iter()
            .filter(|field| !is_empty(&spec[**field]))
            .map(|field| format!("{}: stead does not act on this field yet", path.child(field)));
        warnings.collect()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, claim: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&claim["spec"], &claim["status"]);
        let bound = !is_empty(&spec["volumeName"]);
        let phase = if claim.is_terminating() { "Terminating" } else { text(&status["phase"]) };
        let or_unset = |value: &Value| if is_empty(value) { UNSET.into() } else { value.clone() };
        vec![
            print::name(claim),
            phase.into(),
            text(&spec["volumeName"]).into(),
            if bound { text(&status["capacity"]["storage"]) } else { "" }.into(),
            if bound { print::access_modes(&status["accessModes"]) } else { String::new() }.into(),
            class_name(claim).unwrap_or_default().into(),
            or_unset(&spec["volumeAttributesClassName"]),
            print::age(claim, now),
            or_unset(&spec["volumeMode"]),
        ]
    }

    fn admission_reads(&self) -> &'static [&'static str] {
        &["storageclasses"]
    }

    /// Upstream's admission plugins DefaultStorageClass and PersistentVolumeClaimResize.
    fn admit(&self, new: &mut Value, old: Option<&Value>, cluster: &dyn ClusterView) -> Result<(), Status> {
        let classes = cluster.list("storageclasses");
        match old {
            None => {
                if class_name(new).is_none()
                    && let Some(class) = default_class(classes)
                    && let Some(spec) = object(new, "spec")
                {
                    spec.insert("storageClassName".into(), class.name().into());
                }
                Ok(())
            }
            Some(old) => {
                let grows = compare(request(new), request(old)) == Some(Ordering::Greater);
                let class = classes.iter().find(|class| Some(class.name()) == class_name(old));
                let expands = class.is_some_and(|class| class["allowVolumeExpansion"] == true);
                if old["status"]["phase"] == "Bound" && grows && !expands {
                    return Err(Status::forbidden(
                        KIND.plural,
                        new.name(),
                        "only dynamically provisioned pvc can be resized and the storageclass that provisions \
                         the pvc must support resize",
                    ));
                }
                Ok(())
            }
        }
    }
}

/// The class that a claim asks for; `Some("")` is a claim for volumes without one, `None` has not said.
fn class_name(claim: &Value) -> Option<&str> {
    claim.annotation(BETA_CLASS_ANNOTATION).or_else(|| claim["spec"]["storageClassName"].as_str())
}

/// The newest of the classes that are marked as the default; of equally new ones the first by name.
fn default_class(classes: &[Value]) -> Option<&Value> {
    classes.iter().filter(|class| class.annotation(DEFAULT_CLASS_ANNOTATION) == Some("true")).min_by(
        |a, b| {
            let created = |class: &Value| class.meta_str("creationTimestamp").to_owned();
            created(b).cmp(&created(a)).then_with(|| a.name().cmp(b.name()))
        },
    )
}

/// What a claim, or a template of one, asks for.
pub(crate) fn request(claim: &Value) -> &Value {
    &claim["spec"]["resources"]["requests"]["storage"]
}

pub(crate) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    Some(Quantity::from_value(a).ok()?.cmp(&Quantity::from_value(b).ok()?))
}

/// The spec of a claim, or of a template of one (`ValidatePersistentVolumeClaimSpec`).
pub(crate) fn validate_spec(errors: &mut Errors, path: &Path, spec: &Value) {
    let at = path.child("accessModes");
    if is_empty(&spec["accessModes"]) {
        errors.push(FieldError::required(&at, "at least 1 access mode is required"));
    }
    validate_access_modes(errors, &at, &spec["accessModes"]);
    check::label_selector(errors, &path.child("selector"), &spec["selector"]);
    let storage = &spec["resources"]["requests"]["storage"];
    validate_storage_amount(errors, &path.child("resources").key("storage"), storage);
    for field in ["storageClassName", "volumeAttributesClassName"] {
        if !is_empty(&spec[field]) {
            check::name(errors, &path.child(field), text(&spec[field]), names::dns1123_subdomain);
        }
    }
    check::one_of_if_set(errors, &path.child("volumeMode"), &spec["volumeMode"], &["Block", "Filesystem"]);
    for field in ["dataSource", "dataSourceRef"] {
        let source = &spec[field];
        if !source.is_null() {
            check::required(errors, &path.child(field).child("name"), &source["name"]);
            check::required(errors, &path.child(field).child("kind"), &source["kind"]);
        }
    }
}
