//! An API that answers what a test wants, behind a real `kube::Client`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use apimachinery::inject::Clock;
use bytes::Bytes;
use futures::channel::mpsc;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc as queue;

/// A request as the API sees it.
#[derive(Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

/// How the test answers what is no watch: the status code and the body.
type Answers = Arc<dyn Fn(&Asked) -> (u16, Value) + Send + Sync>;
type Lines = mpsc::UnboundedReceiver<Result<http_body::Frame<Bytes>, Infallible>>;

/// The API's inside, for the test.
pub(crate) struct Fake {
    pub(crate) client: Client,
    /// Everything that was asked of pods and events, in order.
    pub(crate) asked: queue::UnboundedReceiver<Asked>,
    watches: Arc<Mutex<VecDeque<Lines>>>,
}

/// One watch of pods; dropping it ends the watch in good order.
pub(crate) struct Watch(mpsc::UnboundedSender<Result<http_body::Frame<Bytes>, Infallible>>);

impl Watch {
    pub(crate) fn tell(&self, kind: &str, object: &Value) {
        // The type first, as every server writes it.
        let line = format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n");
        self.0.unbounded_send(Ok(http_body::Frame::data(line.into()))).expect("somebody watches");
    }
}

impl Fake {
    pub(crate) fn new(answers: impl Fn(&Asked) -> (u16, Value) + Send + Sync + 'static) -> Self {
        let (sender, asked) = queue::unbounded_channel();
        let watches = Arc::new(Mutex::new(VecDeque::new()));
        let (answers, held): (Answers, _) = (Arc::new(answers), Arc::clone(&watches));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (answers, held, sender) = (Arc::clone(&answers), Arc::clone(&held), sender.clone());
            async move { Ok::<_, Infallible>(answer(request, &answers, &held, &sender).await) }
        });
        Self { client: Client::new(service, "default"), asked, watches }
    }

    /// The next watch of pods that begins is this one. Without any, a watch tells nothing and does not end.
    pub(crate) fn next_watch(&self) -> Watch {
        let (sender, lines) = mpsc::unbounded();
        self.watches.lock().expect("no panic").push_back(lines);
        Watch(sender)
    }

    /// All further requests about pods or events, until nobody is left who could ask.
    pub(crate) async fn rest(self) -> Vec<Asked> {
        let Self { client, mut asked, .. } = self;
        drop(client);
        let mut rest = Vec::new();
        while let Some(asked) = asked.recv().await {
            rest.push(asked);
        }
        rest
    }

    /// The next request about pods or events.
    pub(crate) async fn next(&mut self) -> Asked {
        self.asked.recv().await.expect("the API lives on")
    }
}

async fn answer(
    request: Request<Body>,
    answers: &Answers,
    watches: &Mutex<VecDeque<Lines>>,
    sender: &queue::UnboundedSender<Asked>,
) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let asked = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    let interesting = asked.path.contains("/pods") || asked.path.contains("/events");
    if asked.query.contains("watch=true") {
        let watch = interesting.then(|| watches.lock().expect("no panic").pop_front()).flatten();
        let lines = match watch {
            Some(lines) => lines.boxed(),
            None => stream::pending().boxed(),
        };
        if interesting {
            let _ = sender.send(asked);
        }
        return Response::new(UnsyncBoxBody::new(StreamBody::new(lines)));
    }
    let (code, value) = match interesting {
        true => answers(&asked),
        false => (200, list(1, &[])),
    };
    if interesting {
        let _ = sender.send(asked);
    }
    let body = UnsyncBoxBody::new(Full::new(Bytes::from(value.to_string())));
    Response::builder().status(code).body(body).expect("a response")
}

/// The machine's clock.
pub(crate) fn clock() -> Clock {
    Clock::new(Timestamp::now)
}

/// A list as of `revision`.
pub(crate) fn list(revision: u64, items: &[Value]) -> Value {
    json!({"kind": "List", "metadata": {"resourceVersion": revision.to_string()}, "items": items})
}

/// A refusal.
pub(crate) fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("no: {reason}"), "reason": reason, "code": code,
    });
    (code, status)
}

/// A pod as of `revision`.
pub(crate) fn pod(name: &str, revision: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "resourceVersion": revision.to_string(),
        },
    })
}

/// An object as it came over the wire.
pub(crate) fn raw(object: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(object).expect("JSON")
}
