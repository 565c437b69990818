mod any_object;
mod encode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::inject::Random;
use crate::schema::normalize::normalize;

/// Objects of many kinds, as bytes that a client sends and as the JSON that the same client sends.
const SAMPLES: &str = include_str!("../../testdata/protobuf.jsonl");

fn samples() -> Vec<(Vec<u8>, Value)> {
    let sample = |line: &str| {
        let mut sample: Value = serde_json::from_str(line).expect("a sample");
        let body = BASE64.decode(sample["pb"].as_str().expect("bytes")).expect("base64");
        (body, sample["json"].take())
    };
    SAMPLES.lines().map(sample).collect()
}

/// A body of `kind` with this message in it.
fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| {
        let mut field = vec![tag << 3 | 2];
        encode::counted(&mut field, bytes);
        field
    };
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, message)].concat()
}

#[test]
fn bodies_read_as_the_json_of_the_same_object() {
    let samples = samples();
    assert!(samples.len() >= 26);
    for (body, expect) in samples {
        assert_eq!(decode(&body, None), Ok(expect));
    }
}

#[test]
fn the_route_says_the_kind_when_the_body_does_not() {
    let expect = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
    assert_eq!(decode(&body("", "", &[]), Some(("v1", "DeleteOptions"))), Ok(expect));
    let said = decode(&body("v1", "ConfigMap", &[]), Some(("v1", "Pod"))).expect("read");
    assert_eq!(said["kind"], "ConfigMap");
}

#[test]
fn numbers_that_are_not_known_are_skipped() {
    let message = [0xf8, 0x3f, 7, 0x0a, 3, 0x0a, 1, b'x'];
    assert_eq!(
        decode(&body("v1", "ConfigMap", &message), None).expect("read")["metadata"],
        json!({"name": "x"})
    );
}

#[test]
fn halves_of_a_message_merge() {
    let message = [0x0a, 3, 0x0a, 1, b'x', 0x0a, 3, 0x1a, 1, b'y'];
    let read = decode(&body("v1", "ConfigMap", &message), None).expect("read");
    assert_eq!(read["metadata"], json!({"name": "x", "namespace": "y"}));
}

#[test]
fn what_cannot_be_read_is_told() {
    let told = |body: &[u8]| decode(body, None).expect_err("refused").to_string();
    insta::assert_snapshot!(told(b"{}"), @r"the body is no Kubernetes protobuf: it does not begin with k8s\0");
    insta::assert_snapshot!(told(MAGIC), @r#"no kind "" is registered for version ""; send it as JSON"#);
    insta::assert_snapshot!(told(&body("example.com/v1", "Thing", &[])), @r#"no kind "Thing" is registered for version "example.com/v1"; send it as JSON"#);
    insta::assert_snapshot!(told(&body("v1", "Pod", &[0x0a, 5, 1])), @"protobuf: core.v1.Pod: the bytes end early");
    insta::assert_snapshot!(told(&body("v1", "Pod", &[0x08, 1])), @"protobuf: core.v1.Pod.metadata is of the wrong type");
    insta::assert_snapshot!(told(&body("v1", "Pod", &[0x0b])), @"protobuf: core.v1.Pod: a wire type that does not exist");
    let data = [0x12, 3, 0x0a, 1, b'x'];
    insta::assert_snapshot!(told(&body("apps/v1", "ControllerRevision", &data)), @"protobuf: embedded JSON: couldn't read the body as JSON: expected value at line 1 column 1");
}

#[test]
fn small_messages_cannot_stand_for_boundless_objects() {
    // Each two bytes are an empty pod, with its metadata, spec and status.
    let pods = [0x12, 0].repeat(MAX_VALUES / 2);
    assert_eq!(decode(&body("v1", "PodList", &pods), None), Err(Error::TooManyValues));

    // JSONSchemaProps.not, 300 deep, in a CustomResourceDefinition's version.
    let mut message = Vec::new();
    let wrap = |message: &mut Vec<u8>, key: &[u8]| {
        let length = message.len();
        let (low, high) =
            (u8::try_from(length & 0x7f).expect("seven bits"), u8::try_from(length >> 7).expect("small"));
        let head = [key, &[low | 0x80, high]].concat();
        message.splice(0..0, head);
    };
    for _ in 0..300 {
        wrap(&mut message, &[0xe2, 0x01]);
    }
    for tag in [1, 4, 7, 2_u8] {
        wrap(&mut message, &[tag << 3 | 2]);
    }
    let crd = body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &message);
    assert_eq!(decode(&crd, None), Err(Error::TooDeep));
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in prop::sample::select(vec!["Pod", "Event", "Secret", "PodList"]), message in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode(&message, None);
        let _ = decode(&body("v1", kind, &message), None);
    }

    #[test]
    fn no_damage_panics(at in any::<prop::sample::Index>(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>()) {
        let samples = samples();
        let (mut body, _) = at.get(&samples).clone();
        for (place, byte) in damage {
            let place = place.index(body.len());
            body[place] = byte;
        }
        let _ = decode(&body, None);
        let _ = decode(&body[..cut.index(body.len())], None);
    }
}

proptest! {
    // Each case is all kinds.
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// Upstream decodes both into the same Go value; here both have the same normal form.
    #[test]
    fn an_object_of_any_kind_reads_the_same_from_protobuf_and_from_json(seed in any::<u64>()) {
        let random = Random::seeded(seed);
        for kind in Schema::builtin().kinds() {
            let mut json = any_object::any_object(&random, kind.type_id, 0);
            let sent = body(kind.api_version, kind.kind, &encode::message(&json, kind.type_id));
            json.insert("apiVersion".to_owned(), kind.api_version.into());
            json.insert("kind".to_owned(), kind.kind.into());
            let (mut json, read) = (Value::Object(json), decode(&sent, None));
            let mut read = read.map_err(|error| TestCaseError::fail(format!("{}: {error}", kind.kind)))?;
            normalize(&mut json, kind.type_id);
            normalize(&mut read, kind.type_id);
            prop_assert_eq!(read, json, "{}", kind.kind);
        }
    }
}
