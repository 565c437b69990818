//! A watch under way. It holds its place in the store's history and no queue: what its client does not take waits
//! there, and when history has moved on past it, the watch ends. So nobody waits for a slow client.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use store::{Event, Revision, Watch};
use tokio::time::{Instant, Sleep};

use super::lines::Lines;
use crate::api::ApiServer;
use crate::codec::Stored;
use crate::origin::WatchPlace;
use crate::storage;

/// How often a client that allows bookmarks gets one.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long before its end a watch tells once more how far it came (upstream: `nextBookmarkTime`).
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Events that are ready together travel in one piece of about this many bytes.
const PIECE: usize = 64 << 10;

/// A watch under way.
pub(super) struct Feed {
    pub(super) lines: Lines,
    /// What is left to tell of the state at the beginning.
    pub(super) initial: VecDeque<Stored>,
    pub(super) end_of_initial: bool,
    /// `None` once the watch has ended.
    pub(super) changes: Option<Watch>,
    /// Everything up to here has been told.
    pub(super) revision: Revision,
    pub(super) bookmarks: Bookmarks,
    pub(super) deadline: Pin<Box<Sleep>>,
    pub(super) api: ApiServer,
    pub(super) place: WatchPlace,
}

/// When the next bookmark is due.
pub(super) struct Bookmarks {
    due: Option<Pin<Box<Sleep>>>,
    end: Instant,
}

impl Bookmarks {
    pub(super) fn new(wanted: bool, end: Instant) -> Self {
        let mut bookmarks = Self { due: None, end };
        if wanted {
            bookmarks.schedule();
        }
        bookmarks
    }

    /// Each minute, and once more shortly before the end.
    fn schedule(&mut self) {
        let now = Instant::now();
        let last = self.end.checked_sub(LAST_BOOKMARK).filter(|last| *last > now);
        self.due = last.map(|last| Box::pin(tokio::time::sleep_until(last.min(now + BOOKMARK_PERIOD))));
    }

    async fn next(&mut self) {
        match &mut self.due {
            Some(due) => due.await,
            None => std::future::pending().await,
        }
        self.schedule();
    }
}

impl Feed {
    pub(super) fn into_stream(self) -> stream::BoxStream<'static, io::Result<Bytes>> {
        stream::unfold(self, |mut feed| async move {
            feed.place.asked();
            let piece = feed.next().await?;
            feed.place.gave();
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
            let (mut out, mut is_due) = (Vec::new(), false);
            tokio::select! {
                biased;
                () = self.api.shutdown_token().cancelled() => return None,
                () = &mut self.deadline => return None,
                () = self.bookmarks.next() => is_due = true,
                item = changes.next() => self.take(&mut out, item),
            }
            self.take_what_is_ready(&mut out);
            if is_due && self.changes.is_some() {
                self.lines.bookmark(&mut out, self.revision, false);
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
                self.initial.clear();
                self.end_of_initial = false;
                self.changes = None;
                return self.lines.error(&status);
            }
        }
        if self.initial.is_empty() && std::mem::take(&mut self.end_of_initial) {
            self.lines.bookmark(&mut out, self.revision, true);
        }
        Bytes::from(out)
    }

    /// Takes as much as a piece holds. When nothing is left, all is told that had been written before.
    fn take_what_is_ready(&mut self, out: &mut Vec<u8>) {
        let written = self.api.store().revision();
        while out.len() < PIECE {
            let Some(changes) = self.changes.as_mut() else { return };
            let Some(item) = changes.next().now_or_never() else {
                self.revision = self.revision.max(written);
                return;
            };
            self.take(out, item);
        }
    }

    fn take(&mut self, out: &mut Vec<u8>, item: Option<Result<Arc<Event>, store::Error>>) {
        let told = match item {
            None => {
                self.changes = None;
                return;
            }
            Some(Ok(event)) => {
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
