//! Events (`core/v1`): what happened, for people. Equal events of one object are counted in one Event
//! object, as `k8s.io/client-go/tools/record` does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use apimachinery::inject::Clock;
use http::Method;
use jiff::Timestamp;
use kube::Client;
use planner::{EventType, ObjectRef};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::paths::collection_path;
use crate::request::send_json;

/// Events waiting to be written; more are dropped, with a warning in the log.
const QUEUE: usize = 4096;
/// How many different events are remembered for counting.
const REMEMBERED: usize = 4096;
/// The longest name of an object (RFC 1123 subdomain).
const LONGEST_NAME: usize = 253;

struct Entry {
    about: ObjectRef,
    event_type: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Writes events in the background, in order. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Entry>,
    clock: Clock,
}

/// What one recorder has written.
#[derive(Default)]
struct Past {
    /// By [`identity`].
    known: HashMap<u64, Known>,
    /// The moment in the name of the last event, in nanoseconds.
    last: u64,
}

struct Known {
    name: String,
    count: u64,
}

impl Past {
    /// The moment that an event is named by: each has its own, also where the clock stands still or goes back.
    fn moment(&mut self, at: Timestamp) -> u64 {
        let at = u64::try_from(at.as_nanosecond()).unwrap_or_default();
        self.last = at.max(self.last + 1);
        self.last
    }
}

impl Recorder {
    /// A recorder whose events come from `component` (`statefulset-controller`, `kubelet`) on `host`.
    pub fn new(client: Client, component: &'static str, host: &str, clock: Clock) -> Self {
        let (queue, mut entries) = mpsc::channel::<Entry>(QUEUE);
        let source = json!({"component": component, "host": host});
        tokio::spawn(async move {
            let mut past = Past::default();
            while let Some(entry) = entries.recv().await {
                if past.known.len() >= REMEMBERED {
                    past.known.clear();
                }
                if let Err(error) = write(&client, &source, &mut past, &entry).await {
                    tracing::debug!("event {} of {}: {error}", entry.reason, entry.about.name);
                }
            }
        });
        Self { queue, clock }
    }

    /// Notes an event. Never waits.
    pub fn record(&self, about: &ObjectRef, event_type: EventType, reason: &str, message: &str) {
        let entry = Entry {
            about: about.clone(),
            event_type,
            reason: reason.to_owned(),
            message: message.to_owned(),
            at: self.clock.now(),
        };
        if self.queue.try_send(entry).is_err() {
            tracing::warn!("event dropped: {reason} of {} {}", about.kind, about.name);
        }
    }
}

async fn write(client: &Client, source: &Value, past: &mut Past, entry: &Entry) -> Result<(), kube::Error> {
    let id = identity(entry);
    let time = apimachinery::time::format_seconds(entry.at);
    let namespace = if entry.about.namespace.is_empty() { "default" } else { &entry.about.namespace };
    let collection = collection_path("v1", "Event", namespace).unwrap_or_default();
    if let Some(seen) = past.known.get_mut(&id) {
        seen.count += 1;
        let patch = json!({"count": seen.count, "lastTimestamp": time});
        match send_json(client, Method::PATCH, &format!("{collection}/{}", seen.name), &patch).await {
            // Somebody removed it: it begins anew.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => return other.map(|_| ()),
        }
    }
    // As upstream names events: the moment in the name is exact, the timestamps are whole seconds.
    let name = event_name(&entry.about.name, past.moment(entry.at));
    let event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": entry.about.api_version, "kind": entry.about.kind,
            "namespace": entry.about.namespace, "name": entry.about.name, "uid": entry.about.uid,
        },
        "type": match entry.event_type { EventType::Normal => "Normal", EventType::Warning => "Warning" },
        "reason": entry.reason, "message": entry.message, "source": source,
        "reportingComponent": source["component"], "reportingInstance": source["host"],
        "count": 1, "firstTimestamp": time, "lastTimestamp": time,
    });
    send_json(client, Method::POST, &collection, &event).await?;
    past.known.insert(id, Known { name, count: 1 });
    Ok(())
}

/// Unlike any other event's, also over restarts; an object whose name leaves no room lends the end of it.
fn event_name(about: &str, unique: u64) -> String {
    let suffix = format!("{unique:016x}");
    let room = LONGEST_NAME - suffix.len() - 1;
    // Names are ASCII. What is left must begin with a letter or digit, too.
    let about = about.get(about.len().saturating_sub(room)..).unwrap_or_default();
    let about = about.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if about.is_empty() { suffix } else { format!("{about}.{suffix}") }
}

fn identity(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&entry.about, entry.event_type == EventType::Warning, &entry.reason, &entry.message).hash(&mut hasher);
    hasher.finish()
}
