//! `storage.k8s.io/v1` StorageClass.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use crate::bootstrap::{DEFAULT_CLASS_ANNOTATION, PROVISIONER};
use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, entries, same, text, truth};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// The provisioner of classes whose volumes people make by hand.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The most that the parameters may hold together, in bytes.
const MAX_PARAMETERS_SIZE: usize = 256 << 10;

const COLUMNS: &[Column] = &[
    NAME,
    column("Provisioner", "string", "Who makes the volumes of this class."),
    column("ReclaimPolicy", "string", "What becomes of a volume when its claim is gone."),
    column("VolumeBindingMode", "string", "When a claim gets its volume."),
    column("AllowVolumeExpansion", "string", "Whether volumes can grow."),
    AGE,
];

/// Upstream: `pkg/apis/storage/v1/defaults.go`, `ValidateStorageClass`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, class: &mut Value) {
        if let Some(class) = class.as_object_mut() {
            default_to(class, "reclaimPolicy", "Delete");
            default_to(class, "volumeBindingMode", "Immediate");
        }
    }

    fn validate(&self, class: &Value) -> Vec<FieldError> {
        let (mut errors, path) = (Errors::new(), Path::root());
        let provisioner = text(&class["provisioner"]).to_lowercase();
        check::required_name(&mut errors, &path.child("provisioner"), &provisioner, names::qualified_name);
        let parameters = path.child("parameters");
        if entries(&class["parameters"]).any(|(key, _)| key.is_empty()) {
            errors.push(FieldError::invalid(&parameters, "", "field can not be empty."));
        }
        let size: usize = entries(&class["parameters"]).map(|(k, v)| k.len() + text(v).len()).sum();
        if size > MAX_PARAMETERS_SIZE {
            errors.push(FieldError::too_long(&parameters, MAX_PARAMETERS_SIZE));
        }
        let policy = &class["reclaimPolicy"];
        check::one_of(&mut errors, &path.child("reclaimPolicy"), policy, &["Delete", "Retain"]);
        let modes = &["Immediate", "WaitForFirstConsumer"];
        check::one_of(&mut errors, &path.child("volumeBindingMode"), &class["volumeBindingMode"], modes);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(&new[field], &old[field]) {
                let words = format!("updates to {field} are forbidden.");
                errors.push(FieldError::forbidden(&Path::new(field), words));
            }
        }
        let field = "volumeBindingMode";
        check::immutable(&mut errors, &Path::new(field), &new[field], &old[field]);
        errors
    }

    fn warnings(&self, class: &Value) -> Vec<String> {
        match text(&class["provisioner"]) {
            PROVISIONER | NO_PROVISIONER => Vec::new(),
            other => vec![format!(
                "provisioner: stead itself makes volumes for {PROVISIONER:?} only; claims of this class stay \
                 Pending unless something else answers for {other:?}"
            )],
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, class: &Value, now: Timestamp) -> Vec<Value> {
        let is_default = class.annotation(DEFAULT_CLASS_ANNOTATION) == Some("true");
        let mark = if is_default { " (default)" } else { "" };
        vec![
            format!("{}{mark}", class.name()).into(),
            class["provisioner"].clone(),
            class["reclaimPolicy"].clone(),
            class["volumeBindingMode"].clone(),
            truth(&class["allowVolumeExpansion"]).into(),
            print::age(class, now),
        ]
    }
}
