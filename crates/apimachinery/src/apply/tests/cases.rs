//! Who owns what after which writes, from KEP-555 and the documentation of server-side apply.

use serde_json::json;

use super::*;

fn web(containers: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers}}}})
}

fn images(story: &Story) -> Vec<String> {
    let containers = story.object()["spec"]["template"]["spec"]["containers"].as_array();
    let shown = containers.into_iter().flatten();
    shown
        .map(|c| {
            format!("{}={}", c["name"].as_str().unwrap_or_default(), c["image"].as_str().unwrap_or_default())
        })
        .collect()
}

#[test]
fn who_applies_owns_what_the_configuration_says() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", json!({"metadata": {"labels": {"app": "db"}}, "data": {"k": "v"}}));
    assert_eq!(
        story.object()["metadata"]["managedFields"],
        json!([{"manager": "a", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-01T00:01:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {"f:app": {}}}, "f:data": {"f:k": {}}}}])
    );
}

#[test]
fn who_creates_owns_the_maps_and_lists_too() {
    let mut story = Story::of("v1", "Pod");
    let container = json!({"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]});
    story.update(
        "kubectl-create",
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}),
    );
    assert_eq!(
        story.object()["metadata"]["managedFields"][0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {},
                "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {},
                    "f:containerPort": {}, "f:protocol": {}}},
                "f:resources": {}}}},
        })
    );
}

#[test]
fn applying_what_another_owns_is_a_conflict() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.apply("a", json!({"spec": {"replicas": 1, "minReadySeconds": 5}}));
    story.patch("kubectl-scale", json!({"spec": {"replicas": 2}}));
    let refusal = story.try_apply("a", json!({"spec": {"replicas": 3, "minReadySeconds": 5}}), false);
    assert_eq!(
        refusal.expect_err("a conflict").to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-scale\" using apps/v1: .spec.replicas"
    );
    let refusal = story.try_apply("b", json!({"spec": {"replicas": 3, "minReadySeconds": 6}}), false);
    assert_eq!(
        refusal.expect_err("conflicts").to_string(),
        "Apply failed with 2 conflicts: conflicts with \"a\":\n- .spec.minReadySeconds\nconflicts with \
         \"kubectl-scale\" using apps/v1:\n- .spec.replicas"
    );
}

#[test]
fn force_takes_the_field_from_its_owner() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"k": "1", "own": "1"})));
    story.try_apply("b", config_map(json!({"k": "2"})), true).expect("forced");
    assert_eq!(story.object()["data"], json!({"k": "2", "own": "1"}));
    assert_eq!(story.owners(), ["Apply a .data.own", "Apply b .data.k"]);
}

#[test]
fn who_applies_the_same_value_shares_the_field() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"k": "1"})));
    story.apply("b", config_map(json!({"k": "1"})));
    assert_eq!(story.owners(), ["Apply a .data.k", "Apply b .data.k"]);
    // One of two owners gives it up: it stays.
    story.apply("a", config_map(json!({"z": "1"})));
    assert_eq!(story.object()["data"], json!({"k": "1", "z": "1"}));
    story.apply("b", config_map(json!({"y": "1"})));
    assert_eq!(story.object()["data"], json!({"z": "1", "y": "1"}));
}

#[test]
fn what_is_no_longer_applied_is_gone_unless_another_wrote_it() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"gone": "1", "taken": "1", "kept": "1"})));
    story.patch("b", json!({"data": {"taken": "2", "new": "1"}}));
    story.apply("a", config_map(json!({"kept": "1"})));
    assert_eq!(story.object()["data"], json!({"taken": "2", "kept": "1", "new": "1"}));
    assert_eq!(story.owners(), ["Apply a .data.kept", "Update b .data.new", "Update b .data.taken"]);
}

#[test]
fn a_map_is_gone_with_its_last_entry() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", json!({"metadata": {"labels": {"x": "y"}}, "data": {"k": "1"}}));
    story.apply("a", json!({"data": {"k": "1"}}));
    assert_eq!(story.object()["metadata"].get("labels"), None);
}

#[test]
fn containers_are_merged_by_name_and_stand_as_applied() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.apply("a", web(&json!([{"name": "one", "image": "1"}, {"name": "two", "image": "2"}])));
    story.apply("b", web(&json!([{"name": "three", "image": "3"}])));
    assert_eq!(images(&story), ["one=1", "two=2", "three=3"]);
    story.apply("a", web(&json!([{"name": "two", "image": "2"}, {"name": "one", "image": "1"}])));
    assert_eq!(images(&story), ["two=2", "three=3", "one=1"]);
    story.apply("a", web(&json!([{"name": "zero", "image": "0"}, {"name": "one", "image": "1"}])));
    assert_eq!(images(&story), ["three=3", "zero=0", "one=1"]);
}

#[test]
fn an_item_that_another_put_something_into_stays_without_what_was_applied() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.apply(
        "a",
        web(&json!([{"name": "one", "image": "1", "command": ["x"]}, {"name": "two", "image": "2"}])),
    );
    story.apply("b", web(&json!([{"name": "one", "workingDir": "/"}])));
    story.apply("a", web(&json!([{"name": "two", "image": "2"}])));
    assert_eq!(images(&story), ["one=", "two=2"]);
    let one = &story.object()["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&one["workingDir"], one.get("command")), (&json!("/"), None));
}

#[test]
fn a_port_without_a_protocol_is_the_tcp_one() {
    let port = |port: Value| web(&json!([{"name": "c", "image": "i", "ports": [port]}]));
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.apply("a", port(json!({"containerPort": 80, "protocol": "TCP"})));
    story.apply("b", port(json!({"containerPort": 80, "name": "http"})));
    let ports = &story.object()["spec"]["template"]["spec"]["containers"][0]["ports"];
    assert_eq!(*ports, json!([{"containerPort": 80, "protocol": "TCP", "name": "http"}]));
}

#[test]
fn finalizers_are_a_set_and_a_selector_is_one_value() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    let of = |finalizer: &str| json!({"metadata": {"finalizers": [finalizer]}});
    story.apply("a", of("x/a"));
    story.apply("b", of("x/b"));
    assert_eq!(story.object()["metadata"]["finalizers"], json!(["x/a", "x/b"]));
    story.apply("a", json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}));
    assert_eq!(story.object()["metadata"]["finalizers"], json!(["x/b"]));
    let other = json!({"spec": {"selector": {"matchLabels": {"c": "d"}}}});
    let refusal = story.try_apply("c", other, false).expect_err("a conflict");
    assert_eq!(refusal.to_string(), "Apply failed with 1 conflict: conflict with \"a\": .spec.selector");
}

#[test]
fn a_configuration_that_is_not_clear_is_refused() {
    #[track_caller]
    fn check(config: Value, expect: &str) {
        let mut story = Story::of("apps/v1", "StatefulSet");
        let refusal = story.try_apply("a", config, false).expect_err("refused");
        assert_eq!(refusal.to_string(), expect);
    }
    check(
        web(&json!([{"name": "c", "image": "1"}, {"name": "c", "image": "2"}])),
        ".spec.template.spec.containers: duplicate entries for key [name=\"c\"]",
    );
    check(
        json!({"spec": {"replica": 1, "relicas": 1}}),
        "errors:\n  .spec.relicas: field not declared in schema\n  .spec.replica: field not declared in schema",
    );
    check(
        web(&json!([{"image": "1"}])),
        ".spec.template.spec.containers: element 0: associative list with keys has an element that omits key \
         field \"name\" (and doesn't have default value)",
    );
    check(web(&json!({"name": "c"})), ".spec.template.spec.containers: expected list, got {\"name\":\"c\"}");
}

#[test]
fn an_update_takes_what_it_changes_and_frees_what_it_removes() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"k": "1", "l": "1", "m": "1"})));
    story.patch("b", json!({"data": {"k": "2", "l": null}}));
    assert_eq!(story.owners(), ["Apply a .data.m", "Update b .data.k"]);
    // What it does not change stays whose it is.
    story.patch("c", json!({"data": {"m": "1"}}));
    assert_eq!(story.owners(), ["Apply a .data.m", "Update b .data.k"]);
}

#[test]
fn a_status_has_its_own_entry() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.update("kubectl", json!({"spec": {"replicas": 1}}));
    let mut reported = story.object().clone();
    reported["status"]["replicas"] = 1.into();
    story.update_part("controller", "status", reported);
    assert_eq!(story.owners().last().map(String::as_str), Some("Update controller/status .status.replicas"));
}

#[test]
fn the_time_of_an_entry_changes_only_with_what_it_says() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"k": "1"})));
    let first = story.object().clone();
    story.apply("a", config_map(json!({"k": "1"})));
    assert_eq!(*story.object(), first);
    story.patch("b", json!({"data": {"k": "1"}}));
    assert_eq!(*story.object(), first);
    story.apply("a", config_map(json!({"k": "2"})));
    assert_eq!(story.object()["metadata"]["managedFields"][0]["time"], "2026-01-01T00:04:00Z");
}

#[test]
fn what_stood_before_the_first_apply_belongs_to_nobody_who_can_be_named() {
    let mut story = Story::of("apps/v1", "StatefulSet");
    story.object = Some(story.complete(json!({"spec": {"replicas": 1}, "status": {"replicas": 1}})));
    story.patch("b", json!({"spec": {"replicas": 2}}));
    assert_eq!(story.owners(), [""; 0], "who owns what is not kept before the first apply");
    let refusal = story.try_apply("a", json!({"spec": {"replicas": 3}}), false).expect_err("a conflict");
    assert_eq!(
        refusal.to_string(),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using apps/v1: .spec.replicas"
    );
    story.apply("a", json!({"spec": {"replicas": 2}}));
    let owners = story.owners();
    assert!(owners.contains(&"Update before-first-apply .spec.replicas".to_owned()), "{owners:?}");
    assert!(!owners.iter().any(|owner| owner.contains(".status")), "{owners:?}");
}

#[test]
fn a_client_can_forget_or_move_who_owns_what() {
    let mut story = Story::of("v1", "ConfigMap");
    story.apply("a", config_map(json!({"k": "1"})));
    let before = story.owners();
    for untouched in [json!([]), Value::Null, json!([{"manager": "b"}])] {
        story.patch("b", json!({"metadata": {"managedFields": untouched}}));
        assert_eq!(story.owners(), before);
    }
    let mut moved = story.object()["metadata"]["managedFields"].clone();
    moved[0]["manager"] = "c".into();
    story.patch("b", json!({"metadata": {"managedFields": moved}}));
    assert_eq!(story.owners(), ["Apply c .data.k"]);
    story.patch("b", json!({"metadata": {"managedFields": [{}]}}));
    assert_eq!(story.object()["metadata"].get("managedFields"), None);
}

#[test]
fn the_oldest_updates_are_put_together() {
    let mut story = Story::of("v1", "ConfigMap");
    story.update("m00", config_map(json!({"k00": "x"})));
    for n in 1..12 {
        story.patch(&format!("m{n:02}"), json!({"data": {format!("k{n:02}"): "x"}}));
    }
    let owners = story.owners();
    let managers: std::collections::BTreeSet<&str> =
        owners.iter().filter_map(|o| o.split(' ').nth(1)).collect();
    assert_eq!(managers.len(), 10);
    assert_eq!(
        owners[..4],
        [
            "Update ancient-changes .data",
            "Update ancient-changes .data.k00",
            "Update ancient-changes .data.k01",
            "Update ancient-changes .data.k02"
        ]
    );
}

#[test]
fn kubectl_takes_over_what_it_applied_on_the_clients_side() {
    let last =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"k": "1"}});
    let annotations = json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{last}\n")});
    let mut story = Story::of("v1", "ConfigMap");
    story.update(
        "kubectl-client-side-apply",
        json!({"metadata": {"annotations": annotations}, "data": {"k": "1"}}),
    );
    let other = story.try_apply("other", config_map(json!({"k": "2"})), false).expect_err("a conflict");
    assert_eq!(
        other.to_string(),
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.k"
    );
    story.apply("kubectl", config_map(json!({"k": "2"})));
    let annotation = &story.object()["metadata"]["annotations"];
    let annotation = annotation["kubectl.kubernetes.io/last-applied-configuration"].as_str();
    assert_eq!(
        annotation,
        Some(
            "{\"apiVersion\":\"v1\",\"data\":{\"k\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}}\n"
        )
    );
    // What somebody changed since is theirs.
    story.patch("edit", json!({"data": {"k": "3"}}));
    story.try_apply("kubectl", config_map(json!({"k": "4"})), false).expect_err("a conflict");
}
