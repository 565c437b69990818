//! A command or a container's own process, and a client.

use std::future::Future;

use apimachinery::status::Status;
use tokio_util::sync::CancellationToken;

use super::outcome;
use super::upgrade::Upgrade;
use super::{spdy_command, websocket};
use crate::node_streams::{ExecSession, StreamOptions};
use crate::respond::Answer;

/// Grants the upgrade; once the connection is ours, begins the session and carries it.
pub(crate) fn command(
    upgrade: Upgrade,
    streams: StreamOptions,
    session: impl Future<Output = Result<ExecSession, Status>> + Send + 'static,
    shutdown: CancellationToken,
) -> Answer {
    let session = async { session.await.unwrap_or_else(outcome::refused) };
    let (is_spdy, protocol) = (upgrade.is_spdy(), upgrade.protocol());
    upgrade.grant(shutdown, async move |io| {
        if is_spdy {
            spdy_command::serve(io, protocol, streams, session).await;
        } else {
            websocket::serve(io, streams, session).await;
        }
    })
}
