use insta::assert_snapshot;
use serde_json::{Value, json};

use super::check::check;
use super::normalize::normalize;
use super::*;

fn type_of(api_version: &str, kind: &str) -> TypeId {
    Schema::builtin().gvk(api_version, kind).expect("a built-in kind")
}

fn stateful_set(spec: impl Into<Value>) -> Value {
    let spec = spec.into();
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
}

/// What strict decoding says about a StatefulSet with this spec, a line each.
fn said(spec: Value) -> String {
    let checked = check(&stateful_set(spec), type_of("apps/v1", "StatefulSet"));
    let errors = checked.errors.iter().map(ToString::to_string);
    errors.chain(checked.unknown.iter().map(ToString::to_string)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_compiled_in_table_is_whole() {
    let schema = Schema::builtin();
    assert_eq!(schema.release(), "1.36");
    assert_eq!(schema.types().count(), 786);
    assert_eq!(schema.kinds().count(), 191);
    for type_id in schema.types() {
        assert_eq!(schema.type_named(schema.type_name(type_id)), Some(type_id));
    }
    for kind in schema.kinds() {
        assert!(schema.has_type_meta(kind.type_id));
    }
}

#[test]
fn facts_of_fields_are_found() {
    let schema = Schema::builtin();
    let pod_spec = schema.type_named("core.v1.PodSpec").expect("known");
    let containers = schema.field(pod_spec, "containers").expect("known");
    assert!(containers.is_required() && containers.merges() && !containers.omit_empty());
    assert_eq!(containers.patch_merge_key(), Some("name"));
    assert_eq!(containers.list_type(), Some(Topology::Map));
    let Shape::List(Item::Type(container)) = containers.shape else { panic!("a list of structs") };
    let ports = schema.field(container, "ports").expect("known");
    assert_eq!(ports.list_map_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
    assert_eq!(ports.patch_merge_key(), Some("containerPort"));
    assert!(schema.field(pod_spec, "volumes").expect("known").retains_keys());
    assert_eq!(schema.field(pod_spec, "nodeSelector").expect("known").map_type(), Some(Topology::Atomic));
    assert_eq!(schema.openapi_name(container), "io.k8s.api.core.v1.Container");
}

#[test]
fn inlined_structs_stand_among_the_fields() {
    let schema = Schema::builtin();
    let volume = schema.type_named("core.v1.Volume").expect("known");
    assert!(schema.field(volume, "emptyDir").is_some());
    assert_eq!(schema.message_fields(volume).len(), 2);
    let probe = schema.type_named("core.v1.Probe").expect("known");
    assert!(schema.field(probe, "httpGet").is_some());
}

#[test]
fn options_are_known_under_every_group() {
    let schema = Schema::builtin();
    assert_eq!(schema.gvk("apps/v1", "DeleteOptions"), schema.type_named("meta.v1.DeleteOptions"));
    assert_eq!(schema.gvk("apps/v1", "Pod"), None);
}

#[test]
fn a_good_object_has_nothing_to_say() {
    let spec = json!({
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}, "creationTimestamp": null}, "spec": {"containers": [{
            "name": "db", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
            "livenessProbe": {"httpGet": {"port": "web"}}, "readinessProbe": {"tcpSocket": {"port": 80}},
        }]}},
        "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}}],
    });
    assert_eq!(said(spec), "");
}

#[test]
fn unknown_fields_are_named_with_what_was_meant() {
    assert_snapshot!(said(json!({"replica": 3})), @r#"unknown field "spec.replica" (did you mean "replicas"?)"#);
    assert_snapshot!(said(json!({"containers": []})),
        @r#"unknown field "spec.containers" (did you mean "template.spec.containers", further inside?)"#);
    assert_snapshot!(said(json!({"template": {"kind": "Pod", "spec": {"containers": [{"nmae": "a", "Image": "b", "zzzzz": 1}]}}})), @r#"
    unknown field "spec.template.kind"
    unknown field "spec.template.spec.containers[0].Image" (did you mean "image"?)
    unknown field "spec.template.spec.containers[0].nmae" (did you mean "name"?)
    unknown field "spec.template.spec.containers[0].zzzzz"
    "#);
}

#[test]
fn wrong_types_are_told_with_path_value_and_wish() {
    assert_snapshot!(said(json!({"replicas": "three"})), @r#"spec.replicas: Invalid value: "three": must be an integer"#);
    assert_snapshot!(said(json!({"replicas": 3.5})), @"spec.replicas: Invalid value: 3.5: must be an integer");
    assert_snapshot!(said(json!({"replicas": 3_000_000_000_u64})),
        @"spec.replicas: Invalid value: 3000000000: must be between -2147483648 and 2147483647");
    assert_snapshot!(said(json!({"serviceName": 7, "template": []})), @r#"
    spec.serviceName: Invalid value: 7: must be a string; put it in quotes
    spec.template: Invalid value: "array": must be an object
    "#);
    assert_snapshot!(said(json!({"template": {"metadata": {"labels": {"a/b": true}}, "spec": {
        "hostNetwork": "yes",
        "containers": [{"resources": {"limits": {"memory": "1GB"}}, "livenessProbe": {"httpGet": {"port": []}}, "command": "sh"}],
    }}})), @r#"
    spec.template.metadata.labels[a/b]: Invalid value: true: must be a string; put it in quotes
    spec.template.spec.containers[0].command: Invalid value: "sh": must be a list
    spec.template.spec.containers[0].livenessProbe.httpGet.port: Invalid value: "array": must be an integer or a string
    spec.template.spec.containers[0].resources.limits[memory]: Invalid value: "1GB": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$', like 1, 500m or 10Gi
    spec.template.spec.hostNetwork: Invalid value: "yes": must be true or false
    "#);
}

#[test]
fn a_secrets_value_is_not_repeated() {
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "data": {"password": "hunter2", "ok": "aHVudGVyMg=="}});
    let errors = check(&secret, type_of("v1", "Secret")).errors;
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, [r#"data[password]: Invalid value: "(hidden)": must be bytes in base64"#]);
}

#[test]
fn times_and_schemas_are_checked() {
    let event = json!({"kind": "Event", "eventTime": "yesterday", "lastTimestamp": "2026-01-02T03:04:05Z"});
    let errors = check(&event, type_of("v1", "Event")).errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].field.as_str(), "eventTime");

    let crd = |schema: Value| json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {"properties": {"a": schema}}}}]}});
    let crd_type = type_of("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let said = |schema| {
        let checked = check(&crd(schema), crd_type);
        checked.errors.len() + checked.unknown.len()
    };
    assert_eq!(
        said(json!({"items": {"type": "string"}, "additionalProperties": true, "default": {"x": [1]}})),
        0
    );
    assert_eq!(
        said(json!({"items": 1, "additionalProperties": "x", "additionalItems": {"tpe": "string"}})),
        3
    );
}

/// What stays of a StatefulSet's spec.
fn normalized(spec: Value) -> Value {
    let mut object = stateful_set(spec);
    normalize(&mut object, type_of("apps/v1", "StatefulSet"));
    object["spec"].take()
}

#[test]
fn what_the_types_do_not_hold_goes() {
    let spec = normalized(json!({"replica": 3, "replicas": null, "selector": {"matchLabels": {"a": null}}}));
    assert_eq!(
        spec,
        json!({"selector": {"matchLabels": {"a": ""}}, "template": {"metadata": {}, "spec": {}}, "updateStrategy": {}})
    );
}

#[test]
fn zeros_go_where_only_presence_could_tell_them() {
    let spec = normalized(json!({
        "replicas": 0, "minReadySeconds": 0, "serviceName": "", "podManagementPolicy": "",
        "template": {"spec": {
            "hostNetwork": false, "nodeSelector": {}, "securityContext": {}, "tolerations": [],
            "containers": [{"name": "a", "command": [], "env": [{"name": "E", "value": ""}], "tty": false}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        }},
    }));
    assert_eq!(
        spec,
        json!({
            "replicas": 0, "serviceName": "", "updateStrategy": {},
            "template": {"metadata": {}, "spec": {
                "securityContext": {},
                "containers": [{"name": "a", "env": [{"name": "E"}], "resources": {}}],
                "volumes": [{"name": "v", "emptyDir": {}}],
            }},
        })
    );
}

#[test]
fn values_take_their_canonical_form() {
    let spec = normalized(
        json!({"template": {"metadata": {"creationTimestamp": "2026-01-02T03:04:05.5+01:00"}, "spec": {
            "containers": [{"name": "a", "resources": {"limits": {"cpu": 1.5, "memory": "1024Mi", "zero": 0}}}],
        }}}),
    );
    assert_eq!(spec["template"]["metadata"]["creationTimestamp"], "2026-01-02T02:04:05Z");
    assert_eq!(
        spec["template"]["spec"]["containers"][0]["resources"]["limits"],
        json!({"cpu": "1500m", "memory": "1Gi", "zero": "0"})
    );

    let mut secret = json!({"data": {"a": "aHVu\ndGVy\r\n", "b": ""}});
    normalize(&mut secret, type_of("v1", "Secret"));
    assert_eq!(secret, json!({"metadata": {}, "data": {"a": "aHVudGVy", "b": ""}}));
}

#[test]
fn both_encodings_of_an_object_have_one_form() {
    for line in include_str!("../../testdata/protobuf.jsonl").lines() {
        let sample: Value = serde_json::from_str(line).expect("a sample");
        let object = sample["json"].clone();
        let kind =
            type_of(object["apiVersion"].as_str().expect("text"), object["kind"].as_str().expect("text"));
        let mut once = object.clone();
        normalize(&mut once, kind);
        let mut twice = once.clone();
        normalize(&mut twice, kind);
        assert_eq!(once, twice);
        // As a client sends it that writes JSON: what is null or an empty struct is left out.
        let mut sparse = object;
        drop_empty(&mut sparse);
        normalize(&mut sparse, kind);
        drop_empty(&mut sparse);
        drop_empty(&mut once);
        assert_eq!(once, sparse);
    }
}

fn drop_empty(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_empty),
        Value::Object(fields) => {
            fields.values_mut().for_each(drop_empty);
            fields.retain(|_, value| !value.is_null() && value != &json!({}));
        }
        _ => {}
    }
}

#[test]
fn keys_that_stand_twice_are_told() {
    let parsed =
        strict_json::parse(br#"{"a": 1, "spec": {"b": [{"c": 1, "c": 2}], "b": []}, "a": 2}"#).expect("JSON");
    assert_eq!(parsed.value, json!({"a": 2, "spec": {"b": []}}));
    let said: Vec<String> = parsed.messages().collect();
    assert_eq!(
        said,
        [r#"duplicate field "a""#, r#"duplicate field "spec.b""#, r#"duplicate field "spec.b[0].c""#]
    );
}

#[test]
fn broken_and_bottomless_json_is_refused() {
    for text in ["", "{", "{} {}", "nul", "{\"a\":1,}", "\u{feff}{}"] {
        assert!(strict_json::parse(text.as_bytes()).is_err(), "{text}");
    }
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(strict_json::parse(nested(strict_json::MAX_DEPTH).as_bytes()).is_ok());
    let error = strict_json::parse(nested(strict_json::MAX_DEPTH + 1).as_bytes()).expect_err("too deep");
    assert!(error.to_string().contains("it nests deeper than 120 levels"), "{error}");
}
