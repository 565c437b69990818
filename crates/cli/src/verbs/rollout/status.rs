//! `rollout status`: in kubectl's words how far a roll is, and on stderr what it waits for when it waits long.

use std::cell::RefCell;
use std::time::Duration;

use apimachinery::meta::ObjectExt;
use jiff::SignedDuration;
use serde_json::Value;

use super::Which;
use crate::duration;
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::rollout;
use crate::selection::{Filters, Found, Pick};
use crate::session::Session;

/// A roll that has said nothing new for so long waits long.
const LONG: Duration = Duration::from_secs(5);

/// Flags of `rollout status`.
#[derive(Clone, Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    pub(super) which: Which,
    /// Wait until the roll is done
    #[arg(short = 'w', long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    watch: bool,
    /// How long to wait; 0 is for ever
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    timeout: SignedDuration,
}

/// What was said, and what is there to say.
#[derive(Default)]
struct Said {
    text: String,
    cause: String,
    /// What the roll waits for, whether said or not.
    waits_for: String,
}

impl Status {
    pub(super) async fn one(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let name = found.object.name();
        let pick = Pick::named(found.resource.clone(), found.object.namespace(), name);
        let url = pick.watch_url(&Filters::default());
        let said = RefCell::new(Said::default());
        let until_done = follow(&session.api, &url, false, |seen| {
            let set = match seen {
                Seen::List(list) => &list["items"][0],
                Seen::Change("DELETED", _) => &Value::Null,
                Seen::Change(_, set) => set,
            };
            if !set.is_object() {
                return Err(Error::plain(format!("object {name} has been deleted")));
            }
            let progress = rollout::progress(set)?;
            let said = &mut *said.borrow_mut();
            if progress.text != said.text {
                session.say(&progress.text)?;
                said.text = progress.text;
            }
            said.waits_for = if progress.done { None } else { rollout::cause(set) }.unwrap_or_default();
            // What needs somebody is said at once, and all of it to one who will not wait.
            if rollout::is_stalled(set) || !self.watch {
                tell(session, said)?;
            }
            Ok((progress.done || !self.watch).then_some(()))
        });
        let until_done = async {
            tokio::pin!(until_done);
            loop {
                match tokio::time::timeout(LONG, &mut until_done).await {
                    Ok(done) => return done,
                    Err(_) => tell(session, &mut said.borrow_mut())?,
                }
            }
        };
        if self.timeout.is_zero() {
            return until_done.await;
        }
        let patience = duration::patience(self.timeout);
        tokio::time::timeout(patience, until_done)
            .await
            .unwrap_or_else(|_| Err(Error::plain("timed out waiting for the condition")))
    }
}

/// Says what the roll waits for, unless that was the last thing said of it.
fn tell(session: &Session, said: &mut Said) -> Result<(), Error> {
    if said.waits_for.is_empty() || said.waits_for == said.cause {
        return Ok(());
    }
    said.cause.clone_from(&said.waits_for);
    session.note(&said.cause)
}
