//! Tokens of service accounts: asked for, believed, and believed no more.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, pod};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/robot/token";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const API: &str = "https://kubernetes.default.svc.cluster.local";

async fn with_account() -> Harness {
    let api = Harness::start().await;
    api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    api
}

async fn token(api: &Harness, spec: Value) -> String {
    let made = api.post(TOKEN, &json!({"spec": spec})).await.expect(201);
    made["status"]["token"].as_str().expect("a token").to_owned()
}

/// What a stranger with this token is answered.
async fn asked_with(api: &Harness, token: &str, path: &str) -> (u16, String) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let reply = api.call_as("system:anonymous", &["system:unauthenticated"], "GET", path, &headers, "").await;
    (reply.code, reply.body["message"].as_str().unwrap_or_default().to_owned())
}

async fn reviewed(api: &Harness, spec: Value) -> Value {
    api.post(REVIEWS, &json!({"spec": spec})).await.expect(201)["status"].clone()
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&BASE64.decode(claims).expect("base64")).expect("JSON")
}

fn bound_to(name: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name}})
}

async fn robot_pod(api: &Harness) -> Value {
    let mut robot = pod("p");
    robot["spec"]["serviceAccountName"] = "robot".into();
    robot["spec"]["nodeName"] = "n1".into();
    api.post(PODS, &robot).await.expect(201)
}

#[tokio::test]
async fn a_token_is_its_account_and_may_what_its_account_may() {
    let api = with_account().await;
    let token = token(&api, json!({})).await;
    let (code, message) = asked_with(&api, &token, CONFIG_MAPS).await;
    assert_eq!(code, 403);
    assert!(message.contains("User \"system:serviceaccount:default:robot\" cannot list"), "{message}");
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot"}]});
    api.post("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", &binding)
        .await
        .expect(201);
    assert_eq!(asked_with(&api, &token, CONFIG_MAPS).await.0, 200);
    assert_eq!(asked_with(&api, &token, "/api/v1/configmaps").await.0, 403);
    // Every account may read by which keys tokens are known.
    assert_eq!(asked_with(&api, &token, "/openid/v1/jwks").await.0, 200);
    assert_eq!(asked_with(&api, &token, "/.well-known/openid-configuration").await.0, 200);
}

#[tokio::test]
async fn a_token_says_what_upstreams_say() {
    let api = with_account().await;
    let pod = robot_pod(&api).await;
    let token = token(&api, bound_to("p")).await;
    let claims = claims(&token);
    assert_eq!(claims["iss"], API);
    assert_eq!(claims["aud"], json!([API]));
    assert_eq!(claims["sub"], "system:serviceaccount:default:robot");
    assert_eq!(claims["exp"].as_i64().expect("exp") - claims["iat"].as_i64().expect("iat"), 3600);
    assert_eq!(claims["kubernetes.io"]["pod"], json!({"name": "p", "uid": pod["metadata"]["uid"]}));
    assert_eq!(claims["kubernetes.io"]["node"], json!({"name": "n1"}));
    let status = reviewed(&api, json!({"token": token})).await;
    assert_eq!(status["authenticated"], true, "{status}");
    assert_eq!(status["audiences"], json!([API]));
    let extra = &status["user"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n1"]));
    let id = format!("JTI={}", claims["jti"].as_str().expect("an id"));
    assert_eq!(extra["authentication.kubernetes.io/credential-id"], json!([id]));
}

#[tokio::test]
async fn a_pods_token_that_is_not_read_again_is_forgiven_for_a_year() {
    let api = with_account().await;
    robot_pod(&api).await;
    let mut spec = bound_to("p");
    spec["expirationSeconds"] = 3607.into();
    let claims = claims(&token(&api, spec).await);
    let after = |claim: &Value| claim.as_i64().expect("a time") - claims["iat"].as_i64().expect("iat");
    assert_eq!(
        (after(&claims["exp"]), after(&claims["kubernetes.io"]["warnafter"])),
        (365 * 24 * 3600, 3607)
    );
}

#[tokio::test]
async fn a_token_for_others_is_not_for_this_api() {
    let api = with_account().await;
    let token = token(&api, json!({"audiences": ["vault"]})).await;
    assert_eq!(asked_with(&api, &token, CONFIG_MAPS).await, (401, "Unauthorized".to_owned()));
    let status = reviewed(&api, json!({"token": token, "audiences": ["vault", "other"]})).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    let status = reviewed(&api, json!({"token": token})).await;
    assert!(status["authenticated"].is_null() && status["error"].is_string(), "{status}");
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let api = with_account().await;
    robot_pod(&api).await;
    let (of_pod, of_account) = (token(&api, bound_to("p")).await, token(&api, json!({})).await);
    assert_eq!(asked_with(&api, &of_pod, CONFIG_MAPS).await.0, 403);
    api.send("DELETE", &format!("{PODS}/p"), &json!({"gracePeriodSeconds": 0})).await.expect(200);
    assert_eq!(asked_with(&api, &of_pod, CONFIG_MAPS).await.0, 401);
    let status = reviewed(&api, json!({"token": of_pod})).await;
    assert_eq!(status["error"], "service account token has been invalidated");
    // One of the same name is another.
    robot_pod(&api).await;
    assert_eq!(asked_with(&api, &of_pod, CONFIG_MAPS).await.0, 401);
    assert_eq!(asked_with(&api, &of_account, CONFIG_MAPS).await.0, 403);
    api.delete(&format!("{ACCOUNTS}/robot")).await.expect(200);
    assert_eq!(asked_with(&api, &of_account, CONFIG_MAPS).await.0, 401);
    api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.expect(201);
    assert_eq!(asked_with(&api, &of_account, CONFIG_MAPS).await.0, 401);
}

#[tokio::test]
async fn what_is_no_token_is_unauthorized_everywhere() {
    let api = with_account().await;
    let good = token(&api, json!({})).await;
    let other = with_account().await;
    let foreign = token(&other, json!({})).await;
    for bad in ["x", "a.b.c", &good[..good.len() - 4], &foreign] {
        for path in [CONFIG_MAPS, "/healthz", "/version"] {
            assert_eq!(asked_with(&api, bad, path).await.0, 401, "{bad} {path}");
        }
    }
    let other_scheme = [("authorization", "Basic YTpi")];
    let groups = &["system:unauthenticated"];
    let reply = api.call_as("system:anonymous", groups, "GET", "/version", &other_scheme, "").await;
    assert_eq!(reply.code, 200);
}

#[tokio::test]
async fn a_request_for_a_token_is_refused_with_the_place() {
    let api = with_account().await;
    api.post(PODS, &pod("other")).await.expect(201);
    let check = async |body: Value, code: u16, expect: &str| {
        let message = api.post(TOKEN, &body).await.refused(code);
        assert!(message.contains(expect), "{message}");
    };
    let spec = |spec: Value| json!({"spec": spec});
    check(
        spec(json!({"expirationSeconds": 599})),
        422,
        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
    )
    .await;
    check(
        spec(json!({"expirationSeconds": 1_i64 << 33})),
        422,
        "may not specify a duration larger than 2^32 seconds",
    )
    .await;
    check(
        json!({"metadata": {"name": "x"}, "spec": {}}),
        422,
        "metadata.name: Invalid value: \"x\": must match",
    )
    .await;
    check(spec(bound_to("gone")), 404, "pods \"gone\" not found").await;
    check(
        spec(bound_to("other")),
        400,
        "cannot bind token for serviceaccount \"robot\" to pod running with different serviceaccount name.",
    )
    .await;
    let reference = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    check(
        spec(json!({"boundObjectRef": reference})),
        400,
        "cannot bind token to object of type apps/v1, Kind=Deployment",
    )
    .await;
    robot_pod(&api).await;
    let mut wrong = bound_to("p");
    wrong["boundObjectRef"]["uid"] = "another".into();
    check(
        spec(wrong),
        409,
        "the UID in the bound object reference (another) does not match the UID in record",
    )
    .await;
    let none = "/api/v1/namespaces/default/serviceaccounts/gone/token";
    assert_eq!(api.post(none, &json!({"spec": {}})).await.refused(404), "serviceaccounts \"gone\" not found");
    assert_eq!(
        api.post(REVIEWS, &json!({"spec": {}})).await.refused(400),
        "token is required for TokenReview in authentication"
    );
}
