//! The driver over a made-up API, on a paused clock.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use apimachinery::inject::Clock;
use client::{Clients, Informers};
use http::{Method, Request, Response};
use http_body_util::Full;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use planner::{Action, Key, Object, Plan, Planner, World};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// An API where there are two pods and nothing ever happens. Every creation is refused, because somebody
/// else has the name, and told.
fn api() -> (Client, UnboundedReceiver<Instant>) {
    let (sender, creations) = unbounded_channel();
    let service = tower::service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
                pending::<()>().await;
            }
            let (code, body) = match (request.method(), request.uri().path()) {
                (&Method::POST, _) => {
                    let _ = sender.send(Instant::now());
                    (409, taken())
                }
                (_, "/api/v1/pods") => (200, list(&["good", "bad"])),
                _ => (200, list(&[])),
            };
            let body = Full::new(body.to_string().into_bytes().into());
            Ok::<_, Infallible>(Response::builder().status(code).body(body).expect("a response"))
        }
    });
    (Client::new(service, "default"), creations)
}

fn taken() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "pods \"x\" already exists", "reason": "AlreadyExists", "code": 409})
}

fn list(names: &[&str]) -> Value {
    let pod =
        |name: &&str| json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "1"}});
    let items: Vec<Value> = names.iter().map(pod).collect();
    json!({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items})
}

/// Plans by a function; its keys are pods.
struct Fake<F>(F);

impl<F: Fn(&Key) -> Plan + Send + Sync> Planner for Fake<F> {
    fn name(&self) -> &'static str {
        "test-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:test-controller"
    }

    fn keys(&self, _: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Pod(pod) => vec![Key::of(&pod.metadata)],
            _ => Vec::new(),
        }
    }

    fn plan(&self, _: &World, key: &Key, _: Timestamp) -> Plan {
        self.0(key)
    }
}

fn planner(plan: impl Fn(&Key) -> Plan + Send + Sync + 'static) -> &'static dyn Planner {
    Box::leak(Box::new(Fake(plan)))
}

fn drive(planner: &'static dyn Planner, client: Client, informers: &Arc<Informers>) {
    let informers = Arc::clone(informers);
    tokio::spawn(async move {
        let clients = Clients::one(client);
        controllers::run(
            &[planner],
            &clients,
            informers,
            "here",
            Clock::new(Timestamp::now),
            &Arc::default(),
            pending(),
        )
        .await;
    });
}

/// A planner that says which names it was asked to plan.
fn telling(names: UnboundedSender<String>) -> impl Fn(&Key) {
    move |key| {
        let _ = names.send(key.name.clone());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_the_driver_is_planned() {
    let (client, _) = api();
    let informers = Informers::new(client.clone(), Clock::new(Timestamp::now));
    tokio::spawn(Arc::clone(&informers).run(pending()));
    informers.synced().await;
    let (names, mut planned) = unbounded_channel();
    let tell = telling(names);
    let planner = planner(move |key| {
        tell(key);
        Plan::default()
    });
    drive(planner, client, &informers);
    let mut both = [planned.recv().await.unwrap(), planned.recv().await.unwrap()];
    both.sort();
    assert_eq!(both, ["bad", "good"]);
}

#[tokio::test(start_paused = true)]
async fn a_planner_that_panics_over_one_key_goes_on_with_others_and_tries_that_one_again() {
    let (client, _) = api();
    let informers = Informers::new(client.clone(), Clock::new(Timestamp::now));
    let (names, mut planned) = unbounded_channel();
    // More often than there are workers.
    let (tell, panics) = (telling(names), AtomicU32::new(20));
    let planner = planner(move |key| {
        if key.name == "bad"
            && panics.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok()
        {
            panic!("on purpose");
        }
        tell(key);
        Plan::default()
    });
    drive(planner, client, &informers);
    tokio::spawn(Arc::clone(&informers).run(pending()));
    assert_eq!(planned.recv().await.unwrap(), "good");
    assert_eq!(planned.recv().await.unwrap(), "bad");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_else_has_is_asked_for_less_and_less_often() {
    let (client, mut creations) = api();
    let informers = Informers::new(client.clone(), Clock::new(Timestamp::now));
    let planner = planner(|key| {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("{}-x", key.name), "namespace": "default"}});
        let actions = if key.name == "good" { vec![Action::Create(pod)] } else { Vec::new() };
        Plan { actions, ..Plan::default() }
    });
    drive(planner, client, &informers);
    tokio::spawn(Arc::clone(&informers).run(pending()));
    let first = creations.recv().await.unwrap();
    let mut last = first;
    for _ in 0..14 {
        last = creations.recv().await.unwrap();
    }
    // 5 ms, 10, 20 … 5.12 s, then LONGEST_RETRY each.
    assert!(last - first > Duration::from_secs(30), "{:?}", last - first);
}
