//! From a request to a connection in a protocol that both sides speak
//! (upstream: `apimachinery/pkg/util/httpstream`, `apiserver/pkg/util/wsstream`).

use std::future::Future;

use apimachinery::status::Status;
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use crate::api::Request;
use crate::body::Body;
use crate::respond::Answer;

const SPDY: &str = "SPDY/3.1";
/// What SPDY clients offer, and what they are told.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What can be spoken about one thing.
pub(crate) struct Protocols {
    /// The thing: `exec`.
    pub(crate) what: &'static str,
    /// Inside WebSockets.
    pub(crate) websocket: &'static [&'static str],
    /// Inside SPDY. The last one is taken for what clients speak that name none.
    pub(crate) spdy: &'static [&'static str],
}

/// A request to change the protocol, that can be granted.
pub(crate) struct Upgrade {
    wire: Wire,
    protocol: &'static str,
    connection: OnUpgrade,
}

/// What carries the streams.
enum Wire {
    WebSocket { accept: String },
    Spdy { is_named: bool },
}

/// The connection, once it is no longer HTTP.
pub(crate) type Io = TokioIo<Upgraded>;

impl Upgrade {
    /// What the request asks for. 400 when that is nothing that we speak, 403 when SPDY clients speak nothing of ours.
    pub(crate) fn from_request(mut request: Request, protocols: &Protocols) -> Result<Self, Status> {
        let header = |name: HeaderName| text(&request.headers, &name);
        let asked = header(UPGRADE);
        let (wire, protocol) = if asked.eq_ignore_ascii_case("websocket") {
            let offered = header(SEC_WEBSOCKET_PROTOCOL);
            let key = header(SEC_WEBSOCKET_KEY);
            let protocol = first_of(&offered, protocols.websocket).filter(|_| !key.is_empty());
            let protocol = protocol.ok_or_else(|| protocols.refusal(&format!("{offered:?}")))?;
            (Wire::WebSocket { accept: derive_accept_key(key.as_bytes()) }, protocol)
        } else if asked.eq_ignore_ascii_case(SPDY) {
            let offered = header(STREAM_PROTOCOL);
            let oldest = protocols.spdy.last().copied().filter(|_| offered.is_empty());
            let protocol = oldest.or_else(|| first_of(&offered, protocols.spdy)).ok_or_else(|| {
                Status::new(403, "Forbidden", format!(
                    "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{}]",
                    protocols.spdy.join(" ")
                ))
            })?;
            (Wire::Spdy { is_named: !offered.is_empty() }, protocol)
        } else {
            let got = if asked.is_empty() { "a plain request" } else { &asked };
            return Err(protocols.refusal(got));
        };
        let what = protocols.what;
        let connection = request.upgrade.take().ok_or_else(|| {
            Status::bad_request(format!("unable to upgrade: {what} needs an HTTP/1.1 connection of its own"))
        })?;
        Ok(Self { wire, protocol, connection })
    }

    /// Whether SPDY was asked for, and not a WebSocket.
    pub(crate) fn is_spdy(&self) -> bool {
        matches!(self.wire, Wire::Spdy { .. })
    }

    /// What is spoken.
    pub(crate) fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Grants it. Once the connection is ours, `run` has it, until that ends or the server does.
    pub(crate) fn grant<F>(
        self,
        shutdown: CancellationToken,
        run: impl FnOnce(Io) -> F + Send + 'static,
    ) -> Answer
    where
        F: Future<Output = ()> + Send,
    {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocol = HeaderValue::from_static(self.protocol);
        match self.wire {
            Wire::WebSocket { accept } => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
                headers.extend(HeaderValue::from_str(&accept).map(|accept| (SEC_WEBSOCKET_ACCEPT, accept)));
            }
            Wire::Spdy { is_named } => {
                headers.insert(UPGRADE, HeaderValue::from_static(SPDY));
                headers.extend(is_named.then_some((STREAM_PROTOCOL, protocol)));
            }
        }
        let connection = self.connection;
        tokio::spawn(async move {
            let run = async {
                if let Ok(connection) = connection.await {
                    run(TokioIo::new(connection)).await;
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = run => {}
            }
        });
        answer
    }
}

impl Protocols {
    fn refusal(&self, got: &str) -> Status {
        let Self { what, websocket, .. } = self;
        let speak = websocket.join(", ");
        Status::bad_request(format!(
            "unable to upgrade: {what} here needs a WebSocket in one of {speak}, or {SPDY}, not {got}"
        ))
    }
}

/// The first word that is offered and known.
fn first_of(offered: &str, known: &[&'static str]) -> Option<&'static str> {
    offered.split(',').map(str::trim).find_map(|word| known.iter().copied().find(|known| *known == word))
}

/// All values of a header, as one list.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}
