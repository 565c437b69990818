//! `label` and `annotate`: words on objects.

use apimachinery::meta::ObjectExt;
use serde_json::{Map, Value, json};

use crate::api::PatchType;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report};
use crate::selection::{self, Filters, Found};
use crate::session::{Failures, Session};

/// Flags of `label` and `annotate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Label {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set, KEY- to remove
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// Replace values that are there already
    #[arg(long)]
    overwrite: bool,
    /// Only show what is there
    #[arg(long)]
    list: bool,
    /// Only if the object is of this version
    #[arg(long, value_name = "VERSION")]
    resource_version: Option<String>,
    #[command(flatten)]
    report: Report,
}

/// Which words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Those that select.
    Labels,
    /// Those that tell.
    Annotations,
}

impl Place {
    fn field(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }
}

/// What shall be set (`Some`) and removed (`None`).
type Changes = Vec<(String, Option<String>)>;

impl Label {
    pub(crate) async fn run(&self, session: &Session, place: Place) -> Result<(), Error> {
        let (words, changes) = split(&self.words)?;
        if changes.is_empty() && !self.list {
            return Err(Error::plain(format!(
                "at least one of {} to change is required: KEY=VALUE or KEY-",
                place.field()
            )));
        }
        let selection = selection::select(session, &words, &self.files).await?;
        selection.require_names(&self.filters, self.all)?;
        let mut failures = Failures::default();
        for pick in &selection.picks {
            let fetched = selection::fetch(session, pick, &self.filters).await;
            for found in failures.note(session, fetched)?.unwrap_or_default() {
                failures.note(session, self.one(session, place, &found, &changes).await)?;
            }
        }
        failures.end()
    }

    async fn one(
        &self,
        session: &Session,
        place: Place,
        found: &Found,
        changes: &Changes,
    ) -> Result<(), Error> {
        let none = Map::new();
        let now = found.object.meta_map(place.field()).unwrap_or(&none);
        if self.list {
            let lines =
                now.iter().map(|(key, value)| format!("{key}={}\n", value.as_str().unwrap_or_default()));
            session.print(lines.collect::<String>())?;
        }
        if changes.is_empty() {
            return Ok(());
        }
        let (patch, operation) = plan(place, now, changes, self.overwrite)?;
        for (key, _) in changes.iter().filter(|(key, value)| value.is_none() && !now.contains_key(key)) {
            let noun = place.field().trim_end_matches('s');
            session.note(format!("{noun} {key:?} not found."))?;
        }
        let mut body = json!({"metadata": {place.field(): patch}});
        if let Some(version) = &self.resource_version {
            body["metadata"]["resourceVersion"] = version.clone().into();
        }
        let changed = match self.report.dry_run {
            DryRun::Client => found.object.clone(),
            dry_run => {
                let url = found.url().with("dryRun", dry_run.parameter());
                session.api.patch(&url, PatchType::Merge, &body).await?
            }
        };
        self.report.done(session, &found.resource, &changed, operation)
    }
}

/// Parts the objects from the changes.
fn split(words: &[String]) -> Result<(Vec<String>, Changes), Error> {
    let mut objects = Vec::new();
    let mut changes: Changes = Vec::new();
    for word in words {
        let change = match word.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), Some(value.to_owned()))),
            None => word.strip_suffix('-').map(|key| (key.to_owned(), None)),
        };
        match change {
            Some((key, _)) if changes.iter().any(|(earlier, _)| *earlier == key) => {
                return Err(Error::plain(format!("{key} is named twice: say once what becomes of it")));
            }
            Some((key, _)) if key.is_empty() => {
                return Err(Error::plain(format!("{word:?} has no key: write KEY=VALUE or KEY-")));
            }
            Some(change) => changes.push(change),
            None if !changes.is_empty() => {
                return Err(Error::plain(format!(
                    "{word:?} stands after the changes: name all objects first"
                )));
            }
            None => objects.push(word.clone()),
        }
    }
    Ok((objects, changes))
}

/// The merge patch of the words, and how to say what was done.
fn plan(
    place: Place,
    now: &Map<String, Value>,
    changes: &Changes,
    overwrite: bool,
) -> Result<(Map<String, Value>, &'static str), Error> {
    let mut patch = Map::new();
    let (mut sets, mut removes) = (false, false);
    for (key, value) in changes {
        let held = now.get(key).and_then(Value::as_str);
        match (value, held) {
            (Some(value), Some(held)) if value != held && !overwrite => {
                return Err(Error::plain(format!(
                    "'{key}' already has a value ({held}), and --overwrite is false"
                )));
            }
            (Some(value), held) => sets |= held != Some(value.as_str()),
            (None, held) => removes |= held.is_some(),
        }
        patch.insert(key.clone(), value.clone().map_or(Value::Null, Value::String));
    }
    let operation = match (place, sets, removes) {
        (Place::Annotations, ..) => "annotated",
        (Place::Labels, true, _) => "labeled",
        (Place::Labels, false, true) => "unlabeled",
        (Place::Labels, false, false) => "not labeled",
    };
    Ok((patch, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[track_caller]
    fn check(changes: &[&str], overwrite: bool, expect: Result<&str, &str>) {
        let (_, changes) = split(&words(changes)).expect("changes");
        let now = json!({"app": "web"});
        let planned = plan(Place::Labels, now.as_object().expect("a map"), &changes, overwrite);
        let said = planned.map(|(_, operation)| operation).map_err(|e| e.to_string());
        assert_eq!(said.as_ref().map(|s| *s).map_err(String::as_str), expect);
    }

    #[test]
    fn what_was_done_is_said() {
        check(&["tier=front"], false, Ok("labeled"));
        check(&["app=web"], false, Ok("not labeled"));
        check(&["app-"], false, Ok("unlabeled"));
        check(&["other-"], false, Ok("not labeled"));
        check(&["app=db"], true, Ok("labeled"));
        check(&["app=db"], false, Err("error: 'app' already has a value (web), and --overwrite is false"));
    }

    #[test]
    fn objects_come_before_changes() {
        let (objects, changes) = split(&words(&["pods", "web-0", "a=b=c", "d-"])).expect("split");
        assert_eq!(objects, ["pods", "web-0"]);
        assert_eq!(changes, [("a".to_owned(), Some("b=c".to_owned())), ("d".to_owned(), None)]);
        assert!(split(&words(&["pods", "a=b", "web-0"])).is_err());
        assert!(split(&words(&["pods", "a=b", "a-"])).is_err());
    }
}
