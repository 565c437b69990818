//! Reads the table of field facts. Line by line:
//!
//! ```text
//! release 1.36
//! kind apps/v1/StatefulSet apps.v1.StatefulSet
//! type core.v1.ServicePort
//! 1 name s o                       tag, JSON name, type, flags (may be missing), facts
//! 4 targetPort util.intstr.IntOrString o
//! ```
//!
//! - types: `s` string, `b` bool, `j` int32, `i` int64, `d` double, `y` bytes, or a type's name; `[]T` a list,
//!   `{}T` a map from strings. Names begin with `a:` for kube-aggregator's, `x:` for apiextensions'.
//! - flags: `o` omitempty, `z` omitzero, `p` pointer, `n` inlined (its name is `.`), `w` the one list of a
//!   wrapper message, `x` not in JSON, `r` required.
//! - facts: `list=`, `keys=`, `map=` for server-side apply, `patch=`, `merge=` for strategic merge.

use std::collections::BTreeMap;

use super::{Field, Form, Item, Schema, Shape, Topology, Type, TypeId};

/// A line of the table that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("field table, line {line}: {what}: {text:?}")]
pub(super) struct Error {
    line: usize,
    what: &'static str,
    text: &'static str,
}

pub(super) fn parse(text: &'static str) -> Result<Schema, Error> {
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("type ")).collect();
    names.sort_unstable();
    if names.len() > usize::from(u16::MAX) {
        return Err(Error { line: 0, what: "too many types", text: "" });
    }
    let mut reader =
        Reader { names, kinds: BTreeMap::new(), fields: BTreeMap::new(), current: None, release: "" };
    for (at, text) in text.lines().enumerate() {
        reader.line(text).map_err(|what| Error { line: at + 1, what, text })?;
    }
    Ok(reader.finish())
}

struct Reader {
    names: Vec<&'static str>,
    kinds: BTreeMap<(&'static str, &'static str), TypeId>,
    fields: BTreeMap<TypeId, Vec<Field>>,
    current: Option<TypeId>,
    release: &'static str,
}

impl Reader {
    fn line(&mut self, line: &'static str) -> Result<(), &'static str> {
        let mut words = line.split(' ');
        match words.next().unwrap_or_default() {
            "" | "#" => {}
            "release" => self.release = words.next().ok_or("no release")?,
            "kind" => {
                let (api_version, kind) =
                    words.next().and_then(|gvk| gvk.rsplit_once('/')).ok_or("no group, version and kind")?;
                let id = self.type_id(words.next().unwrap_or_default())?;
                self.kinds.insert((api_version, kind), id);
            }
            "type" => self.current = Some(self.type_id(words.next().unwrap_or_default())?),
            tag => {
                let field = self.field(tag.parse().map_err(|_| "no tag")?, words)?;
                let current = self.current.ok_or("a field before any type")?;
                self.fields.entry(current).or_default().push(field);
            }
        }
        Ok(())
    }

    fn type_id(&self, name: &str) -> Result<TypeId, &'static str> {
        let at = self.names.binary_search(&name).map_err(|_| "unknown type")?;
        Ok(TypeId(u16::try_from(at).map_err(|_| "too many types")?))
    }

    fn field(&self, tag: u16, mut words: impl Iterator<Item = &'static str>) -> Result<Field, &'static str> {
        let name = words.next().ok_or("no name")?;
        let shape = self.shape(words.next().ok_or("no type")?)?;
        let mut field = Field {
            name: if name == "." { "" } else { name },
            shape,
            tag,
            flags: 0,
            list_type: None,
            map_type: None,
            list_map_keys: "",
            patch_strategy: "",
            patch_merge_key: "",
        };
        for word in words {
            match word.split_once('=') {
                None => field.flags = flags(word)?,
                Some(("list", topology)) => field.list_type = Some(self::topology(topology)?),
                Some(("map", topology)) => field.map_type = Some(self::topology(topology)?),
                Some(("keys", keys)) => field.list_map_keys = keys,
                Some(("patch", strategy)) => field.patch_strategy = strategy,
                Some(("merge", key)) => field.patch_merge_key = key,
                Some(_) => return Err("unknown fact"),
            }
        }
        Ok(field)
    }

    fn shape(&self, text: &str) -> Result<Shape, &'static str> {
        if let Some(item) = text.strip_prefix("[]") {
            return Ok(Shape::List(self.item(item)?));
        }
        if let Some(item) = text.strip_prefix("{}") {
            return Ok(Shape::Map(self.item(item)?));
        }
        Ok(Shape::One(self.item(text)?))
    }

    fn item(&self, text: &str) -> Result<Item, &'static str> {
        Ok(match text {
            "s" => Item::String,
            "b" => Item::Bool,
            "j" => Item::Int32,
            "i" => Item::Int64,
            "d" => Item::Double,
            "y" => Item::Bytes,
            name => Item::Type(self.type_id(name)?),
        })
    }

    fn finish(mut self) -> Schema {
        let mut types: Vec<Type> = Vec::with_capacity(self.names.len());
        for (at, name) in self.names.iter().enumerate() {
            let id = TypeId(u16::try_from(at).unwrap_or(u16::MAX));
            let flat_fields = self
                .fields
                .get(&id)
                .filter(|fields| fields.iter().any(Field::is_inlined))
                .map(|fields| self.flatten(fields).into_boxed_slice());
            types.push(Type {
                name,
                form: Form::Struct,
                has_type_meta: false,
                message_fields: Box::default(),
                flat_fields,
            });
        }
        for (at, ty) in types.iter_mut().enumerate() {
            let id = TypeId(u16::try_from(at).unwrap_or(u16::MAX));
            ty.message_fields = self.fields.remove(&id).unwrap_or_default().into_boxed_slice();
            ty.form = form(ty.name, &ty.message_fields);
            ty.has_type_meta = is_options(ty.name);
        }
        for id in self.kinds.values() {
            types[usize::from(id.0)].has_type_meta = true;
        }
        Schema { release: self.release, kinds: self.kinds, types }
    }

    fn flatten(&self, fields: &[Field]) -> Vec<Field> {
        let mut flat = Vec::with_capacity(fields.len());
        for field in fields {
            match field.shape {
                Shape::One(Item::Type(inner)) if field.is_inlined() => {
                    let inner = self.fields.get(&inner).map(Vec::as_slice).unwrap_or_default();
                    flat.extend(self.flatten(inner));
                }
                _ => flat.push(*field),
            }
        }
        flat
    }
}

fn flags(text: &str) -> Result<u8, &'static str> {
    text.chars().try_fold(0, |flags, c| {
        Ok(flags
            | match c {
                'o' => Field::OMIT_EMPTY,
                'z' => Field::OMIT_ZERO,
                'p' => Field::POINTER,
                'n' => Field::INLINED,
                'w' => Field::WRAPPER,
                'x' => Field::NOT_IN_JSON,
                'r' => Field::REQUIRED,
                _ => return Err("unknown flag"),
            })
    })
}

fn topology(text: &str) -> Result<Topology, &'static str> {
    [Topology::Atomic, Topology::Set, Topology::Map, Topology::Granular]
        .into_iter()
        .find(|t| t.name() == text)
        .ok_or("unknown list or map type")
}

fn is_options(name: &str) -> bool {
    name.strip_prefix("meta.v1.").is_some_and(|kind| kind.ends_with("Options"))
}

/// The types whose JSON is written by code upstream, not by their fields.
fn form(name: &str, fields: &[Field]) -> Form {
    match name {
        "api.resource.Quantity" => Form::Quantity,
        "meta.v1.Time" => Form::Time,
        "meta.v1.MicroTime" => Form::MicroTime,
        "util.intstr.IntOrString" => Form::IntOrString,
        "runtime.RawExtension" | "meta.v1.FieldsV1" => Form::AnyObject,
        "x:apiextensions.v1.JSON" => Form::Any,
        "x:apiextensions.v1.JSONSchemaPropsOrArray" => Form::SchemaOrList,
        "x:apiextensions.v1.JSONSchemaPropsOrBool" => Form::SchemaOrBool,
        "x:apiextensions.v1.JSONSchemaPropsOrStringArray" => Form::SchemaOrStrings,
        _ => match fields {
            [only] if only.has(Field::WRAPPER) => Form::WrappedList(only.shape.item()),
            _ => Form::Struct,
        },
    }
}
