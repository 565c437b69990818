//! Who may ask for what, and how a refusal says it.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const GROUP: &str = "rbac.authorization.k8s.io";

#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
fn role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules})
}

fn binding(name: &str, role_kind: &str, role: &str, user: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
        "roleRef": {"kind": role_kind, "name": role}, "subjects": [{"kind": "User", "name": user}]})
}

fn reads(resource: &str) -> Value {
    json!([{"verbs": ["get", "list"], "apiGroups": [""], "resources": [resource]}])
}

/// An API where `ada` may do what the rules say in `default`.
async fn with_role(rules: Value) -> Harness {
    let api = Harness::start().await;
    api.post(ROLES, &role("r", rules)).await.expect(201);
    api.post(BINDINGS, &binding("b", "Role", "r", "ada")).await.expect(201);
    api
}

#[tokio::test]
async fn who_has_no_role_learns_who_what_and_where() {
    let api = Harness::start().await;
    assert_eq!(api.get_as_user(CONFIG_MAPS, "ada", &["system:masters"]).await.0, 200);
    let check = async |method: &str, path: &str, expect: &str| {
        let reply = api.send_as("ada", &["system:authenticated"], method, path, &config_map("a")).await;
        assert_eq!(reply.refused(403), expect, "{method} {path}");
    };
    check(
        "GET",
        CONFIG_MAPS,
        "configmaps is forbidden: User \"ada\" cannot list resource \"configmaps\" in API group \"\" in the namespace \
         \"default\"",
    )
    .await;
    check(
        "GET",
        &format!("{CONFIG_MAPS}?watch=true"),
        "configmaps is forbidden: User \"ada\" cannot watch resource \"configmaps\" in API group \"\" in the namespace \
         \"default\"",
    )
    .await;
    check(
        "PUT",
        &format!("{PODS}/p/status"),
        "pods \"p\" is forbidden: User \"ada\" cannot update resource \"pods/status\" in API group \"\" in the \
         namespace \"default\"",
    )
    .await;
    check(
        "GET",
        "/apis/storage.k8s.io/v1/storageclasses/standard",
        "storageclasses.storage.k8s.io \"standard\" is forbidden: User \"ada\" cannot get resource \"storageclasses\" \
         in API group \"storage.k8s.io\" at the cluster scope",
    )
    .await;
    check("GET", "/no/such/path", "forbidden: User \"ada\" cannot get path \"/no/such/path\"").await;
    assert_eq!(api.get_as_user("/apis", "ada", &["system:authenticated"]).await.0, 200);
}

#[tokio::test]
async fn strangers_see_health_and_version_only() {
    let api = Harness::start().await;
    for open in ["/version", "/readyz", "/livez", "/healthz"] {
        let reply =
            api.send_as("system:anonymous", &["system:unauthenticated"], "GET", open, &json!(null)).await;
        assert_eq!(reply.code, 200, "{open}");
    }
    for closed in [CONFIG_MAPS, "/apis", "/no/such/path", "/openid/v1/jwks"] {
        let (code, message) = api.get_as_user(closed, "system:anonymous", &["system:unauthenticated"]).await;
        assert_eq!(code, 403, "{closed}");
        assert!(message.contains("User \"system:anonymous\" cannot"), "{message}");
    }
}

#[tokio::test]
async fn a_binding_holds_for_the_next_request_and_only_where_it_is() {
    let api = with_role(reads("configmaps")).await;
    assert_eq!(api.get_as_user(CONFIG_MAPS, "ada", &[]).await.0, 200);
    assert_eq!(api.get_as_user("/api/v1/configmaps", "ada", &[]).await.0, 403);
    assert_eq!(api.get_as_user("/api/v1/namespaces/kube-system/configmaps", "ada", &[]).await.0, 403);
    assert_eq!(api.get_as_user(CONFIG_MAPS, "bob", &[]).await.0, 403);
    api.delete(&format!("{BINDINGS}/b")).await.expect(200);
    assert_eq!(api.get_as_user(CONFIG_MAPS, "ada", &[]).await.0, 403);
}

#[tokio::test]
async fn a_binding_to_no_role_is_the_reason_of_the_refusal() {
    let api = Harness::start().await;
    api.post(BINDINGS, &binding("b", "Role", "gone", "ada")).await.expect(201);
    let (code, message) = api.get_as_user(CONFIG_MAPS, "ada", &[]).await;
    assert_eq!(code, 403);
    assert!(message.ends_with(": RBAC: role.rbac.authorization.k8s.io \"gone\" not found"), "{message}");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let rules = json!([
        {"verbs": ["*"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    let api = with_role(rules).await;
    let send = async |path: &str, body: Value| api.send_as("ada", &["g"], "POST", path, &body).await;
    // `*` holds the verbs escalate and bind, too: take it back to what writes.
    let writes = json!([
        {"verbs": ["create", "update", "get"], "apiGroups": [GROUP], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    send(ROLES, role("before", reads("secrets"))).await.expect(201);
    api.put(&format!("{ROLES}/r"), &role("r", writes)).await.expect(200);

    let message = send(ROLES, role("more", reads("pods"))).await.refused(403);
    assert_eq!(
        message,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"ada\" (groups=[\"g\"]) is attempting to grant \
         RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}"
    );
    let same = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["p"]}]);
    send(ROLES, role("less", same)).await.expect(201);
    let message = send(BINDINGS, binding("secrets", "Role", "before", "ada")).await.refused(403);
    assert!(
        message.contains("{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"),
        "{message}"
    );
    let message = send(BINDINGS, binding("none", "Role", "gone", "ada")).await.refused(404);
    assert_eq!(message, "roles.rbac.authorization.k8s.io \"gone\" not found");
    send(BINDINGS, binding("less", "Role", "less", "bob")).await.expect(201);
    // Metadata alone may be changed by who may update.
    let mut labelled = role("before", reads("secrets"));
    labelled["metadata"]["labels"] = json!({"a": "b"});
    api.send_as("ada", &["g"], "PUT", &format!("{ROLES}/before"), &labelled).await.expect(200);
}

#[tokio::test]
async fn who_may_bind_a_role_needs_not_have_it() {
    let rules = json!([
        {"verbs": ["create"], "apiGroups": [GROUP], "resources": ["rolebindings"]},
        {"verbs": ["bind"], "apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"]},
    ]);
    let api = with_role(rules).await;
    let bind = async |role: &str| {
        api.send_as("ada", &[], "POST", BINDINGS, &binding(role, "ClusterRole", role, "bob")).await
    };
    bind("cluster-admin").await.expect(201);
    assert!(bind("system:node").await.refused(403).contains("attempting to grant"));
    assert_eq!(api.get_as_user(CONFIG_MAPS, "bob", &[]).await.0, 200);
    assert_eq!(api.get_as_user("/api/v1/nodes", "bob", &[]).await.0, 403);
}

#[tokio::test]
async fn a_patch_that_makes_takes_the_right_to_make() {
    let rules = json!([{"verbs": ["patch"], "apiGroups": [""], "resources": ["configmaps"]}]);
    let api = with_role(rules).await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=t");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let reply = api.call_as("ada", &[], "PATCH", &path, &headers, config_map("a").to_string()).await;
    let message = reply.refused(403);
    assert!(message.contains("User \"ada\" cannot create resource \"configmaps\""), "{message}");
}

#[tokio::test]
async fn the_default_roles_are_there_and_what_was_added_to_them_stays() {
    let api = Harness::start().await;
    let path = format!("{CLUSTER_ROLES}/system:basic-user");
    let before = api.get(&path).await.expect(200);
    assert_eq!(before["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    assert_eq!(
        api.get(&format!("{CLUSTER_BINDINGS}/cluster-admin")).await.expect(200)["roleRef"]["name"],
        "cluster-admin"
    );
    let extra = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let mut changed = before.clone();
    changed["rules"] = json!([extra]);
    api.put(&path, &changed).await.expect(200);
    api.api.bootstrap().await.expect("started again");
    let after = api.get(&path).await.expect(200);
    let rules = after["rules"].as_array().expect("rules");
    assert!(rules.contains(&extra), "{after}");
    assert_eq!(api.get_as_user(PODS, "ada", &["system:authenticated"]).await.0, 403);
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/api"}}});
    let told = api.send_as("ada", &["system:authenticated"], "POST", reviews, &asked).await.expect(201);
    assert_eq!(told["status"]["allowed"], true, "{told}");

    let mut own = after.clone();
    own["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false".into();
    own["rules"] = json!([]);
    api.put(&path, &own).await.expect(200);
    api.api.bootstrap().await.expect("started again");
    assert_eq!(api.get(&path).await.expect(200)["rules"], json!([]));
}

/// A part of stead is a user in this process: the roles bind it, refusals name it, and its fields are those of the
/// program that upstream has for it.
#[tokio::test]
async fn the_server_s_own_parts_are_users_like_others() {
    let api = Harness::start().await;
    let controller = "system:serviceaccount:kube-system:statefulset-controller";
    let made = api.send_as_component(controller, "POST", PODS, &pod("web-0")).await.expect(201);
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "kube-controller-manager");
    let secrets = "/api/v1/namespaces/default/secrets";
    let refused = api.send_as_component(controller, "POST", secrets, &config_map("s")).await.refused(403);
    assert_eq!(
        refused,
        format!(
            "secrets is forbidden: User \"{controller}\" cannot create resource \"secrets\" in API group \"\" in the \
             namespace \"default\""
        )
    );
    let node = json!({"metadata": {"name": "n1", "labels": {"kubernetes.io/os": "linux"}}});
    let made = api.send_as_component("system:node:n1", "POST", "/api/v1/nodes", &node).await.expect(201);
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "kubelet");
    let binding = json!({"metadata": {"name": "web-0"}, "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/web-0/binding");
    let refused = api.send_as_component("system:node:n1", "POST", &path, &binding).await.refused(403);
    assert!(refused.contains("User \"system:node:n1\" cannot create resource \"pods/binding\""), "{refused}");
    api.send_as_component("system:kube-scheduler", "POST", &path, &binding).await.expect(201);
}

#[tokio::test]
async fn being_taken_for_somebody_is_a_right_of_its_own() {
    let api = Harness::start().await;
    let rules = json!([
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
        {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]},
    ]);
    let mut all = role("r", rules);
    all["kind"] = "ClusterRole".into();
    api.post(CLUSTER_ROLES, &all).await.expect(201);
    let mut bound = binding("b", "ClusterRole", "r", "ada");
    bound["kind"] = "ClusterRoleBinding".into();
    api.post(CLUSTER_BINDINGS, &bound).await.expect(201);
    let whoami = async |headers: &[(&str, &str)]| {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        api.call_as("ada", &[], "POST", path, headers, "{}").await
    };
    let bob = whoami(&[("impersonate-user", "bob")]).await.expect(201);
    let expect = json!({"username": "bob", "groups": ["system:authenticated"]});
    assert_eq!(bob["status"]["userInfo"], expect);
    let account = "system:serviceaccount:default:robot";
    let robot = whoami(&[("impersonate-user", account)]).await.expect(201);
    assert_eq!(
        robot["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    let refused = whoami(&[("impersonate-user", "eve")]).await.refused(403);
    assert_eq!(
        refused,
        "users \"eve\" is forbidden: User \"ada\" cannot impersonate resource \"users\" in API group \"\" at the \
         cluster scope"
    );
    let group = whoami(&[("impersonate-user", "bob"), ("impersonate-group", "system:masters")]).await;
    assert!(group.refused(403).contains("cannot impersonate resource \"groups\""));
    let extra =
        whoami(&[("impersonate-user", "bob"), ("impersonate-extra-scopes", "all")]).await.refused(403);
    assert!(
        extra.contains("resource \"userextras/scopes\" in API group \"authentication.k8s.io\""),
        "{extra}"
    );
    whoami(&[("impersonate-group", "g")]).await.refused(400);
}

#[tokio::test]
async fn reviews_answer_what_the_rules_say() {
    let api = with_role(reads("pods")).await;
    let ask = async |spec: Value| {
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        api.post(path, &json!({"spec": spec})).await
    };
    let about = |verb: &str| json!({"verb": verb, "resource": "pods", "namespace": "default"});
    let told = ask(json!({"user": "ada", "resourceAttributes": about("list")})).await.expect(201);
    assert_eq!(
        told["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by RoleBinding \"b/default\" of Role \"r\" to User \"ada\""})
    );
    let told = ask(json!({"user": "ada", "resourceAttributes": about("delete")})).await.expect(201);
    assert_eq!(told["status"], json!({"allowed": false}));
    let refused = ask(json!({"resourceAttributes": about("get")})).await.refused(422);
    assert!(refused.contains("spec.user: Invalid value: \"\": at least one of user or group"), "{refused}");
    let refused = ask(json!({"user": "ada"})).await.refused(422);
    assert!(refused.contains("exactly one of nonResourceAttributes or resourceAttributes"), "{refused}");
    let local = "/apis/authorization.k8s.io/v1/namespaces/kube-system/localsubjectaccessreviews";
    let refused = api
        .post(local, &json!({"spec": {"user": "ada", "resourceAttributes": about("get")}}))
        .await
        .refused(422);
    assert!(
        refused.contains("spec.resourceAttributes.namespace: Invalid value: \"default\": must match"),
        "{refused}"
    );
    let rules = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let all = api.send_as("ada", &[], "POST", rules, &json!({"spec": {"namespace": "default"}})).await;
    // Who is in no group has no other rules, and may not even ask.
    assert!(all.refused(403).contains("selfsubjectrulesreviews"));
    let groups = &["system:authenticated"];
    let all = api
        .send_as("ada", groups, "POST", rules, &json!({"spec": {"namespace": "default"}}))
        .await
        .expect(201);
    let listed = all["status"]["resourceRules"].as_array().expect("rules");
    let expect = json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]});
    assert!(listed.contains(&expect), "{all}");
    assert_eq!(api.get("/apis/authorization.k8s.io/v1/subjectaccessreviews").await.code, 405);
    assert_eq!(api.delete("/apis/authentication.k8s.io/v1/tokenreviews/x").await.code, 405);
}

#[tokio::test]
async fn pods_get_the_volume_by_which_they_reach_the_api() {
    let api = Harness::start().await;
    let made = api.post(PODS, &pod("p")).await.expect(201);
    let volume = &made["spec"]["volumes"][0];
    let name = volume["name"].as_str().expect("a name");
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    assert_eq!(volume["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"], 3607);
    let mount = &made["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!(
        *mount,
        json!({"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": name, "readOnly": true})
    );

    let mut without = pod("q");
    without["spec"]["automountServiceAccountToken"] = false.into();
    let made = api.post(PODS, &without).await.expect(201);
    assert!(made["spec"]["volumes"].is_null(), "{made}");

    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({"metadata": {"name": "robot"}, "automountServiceAccountToken": false,
        "imagePullSecrets": [{"name": "registry"}]});
    let mut robot = pod("r");
    robot["spec"]["serviceAccountName"] = "robot".into();
    let refused = api.post(PODS, &robot).await.refused(403);
    assert_eq!(
        refused,
        "pods \"r\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
    );
    api.post(accounts, &account).await.expect(201);
    let made = api.post(PODS, &robot).await.expect(201);
    assert!(made["spec"]["volumes"].is_null(), "{made}");
    assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "registry"}]));
}
