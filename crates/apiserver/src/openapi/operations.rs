//! What can be done at each path: operations and their parameters.

use apimachinery::schema::Schema;
use registry::{Kind, Scope, Subresource};
use serde_json::{Map, Value, json};

use super::types::reference;
use super::{api_version, gvk};
use crate::discovery;
use crate::patching;
use crate::route::path_word;

/// A parameter of a query: its name, its type, what it does.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = ("pretty", "string", "If 'true', then the output is pretty printed.");
const DRY_RUN: Parameter =
    ("dryRun", "string", "'All' goes through all stages of the request and stores nothing.");
const FIELD_MANAGER: Parameter =
    ("fieldManager", "string", "The name that stands in managedFields for who makes the change.");
const FIELD_VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: 'Ignore', 'Warn' (the default) or 'Strict'.",
);
const FORCE: Parameter =
    ("force", "boolean", "Whether an apply takes over fields that others own. Only for apply patches.");
const LABEL_SELECTOR: Parameter =
    ("labelSelector", "string", "Restricts the objects by their labels. Defaults to everything.");
const FIELD_SELECTOR: Parameter =
    ("fieldSelector", "string", "Restricts the objects by their fields. Defaults to everything.");
const GRACE_PERIOD: Parameter =
    ("gracePeriodSeconds", "integer", "Seconds before the object is deleted; 0 means at once.");
const PROPAGATION: Parameter =
    ("propagationPolicy", "string", "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'.");
const CONTINUE: Parameter = ("continue", "string", "The token of the page before, to go on with the list.");
const LIMIT: Parameter = ("limit", "integer", "How many objects a page has at the most.");
const RESOURCE_VERSION: Parameter =
    ("resourceVersion", "string", "How old the answer may be. Defaults to the newest state.");
const RESOURCE_VERSION_MATCH: Parameter =
    ("resourceVersionMatch", "string", "How resourceVersion is understood: 'Exact' or 'NotOlderThan'.");
const SEND_INITIAL_EVENTS: Parameter =
    ("sendInitialEvents", "boolean", "Whether a watch begins with the present state as events.");
const TIMEOUT: Parameter = ("timeoutSeconds", "integer", "How long the call may last.");
const BOOKMARKS: Parameter =
    ("allowWatchBookmarks", "boolean", "Whether the watch may send events of the type BOOKMARK.");
const WATCH: Parameter = ("watch", "boolean", "Whether changes are sent as they happen.");

const WRITE: &[Parameter] = &[PRETTY, DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
const PATCH: &[Parameter] = &[PRETTY, DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];
const DELETE: &[Parameter] = &[PRETTY, DRY_RUN, GRACE_PERIOD, PROPAGATION];
const DELETE_COLLECTION: &[Parameter] = &[
    PRETTY,
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD,
    LABEL_SELECTOR,
    LIMIT,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
];
const LIST: &[Parameter] = &[
    PRETTY,
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT,
    WATCH,
];

/// The list of a kind's objects in all namespaces.
pub(super) fn everywhere(kind: &'static Kind) -> Value {
    let list = Operation { id: ("list", "", "ForAllNamespaces"), ..Operation::of(kind, "list", LIST) };
    json!({"get": Operation { namespaced: false, ..list }.json()})
}

/// What can be done with a kind's objects together.
pub(super) fn collection(kind: &'static Kind) -> Value {
    let verbs = discovery::verbs(kind);
    let mut operations = json!({"post": Operation::of(kind, "post", WRITE).json()});
    if verbs.contains(&"list") {
        operations["get"] = Operation { id: ("list", "", ""), ..Operation::of(kind, "list", LIST) }.json();
    }
    if verbs.contains(&"deletecollection") {
        let id = ("delete", "Collection", "");
        let delete = Operation { id, ..Operation::of(kind, "deletecollection", DELETE_COLLECTION) };
        operations["delete"] = delete.json();
    }
    operations["parameters"] = place(kind, false);
    operations
}

/// What can be done with one object.
pub(super) fn one(kind: &'static Kind) -> Value {
    json!({
        "get": Operation::of(kind, "get", &[PRETTY]).json(),
        "put": Operation::of(kind, "put", WRITE).json(),
        "patch": Operation::of(kind, "patch", PATCH).json(),
        "delete": Operation::of(kind, "delete", DELETE).json(),
        "parameters": place(kind, true),
    })
}

/// What can be done with a part of an object.
pub(super) fn part(kind: &'static Kind, part: Subresource) -> Value {
    let mut all = json!({"parameters": place(kind, true)});
    for verb in discovery::shown(kind, part).verbs {
        let (method, parameters) = match *verb {
            "create" => ("post", WRITE),
            "update" => ("put", WRITE),
            "patch" => ("patch", PATCH),
            _ => ("get", &[PRETTY][..]),
        };
        let operation = Operation { part: Some(part), ..Operation::of(kind, method, parameters) };
        all[method] = operation.json();
    }
    all
}

/// The parameters in the path.
fn place(kind: &Kind, named: bool) -> Value {
    let parameter = |name: &str, says: &str| {
        json!({"name": name, "in": "path", "required": true, "description": says,
            "schema": {"type": "string", "uniqueItems": true}})
    };
    let name = named.then(|| parameter("name", &format!("name of the {}", kind.kind)));
    let namespace = (kind.scope == Scope::Namespaced)
        .then(|| parameter("namespace", "object name and auth scope, such as for teams and projects"));
    name.into_iter().chain(namespace).collect()
}

/// One operation.
struct Operation {
    kind: &'static Kind,
    /// `x-kubernetes-action`.
    action: &'static str,
    parameters: &'static [Parameter],
    /// What stands in the id before the group and version, before the kind, and at the end.
    id: (&'static str, &'static str, &'static str),
    namespaced: bool,
    part: Option<Subresource>,
}

impl Operation {
    fn of(kind: &'static Kind, action: &'static str, parameters: &'static [Parameter]) -> Self {
        let word = match action {
            "post" => "create",
            "get" => "read",
            "put" => "replace",
            other => other,
        };
        let namespaced = kind.scope == Scope::Namespaced;
        Self { kind, action, parameters, id: (word, "", ""), namespaced, part: None }
    }

    /// The group, version and kind of what is sent and answered.
    fn spoken(&self) -> (&'static str, &'static str, &'static str) {
        match self.part.map(|part| discovery::shown(self.kind, part)) {
            Some(shown) => (shown.group, shown.version, shown.kind),
            None => (self.kind.group, self.kind.version, self.kind.kind),
        }
    }

    fn json(&self) -> Value {
        let (group, version, kind) = self.spoken();
        let own = match self.action {
            "list" => schema_of(&api_version(group, version), &format!("{kind}List")),
            "delete" | "deletecollection" => schema_of("v1", "Status"),
            _ => schema_of(&api_version(group, version), kind),
        };
        let answers: &[&str] = match self.action {
            "list" => &["application/json", "application/json;stream=watch"],
            _ => &["application/json"],
        };
        let query = |(name, ty, says): &Parameter| {
            json!({"name": name, "in": "query", "description": says,
                "schema": {"type": ty, "uniqueItems": true}})
        };
        let mut responses = json!({"401": {"description": "Unauthorized"}});
        for (code, words) in self.codes() {
            responses[*code] = json!({"description": words, "content": content(answers, &own)});
        }
        let mut operation = json!({
            "description": self.says(),
            "operationId": self.operation_id(),
            "tags": [tag(self.kind)],
            "parameters": self.parameters.iter().map(query).collect::<Vec<Value>>(),
            "responses": responses,
            "x-kubernetes-action": self.action,
            "x-kubernetes-group-version-kind": gvk(group, version, kind),
        });
        let sent = match self.action {
            "post" | "put" => Some((true, content(&["*/*"], &own))),
            "patch" => Some((true, content(patching::MEDIA_TYPES, &json!({"type": "object"})))),
            "delete" | "deletecollection" => {
                Some((false, content(&["*/*"], &schema_of("v1", "DeleteOptions"))))
            }
            _ => None,
        };
        if let Some((required, content)) = sent {
            operation["requestBody"] = json!({"content": content});
            if required {
                operation["requestBody"]["required"] = true.into();
            }
        }
        operation
    }

    /// What a success is answered with.
    fn codes(&self) -> &'static [(&'static str, &'static str)] {
        const OK: (&str, &str) = ("200", "OK");
        const CREATED: (&str, &str) = ("201", "Created");
        const ACCEPTED: (&str, &str) = ("202", "Accepted");
        match self.action {
            "post" => &[OK, CREATED, ACCEPTED],
            "put" | "patch" => &[OK, CREATED],
            "delete" => &[OK, ACCEPTED],
            _ => &[OK],
        }
    }

    fn says(&self) -> String {
        let kind = self.kind.kind;
        let of = self.part.map(|part| format!("{} of ", path_word(part))).unwrap_or_default();
        match self.action {
            "list" => format!("list or watch objects of kind {kind}"),
            "post" => format!("create {of}a {kind}"),
            "get" => format!("read {of}the specified {kind}"),
            "put" => format!("replace {of}the specified {kind}"),
            "patch" => format!("partially update {of}the specified {kind}"),
            "deletecollection" => format!("delete collection of {kind}"),
            _ => format!("delete a {kind}"),
        }
    }

    /// `listAppsV1NamespacedStatefulSet`: what generated clients call the operation.
    fn operation_id(&self) -> String {
        let (verb, before, after) = self.id;
        let namespaced = if self.namespaced { "Namespaced" } else { "" };
        let part = self.part.map(|part| capital(path_word(part))).unwrap_or_default();
        let (group, version) = (group_words(self.kind.group), capital(self.kind.version));
        format!("{verb}{}{version}{before}{namespaced}{}{part}{after}", capital(&group), self.kind.kind)
    }
}

/// `apps_v1`, `rbacAuthorization_v1`.
fn tag(kind: &Kind) -> String {
    format!("{}_{}", group_words(kind.group), kind.version)
}

/// The group without the domain, as one word: `core`, `apps`, `rbacAuthorization`.
fn group_words(group: &str) -> String {
    if group.is_empty() {
        return "core".to_owned();
    }
    let mut words = group.trim_end_matches(".k8s.io").split('.');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |all, word| all + &capital(word))
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

fn schema_of(api_version: &str, kind: &str) -> Value {
    let schema = Schema::builtin();
    schema.gvk(api_version, kind).map_or_else(|| json!({"type": "object"}), |id| reference(schema, id))
}

fn content(media_types: &[&str], schema: &Value) -> Map<String, Value> {
    media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({"schema": schema}))).collect()
}
