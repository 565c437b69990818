//! What runs over a connection that a client has taken out of HTTP: commands and forwarded ports, as WebSocket
//! messages or as SPDY streams.

mod channels;
mod command;
mod outcome;
mod pieces;
mod port_forward;
mod spdy_command;
mod tunnel;
mod upgrade;
mod websocket;

pub(crate) use command::command;
pub(crate) use port_forward::{Target as PortTarget, port_forward};
pub(crate) use upgrade::{Protocols, Upgrade};
