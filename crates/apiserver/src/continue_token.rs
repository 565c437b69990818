//! The `continue` of a list: where the next page begins, and which state it shows
//! (upstream: apiserver/pkg/storage/continue.go).

use apimachinery::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use store::Revision;

/// The version of the tokens (upstream: `continueToken`).
const VERSION: &str = "meta.k8s.io/v1";
/// The revision of a token that goes on with the newest state, whatever the pages before it showed.
const NEWEST: i64 = -1;

/// Which state a page shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continue {
    /// That of the pages before it.
    At(Revision),
    /// The newest: those who were told that theirs is forgotten, and go on all the same.
    Newest,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) at: Continue,
    /// The last key of the page before, without the collection's prefix.
    pub(crate) start: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "v", default)]
    version: String,
    #[serde(rename = "rv", default)]
    revision: i64,
    #[serde(default)]
    start: String,
}

impl Token {
    pub(crate) fn encode(&self) -> String {
        let revision = match self.at {
            Continue::At(revision) => i64::try_from(revision).unwrap_or(NEWEST),
            Continue::Newest => NEWEST,
        };
        let wire = Wire { version: VERSION.to_owned(), revision, start: self.start.clone() };
        BASE64.encode(serde_json::to_vec(&wire).expect("a token can be written"))
    }

    /// Reads a token. 400 for what no page before gave.
    pub(crate) fn decode(text: &str) -> Result<Self, Status> {
        let refuse = |why: String| {
            let why = format!(
                "invalid continue token: continue key is not valid{why}: take it from the page before"
            );
            Status::bad_request(why)
        };
        let bytes = BASE64.decode(text).map_err(|error| refuse(format!(": {error}")))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| refuse(format!(": {error}")))?;
        if wire.version != VERSION {
            return Err(refuse(format!(": server does not recognize this encoded version {}", wire.version)));
        }
        if wire.start.is_empty() {
            return Err(refuse(format!(": encoded start key empty (version {VERSION})")));
        }
        let at = match (wire.revision, Revision::try_from(wire.revision)) {
            (0, _) => {
                return Err(refuse(format!(": incorrect encoded start resourceVersion (version {VERSION})")));
            }
            (_, Ok(revision)) => Continue::At(revision),
            (_, Err(_)) => Continue::Newest,
        };
        Ok(Self { at, start: wire.start })
    }
}
