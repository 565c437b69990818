//! GET with `watch=true`: changes as lines of JSON, from a revision on
//! (upstream: apiserver/pkg/endpoints/handlers/watch.go; WatchList: KEP-3157; bookmarks: KEP-956).

mod feed;
mod lines;
mod socket;

use std::collections::VecDeque;
use std::time::Duration;

use apimachinery::status::Status;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use http::StatusCode;
use store::Revision;
use tokio::time::Instant;

use self::feed::{Bookmarks, Feed};
use self::lines::Lines;
use super::list;
use crate::api::{ApiServer, Request};
use crate::body::Body;
use crate::codec::Stored;
use crate::list_options::{ListOptions, Start, WatchOptions};
use crate::negotiate::Shown;
use crate::origin::WatchPlace;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;
use crate::storage;

/// How long a watch lives at the least when the client does not say (upstream: `--min-request-timeout`).
const DEFAULT_TIMEOUT_SECONDS: u64 = 1800;
/// How much longer it lives at the most: so that not all come back at once.
const DEFAULT_TIMEOUT_SPREAD: u64 = 1800;
/// The longest that a watch may live, whatever the client says: the clock ends somewhere.
const MAX_TIMEOUT_SECONDS: u64 = 365 * 24 * 3600;

pub(crate) async fn watch(api: &ApiServer, mut request: Request, target: &Target) -> Result<Answer, Status> {
    if api.shutdown_token().is_cancelled() {
        // Else clients would come back at once to a watch that ends at once.
        return Err(Status::new(503, "ServiceUnavailable", "stead is stopping; try again when it is back"));
    }
    let renderer = super::renderer(&request, target, Shown::Watch)?;
    let options = WatchOptions::from_query(target.kind, &request.query)?;
    let selection = Selection::from_request(&request, target)?.remembering(api.lately());
    let place = WatchPlace::take(api.watches(), &request.origin, &request.user.name)?;
    let socket = socket::Handshake::from_request(&mut request)?;
    let (initial, revision) = begin(api, &options.start, target, &selection).await?;
    let changes = api.store().watch(&watched_prefix(target, &selection), revision);
    let lines = Lines { target: target.clone(), renderer, selection, columns_told: false };
    let events: BoxStream<'static, std::io::Result<Bytes>> = match changes {
        Ok(changes) => {
            let end = Instant::now() + lifetime(api, &options);
            let feed = Feed {
                lines,
                initial,
                end_of_initial: options.tells_end,
                changes: Some(changes),
                revision,
                bookmarks: Bookmarks::new(options.bookmarks, end),
                deadline: Box::pin(tokio::time::sleep_until(end)),
                api: api.clone(),
                place,
            };
            feed.into_stream()
        }
        // As upstream's watch cache: the request succeeds and its only event is the error.
        Err(error) => stream::iter([Ok(lines.error(&storage::refused(target, error)))]).boxed(),
    };
    if let Some(handshake) = socket {
        return Ok(handshake.serve(events));
    }
    let mut answer = respond::json_bytes(StatusCode::OK, Bytes::new());
    *answer.body_mut() = Body::stream(events);
    Ok(answer)
}

/// What the watch tells first, and the revision after which it goes on.
async fn begin(
    api: &ApiServer,
    start: &Start,
    target: &Target,
    selection: &Selection,
) -> Result<(VecDeque<Stored>, Revision), Status> {
    match start {
        Start::Now => Ok((VecDeque::new(), api.store().revision())),
        Start::After(revision) => {
            storage::check_happened(api, *revision)?;
            Ok((VecDeque::new(), *revision))
        }
        Start::Initial(asked) => {
            storage::check_happened(api, asked.unwrap_or_default())?;
            let (items, meta) = list::select(api, &ListOptions::EVERYTHING, target, selection).await?;
            Ok((items.into(), meta.revision))
        }
    }
}

fn lifetime(api: &ApiServer, options: &WatchOptions) -> Duration {
    let seconds = options
        .timeout_seconds
        .unwrap_or_else(|| DEFAULT_TIMEOUT_SECONDS + api.random().below(DEFAULT_TIMEOUT_SPREAD));
    Duration::from_secs(seconds.min(MAX_TIMEOUT_SECONDS))
}

/// A watch for one name looks at the keys that begin with it.
fn watched_prefix(target: &Target, selection: &Selection) -> String {
    match selection.name() {
        Some(name) if target.has_place() => registry::key(target.kind, &target.namespace, name),
        _ => target.prefix(),
    }
}
