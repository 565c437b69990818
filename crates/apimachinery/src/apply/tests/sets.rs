//! Sets of fields: what FieldsV1 means, and the algebra.

use serde_json::json;

use super::*;

#[test]
fn fields_v1_reads_and_prints_the_same() {
    for text in [
        "{}",
        r#"{"f:data":{".":{},"f:a":{}}}"#,
        r#"{"f:spec":{"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{}}}}}"#,
        r#"{"f:metadata":{"f:finalizers":{"v:\"a/b\"":{}}},"f:x":{"i:3":{}}}"#,
    ] {
        assert_eq!(fields(text).into_value().to_string(), text);
    }
}

#[test]
fn steps_have_one_spelling() {
    let spaced = r#"{"k:{\"protocol\": \"TCP\", \"containerPort\": 80}":{}}"#;
    assert_eq!(
        fields(spaced).into_value().to_string(),
        r#"{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{}}"#
    );
}

#[test]
fn what_is_no_step_is_refused() {
    for bad in [json!({"data": {}}), json!({"x:a": {}}), json!({"k:[": {}}), json!({"i:a": {}}), json!([])] {
        assert!(Set::parse(&bad).is_err(), "{bad}");
    }
    assert!(Set::parse(&json!({"f:a": 1})).is_err());
}

#[test]
fn a_field_and_what_stands_below_it_are_told_apart() {
    let both = fields(r#"{"f:a":{".":{},"f:b":{}}}"#);
    let below = fields(r#"{"f:a":{"f:b":{}}}"#);
    let above = fields(r#"{"f:a":{}}"#);
    assert_eq!(both.difference(&above), below);
    assert_eq!(both.difference(&below), above);
    assert_eq!(above.union(&below), both);
    assert!(above.intersection(&below).is_empty());
}

#[test]
fn paths_read_as_upstream_shows_them() {
    let set = fields(
        r#"{"f:spec":{"f:replicas":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},
        "f:name":{}}}},"f:metadata":{"f:finalizers":{"v:\"a\"":{}}},"f:x":{"i:3":{}}}"#,
    );
    assert_eq!(
        set.paths(),
        [
            ".metadata.finalizers[=\"a\"]",
            ".spec.ports[containerPort=80,protocol=\"TCP\"]",
            ".spec.ports[containerPort=80,protocol=\"TCP\"].name",
            ".spec.replicas",
            ".x[3]",
        ]
    );
}
