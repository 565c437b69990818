//! `/openapi/v3`: a document per group and version, made from the schema facts and the table of kinds when
//! somebody asks (OpenAPI 3.0; KEP-2896).

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;

use apimachinery::schema::{Field, Form, Item, Schema, Shape, TypeId};
use apimachinery::status::Status;
use http::StatusCode;
use registry::{Kind, Scope, Subresource, reviews, served};
use serde_json::{Map, Value, json};

use crate::discovery;
use crate::respond::{self, Answer};
use crate::route::path_word;

/// The media type of [`empty_v2`]: the one in which Go reads an answer (clients ask for it with an `@` that is no
/// part of any media type).
const V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// `/openapi/v3`: where the documents are, with a hash of each so that clients can keep them.
pub(crate) fn index() -> Answer {
    static INDEX: OnceLock<Value> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        let mut paths = Map::new();
        for (path, group, version) in discovery::group_version_paths() {
            let mut hasher = DefaultHasher::new();
            build(group, version).to_string().hash(&mut hasher);
            let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
        json!({"paths": paths})
    });
    respond::json_value(StatusCode::OK, index)
}

/// `/openapi/v2`: a document that describes nothing, as gnostic's protobuf has it (no bytes at all). kubectl asks for
/// it about kinds that `/openapi/v3` lacks, and takes a 404 for a failure of its own: it would say that instead of
/// "no matches for kind".
pub(crate) fn empty_v2() -> Answer {
    respond::typed(StatusCode::OK, V2, Vec::new())
}

/// The document of `api/v1` or `apis/<group>/<version>`.
pub(crate) fn document(path: &str) -> Result<Answer, Status> {
    let all = discovery::group_version_paths();
    let (_, group, version) = all.into_iter().find(|(p, ..)| p == path).ok_or_else(Status::no_such_path)?;
    Ok(respond::json_value(StatusCode::OK, &build(group, version)))
}

fn build(group: &str, version: &str) -> Value {
    let kinds: Vec<&'static Kind> = served().filter(|k| k.group == group && k.version == version).collect();
    let mut paths = Map::new();
    let mut schemas = Schemas { schema: Schema::builtin(), made: Map::new(), seen: BTreeSet::new() };
    for kind in &kinds {
        add_paths(&mut paths, kind);
        schemas.add(&kind.api_version(), kind.kind);
        schemas.add(&kind.api_version(), &format!("{}List", kind.kind));
        for shown in parts(kind).map(|part| discovery::shown(kind, part)) {
            schemas.add(&api_version(shown.group, shown.version), shown.kind);
        }
    }
    schemas.add("v1", "DeleteOptions");
    schemas.add("v1", "Status");
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": format!("v{}.0", Schema::builtin().release())},
        "paths": paths,
        "components": {"schemas": schemas.made},
    })
}

/// The paths of a kind and what can be done there.
fn add_paths(paths: &mut Map<String, Value>, kind: &'static Kind) {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let (collection, in_namespace) = match kind.scope {
        Scope::Namespaced => (format!("{root}/namespaces/{{namespace}}/{}", kind.plural), true),
        Scope::Cluster => (format!("{root}/{}", kind.plural), false),
    };
    let of = Spoken { group: kind.group, version: kind.version, kind: kind.kind, scope: kind.scope };
    let list = of.operation("list", LIST_PARAMETERS, None);
    if in_namespace && reviews::question(kind).is_none() {
        paths.insert(format!("{root}/{}", kind.plural), json!({"get": list}));
    }
    let mut whole = json!({
        "get": list,
        "post": of.operation("post", WRITE_PARAMETERS, Some(&["*/*"])),
        "delete": of.operation("deletecollection", DELETE_PARAMETERS, None),
    });
    if reviews::question(kind).is_some() {
        whole = json!({"post": whole["post"]});
    }
    let mut one = json!({
        "get": of.operation("get", &[], None),
        "put": of.operation("put", WRITE_PARAMETERS, Some(&["*/*"])),
        "patch": of.operation("patch", PATCH_PARAMETERS, Some(crate::patching::MEDIA_TYPES)),
        "delete": of.operation("delete", DELETE_PARAMETERS, None),
    });
    let path_parameter =
        |name: &str| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}});
    let namespace = in_namespace.then(|| path_parameter("namespace"));
    whole["parameters"] = namespace.iter().cloned().collect();
    one["parameters"] = [path_parameter("name")].into_iter().chain(namespace).collect();
    let item = format!("{collection}/{{name}}");
    for part in parts(kind) {
        paths.insert(format!("{item}/{}", path_word(part)), part_operations(kind, part, &one["parameters"]));
    }
    paths.insert(collection, whole);
    if reviews::question(kind).is_none() {
        paths.insert(item, one);
    }
}

/// The parts that are objects; logs and exec are streams.
fn parts(kind: &Kind) -> impl Iterator<Item = Subresource> {
    kind.subresources.iter().copied().filter(|part| !matches!(part, Subresource::Log | Subresource::Exec))
}

/// What can be done at the path of a part.
fn part_operations(kind: &'static Kind, part: Subresource, parameters: &Value) -> Value {
    let shown = discovery::shown(kind, part);
    let of = Spoken { group: shown.group, version: shown.version, kind: shown.kind, scope: kind.scope };
    let mut all = json!({"parameters": parameters});
    for verb in shown.verbs {
        let (method, operation) = match *verb {
            "create" => ("post", of.operation("post", WRITE_PARAMETERS, Some(&["*/*"]))),
            "update" => ("put", of.operation("put", WRITE_PARAMETERS, Some(&["*/*"]))),
            "patch" => ("patch", of.operation("patch", PATCH_PARAMETERS, Some(crate::patching::MEDIA_TYPES))),
            _ => ("get", of.operation("get", &[], None)),
        };
        all[method] = operation;
    }
    all
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// A query parameter: its name and type.
type Parameter = (&'static str, &'static str);

const WRITE_PARAMETERS: &[Parameter] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("pretty", "string")];
const PATCH_PARAMETERS: &[Parameter] = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
    ("pretty", "string"),
];
const DELETE_PARAMETERS: &[Parameter] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("propagationPolicy", "string"),
    ("labelSelector", "string"),
    ("fieldSelector", "string"),
];
const LIST_PARAMETERS: &[Parameter] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];

/// What an operation speaks of.
struct Spoken {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    scope: Scope,
}

impl Spoken {
    fn operation(&self, action: &str, parameters: &[Parameter], body: Option<&[&str]>) -> Value {
        let schema = Schema::builtin();
        let type_name = if action == "list" { format!("{}List", self.kind) } else { self.kind.to_owned() };
        let own =
            schema.gvk(&api_version(self.group, self.version), &type_name).map(|id| reference(schema, id));
        let content = |media_types: &[&str], schema: &Value| -> Map<String, Value> {
            media_types.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect()
        };
        let own = own.unwrap_or_else(|| json!({"type": "object"}));
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|(name, ty)| json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}}))
            .collect();
        let mut operation = json!({
            "operationId": format!("{action}{}{}", if self.scope == Scope::Namespaced { "Namespaced" } else { "" }, self.kind),
            "parameters": parameters,
            "responses": {"200": {"description": "OK", "content": content(&["application/json"], &own)}},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(self.group, self.version, self.kind),
        });
        if let Some(media_types) = body {
            let sent = if action == "patch" { json!({"type": "object"}) } else { own };
            operation["requestBody"] = json!({"required": true, "content": content(media_types, &sent)});
        }
        operation
    }
}

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}

fn reference(schema: &Schema, id: TypeId) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema.openapi_name(id))})
}

/// The schemas of a document, each type once.
struct Schemas {
    schema: &'static Schema,
    made: Map<String, Value>,
    seen: BTreeSet<TypeId>,
}

impl Schemas {
    /// Adds a kind and all that it is made of.
    fn add(&mut self, api_version: &str, kind: &str) {
        let Some(id) = self.schema.gvk(api_version, kind) else { return };
        self.add_type(id);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let name = self.schema.openapi_name(id);
        let entry = self.made.entry(name).or_insert_with(|| json!({}));
        let known = &mut entry["x-kubernetes-group-version-kind"];
        let this = gvk(group, version, kind);
        match known.as_array_mut() {
            Some(list) if list.contains(&this) => {}
            Some(list) => list.push(this),
            None => *known = json!([this]),
        }
    }

    fn add_type(&mut self, first: TypeId) {
        let mut waiting = vec![first];
        while let Some(id) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            let described = self.describe(id, &mut waiting);
            self.made.insert(self.schema.openapi_name(id), described);
        }
    }

    fn describe(&self, id: TypeId, waiting: &mut Vec<TypeId>) -> Value {
        match self.schema.form(id) {
            Form::Struct => {}
            Form::WrappedList(item) => return json!({"type": "array", "items": self.item(item, waiting)}),
            Form::Quantity => return json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Form::Time | Form::MicroTime => return json!({"type": "string", "format": "date-time"}),
            Form::IntOrString => {
                return json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"});
            }
            Form::AnyObject => return json!({"type": "object"}),
            Form::Any | Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrStrings => return json!({}),
        }
        let mut properties = Map::new();
        if self.schema.has_type_meta(id) {
            properties.insert("apiVersion".to_owned(), json!({"type": "string"}));
            properties.insert("kind".to_owned(), json!({"type": "string"}));
        }
        let mut required = Vec::new();
        for field in self.schema.fields(id) {
            properties.insert(field.name.to_owned(), self.property(field, waiting));
            if field.is_required() {
                required.push(field.name);
            }
        }
        let mut described = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            described["required"] = json!(required);
        }
        described
    }

    fn property(&self, field: &Field, waiting: &mut Vec<TypeId>) -> Value {
        let mut property = match field.shape {
            // Beside a reference nothing else may stand (OpenAPI 3.0): hence the list of one.
            Shape::One(item @ Item::Type(_)) => json!({"allOf": [self.item(item, waiting)]}),
            Shape::One(item) => self.item(item, waiting),
            Shape::List(item) => json!({"type": "array", "items": self.item(item, waiting)}),
            Shape::Map(item) => json!({"type": "object", "additionalProperties": self.item(item, waiting)}),
        };
        if let Some(list_type) = field.list_type() {
            property["x-kubernetes-list-type"] = list_type.name().into();
        }
        if let Some(map_type) = field.map_type() {
            property["x-kubernetes-map-type"] = map_type.name().into();
        }
        let keys: Vec<&str> = field.list_map_keys().collect();
        if !keys.is_empty() {
            property["x-kubernetes-list-map-keys"] = json!(keys);
        }
        if !field.patch_strategy().is_empty() {
            property["x-kubernetes-patch-strategy"] = field.patch_strategy().into();
        }
        if let Some(key) = field.patch_merge_key() {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        property
    }

    fn item(&self, item: Item, waiting: &mut Vec<TypeId>) -> Value {
        match item {
            Item::String => json!({"type": "string"}),
            Item::Bool => json!({"type": "boolean"}),
            Item::Int32 => json!({"type": "integer", "format": "int32"}),
            Item::Int64 => json!({"type": "integer", "format": "int64"}),
            Item::Double => json!({"type": "number", "format": "double"}),
            Item::Bytes => json!({"type": "string", "format": "byte"}),
            Item::Type(id) => {
                waiting.push(id);
                reference(self.schema, id)
            }
        }
    }
}
