//! `v1` Secret.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::kinds::config_map::{MAX_DATA_SIZE, decoded_length, validate_immutable};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, entries, object_in, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

const SERVICE_ACCOUNT_ANNOTATION: &str = "kubernetes.io/service-account.name";

const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "string", "What the secret is for."),
    column("Data", "string", "How many keys there are."),
    AGE,
];

/// Upstream: `ValidateSecret`, and the conversion that merges `stringData`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, secret: &mut Value) {
        let Some(secret) = secret.as_object_mut() else { return };
        default_to(secret, "type", "Opaque");
        if let Some(Value::Object(words)) = secret.remove("stringData")
            && let Some(data) = object_in(secret, "data")
        {
            for (key, value) in words {
                data.insert(key, BASE64_STANDARD.encode(text(&value)).into());
            }
        }
    }

    fn validate(&self, secret: &Value) -> Vec<FieldError> {
        let (mut errors, path, data) = (Errors::new(), Path::new("data"), &secret["data"]);
        let mut size = 0;
        for (key, value) in entries(data) {
            check::name(&mut errors, &path.key(key), key, names::config_map_key);
            size += decoded_length(text(value));
        }
        if size > MAX_DATA_SIZE {
            errors.push(FieldError::too_long(&path, MAX_DATA_SIZE));
        }
        let required: &[&str] = match text(&secret["type"]) {
            "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
            "kubernetes.io/dockercfg" => &[".dockercfg"],
            "kubernetes.io/tls" => &["tls.crt", "tls.key"],
            "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
            "kubernetes.io/basic-auth" if data["username"].is_null() && data["password"].is_null() => {
                &["username", "password"]
            }
            "kubernetes.io/service-account-token" => {
                if secret.annotation(SERVICE_ACCOUNT_ANNOTATION).is_none_or(str::is_empty) {
                    let at = Path::new("metadata").child("annotations").key(SERVICE_ACCOUNT_ANNOTATION);
                    errors.push(FieldError::required(&at, ""));
                }
                &[]
            }
            _ => &[],
        };
        for key in required {
            if data[*key].is_null() {
                errors.push(FieldError::required(&path.key(key), ""));
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validate_immutable(new, old, &["data"]);
        check::immutable(&mut errors, &Path::new("type"), &new["type"], &old["type"]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, secret: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            print::name(secret),
            text(&secret["type"]).into(),
            entries(&secret["data"]).count().into(),
            print::age(secret, now),
        ]
    }

    fn is_sealed(&self) -> bool {
        true
    }

    fn selectable_fields(&self, secret: &Value) -> Vec<(&'static str, String)> {
        vec![("type", text(&secret["type"]).to_owned())]
    }
}
