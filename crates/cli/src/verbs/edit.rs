//! `edit`: an object in the user's editor.

use std::io::Write;
use std::process::Command;

use apimachinery::meta::ObjectExt;
use apimachinery::yaml;
use serde_json::Value;

use super::set::difference;
use crate::apply;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{Report, without_managed_fields};
use crate::selection::{self, Filters, Found};
use crate::session::Session;

/// The editor when the environment names none.
const EDITOR: &str = "vi";
/// What stands above the object.
const HEAD: &str = "\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Flags of `edit`.
#[derive(Clone, Debug, clap::Args)]
pub struct Edit {
    /// TYPE NAME or TYPE/NAME
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    report: Report,
}

impl Edit {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&Filters::default(), false)?;
        for pick in &selection.picks {
            for found in selection::fetch(session, pick, &Filters::default()).await? {
                self.one(session, &found).await?;
            }
        }
        Ok(())
    }

    async fn one(&self, session: &Session, found: &Found) -> Result<(), Error> {
        let original = without_managed_fields(found.object.clone());
        let mut body = yaml::to_string(&original);
        let mut failure: Option<String> = None;
        loop {
            let head: String =
                failure.iter().flat_map(|text| text.lines()).map(|line| format!("# {line}\n")).collect();
            let shown = format!("{HEAD}{head}{body}");
            let edited = open_editor(&shown, &format!("{}-", found.object.name()))?;
            let bare = without_comments(&edited);
            if bare.trim().is_empty() || bare == body {
                return match failure {
                    None => session.note("Edit cancelled, no changes made."),
                    Some(text) => {
                        Err(Error::plain(format!("Edit cancelled, no valid changes were saved: {text}")))
                    }
                };
            }
            body = bare;
            match self.save(session, found, &original, &body).await {
                Ok(()) => return Ok(()),
                Err(error @ (Error::Server(_) | Error::Plain(_))) => failure = Some(error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn save(
        &self,
        session: &Session,
        found: &Found,
        original: &Value,
        body: &str,
    ) -> Result<(), Error> {
        let edited = read(body)?;
        if edited.name() != original.name() || edited["kind"] != original["kind"] {
            return Err(Error::plain("name and kind cannot be edited: delete the object and create another"));
        }
        let (form, patch) = difference(original, &edited);
        if apply::is_empty(&patch) {
            return session.note("Edit cancelled, no changes made.");
        }
        let url = found.url().with("dryRun", self.report.dry_run.parameter());
        let changed = session.api.patch(&url, form, &patch).await?;
        self.report.done(session, &found.resource, &changed, "edited")
    }
}

fn read(text: &str) -> Result<Value, Error> {
    let mut documents = yaml::parse(text).map_err(|e| Error::plain(e.to_string()))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(object @ Value::Object(_)), true) => Ok(object),
        _ => Err(Error::plain("the text must be one object")),
    }
}

/// The text without the comment lines that were put above it.
fn without_comments(text: &str) -> String {
    text.split_inclusive('\n').skip_while(|line| line.starts_with('#')).collect()
}

/// What the user makes of the text.
fn open_editor(text: &str, prefix: &str) -> Result<String, Error> {
    let mut file = tempfile::Builder::new().prefix(prefix).suffix(".yaml").tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let named = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let editor = named("KUBE_EDITOR").or_else(|| named("EDITOR")).unwrap_or_else(|| EDITOR.to_owned());
    // Through a shell: the variable may hold flags too.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg(&editor)
        .arg(file.path())
        .status()
        .map_err(|e| Error::plain(format!("cannot start the editor {editor:?}: {e}; set EDITOR")))?;
    if !status.success() {
        return Err(Error::plain(format!("there was a problem with the editor {editor:?}: {status}")));
    }
    // Editors replace files as well as write them: read by name.
    std::fs::read_to_string(file.path())
        .map_err(|e| Error::plain(format!("cannot read the edited file: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_comments_above_are_ours() {
        let text =
            format!("{HEAD}# Error: no\nkind: ConfigMap\ndata:\n  script: |\n    # a comment\n    run\n");
        assert_eq!(
            without_comments(&text),
            "kind: ConfigMap\ndata:\n  script: |\n    # a comment\n    run\n"
        );
    }
}
