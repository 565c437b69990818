//! `rollout`: how a StatefulSet's update goes, where it was before, the way back, and a pause.

mod status;

use apimachinery::annotations::PAUSED;
use apimachinery::meta::ObjectExt;
use apimachinery::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::PatchType;
use crate::describe;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report, tabwriter};
use crate::rollout;
use crate::selection::{self, Filters, Found, Pick};
use crate::session::{Failures, Session};

/// The annotation of a template whose change starts a roll (upstream: `objectrestarter.go`).
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// What to do with a roll.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Rollout {
    /// Say how far the roll is, until it is done
    Status(status::Status),
    /// List the revisions
    History(History),
    /// Go back to an earlier revision
    Undo(Undo),
    /// Make all pods anew, one after the other
    Restart(Change),
    /// Replace no more pods because of their revision, until resume
    Pause(Change),
    /// Go on with what pause has stopped
    Resume(Change),
}

/// Flags of `rollout history`.
#[derive(Clone, Debug, clap::Args)]
pub struct History {
    #[command(flatten)]
    which: Which,
    /// Show the template of this revision
    #[arg(long, value_name = "N", default_value_t = 0)]
    revision: i64,
}

/// Flags of `rollout undo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Undo {
    #[command(flatten)]
    which: Which,
    /// The revision to go back to; 0 is the one before
    #[arg(long, value_name = "N", default_value_t = 0)]
    to_revision: i64,
    #[command(flatten)]
    report: Report,
}

/// Flags of `rollout restart`, `pause` and `resume`.
#[derive(Clone, Debug, clap::Args)]
pub struct Change {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    report: Report,
}

/// Which sets.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    selector: String,
}

impl Which {
    async fn fetch(&self, session: &Session) -> Result<Vec<Found>, Error> {
        let filters = Filters { selector: self.selector.clone(), ..Filters::default() };
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&filters, false)?;
        let mut all = Vec::new();
        for pick in &selection.picks {
            for found in selection::fetch(session, pick, &filters).await? {
                if found.resource.type_name() != "statefulset.apps" {
                    return Err(Error::plain(format!(
                        "rollout knows StatefulSets, not {}: name one, as in rollout status sts/NAME",
                        found.type_and_name()
                    )));
                }
                all.push(found);
            }
        }
        Ok(all)
    }
}

impl Rollout {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let mut failures = Failures::default();
        match self {
            Self::Status(verb) => {
                for found in verb.which.fetch(session).await? {
                    verb.one(session, &found).await?;
                }
            }
            Self::History(verb) => {
                for found in verb.which.fetch(session).await? {
                    failures.note(session, verb.one(session, &found).await)?;
                }
            }
            Self::Undo(verb) => {
                for found in verb.which.fetch(session).await? {
                    failures.note(session, verb.one(session, &found).await)?;
                }
            }
            Self::Restart(verb) => {
                for found in verb.which.fetch(session).await? {
                    failures.note(session, verb.restart(session, &found).await)?;
                }
            }
            Self::Pause(verb) => {
                for found in verb.which.fetch(session).await? {
                    failures.note(session, verb.pause(session, &found, true).await)?;
                }
            }
            Self::Resume(verb) => {
                for found in verb.which.fetch(session).await? {
                    failures.note(session, verb.pause(session, &found, false).await)?;
                }
            }
        }
        failures.end()
    }
}

/// The set's revisions, the oldest first.
async fn history(session: &Session, set: &Value) -> Result<Vec<Value>, Error> {
    let resource = session.resource("controllerrevisions.apps").await?;
    let pick = Pick { resource, namespace: set.namespace().to_owned(), name: None };
    let revisions = selection::fetch(session, &pick, &Filters::default()).await?;
    Ok(rollout::history(set, revisions.into_iter().map(|found| found.object).collect()))
}

impl History {
    async fn one(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let history = history(session, &found.object).await?;
        let name = found.type_and_name();
        if self.revision == 0 {
            let overview = tabwriter::align(&rollout::overview(&history), describe::PADDING);
            let gap = if history.is_empty() { "" } else { "\n" };
            return session.print(format!("{name} \n{overview}{gap}"));
        }
        let revision = rollout::find(&history, self.revision)?;
        let restored = rollout::restored(&found.object, revision)?;
        let mut lines = describe::Lines::new(Timestamp::now());
        describe::pod_template(&mut lines, &restored["spec"]["template"]);
        let template = tabwriter::align(&lines.into_text(), describe::PADDING);
        session.print(format!("{name} with revision #{}\n{template}\n", self.revision))
    }
}

impl Undo {
    async fn one(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let history = history(session, &found.object).await?;
        let revision = rollout::find(&history, self.to_revision)?;
        let restored = rollout::restored(&found.object, revision)?;
        if restored["spec"]["template"] == found.object["spec"]["template"] {
            let number = rollout::number(revision);
            let operation = format!("skipped rollback (current template already matches revision {number})");
            return self.report.done(session, &found.resource, &found.object, &operation);
        }
        change(session, found, &self.report, &revision["data"], "rolled back").await
    }
}

impl Change {
    async fn restart(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let now = time::format_seconds(Timestamp::now());
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}});
        change(session, found, &self.report, &patch, "restarted").await
    }

    /// Sets or takes away the annotation that planners go by.
    async fn pause(&self, session: &Session, found: &Found, pause: bool) -> Result<(), Error> {
        if rollout::is_paused(&found.object) == pause {
            let state = if pause { "already paused" } else { "not paused" };
            let (resource, name) = (&found.resource, found.object.name());
            return Err(Error::plain(format!("{}.{} {name:?} is {state}", resource.plural, resource.group)));
        }
        let value = if pause { Value::from("true") } else { Value::Null };
        let patch = json!({"metadata": {"annotations": {PAUSED: value}}});
        let operation = if pause { "paused" } else { "resumed" };
        change(session, found, &self.report, &patch, operation).await
    }
}

async fn change(
    session: &Session,
    found: &Found,
    report: &Report,
    patch: &Value,
    operation: &str,
) -> Result<(), Error> {
    let changed = match report.dry_run {
        DryRun::Client => found.object.clone(),
        dry_run => {
            let url = found.url().with("dryRun", dry_run.parameter());
            session.api.patch(&url, PatchType::Strategic, patch).await?
        }
    };
    report.done(session, &found.resource, &changed, operation)
}
