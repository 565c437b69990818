//! `scale`: how many replicas.

use apimachinery::meta::ObjectExt;
use serde_json::json;

use crate::api::PatchType;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report};
use crate::selection::{self, Filters, Found};
use crate::session::{Failures, Session};

/// Flags of `scale`.
#[derive(Clone, Debug, clap::Args)]
pub struct Scale {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// How many there shall be
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    replicas: i32,
    /// Only if there are this many now
    #[arg(long, value_name = "N")]
    current_replicas: Option<i64>,
    /// Only if the object is of this version
    #[arg(long, value_name = "VERSION")]
    resource_version: Option<String>,
    #[command(flatten)]
    report: Report,
}

impl Scale {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&self.filters, self.all)?;
        let mut failures = Failures::default();
        for pick in &selection.picks {
            let Some(found) = failures.note(session, selection::fetch(session, pick, &self.filters).await)?
            else {
                continue;
            };
            for object in found {
                failures.note(session, self.one(session, &object).await)?;
            }
        }
        failures.end()
    }

    async fn one(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let (resource, object) = (&found.resource, &found.object);
        let url = resource.part_url(object.namespace(), object.name(), "scale");
        let mut patch = json!({"spec": {"replicas": self.replicas}});
        if self.current_replicas.is_some() || self.resource_version.is_some() {
            let scale = session.api.get(&url).await?;
            let replicas = scale["spec"]["replicas"].as_i64().unwrap_or_default();
            if let Some(expected) = self.current_replicas.filter(|expected| *expected != replicas) {
                return Err(Error::plain(format!("Expected replicas to be {expected}, was {replicas}")));
            }
            // What was looked at must be what is changed.
            let version = self.resource_version.as_deref().unwrap_or(scale.resource_version());
            patch["metadata"]["resourceVersion"] = version.into();
        }
        let dry_run = self.report.dry_run;
        if dry_run != DryRun::Client {
            session.api.patch(&url.with("dryRun", dry_run.parameter()), PatchType::Merge, &patch).await?;
        }
        self.report.done(session, resource, object, "scaled")
    }
}
