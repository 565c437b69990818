//! Kinds that are stored and served, and that nobody here acts on: manifests made for any cluster can be
//! applied whole, clients find what they list, and every write is answered with a warning.
//!
//! A row is a `Kind` made by [`kind`] and, where upstream does more than to store, a [`Stored`] that says what:
//! defaults, checks, columns.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::replica_set;
use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scale, Scope, Strategy, Subresource};
use crate::print;
use crate::value::{copy_to, is_empty, items, text};

pub(crate) mod admission;
pub(crate) mod autoscaler;
pub(crate) mod core;
pub(crate) mod daemon_set;
pub(crate) mod devices;
pub(crate) mod jobs;
pub(crate) mod networking;
pub(crate) mod nodes;
pub(crate) mod storage;

const fn kind(
    group: &'static str,
    version: &'static str,
    names: [&'static str; 3],
    scope: Scope,
    rules: &'static Stored,
) -> Kind {
    let [kind, plural, singular] = names;
    Kind {
        group,
        version,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        subresources: &[],
        ephemeral: false,
        late_status: false,
        has_generation: false,
        strategy: rules,
    }
}

impl Kind {
    const fn short(mut self, short_names: &'static [&'static str]) -> Self {
        self.short_names = short_names;
        self
    }

    const fn in_categories(mut self, categories: &'static [&'static str]) -> Self {
        self.categories = categories;
        self
    }

    const fn with_status(mut self) -> Self {
        self.subresources = &[Subresource::Status];
        self
    }

    /// Upstream keeps `metadata.generation` of these.
    const fn with_generation(mut self) -> Self {
        self.has_generation = true;
        self
    }

    /// With a status, and a generation that the status can speak of.
    const fn observed(self) -> Self {
        self.with_status().with_generation()
    }
}

/// What upstream does with objects of a kind besides storing them; [`Stored::PLAIN`] where that is nothing.
struct Stored {
    name: fn(&str) -> Result<(), String>,
    defaults: fn(&mut Value),
    /// What the server fills in when the object is made, beside the defaults.
    prepare: fn(&mut Value),
    /// Writes down who makes the object.
    author: fn(&mut Value, &Value),
    /// The fields besides the metadata's that selectors may ask for, as paths with dots.
    selectable: &'static [&'static str],
    /// Fields that stay as they are, whatever is sent.
    kept: &'static [&'static str],
    /// Fields that must be there, as paths with dots.
    required: &'static [&'static str],
    checks: fn(&mut Errors, &Value),
    /// Fields that never change, as paths with dots.
    immutable: &'static [&'static str],
    columns: &'static [Column],
    row: fn(&Value, Timestamp) -> Vec<Value>,
    scale: Option<fn(&Value) -> Scale>,
}

impl Stored {
    /// Names as upstream has most of them, DNS subdomains; a name and an age to show.
    const PLAIN: Self = Self {
        name: names::dns1123_subdomain,
        defaults: |_| {},
        prepare: |_| {},
        author: |_, _| {},
        selectable: &[],
        kept: &[],
        required: &[],
        checks: |_, _| {},
        immutable: &[],
        columns: print::NAME_AND_AGE,
        row: |object, now| vec![print::name(object), print::age(object, now)],
        scale: None,
    };
}

impl Strategy for Stored {
    fn set_defaults(&self, object: &mut Value) {
        (self.defaults)(object);
    }

    fn prepare_for_create(&self, object: &mut Value) {
        (self.prepare)(object);
    }

    fn set_author(&self, object: &mut Value, user: &Value) {
        (self.author)(object, user);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        if let Some(fields) = new.as_object_mut() {
            self.kept.iter().for_each(|field| copy_to(fields, field, &old[*field]));
        }
    }

    fn selectable_fields(&self, object: &Value) -> Vec<(&'static str, String)> {
        let told = |value: &Value| match value {
            Value::Number(number) => number.to_string(),
            other => text(other).to_owned(),
        };
        self.selectable.iter().map(|field| (*field, told(at(object, field).1))).collect()
    }

    fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for field in self.required {
            let (path, value) = at(object, field);
            check::required(&mut errors, &path, value);
        }
        (self.checks)(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for field in self.immutable {
            let (path, value) = at(new, field);
            check::immutable(&mut errors, &path, value, at(old, field).1);
        }
        errors
    }

    fn warnings(&self, object: &Value) -> Vec<String> {
        let kind = text(&object["kind"]);
        vec![format!(
            "stead stores this {kind} and does nothing about it: it acts on no objects of that kind"
        )]
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        (self.name)(name)
    }

    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.row)(object, now)
    }

    fn scale(&self, object: &Value) -> Option<Scale> {
        self.scale.map(|scale| scale(object))
    }

    fn set_replicas(&self, object: &mut Value, replicas: i64) {
        replica_set::set_replicas(object, replicas);
    }
}

/// The value at a path with dots, and the path.
fn at<'v>(object: &'v Value, dotted: &str) -> (Path, &'v Value) {
    let mut path = Path::root();
    let mut value = object;
    for name in dotted.split('.') {
        path = path.child(name);
        value = &value[name];
    }
    (path, value)
}

/// Every object in the list at a path with dots, to write to.
fn each(object: &mut Value, dotted: &str, fill: impl Fn(&mut Map<String, Value>)) {
    let pointer = format!("/{}", dotted.replace('.', "/"));
    let list = object.pointer_mut(&pointer).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut).for_each(fill);
}

/// The words of the list joined by commas, or `<none>`; those after the first three are counted.
fn joined(list: &Value, word: impl Fn(&Value) -> String) -> Value {
    const SHOWN: usize = 3;
    let all: Vec<String> = items(list).iter().map(word).filter(|word| !word.is_empty()).collect();
    match all.len() {
        0 => print::NONE.into(),
        more if more > SHOWN => format!("{} + {} more...", all[..SHOWN].join(","), more - SHOWN).into(),
        _ => all.join(",").into(),
    }
}

/// The text, or what upstream prints for a pointer to nothing.
fn or_unset(value: &Value) -> Value {
    if is_empty(value) { print::UNSET.into() } else { value.clone() }
}
