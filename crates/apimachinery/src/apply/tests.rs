mod cases;
mod laws;
mod sets;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::set::Set;
use super::*;
use crate::schema::Schema;

/// An object and who writes it; each write is a minute after the one before.
struct Story {
    api_version: &'static str,
    kind: &'static str,
    object: Option<Value>,
    minute: i64,
}

impl Story {
    fn of(api_version: &'static str, kind: &'static str) -> Self {
        Self { api_version, kind, object: None, minute: 0 }
    }

    fn writer<'a>(&mut self, manager: &'a str, subresource: &'a str) -> Writer<'a> {
        self.minute += 1;
        Writer {
            manager,
            subresource,
            api_version: self.api_version,
            type_id: Schema::builtin().gvk(self.api_version, self.kind).expect("a kind"),
            now: Timestamp::from_second(1_767_225_600 + 60 * self.minute).expect("a time"),
        }
    }

    /// What is stored is in Go's form, as the API stores it.
    fn complete(&self, mut object: Value) -> Value {
        object["apiVersion"] = self.api_version.into();
        object["kind"] = self.kind.into();
        object["metadata"]["name"] = "x".into();
        let type_id = Schema::builtin().gvk(self.api_version, self.kind).expect("a kind");
        crate::schema::normalize::normalize(&mut object, type_id);
        object
    }

    fn update(&mut self, manager: &str, object: Value) -> &mut Self {
        self.update_part(manager, "", object)
    }

    fn update_part(&mut self, manager: &str, subresource: &str, object: Value) -> &mut Self {
        let mut object = self.complete(object);
        let writer = self.writer(manager, subresource);
        update(self.object.as_ref(), &mut object, &writer);
        self.object = Some(object);
        self
    }

    /// Changes the object by a merge patch.
    fn patch(&mut self, manager: &str, patch: impl Into<Value>) -> &mut Self {
        let mut object = self.object.clone().expect("an object");
        crate::patch::merge::apply(&mut object, &patch.into());
        self.update(manager, object)
    }

    fn try_apply(&mut self, manager: &str, mut config: Value, force: bool) -> Result<(), Refusal> {
        config["apiVersion"] = self.api_version.into();
        config["kind"] = self.kind.into();
        config["metadata"]["name"] = "x".into();
        let writer = self.writer(manager, "");
        let object = apply(self.object.as_ref(), &config, force, &writer)?;
        self.object = Some(self.complete(object));
        Ok(())
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, config: Value) -> &mut Self {
        self.try_apply(manager, config, false).expect("no conflict");
        self
    }

    fn object(&self) -> &Value {
        self.object.as_ref().expect("an object")
    }

    /// Who owns what, a line for each field: `Apply a .spec.replicas`.
    fn owners(&self) -> Vec<String> {
        let mut out = Vec::new();
        for entry in self.object()["metadata"]["managedFields"].as_array().into_iter().flatten() {
            let text = |field: &str| entry[field].as_str().unwrap_or_default();
            let part = text("subresource");
            let part = if part.is_empty() { String::new() } else { format!("/{part}") };
            for path in Set::parse(&entry["fieldsV1"]).expect("fields").paths() {
                out.push(format!("{} {}{part} {path}", text("operation"), text("manager")));
            }
        }
        out
    }
}

fn fields(text: &str) -> Set {
    Set::parse(&serde_json::from_str(text).expect("JSON")).expect("fields")
}

fn config_map(data: impl Into<Value>) -> Value {
    json!({"data": data.into()})
}
