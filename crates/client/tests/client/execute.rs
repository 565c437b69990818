//! What becomes of a plan.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::{ExecuteError, Executor, Informers, Recorder};
use planner::{Action, EventType, ObjectRef, Plan};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::fake::{Asked, Fake, clock, pod, refusal};

fn executor(api: &Fake) -> Executor {
    let recorder = Recorder::new(api.client.clone(), "test-controller", "here", clock());
    Executor::new(api.client.clone(), Informers::new(api.client.clone(), clock()), recorder)
}

fn set() -> ObjectRef {
    ObjectRef {
        api_version: "apps/v1".into(),
        kind: "StatefulSet".into(),
        namespace: "default".into(),
        name: "db".into(),
        uid: "1".into(),
    }
}

fn create(name: &str) -> [Action; 2] {
    let event = Action::Record {
        about: set(),
        event_type: EventType::Normal,
        reason: "SuccessfulCreate".into(),
        message: format!("create Pod {name} in StatefulSet db successful"),
        failed: Some(format!("create Pod {name} in StatefulSet db failed error")),
    };
    [Action::Create(pod(name, 0)), event]
}

/// db-0 is refused with `code`, everything else is taken.
fn refusing(code: u16, reason: &'static str) -> Fake {
    Fake::new(move |asked: &Asked| match asked.body["metadata"]["name"] == "db-0" {
        true => refusal(code, reason),
        false => (201, asked.body.clone()),
    })
}

fn brief(asked: &Asked) -> String {
    match asked.body["reason"].as_str() {
        Some(reason) => format!("{} {}", reason, asked.body["message"].as_str().unwrap_or_default()),
        None => format!("{} {}", asked.method, asked.body["metadata"]["name"].as_str().unwrap_or_default()),
    }
}

#[tokio::test]
async fn a_refused_write_ends_the_plan_and_is_told_as_a_failure() {
    let mut api = refusing(403, "Forbidden");
    let plan = Plan { actions: [create("db-0"), create("db-1")].concat(), ..Plan::default() };
    let error = executor(&api).execute(&plan).await.unwrap_err();
    assert!(!error.is_stale());
    assert_eq!(brief(&api.next().await), "POST db-0");
    let told = brief(&api.next().await);
    assert!(told.starts_with("FailedCreate create Pod db-0 in StatefulSet db failed error: "), "{told}");
    assert_eq!(api.rest().await, [], "nothing comes after it");
}

#[tokio::test]
async fn objects_of_one_kind_are_made_together_once_the_first_is_taken() {
    // The first is answered at once, the others only when they all have come.
    let meeting = Arc::new((AtomicUsize::new(0), Barrier::new(2)));
    let seen = Arc::clone(&meeting);
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let meeting = Arc::clone(&seen);
        async move {
            if request.uri().path().ends_with("/pods") && meeting.0.fetch_add(1, Ordering::Relaxed) > 0 {
                meeting.1.wait().await;
            }
            let made = pod("db", 1).to_string();
            Ok::<_, Infallible>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from(made))))
        }
    });
    let client = kube::Client::new(service, "default");
    let recorder = Recorder::new(client.clone(), "test-controller", "here", clock());
    let executor = Executor::new(client.clone(), Informers::new(client, clock()), recorder);
    let plan = Plan { actions: [create("db-0"), create("db-1"), create("db-2")].concat(), ..Plan::default() };
    executor.execute(&plan).await.expect("all are taken");
    assert_eq!(meeting.0.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn actions_that_do_not_depend_on_each_other_go_on_and_the_first_failure_is_answered() {
    let api = refusing(409, "AlreadyExists");
    let actions = [create("db-0"), create("db-1")].concat();
    let plan = Plan { actions, independent: true, ..Plan::default() };
    let error = executor(&api).execute(&plan).await.unwrap_err();
    assert!(error.is_stale(), "{error}");
    let all: Vec<String> = api.rest().await.iter().map(brief).collect();
    // What is only stale is planned again, and not told as a failure.
    assert_eq!(
        all,
        ["POST db-0", "POST db-1", "SuccessfulCreate create Pod db-1 in StatefulSet db successful"]
    );
}

#[tokio::test]
async fn what_was_taken_for_gone_and_is_there_makes_the_plan_stale() {
    let api = Fake::new(|_| (200, pod("db-0", 7)));
    let informers = Informers::new(api.client.clone(), clock());
    let recorder = Recorder::new(api.client.clone(), "test-controller", "here", clock());
    let executor = Executor::new(api.client.clone(), informers.clone(), recorder);
    let target = |uid: &str| ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: "default".into(),
        name: "db-0".into(),
        uid: uid.into(),
    };
    let error = executor.act(&Action::ExpectGone(target("uid-db-0"))).await.unwrap_err();
    assert!(matches!(error, ExecuteError::StillThere(_)) && error.is_stale());
    assert!(informers.world().pods.get("default", "db-0").is_some(), "it is known from now on");
    executor.act(&Action::ExpectGone(target("an older one"))).await.expect("only a successor is there");
}

#[tokio::test]
async fn a_deletion_carries_what_it_was_planned_on() {
    let mut api = Fake::new(|_| (200, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})));
    let target = ObjectRef { api_version: "v1".into(), kind: "Pod".into(), name: "db-0".into(), ..set() };
    let action = Action::Delete { target, resource_version: Some("7".into()), grace_period: Some(0) };
    executor(&api).act(&action).await.unwrap();
    let asked = api.next().await;
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("DELETE", "/api/v1/namespaces/default/pods/db-0")
    );
    assert_eq!(asked.body["preconditions"], json!({"uid": "1", "resourceVersion": "7"}));
    assert_eq!(asked.body["gracePeriodSeconds"], 0);
}

#[tokio::test]
async fn a_kind_that_is_not_served_is_named() {
    let api = Fake::new(|_| (200, Value::Null));
    let target = ObjectRef { kind: "Gadget".into(), ..set() };
    let error = executor(&api).act(&Action::ExpectGone(target)).await.unwrap_err();
    assert_eq!(error.to_string(), "no kind Gadget of apps/v1 is served");
}

#[tokio::test]
async fn what_was_bound_is_known_as_bound_before_any_watch_tells() {
    let api = Fake::new(|asked| match asked.method.as_str() {
        "POST" => (201, json!({"kind": "Status", "apiVersion": "v1", "status": "Success"})),
        _ => {
            let mut bound = pod("db-0", 7);
            bound["spec"] = json!({"nodeName": "here", "containers": []});
            (200, bound)
        }
    });
    let informers = Informers::new(api.client.clone(), clock());
    let recorder = Recorder::new(api.client.clone(), "test-controller", "here", clock());
    let executor = Executor::new(api.client.clone(), informers.clone(), recorder);
    let pod = ObjectRef { api_version: "v1".into(), kind: "Pod".into(), name: "db-0".into(), ..set() };
    executor.act(&Action::Bind { pod, node: "here".to_owned() }).await.unwrap();
    let world = informers.world();
    let held = world.pods.get("default", "db-0").expect("it is known");
    assert_eq!(held.spec.as_ref().and_then(|spec| spec.node_name.as_deref()), Some("here"));
}

#[tokio::test]
async fn an_event_tells_the_name_that_the_api_gave() {
    let mut api = Fake::new(|asked: &Asked| {
        let mut object = asked.body.clone();
        if object["metadata"]["generateName"].is_string() {
            object["metadata"]["name"] = "web-x4z2b".into();
        }
        (201, object)
    });
    let mut unnamed = pod("", 0);
    unnamed["metadata"]["generateName"] = "web-".into();
    let mut plan = Plan { actions: vec![Action::Create(unnamed)], ..Plan::default() };
    let message = format!("Created pod: {}", planner::plan::CREATED_NAME);
    plan.record(&set(), EventType::Normal, "SuccessfulCreate", message);
    executor(&api).execute(&plan).await.expect("both are taken");
    api.next().await;
    assert_eq!(brief(&api.next().await), "SuccessfulCreate Created pod: web-x4z2b");
}
