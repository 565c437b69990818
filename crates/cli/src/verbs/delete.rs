//! `delete`: asks for objects to go, and waits until they are gone.

use std::time::Duration;

use apimachinery::meta::ObjectExt;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::duration;
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::manifests::Files;
use crate::output::{DryRun, Format, without_managed_fields};
use crate::selection::{self, Filters, Found, Pick};
use crate::session::{Failures, Session};

/// Flags of `delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct Delete {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// What becomes of the objects that the deleted ones own
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_value = "background", default_missing_value = "background", require_equals = true)]
    cascade: Cascade,
    /// Seconds that a pod has to end; below zero: as the pod says
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// Let pods end within a second
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// Remove at once from the API, with no proof that the processes are gone
    #[arg(long)]
    force: bool,
    /// Wait until the objects are gone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait; 0 is for ever
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration::parse)]
    timeout: SignedDuration,
    /// It is no failure when an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// The form of output: name
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
    /// Delete nothing, only say what would be
    #[arg(long, value_name = "WHERE", num_args = 0..=1, default_value = "none", default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
}

/// What becomes of owned objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Cascade {
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
    /// They stay.
    Orphan,
}

impl Delete {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        if self.force && self.grace_period > 0 {
            return Err(Error::plain(
                "--force and --grace-period greater than 0 cannot be specified together: leave one out",
            ));
        }
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&self.filters, self.all)?;
        selection.forbid_names_with(&self.filters)?;
        if self.force {
            session.note(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been \
                 terminated. The resource may continue to run on the cluster indefinitely.",
            )?;
        }
        let mut failures = Failures::default();
        let mut going = Vec::new();
        let mut found_any = false;
        for pick in &selection.picks {
            let objects = match pick.name {
                // Not looked at first: the delete itself says whether it is there.
                Some(_) => vec![pick.clone()],
                None => failures.note(session, self.list(session, pick).await)?.unwrap_or_default(),
            };
            for object in objects {
                found_any = true;
                let deleted = match self.one(session, &object).await {
                    Err(error) if error.is_not_found() && (self.ignore_not_found || pick.name.is_none()) => {
                        continue;
                    }
                    other => failures.note(session, other)?,
                };
                going.extend(deleted);
            }
        }
        if !found_any {
            session.note("No resources found")?;
        }
        if self.wait && self.dry_run == DryRun::None {
            for gone in &going {
                failures.note(session, self.wait_for(session, gone).await)?;
            }
        }
        failures.end()
    }

    async fn list(&self, session: &Session, pick: &Pick) -> Result<Vec<Pick>, Error> {
        let found = selection::fetch(session, pick, &self.filters).await?;
        let named = found.into_iter().map(|f| Pick::named(f.resource, f.object.namespace(), f.object.name()));
        Ok(named.collect())
    }

    /// Asks for one object to go; tells the object as it was.
    async fn one(&self, session: &Session, pick: &Pick) -> Result<Found, Error> {
        let url = pick.url(&Filters::default());
        let answer = match self.dry_run {
            DryRun::Client => session.api.get(&url).await?,
            _ => session.api.delete(&url, &self.options()).await?,
        };
        let name = pick.name.clone().unwrap_or_default();
        let type_name = pick.resource.type_name();
        match &self.output {
            Some(Format::Name) => session.say(format!("{type_name}/{name}"))?,
            Some(Format::Data(format)) => {
                session.print(format.print(&without_managed_fields(answer.clone()))?)?;
            }
            _ => {
                let how = if self.force { "force deleted" } else { "deleted" };
                let suffix = match self.dry_run {
                    DryRun::None => "",
                    DryRun::Client => " (dry run)",
                    DryRun::Server => " (server dry run)",
                };
                session.say(format!("{type_name} \"{name}\" {how}{suffix}"))?;
            }
        }
        // A Status tells the uid in its details, the object in its metadata.
        let uid = [answer.uid(), answer["details"]["uid"].as_str().unwrap_or_default()].concat();
        let object = json!({"metadata": {"name": name, "namespace": pick.namespace, "uid": uid}});
        Ok(Found { resource: pick.resource.clone(), object })
    }

    fn options(&self) -> Value {
        let policy = match self.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        };
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let grace = match (self.force, self.now, self.grace_period) {
            (true, ..) => Some(0),
            (_, true, _) => Some(1),
            // 0 would skip the proof that the processes are gone: that takes --force.
            (.., 0) => Some(1),
            (.., seconds) if seconds > 0 => Some(seconds),
            _ => None,
        };
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = seconds.into();
        }
        if self.dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    async fn wait_for(&self, session: &Session, gone: &Found) -> Result<(), Error> {
        let wait = until_gone(session, gone);
        if self.timeout.is_zero() {
            return wait.await;
        }
        let patience: Duration = duration::patience(self.timeout);
        tokio::time::timeout(patience, wait).await.unwrap_or_else(|_| {
            let name = format!("{}/{}", gone.resource.plural_name(), gone.object.name());
            Err(Error::plain(format!("timed out waiting for the condition on {name}")))
        })
    }
}

/// Waits until the object with that uid is gone; one of the same name that comes after it does not count.
pub(crate) async fn until_gone(session: &Session, gone: &Found) -> Result<(), Error> {
    let pick = Pick::named(gone.resource.clone(), gone.object.namespace(), gone.object.name());
    let uid = gone.object.uid();
    let is_it = |object: &Value| uid.is_empty() || object.uid() == uid;
    follow(&session.api, &pick.watch_url(&Filters::default()), false, |seen| {
        let is_gone = match seen {
            Seen::List(list) => !list["items"].as_array().is_some_and(|items| items.iter().any(is_it)),
            Seen::Change("DELETED", object) => is_it(object),
            Seen::Change(_, object) => !is_it(object),
        };
        Ok(is_gone.then_some(()))
    })
    .await
}
