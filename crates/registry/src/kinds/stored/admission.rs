//! What rules over requests: `admissionregistration.k8s.io` and `flowcontrol.apiserver.k8s.io`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Stored, each, kind, or_unset};
use crate::kind::Kind;
use crate::kind::Scope::Cluster;
use crate::print::{self, AGE, NAME, column};
use crate::value::{
    default_nonzero, default_object, default_to, items, number, object, object_in, objects_mut, text,
};

const GROUP: &str = "admissionregistration.k8s.io";
const FLOW_CONTROL: &str = "flowcontrol.apiserver.k8s.io";
const API_EXTENSIONS: &[&str] = &["api-extensions"];

/// A port that is not named is this one.
const HTTPS: i64 = 443;

pub(crate) static VALIDATING_WEBHOOK_CONFIGURATION: Kind = kind(
    GROUP,
    "v1",
    ["ValidatingWebhookConfiguration", "validatingwebhookconfigurations", "validatingwebhookconfiguration"],
    Cluster,
    &Stored { defaults: |object| each(object, "webhooks", default_webhook), ..WEBHOOKS },
)
.with_generation()
.in_categories(API_EXTENSIONS);

pub(crate) static MUTATING_WEBHOOK_CONFIGURATION: Kind = kind(
    GROUP,
    "v1",
    ["MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "mutatingwebhookconfiguration"],
    Cluster,
    &Stored {
        defaults: |object| {
            each(object, "webhooks", |webhook| {
                default_webhook(webhook);
                default_to(webhook, "reinvocationPolicy", "Never");
            });
        },
        ..WEBHOOKS
    },
)
.with_generation()
.in_categories(API_EXTENSIONS);

const WEBHOOKS: Stored = Stored {
    columns: &[NAME, column("Webhooks", "integer", "How many webhooks are called."), AGE],
    row: |object, now| {
        let webhooks = items(&object["webhooks"]).len();
        vec![print::name(object), webhooks.into(), print::age(object, now)]
    },
    ..Stored::PLAIN
};

pub(crate) static VALIDATING_ADMISSION_POLICY: Kind = kind(
    GROUP,
    "v1",
    ["ValidatingAdmissionPolicy", "validatingadmissionpolicies", "validatingadmissionpolicy"],
    Cluster,
    &Stored {
        required: &["spec.matchConstraints"],
        columns: &[
            NAME,
            column("Validations", "integer", "How many expressions must hold."),
            column("ParamKind", "string", "Of which kind the parameters are."),
            AGE,
        ],
        row: |policy, now| policy_row(policy, "validations", now),
        ..POLICIES
    },
)
.observed()
.in_categories(API_EXTENSIONS);

pub(crate) static MUTATING_ADMISSION_POLICY: Kind = kind(
    GROUP,
    "v1",
    ["MutatingAdmissionPolicy", "mutatingadmissionpolicies", "mutatingadmissionpolicy"],
    Cluster,
    &Stored {
        required: &["spec.matchConstraints", "spec.mutations", "spec.reinvocationPolicy"],
        columns: &[
            NAME,
            column("Mutations", "integer", "How many changes are made."),
            column("ParamKind", "string", "Of which kind the parameters are."),
            AGE,
        ],
        row: |policy, now| policy_row(policy, "mutations", now),
        ..POLICIES
    },
)
.with_generation()
.in_categories(API_EXTENSIONS);

const POLICIES: Stored = Stored {
    defaults: |policy| {
        let Some(spec) = object(policy, "spec") else { return };
        default_to(spec, "failurePolicy", "Fail");
        default_matching(spec, "matchConstraints");
    },
    ..Stored::PLAIN
};

pub(crate) static VALIDATING_ADMISSION_POLICY_BINDING: Kind = kind(
    GROUP,
    "v1",
    [
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        "validatingadmissionpolicybinding",
    ],
    Cluster,
    &Stored { required: &["spec.policyName", "spec.validationActions"], ..BINDINGS },
)
.with_generation()
.in_categories(API_EXTENSIONS);

pub(crate) static MUTATING_ADMISSION_POLICY_BINDING: Kind = kind(
    GROUP,
    "v1",
    ["MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding"],
    Cluster,
    &Stored { required: &["spec.policyName"], ..BINDINGS },
)
.with_generation()
.in_categories(API_EXTENSIONS);

const BINDINGS: Stored = Stored {
    defaults: |binding| {
        if let Some(spec) = object(binding, "spec") {
            default_matching(spec, "matchResources");
        }
    },
    columns: &[
        NAME,
        column("PolicyName", "string", "Which policy is put to use."),
        column("ParamRef", "string", "With which parameters."),
        AGE,
    ],
    row: |binding, now| {
        let spec = &binding["spec"];
        let parameters = &spec["paramRef"];
        let told = match (text(&parameters["namespace"]), text(&parameters["name"])) {
            _ if parameters.is_null() => print::UNSET.to_owned(),
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        vec![print::name(binding), text(&spec["policyName"]).into(), told.into(), print::age(binding, now)]
    },
    ..Stored::PLAIN
};

pub(crate) static FLOW_SCHEMA: Kind = kind(
    FLOW_CONTROL,
    "v1",
    ["FlowSchema", "flowschemas", "flowschema"],
    Cluster,
    &Stored {
        defaults: |schema| {
            if let Some(spec) = object(schema, "spec") {
                default_nonzero(spec, "matchingPrecedence", 1000);
            }
        },
        required: &["spec.priorityLevelConfiguration.name"],
        columns: &[
            NAME,
            column("PriorityLevel", "string", "Which level the requests are of."),
            column("MatchingPrecedence", "integer", "Of several that match, the lowest counts."),
            column("DistinguisherMethod", "string", "How flows are told apart."),
            AGE,
            column("MissingPL", "string", "Whether that level is missing."),
        ],
        row: flow_schema_row,
        ..Stored::PLAIN
    },
)
.observed();

pub(crate) static PRIORITY_LEVEL_CONFIGURATION: Kind = kind(
    FLOW_CONTROL,
    "v1",
    ["PriorityLevelConfiguration", "prioritylevelconfigurations", "prioritylevelconfiguration"],
    Cluster,
    &Stored {
        defaults: default_level,
        required: &["spec.type"],
        columns: &[
            NAME,
            column("Type", "string", "Whether the level has a limit."),
            column("NominalConcurrencyShares", "integer", "Its share of the requests at a time."),
            column("Queues", "integer", "How many queues there are."),
            column("HandSize", "integer", "Among how many queues a flow chooses."),
            column("QueueLengthLimit", "integer", "How long a queue may be."),
            AGE,
        ],
        row: level_row,
        ..Stored::PLAIN
    },
)
.observed();

/// Upstream: `pkg/apis/admissionregistration/v1/defaults.go`.
fn default_webhook(webhook: &mut Map<String, Value>) {
    default_to(webhook, "failurePolicy", "Fail");
    default_to(webhook, "matchPolicy", "Equivalent");
    default_object(webhook, "namespaceSelector");
    default_object(webhook, "objectSelector");
    default_to(webhook, "timeoutSeconds", 10);
    objects_mut(webhook, "rules").for_each(|rule| default_to(rule, "scope", "*"));
    let service = webhook.get_mut("clientConfig").and_then(|client| client.get_mut("service"));
    if let Some(service) = service.and_then(Value::as_object_mut) {
        default_to(service, "port", HTTPS);
    }
}

/// Upstream: `SetDefaults_MatchResources`.
fn default_matching(spec: &mut Map<String, Value>, field: &str) {
    if !spec.get(field).is_some_and(Value::is_object) {
        return;
    }
    let Some(matching) = object_in(spec, field) else { return };
    default_to(matching, "matchPolicy", "Equivalent");
    default_object(matching, "namespaceSelector");
    default_object(matching, "objectSelector");
    for rules in ["resourceRules", "excludeResourceRules"] {
        objects_mut(matching, rules).for_each(|rule| default_to(rule, "scope", "*"));
    }
}

fn policy_row(policy: &Value, counted: &str, now: Timestamp) -> Vec<Value> {
    let (spec, of) = (&policy["spec"], &policy["spec"]["paramKind"]);
    let kind = if of.is_null() {
        Value::Null
    } else {
        format!("{}/{}", text(&of["apiVersion"]), text(&of["kind"])).into()
    };
    vec![print::name(policy), items(&spec[counted]).len().into(), or_unset(&kind), print::age(policy, now)]
}

fn flow_schema_row(schema: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &schema["spec"];
    let dangling = items(&schema["status"]["conditions"]).iter().find(|c| c["type"] == "Dangling");
    let missing = match dangling.map(|condition| text(&condition["status"])) {
        Some("True") => "True",
        Some("False") => "False",
        _ => "?",
    };
    vec![
        print::name(schema),
        text(&spec["priorityLevelConfiguration"]["name"]).into(),
        number(&spec["matchingPrecedence"]).into(),
        print::or_none(text(&spec["distinguisherMethod"]["type"])),
        print::age(schema, now),
        missing.into(),
    ]
}

/// Upstream: `pkg/apis/flowcontrol/v1/defaults.go`.
fn default_level(level: &mut Value) {
    let Some(spec) = object(level, "spec") else { return };
    let is = |spec: &Map<String, Value>, kind: &str| spec.get("type").is_some_and(|of| of == kind);
    if is(spec, "Exempt")
        && let Some(exempt) = object_in(spec, "exempt")
    {
        default_to(exempt, "nominalConcurrencyShares", 0);
        default_to(exempt, "lendablePercent", 0);
    }
    if !is(spec, "Limited") {
        return;
    }
    let Some(limited) = object_in(spec, "limited") else { return };
    default_to(limited, "nominalConcurrencyShares", 30);
    default_to(limited, "lendablePercent", 0);
    let response = object_in(limited, "limitResponse")
        .filter(|response| response.get("type").is_some_and(|kind| kind == "Queue"));
    if let Some(queuing) = response.and_then(|response| object_in(response, "queuing")) {
        let usual = json!({"queues": 64, "handSize": 8, "queueLengthLimit": 50});
        for (name, value) in crate::value::entries(&usual) {
            default_nonzero(queuing, name, number(value));
        }
    }
}

fn level_row(level: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, limited) = (&level["spec"], &level["spec"]["limited"]);
    let queuing = &limited["limitResponse"]["queuing"];
    let or_none = |value: &Value| if value.is_null() { print::NONE.into() } else { value.clone() };
    vec![
        print::name(level),
        text(&spec["type"]).into(),
        or_none(&limited["nominalConcurrencyShares"]),
        or_none(&queuing["queues"]),
        or_none(&queuing["handSize"]),
        or_none(&queuing["queueLengthLimit"]),
        print::age(level, now),
    ]
}
