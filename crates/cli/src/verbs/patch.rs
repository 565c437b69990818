//! `patch`: a change said as a patch.

use std::path::PathBuf;

use apimachinery::yaml;
use serde_json::Value;

use crate::api::PatchType;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report};
use crate::selection::{self, Filters, Found};
use crate::session::{Failures, Session};

/// Flags of `patch`.
#[derive(Clone, Debug, clap::Args)]
pub struct Patch {
    /// TYPE NAME or TYPE/NAME
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The patch, as JSON or YAML
    #[arg(short = 'p', long, value_name = "PATCH", required_unless_present = "patch_file")]
    patch: Option<String>,
    /// A file with the patch
    #[arg(long, value_name = "FILE", conflicts_with = "patch")]
    patch_file: Option<PathBuf>,
    /// The form of the patch
    #[arg(long = "type", value_name = "FORM", default_value = "strategic")]
    form: PatchType,
    /// Patch this part of the object: status, scale, resize
    #[arg(long, value_name = "PART")]
    subresource: Option<String>,
    #[command(flatten)]
    report: Report,
}

impl Patch {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let patch = self.read()?;
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&Filters::default(), false)?;
        let mut failures = Failures::default();
        for pick in &selection.picks {
            let fetched = selection::fetch(session, pick, &Filters::default()).await;
            for found in failures.note(session, fetched)?.unwrap_or_default() {
                failures.note(session, self.one(session, &found, &patch).await)?;
            }
        }
        failures.end()
    }

    fn read(&self) -> Result<Value, Error> {
        let text = match (&self.patch, &self.patch_file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|e| Error::plain(format!("cannot read {}: {e}", path.display())))?,
            (None, None) => String::new(),
        };
        let mut documents =
            yaml::parse(&text).map_err(|e| Error::plain(format!("unable to parse the patch: {e}")))?;
        match (documents.pop(), documents.is_empty()) {
            (Some(patch @ (Value::Object(_) | Value::Array(_))), true) => Ok(patch),
            _ => Err(Error::plain("the patch must be one object, or with --type=json one list")),
        }
    }

    async fn one(&self, session: &Session, found: &Found, patch: &Value) -> Result<(), Error> {
        let dry_run = self.report.dry_run;
        if dry_run == DryRun::Client {
            return self.report.done(session, &found.resource, &found.object, "patched");
        }
        let base = found.url();
        let url = match &self.subresource {
            Some(part) => crate::api::Url::new(format!("{}/{part}", base.as_str())),
            None => base,
        };
        let patched = session.api.patch(&url.with("dryRun", dry_run.parameter()), self.form, patch).await?;
        let changed = patched["metadata"]["resourceVersion"] != found.object["metadata"]["resourceVersion"];
        let operation = if changed || dry_run == DryRun::Server { "patched" } else { "patched (no change)" };
        self.report.done(session, &found.resource, &patched, operation)
    }
}
