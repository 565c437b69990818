//! What is known about the fields of every built-in type: one table, from which protobuf decoding, strategic
//! merge, strict decoding and OpenAPI derive.
//!
//! The table is text in `data/fields.txt`, made by `cargo xtask schema`; its names are borrowed from the
//! program's own image, so that the parsed form costs about 200 KB. `table.rs` tells its format.

pub mod check;
pub mod descriptions;
pub mod normalize;
pub mod strict_json;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod trail;

use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The table as text.
const TABLE: &str = include_str!("../../data/fields.txt");

/// The facts about all types.
#[derive(Debug)]
pub struct Schema {
    release: &'static str,
    kinds: BTreeMap<(&'static str, &'static str), TypeId>,
    types: Vec<Type>,
}

/// A type of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(u16);

#[derive(Debug)]
struct Type {
    name: &'static str,
    form: Form,
    has_type_meta: bool,
    /// As they travel in protobuf: an inlined struct is one field without a name.
    message_fields: Box<[Field]>,
    /// As they stand in JSON, where that differs: what is inlined stands among the others.
    flat_fields: Option<Box<[Field]>>,
}

/// How values of a type stand in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An object with the type's fields.
    Struct,
    /// A list; in protobuf a message around it (`authentication/v1.ExtraValue`, `meta/v1.Verbs`).
    WrappedList(Item),
    /// `api/resource.Quantity`: a string or a number.
    Quantity,
    /// `meta/v1.Time`: RFC 3339 to the second.
    Time,
    /// `meta/v1.MicroTime`: RFC 3339 to the microsecond.
    MicroTime,
    /// `util/intstr.IntOrString`.
    IntOrString,
    /// Any object: `runtime.RawExtension`, `meta/v1.FieldsV1`.
    AnyObject,
    /// Any value: `apiextensions/v1.JSON`.
    Any,
    /// A schema, or a list of schemas.
    SchemaOrList,
    /// A schema, or true or false.
    SchemaOrBool,
    /// A schema, or a list of strings.
    SchemaOrStrings,
}

/// A value that a field holds, or that the field's list or map holds many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Text.
    String,
    /// True or false.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Double,
    /// Bytes; base64 in JSON.
    Bytes,
    /// A value of another type of the table.
    Type(TypeId),
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One.
    One(Item),
    /// A list.
    List(Item),
    /// A map from strings.
    Map(Item),
}

impl Shape {
    /// What the field holds one or many of.
    pub fn item(self) -> Item {
        match self {
            Self::One(item) | Self::List(item) | Self::Map(item) => item,
        }
    }
}

/// How server-side apply treats a list or a map (`x-kubernetes-list-type`, `x-kubernetes-map-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// Replaced as a whole.
    Atomic,
    /// A list whose items are told apart by their value.
    Set,
    /// A list whose items are told apart by [`Field::list_map_keys`].
    Map,
    /// Merged key by key.
    Granular,
}

impl Topology {
    /// The word in OpenAPI.
    pub fn name(self) -> &'static str {
        match self {
            Self::Atomic => "atomic",
            Self::Set => "set",
            Self::Map => "map",
            Self::Granular => "granular",
        }
    }
}

/// What is known about one field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON; empty for an inlined struct.
    pub name: &'static str,
    /// What it holds.
    pub shape: Shape,
    /// Its number in protobuf.
    pub tag: u16,
    flags: u8,
    list_type: Option<Topology>,
    map_type: Option<Topology>,
    list_map_keys: &'static str,
    patch_strategy: &'static str,
    patch_merge_key: &'static str,
}

impl Field {
    const OMIT_EMPTY: u8 = 1;
    const OMIT_ZERO: u8 = 2;
    const POINTER: u8 = 4;
    const INLINED: u8 = 8;
    const WRAPPER: u8 = 16;
    const NOT_IN_JSON: u8 = 32;
    const REQUIRED: u8 = 64;

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Empty values are left out of JSON (Go's `omitempty`: zero scalars, empty lists and maps; not structs).
    pub fn omit_empty(&self) -> bool {
        self.has(Self::OMIT_EMPTY)
    }

    /// A zero struct is left out of JSON (Go's `omitzero`).
    pub fn omit_zero(&self) -> bool {
        self.has(Self::OMIT_ZERO)
    }

    /// Presence counts: an absent value differs from a zero one.
    pub fn is_pointer(&self) -> bool {
        self.has(Self::POINTER)
    }

    /// The field's own fields stand in its parent's JSON.
    pub fn is_inlined(&self) -> bool {
        self.has(Self::INLINED)
    }

    /// OpenAPI calls the field required.
    pub fn is_required(&self) -> bool {
        self.has(Self::REQUIRED)
    }

    /// How server-side apply treats the list.
    pub fn list_type(&self) -> Option<Topology> {
        self.list_type
    }

    /// How server-side apply treats the map or struct.
    pub fn map_type(&self) -> Option<Topology> {
        self.map_type
    }

    /// The fields that tell a list's items apart in server-side apply.
    pub fn list_map_keys(&self) -> impl Iterator<Item = &'static str> {
        self.list_map_keys.split(',').filter(|key| !key.is_empty())
    }

    /// `patchStrategy` as declared, for instance `merge,retainKeys`; empty when there is none.
    pub fn patch_strategy(&self) -> &'static str {
        self.patch_strategy
    }

    /// Whether a strategic merge merges the list (by [`Field::patch_merge_key`], or as a set of scalars).
    pub fn merges(&self) -> bool {
        self.patch_strategy.split(',').any(|s| s == "merge")
    }

    /// Whether a strategic merge replaces the struct as a whole.
    pub fn replaces(&self) -> bool {
        self.patch_strategy.split(',').any(|s| s == "replace")
    }

    /// Whether a strategic merge drops the keys of the struct that a patch does not keep.
    pub fn retains_keys(&self) -> bool {
        self.patch_strategy.split(',').any(|s| s == "retainKeys")
    }

    /// `patchMergeKey`: the field that tells a list's items apart in a strategic merge.
    pub fn patch_merge_key(&self) -> Option<&'static str> {
        Some(self.patch_merge_key).filter(|key| !key.is_empty())
    }
}

/// A kind that objects can name.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// `v1`, `apps/v1`.
    pub api_version: &'static str,
    /// `Pod`.
    pub kind: &'static str,
    /// The type of its objects.
    pub type_id: TypeId,
}

impl Schema {
    /// The table that is compiled in.
    pub fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN.get_or_init(|| {
            table::parse(TABLE).expect("the table that is compiled in parses: a test tries it")
        })
    }

    /// What the facts and the descriptions are read from: whoever makes something of them can tell by it whether that
    /// would be the same again.
    pub fn data() -> [&'static [u8]; 2] {
        [TABLE.as_bytes(), descriptions::PACKED]
    }

    /// The Kubernetes release that the table describes: `1.36`.
    pub fn release(&self) -> &'static str {
        self.release
    }

    /// The type of objects that call themselves `api_version` and `kind`. The options of requests
    /// (`DeleteOptions`, …) and `Status` are known under every group.
    pub fn gvk(&self, api_version: &str, kind: &str) -> Option<TypeId> {
        let key = self.kinds.get_key_value(&(api_version, kind) as &(&str, &str));
        key.map(|(_, id)| *id).or_else(|| {
            let anywhere = [
                "DeleteOptions",
                "CreateOptions",
                "UpdateOptions",
                "PatchOptions",
                "GetOptions",
                "ListOptions",
                "Status",
            ];
            anywhere.contains(&kind).then(|| self.type_named(&format!("meta.v1.{kind}")))?
        })
    }

    /// All kinds, sorted.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.kinds.iter().map(|(&(api_version, kind), &type_id)| Kind { api_version, kind, type_id })
    }

    /// All types, sorted by name.
    pub fn types(&self) -> impl Iterator<Item = TypeId> {
        (0..self.types.len())
            .map(|at| TypeId(u16::try_from(at).expect("the parser bounds the number of types")))
    }

    /// The type that the table calls `name`, for instance `core.v1.PodSpec`.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        let at = self.types.binary_search_by(|t| t.name.cmp(name)).ok()?;
        Some(TypeId(u16::try_from(at).ok()?))
    }

    /// The table's name for a type, for instance `core.v1.PodSpec`.
    pub fn type_name(&self, type_id: TypeId) -> &'static str {
        self.get(type_id).name
    }

    /// The name that OpenAPI documents use: `io.k8s.api.core.v1.PodSpec`.
    pub fn openapi_name(&self, type_id: TypeId) -> String {
        let name = self.type_name(type_id);
        let (prefix, rest) = match name.split_once(':') {
            Some(("a", rest)) => ("io.k8s.kube-aggregator.pkg.apis.", rest),
            Some((_, rest)) => ("io.k8s.apiextensions-apiserver.pkg.apis.", rest),
            None if name.starts_with("meta.") => ("io.k8s.apimachinery.pkg.apis.", name),
            None if name.starts_with("api.resource.") => ("io.k8s.apimachinery.pkg.", name),
            None if name.starts_with("util.") || name.starts_with("runtime.") => {
                ("io.k8s.apimachinery.pkg.", name)
            }
            None => ("io.k8s.api.", name),
        };
        format!("{prefix}{rest}")
    }

    /// How the type's values stand in JSON.
    pub fn form(&self, type_id: TypeId) -> Form {
        self.get(type_id).form
    }

    /// Whether the type's objects say `apiVersion` and `kind`, which are not among its fields.
    pub fn has_type_meta(&self, type_id: TypeId) -> bool {
        self.get(type_id).has_type_meta
    }

    /// The fields that stand in the type's JSON objects, without `apiVersion` and `kind`
    /// (see [`Schema::has_type_meta`]).
    pub fn fields(&self, type_id: TypeId) -> &[Field] {
        let ty = self.get(type_id);
        ty.flat_fields.as_deref().unwrap_or(&ty.message_fields)
    }

    /// The field `name` of the type's JSON objects.
    pub fn field(&self, type_id: TypeId, name: &str) -> Option<&Field> {
        self.fields(type_id).iter().find(|f| f.name == name)
    }

    /// The fields as they travel in protobuf: an inlined struct is one of them.
    pub fn message_fields(&self, type_id: TypeId) -> &[Field] {
        &self.get(type_id).message_fields
    }

    /// What a `JSONSchemaPropsOr…` holds when it holds a schema.
    fn schema_inside(&self, type_id: TypeId) -> Item {
        self.field(type_id, "Schema").map_or(Item::String, |f| f.shape.item())
    }

    fn get(&self, type_id: TypeId) -> &Type {
        &self.types[usize::from(type_id.0)]
    }
}
