//! `apply -f`: objects become what manifests say.

use std::path::PathBuf;

use apimachinery::labels::Selector;
use apimachinery::meta::ObjectExt;

use crate::apply::{self, LAST_APPLIED};
use crate::error::Error;
use crate::manifests::{Files, Placed};
use crate::output::{DryRun, Report};
use crate::session::{Failures, Session};

/// kubectl's own name: what one of the two applied the other may apply again.
const DEFAULT_MANAGER: &str = "kubectl";

/// Flags of `apply`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Apply {
    /// What was meant as files, without -f
    #[arg(hide = true)]
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    report: Report,
    /// Only objects with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Let the server merge instead of this program, and keep who owns which field
    #[arg(long)]
    server_side: bool,
    /// Take fields from those who own them
    #[arg(long, requires = "server_side")]
    force_conflicts: bool,
    /// Who owns the fields, with --server-side
    #[arg(long, value_name = "NAME", default_value = DEFAULT_MANAGER)]
    field_manager: String,
}

impl Apply {
    /// `apply -f FILE…`.
    pub(crate) fn of_files(files: &[PathBuf]) -> Self {
        Self { files: Files::of(files), ..Self::default() }
    }

    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        if self.server_side && self.report.dry_run == DryRun::Client {
            return Err(Error::plain(
                "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
            ));
        }
        if !self.words.is_empty() {
            return Err(Error::plain(format!(
                "unexpected args {:?}: files are named by -f, as in apply -f {}",
                self.words, self.words[0]
            )));
        }
        if !self.files.is_given() {
            return Err(Error::plain("must specify -f: a file, a folder, or - for stdin"));
        }
        let selector = self.selector.as_deref().map(Selector::parse).transpose();
        let selector = selector.map_err(|e| Error::plain(e.to_string()))?;
        let is_selected = |placed: &Placed| {
            selector.as_ref().is_none_or(|selector| selector.matches(&placed.object.meta_map("labels")))
        };
        let mut failures = Failures::default();
        let mut found_any = false;
        for placed in self.files.load(session).await? {
            let Some(placed) = failures.note(session, placed)?.filter(is_selected) else { continue };
            found_any = true;
            failures.note(session, self.one(session, &placed).await)?;
        }
        if !found_any && !failures.any() {
            return Err(Error::plain("no objects passed to apply"));
        }
        failures.end()
    }

    async fn one(&self, session: &Session, placed: &Placed) -> Result<(), Error> {
        if placed.name.is_empty() {
            return Err(Error::plain(format!(
                "{}: apply needs metadata.name; an object with generateName is made with create",
                placed.source
            )));
        }
        if self.server_side {
            return self.on_server(session, placed).await;
        }
        let wanted = apply::with_last_applied(&placed.object);
        let dry_run = self.report.dry_run;
        let failed = |verb: &'static str| move |error: Error| error.when(verb, &placed.source);
        let Some(current) = session.api.find(&placed.url()).await.map_err(failed("retrieving"))? else {
            let url = placed.resource.collection(Some(&placed.namespace)).with("dryRun", dry_run.parameter());
            let created = match dry_run {
                DryRun::Client => wanted,
                _ => session.api.create(&url, &wanted).await.map_err(failed("creating"))?,
            };
            return self.report.done(session, &placed.resource, &created, "created");
        };
        if current.annotation(LAST_APPLIED).is_none() {
            session.note(format!(
                "Warning: {}/{} was not made by apply and has no annotation {LAST_APPLIED}; it is added now",
                placed.resource.plural_name(),
                placed.name
            ))?;
        }
        let (form, patch) = apply::patch(&wanted, &current).map_err(failed("applying"))?;
        if apply::is_empty(&patch) {
            return self.report.done(session, &placed.resource, &current, "unchanged");
        }
        let url = placed.url().with("dryRun", dry_run.parameter());
        let patched = match dry_run {
            DryRun::Client => wanted,
            _ => session.api.patch(&url, form, &patch).await.map_err(failed("patching"))?,
        };
        // Lists that are replaced as a whole, as volumeClaimTemplates, are in every patch: the server knows best.
        let is_same = dry_run == DryRun::None && patched.resource_version() == current.resource_version();
        let operation = if is_same { "unchanged" } else { "configured" };
        self.report.done(session, &placed.resource, &patched, operation)
    }

    async fn on_server(&self, session: &Session, placed: &Placed) -> Result<(), Error> {
        let url = placed
            .url()
            .with("fieldManager", &self.field_manager)
            .flag("force", self.force_conflicts)
            .with("dryRun", self.report.dry_run.parameter());
        let applied = session.api.apply(&url, &placed.object).await;
        let applied = applied.map_err(|error| error.when("applying", &placed.source))?;
        self.report.done(session, &placed.resource, &applied, "serverside-applied")
    }
}
