//! A watch over a bad wire: told late, told twice, cut off. Order is kept, as the API promises.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apiserver::Body;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::time::{Sleep, sleep};

use crate::faults::Fault;
use crate::process::Process;
use crate::sim::Sim;

/// A watch that is to be cut lives at most so long, in milliseconds.
const LONGEST_LIFE: u64 = 120_000;
/// The longest that a watch tells late, in milliseconds.
const LONGEST_LAG: u64 = 30_000;
/// For ever.
const NEVER: Duration = Duration::from_secs(365 * 86_400);

/// What is said of an event in the trace.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    word: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: String,
    resource_version: String,
}

struct Tap {
    sim: Arc<Sim>,
    process: Arc<Process>,
    what: String,
    body: Body,
    /// The newest revision that the API has told here.
    reached: u64,
    cut: Pin<Box<Sleep>>,
    is_over: bool,
}

/// The body of a watch as it comes out of the wire.
pub(crate) fn tap(sim: Arc<Sim>, process: Arc<Process>, asked: &str, body: Body) -> Body {
    let is_cut = process.faulty && sim.strikes(Fault::WatchCut);
    let life = if is_cut { sim.dice.millis(0, LONGEST_LIFE) } else { NEVER };
    let path = asked.split('?').next().unwrap_or_default();
    let what = path.rsplit('/').next().unwrap_or_default().to_owned();
    let cut = Box::pin(sleep(life));
    let tap = Tap { sim, process, what, body, reached: 0, cut, is_over: false };
    Body::stream(
        stream::unfold(tap, |mut tap| async move {
            let piece = tap.next().await?;
            Some((piece, tap))
        })
        .boxed(),
    )
}

impl Tap {
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let frame = tokio::select! {
            biased;
            () = &mut self.cut => return self.end(None),
            frame = self.body.frame() => frame?,
        };
        let piece = frame.ok()?.into_data().ok()?;
        self.check(&piece);
        if !self.process.faulty {
            return Some(Ok(piece));
        }
        if self.sim.strikes(Fault::WatchDelayed) {
            let lag = self.sim.dice.millis(10, LONGEST_LAG);
            self.sim.note(&format!(
                "{} hears of {} {} ms late",
                self.process.name,
                self.what,
                lag.as_millis()
            ));
            sleep(lag).await;
        } else {
            sleep(self.sim.dice.millis(0, 2)).await;
        }
        if self.sim.strikes(Fault::WatchExpired) {
            self.is_over = true;
            self.sim.note(&format!("{}: the watch of {} expires", self.process.name, self.what));
            return Some(Ok(Bytes::from_static(EXPIRED)));
        }
        if self.sim.strikes(Fault::WatchCut) {
            return self.end(Some(piece));
        }
        if self.sim.strikes(Fault::EventRepeated) {
            return Some(Ok(with_last_line_twice(&piece)));
        }
        Some(Ok(piece))
    }

    /// Cuts the watch: in good order, in the middle of a line, or with an error.
    fn end(&mut self, piece: Option<Bytes>) -> Option<io::Result<Bytes>> {
        self.is_over = true;
        self.sim.note(&format!("{}: the watch of {} is cut", self.process.name, self.what));
        match self.sim.dice.between(0, 2) {
            0 => None,
            1 => Some(Err(io::Error::new(io::ErrorKind::ConnectionReset, "the wire broke"))),
            _ => piece.map(|piece| Ok(piece.slice(..piece.len() / 2))),
        }
    }

    /// A watch never goes back.
    fn check(&mut self, piece: &[u8]) {
        for line in piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(line) = serde_json::from_slice::<Line>(line) else { continue };
            let (word, meta) = (line.word, line.object.metadata);
            self.sim.log().digest(format!("{word} {} {}", meta.name, meta.resource_version).as_bytes());
            let Ok(revision) = meta.resource_version.parse::<u64>() else { continue };
            let is_older =
                if word == "BOOKMARK" { revision < self.reached } else { revision <= self.reached };
            if is_older {
                let (what, reached) = (&self.what, self.reached);
                self.sim.fail(format!("a watch of {what} told revision {revision} after {reached}"));
            }
            self.reached = revision;
        }
    }
}

const EXPIRED: &[u8] = b"{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n";

fn with_last_line_twice(piece: &Bytes) -> Bytes {
    let without_end = piece.strip_suffix(b"\n").unwrap_or(piece);
    let start = without_end.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut twice = BytesMut::from(&piece[..]);
    twice.extend_from_slice(&piece[start..]);
    twice.freeze()
}
