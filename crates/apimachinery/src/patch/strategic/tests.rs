use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::Schema;

fn pod() -> TypeId {
    Schema::builtin().gvk("v1", "Pod").expect("a built-in kind")
}

#[track_caller]
fn check(object: impl Into<Value>, patch: impl Into<Value>, expect: impl Into<Value>) {
    let mut object = object.into();
    assert_eq!(apply(&mut object, &patch.into(), pod()), Ok(()));
    assert_eq!(object, expect.into());
}

#[track_caller]
fn refused(object: impl Into<Value>, patch: impl Into<Value>, expect: &str) {
    let error = apply(&mut object.into(), &patch.into(), pod()).expect_err("refused");
    assert_eq!(error.to_string(), expect);
}

fn containers(list: impl Into<Value>) -> Value {
    json!({"spec": {"containers": list.into()}})
}

#[test]
fn maps_merge_and_nulls_remove() {
    check(
        json!({"metadata": {"labels": {"a": "1", "b": "2"}, "name": "x"}}),
        json!({"metadata": {"labels": {"a": null, "c": "3"}}}),
        json!({"metadata": {"labels": {"b": "2", "c": "3"}, "name": "x"}}),
    );
    check(
        json!({}),
        json!({"metadata": {"labels": {"a": null, "b": "1"}}}),
        json!({"metadata": {"labels": {"b": "1"}}}),
    );
}

#[test]
fn items_merge_by_their_key() {
    check(
        containers(json!([{"name": "a", "image": "x", "tty": true}, {"name": "b"}])),
        containers(json!([{"name": "a", "image": "y", "tty": null}])),
        containers(json!([{"name": "a", "image": "y"}, {"name": "b"}])),
    );
}

#[test]
fn new_items_come_first_unless_an_order_is_given() {
    check(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"name": "c"}])),
        containers(json!([{"name": "c"}, {"name": "a"}, {"name": "b"}])),
    );
    check(
        containers(json!([{"name": "a"}, {"name": "theirs"}, {"name": "b"}])),
        json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}], "containers": [{"name": "c"}]}}),
        containers(json!([{"name": "theirs"}, {"name": "b"}, {"name": "c"}, {"name": "a"}])),
    );
}

#[test]
fn directives_in_lists_delete_and_replace() {
    check(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"name": "a", "$patch": "delete"}, {"name": "gone", "$patch": "delete"}])),
        containers(json!([{"name": "b"}])),
    );
    check(
        containers(json!([{"name": "a"}, {"name": "b"}])),
        containers(json!([{"$patch": "replace"}, {"name": "c"}])),
        containers(json!([{"name": "c"}])),
    );
    check(
        containers(json!([{"name": "a", "image": "x", "tty": true}])),
        containers(json!([{"name": "a", "image": "y", "$patch": "merge"}])),
        containers(json!([{"name": "a", "image": "y", "tty": true}])),
    );
}

#[test]
fn directives_in_maps_delete_and_replace() {
    let object = || json!({"spec": {"securityContext": {"runAsUser": 1, "runAsGroup": 2}}});
    let patch = |context: Value| json!({"spec": {"securityContext": context}});
    check(object(), patch(json!({"$patch": "replace", "fsGroup": 3})), patch(json!({"fsGroup": 3})));
    check(object(), patch(json!({"$patch": "delete"})), patch(json!({})));
    check(
        object(),
        patch(json!({"$patch": "merge", "fsGroup": 3})),
        patch(json!({"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3})),
    );
    check(json!({}), patch(json!({"$patch": "replace", "fsGroup": 3})), patch(json!({"fsGroup": 3})));
}

#[test]
fn retain_keys_clears_the_other_members_of_a_union() {
    let volumes = |volume: Value| json!({"spec": {"volumes": [volume]}});
    check(
        volumes(json!({"name": "v", "emptyDir": {}})),
        volumes(json!({"name": "v", "configMap": {"name": "c"}, "$retainKeys": ["name", "configMap"]})),
        volumes(json!({"name": "v", "configMap": {"name": "c"}})),
    );
    refused(
        volumes(json!({"name": "v"})),
        volumes(json!({"name": "v", "emptyDir": {}, "$retainKeys": ["name"]})),
        r#"strategic merge patch: "emptyDir" is set, but not in $retainKeys"#,
    );
}

#[test]
fn sets_of_scalars_grow_and_shrink() {
    let finalizers = |list: Value| json!({"metadata": {"finalizers": list}});
    check(finalizers(json!(["a", "b"])), finalizers(json!(["c", "b"])), finalizers(json!(["c", "a", "b"])));
    check(
        finalizers(json!(["a", "b"])),
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b", "c"], "finalizers": ["c"]}}),
        finalizers(json!(["b", "c"])),
    );
}

#[test]
fn atomic_lists_are_replaced() {
    check(
        containers(json!([{"name": "a", "command": ["x", "y"]}])),
        containers(json!([{"name": "a", "command": ["z"]}])),
        containers(json!([{"name": "a", "command": ["z"]}])),
    );
    let tolerations = |key: &str| json!({"spec": {"tolerations": [{"key": key}]}});
    check(tolerations("a"), tolerations("b"), tolerations("b"));
}

#[test]
fn data_that_looks_like_a_patch_is_data() {
    let revision = Schema::builtin().gvk("apps/v1", "ControllerRevision").expect("a built-in kind");
    let data = json!({"data": {"spec": {"template": {"$patch": "replace", "x": null}}}});
    let mut object = json!({"data": {"old": 1}});
    assert_eq!(apply(&mut object, &data, revision), Ok(()));
    assert_eq!(object, data);
    assert_eq!(two_way(&json!({"data": {"old": 1}}), &data, revision), data);
}

#[test]
fn malformed_patches_are_refused() {
    refused(json!({}), json!([]), r#"strategic merge patch: "patch" must be an object"#);
    refused(
        containers(json!([{"name": "a"}])),
        containers(json!([{"image": "x"}])),
        r#"strategic merge patch: an item of "containers" does not contain the declared merge key "name""#,
    );
    refused(
        containers(json!([])),
        containers(json!(["a"])),
        r#"strategic merge patch: "containers" must be a list of objects"#,
    );
    refused(
        json!({}),
        json!({"$patch": "burn"}),
        r#"strategic merge patch: unknown $patch "burn"; it must be replace, delete or merge"#,
    );
    refused(json!({}), json!({"$retainKeys": "a"}), r#"strategic merge patch: "$retainKeys" must be a list"#);
}

#[test]
fn a_difference_is_told_as_kubectl_tells_it() {
    let patch = two_way(
        &json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}}),
        &json!({"metadata": {"finalizers": ["b"]}, "spec": {"containers": [{"name": "c"}, {"name": "a", "image": "y"}]}}),
        pod(),
    );
    let expect = json!({
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]},
        "spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c"}, {"name": "a", "image": "y"}, {"name": "b", "$patch": "delete"}],
        },
    });
    assert_eq!(patch, expect);
}

#[test]
fn items_with_equal_keys_are_replaced_together() {
    let ports = |list: Value| containers(json!([{"name": "a", "ports": list}]));
    let original =
        ports(json!([{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]));
    let modified = ports(json!([{"containerPort": 53, "protocol": "UDP"}]));
    let patch = two_way(&original, &modified, pod());
    check(original, patch, modified);
}

/// Any JSON but nulls in objects, which merge patches cannot say.
pub(in crate::patch) fn any_json() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..5_i64).prop_map(Value::from),
        "[a-c]".prop_map(Value::from)
    ];
    scalar.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A struct with any of these fields.
fn some_of(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| {
            prop::option::of(value).prop_map(move |v| v.map(|v| (name.to_owned(), v))).boxed()
        })
        .collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

/// A list of structs, each with its own `key`.
fn keyed(key: &'static str, item: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let named = prop::collection::btree_map("[a-d]", item, 0..4)
        .prop_map(|items| items.into_iter().collect::<Vec<_>>());
    named
        .prop_shuffle()
        .prop_map(move |items| {
            items
                .into_iter()
                .map(|(name, mut item)| {
                    item[key] = name.into();
                    item
                })
                .collect()
        })
        .boxed()
}

fn any_pod() -> impl Strategy<Value = Value> {
    let text = || "[a-c]{0,2}".prop_map(Value::from).boxed();
    let labels = || prop::collection::btree_map("[a-c]", "[x-z]", 0..3).prop_map(|m| json!(m)).boxed();
    let set = || {
        Just(vec!["a", "b", "c"])
            .prop_shuffle()
            .prop_flat_map(|all| prop::sample::subsequence(all, 0..=3))
            .prop_map(|v| json!(v))
            .boxed()
    };
    let port = (0..3_i64, "TCP|UDP")
        .prop_map(|(port, protocol)| json!({"containerPort": port, "protocol": protocol}));
    let ports = prop::collection::vec(port, 0..3).prop_map(Value::from).boxed();
    let env = keyed("name", some_of(vec![("value", text()), ("valueFrom", any_object())]));
    let container = some_of(vec![("image", text()), ("command", set()), ("env", env), ("ports", ports)]);
    let volume = some_of(vec![("emptyDir", any_object()), ("configMap", labels())]);
    let spec = some_of(vec![
        ("containers", keyed("name", container)),
        ("volumes", keyed("name", volume)),
        ("nodeSelector", labels()),
        ("nodeName", text()),
    ]);
    some_of(vec![
        ("metadata", some_of(vec![("labels", labels()), ("finalizers", set())])),
        ("spec", spec),
        ("unknown", any_json().boxed()),
    ])
}

fn any_object() -> BoxedStrategy<Value> {
    prop::collection::btree_map("[a-c]", any_json(), 0..2).prop_map(|fields| json!(fields)).boxed()
}

proptest! {
    #[test]
    fn a_two_way_diff_restores_the_object(original in any_pod(), modified in any_pod()) {
        let patch = two_way(&original, &modified, pod());
        let mut restored = original;
        prop_assert_eq!(apply(&mut restored, &patch, pod()), Ok(()));
        prop_assert_eq!(restored, modified, "by {}", patch);
    }

    #[test]
    fn equal_objects_differ_by_nothing(object in any_pod()) {
        prop_assert_eq!(two_way(&object, &object, pod()), json!({}));
    }

    #[test]
    fn no_patch_panics(mut object in any_pod(), patch in any_json()) {
        let _ = apply(&mut object, &json!({"spec": {"containers": patch.clone(), "volumes": patch}}), pod());
    }

    #[test]
    fn a_patch_never_touches_a_sibling(pod_before in any_pod(), change in any_pod()) {
        let mut after = pod_before.clone();
        let change = json!({"metadata": change["metadata"]});
        if apply(&mut after, &change, pod()).is_ok() {
            prop_assert_eq!(&after["spec"], &pod_before["spec"]);
        }
    }
}
