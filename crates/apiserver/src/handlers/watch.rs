//! GET with `watch=true`: changes as lines of JSON, from a revision on
//! (upstream: apiserver/pkg/endpoints/handlers/watch.go; WatchList: KEP-3157; bookmarks: KEP-956).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use apimachinery::status::Status;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use http::StatusCode;
use serde_json::{Value, json};
use store::{Event, Revision, Watch, WatchItem};
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::CancellationToken;

use super::list;
use crate::api::{ApiServer, Request};
use crate::body::Body;
use crate::codec::Stored;
use crate::negotiate::{self, Form};
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;
use crate::storage;
use crate::table::Renderer;

/// How often a client that allows bookmarks gets one.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long a watch lives at the least when the client does not say (upstream: `--min-request-timeout`).
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;
/// How much longer it lives at the most: so that not all come back at once.
const DEFAULT_TIMEOUT_SPREAD: u64 = 1800;
/// Events that are ready together travel in one piece of about this many bytes.
const PIECE: usize = 64 << 10;
/// The annotation of the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

pub(crate) async fn watch(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    if api.shutdown_token().is_cancelled() {
        // Else clients would come back at once to a watch that ends at once.
        return Err(Status::new(503, "ServiceUnavailable", "stead is stopping; try again when it is back"));
    }
    let selection = Selection::from_query(target.kind, &request.query)?;
    let start = Start::from_request(api, request)?;
    let seconds: u64 = match request.query.number("timeoutSeconds")? {
        None | Some(0) => DEFAULT_TIMEOUT_SECONDS + api.random().below(DEFAULT_TIMEOUT_SPREAD),
        Some(seconds) => seconds,
    };
    let (initial, revision) = match start.revision {
        Some(revision) => (VecDeque::new(), revision),
        None => {
            // The initial state is the newest, whole: only the selectors of the request count.
            let query =
                request.query.without(&["resourceVersion", "resourceVersionMatch", "limit", "continue"]);
            let (items, meta) = list::select(api, &query, target, &selection).await?;
            (items.into(), meta.revision)
        }
    };
    let changes = api.store().watch(&watched_prefix(target, &selection), revision);
    let form = negotiate::form(&request.headers, request.query.get("includeObject"));
    let mut bookmark_tick = tokio::time::interval_at(Instant::now() + BOOKMARK_PERIOD, BOOKMARK_PERIOD);
    bookmark_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feed = Feed {
        lines: Lines {
            target: target.clone(),
            renderer: Renderer::new(target.kind, form, request.clock.clone()),
            form,
            selection,
            columns_told: false,
        },
        initial,
        end_of_initial: start.tells_end,
        changes: None,
        revision,
        bookmarks: start.bookmarks.then_some(bookmark_tick),
        deadline: Box::pin(tokio::time::sleep(Duration::from_secs(seconds))),
        shutdown: api.shutdown_token().clone(),
    };
    let body = match changes {
        Ok(changes) => Body::stream(Feed { changes: Some(changes), ..feed }.into_stream()),
        // As upstream's watch cache: the request succeeds and its only event is the error.
        Err(error) => Body::full(feed.lines.error(&storage::refused(target, error))),
    };
    let mut answer = respond::json_bytes(StatusCode::OK, Bytes::new());
    *answer.body_mut() = body;
    Ok(answer)
}

/// Where a watch begins.
struct Start {
    /// After this revision; `None`: with the current state as `ADDED` events.
    revision: Option<Revision>,
    /// Whether a bookmark tells that the current state has been sent.
    tells_end: bool,
    bookmarks: bool,
}

impl Start {
    fn from_request(api: &ApiServer, request: &Request) -> Result<Self, Status> {
        let query = &request.query;
        let bookmarks = query.flag("allowWatchBookmarks");
        let asked = query.number::<Revision>("resourceVersion")?.filter(|v| *v > 0);
        let initial = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents"));
        match (initial, query.get("resourceVersionMatch")) {
            (None, Some(_)) => {
                return Err(Status::bad_request(
                    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                ));
            }
            (Some(_), matching) if matching != Some("NotOlderThan") => {
                return Err(Status::bad_request(
                    "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                ));
            }
            _ => {}
        }
        let newest = api.store().revision();
        if let Some(asked) = asked.filter(|asked| *asked > newest) {
            return Err(storage::too_large_version(asked, newest));
        }
        let revision = match (initial, asked) {
            (Some(true), _) | (None, None) => None,
            (Some(false), None) => Some(newest),
            (Some(false) | None, Some(asked)) => Some(asked),
        };
        Ok(Self { revision, tells_end: initial == Some(true) && bookmarks, bookmarks })
    }
}

/// A watch for one name looks at the keys that begin with it.
fn watched_prefix(target: &Target, selection: &Selection) -> String {
    let has_place = !target.namespace.is_empty() || target.kind.scope == registry::Scope::Cluster;
    match selection.name() {
        Some(name) if has_place => registry::key(target.kind, &target.namespace, name),
        _ => target.prefix(),
    }
}

/// Writes events as lines.
struct Lines {
    target: Target,
    renderer: Renderer,
    form: Form,
    selection: Selection,
    /// The first event of a table carries its columns.
    columns_told: bool,
}

impl Lines {
    /// Appends what the event means to a client with this selection: an object that leaves the selection is
    /// gone, one that enters it is new.
    fn event(&mut self, out: &mut Vec<u8>, event: &Event) -> Result<(), Status> {
        let shown = |side: &Option<store::Versioned>| match side {
            Some(versioned) => self.selection.matches(&versioned.value),
            None => Ok(false),
        };
        let (before, after) = (shown(&event.previous)?, shown(&event.current)?);
        let (word, object) = match (before, after) {
            (false, false) => return Ok(()),
            (false, true) => ("ADDED", &event.current),
            (true, true) => ("MODIFIED", &event.current),
            (true, false) => ("DELETED", &event.previous),
        };
        let Some(object) = object else { return Ok(()) };
        self.object(out, word, &Stored { bytes: object.value.clone(), revision: event.revision })
    }

    fn object(&mut self, out: &mut Vec<u8>, word: &str, stored: &Stored) -> Result<(), Status> {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(br#"","object":"#);
        let with_columns = !std::mem::replace(&mut self.columns_told, true);
        self.renderer.write(out, stored, with_columns)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn bookmark(&self, out: &mut Vec<u8>, revision: Revision, ends_initial: bool) {
        let kind = self.target.kind;
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = match self.form {
            Form::Object => {
                json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata})
            }
            Form::Partial => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Form::Table(_) => json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "columnDefinitions": [], "rows": []}),
        };
        line(out, &json!({"type": "BOOKMARK", "object": object}));
    }

    fn error(&self, status: &Status) -> Bytes {
        let mut out = Vec::new();
        line(&mut out, &json!({"type": "ERROR", "object": status.to_json()}));
        Bytes::from(out)
    }
}

fn line(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(&mut *out, value).expect("writing to memory");
    out.push(b'\n');
}

/// A watch under way.
struct Feed {
    lines: Lines,
    /// What is left to tell of the state at the beginning.
    initial: VecDeque<Stored>,
    end_of_initial: bool,
    /// `None` once the watch has ended.
    changes: Option<Watch>,
    /// Everything up to here has been told.
    revision: Revision,
    bookmarks: Option<Interval>,
    deadline: Pin<Box<Sleep>>,
    shutdown: CancellationToken,
}

impl Feed {
    fn into_stream(self) -> stream::BoxStream<'static, io::Result<Bytes>> {
        stream::unfold(self, |mut feed| async move {
            let piece = feed.next().await?;
            Some((Ok(piece), feed))
        })
        .boxed()
    }

    /// The next piece, or the end.
    async fn next(&mut self) -> Option<Bytes> {
        if !self.initial.is_empty() || self.end_of_initial {
            return Some(self.next_initial());
        }
        loop {
            let changes = self.changes.as_mut()?;
            let mut out = Vec::new();
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                () = &mut self.deadline => return None,
                () = tick(&mut self.bookmarks) => self.lines.bookmark(&mut out, self.revision, false),
                item = changes.next() => self.take(&mut out, item),
            }
            while out.len() < PIECE {
                let Some(changes) = self.changes.as_mut() else { break };
                let Some(item) = changes.next().now_or_never() else { break };
                self.take(&mut out, item);
            }
            if !out.is_empty() {
                return Some(Bytes::from(out));
            }
        }
    }

    fn next_initial(&mut self) -> Bytes {
        let mut out = Vec::new();
        while out.len() < PIECE {
            let Some(stored) = self.initial.pop_front() else { break };
            if let Err(status) = self.lines.object(&mut out, "ADDED", &stored) {
                self.changes = None;
                return self.lines.error(&status);
            }
        }
        if self.initial.is_empty() && std::mem::take(&mut self.end_of_initial) {
            self.lines.bookmark(&mut out, self.revision, true);
        }
        Bytes::from(out)
    }

    fn take(&mut self, out: &mut Vec<u8>, item: Option<Result<WatchItem, store::Error>>) {
        let told = match item {
            None => {
                self.changes = None;
                return;
            }
            Some(Ok(WatchItem::Progress(revision))) => {
                self.revision = self.revision.max(revision);
                return;
            }
            Some(Ok(WatchItem::Event(event))) => {
                self.revision = event.revision;
                let whole = out.len();
                self.lines.event(out, &event).inspect_err(|_| out.truncate(whole))
            }
            Some(Err(error)) => Err(storage::refused(&self.lines.target, error)),
        };
        if let Err(status) = told {
            out.extend_from_slice(&self.lines.error(&status));
            self.changes = None;
        }
    }
}

async fn tick(bookmarks: &mut Option<Interval>) {
    match bookmarks {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
