//! `wait --for=…`: until objects are as they should be.

use std::str::FromStr;
use std::time::Duration;

use apimachinery::meta::ObjectExt;
use jiff::SignedDuration;
use serde_json::Value;
use tokio::time::Instant;

use super::delete::until_gone;
use crate::duration;
use crate::error::Error;
use crate::follow::{Seen, follow};
use crate::jsonpath::{Template, text_of};
use crate::manifests::Files;
use crate::selection::{self, Filters, Found, Pick};
use crate::session::{Failures, Session};

/// Flags of `wait`.
#[derive(Clone, Debug, clap::Args)]
pub struct Wait {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    /// create, delete, condition=NAME[=VALUE] or jsonpath='{PATH}'[=VALUE]
    #[arg(long = "for", value_name = "WHAT")]
    what: Goal,
    /// How long to wait; 0 looks once, below zero waits a week
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse, allow_negative_numbers = true)]
    timeout: SignedDuration,
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Goal {
    /// The object is there.
    Create,
    /// The object is gone.
    Delete,
    /// A condition of its status has a value.
    Condition {
        /// The condition's type, in any case.
        name: String,
        /// Its status, in any case.
        status: String,
    },
    /// A path finds something, or a value.
    Path(PathGoal),
}

/// A path, and the value that it shall find.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PathGoal {
    path: Template,
    value: Option<String>,
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text.eq_ignore_ascii_case("create") => Ok(Self::Create),
            None if text.eq_ignore_ascii_case("delete") => Ok(Self::Delete),
            Some(("condition", rest)) => {
                let (name, status) = rest.split_once('=').unwrap_or((rest, "true"));
                Ok(Self::Condition { name: name.to_owned(), status: status.to_owned() })
            }
            Some(("jsonpath", rest)) => Self::path(rest),
            _ => Err(format!(
                "unrecognized condition {text:?}: use create, delete, condition=NAME[=VALUE] or jsonpath='{{PATH}}'[=VALUE]"
            )),
        }
    }
}

impl Goal {
    /// Reads `{PATH}` or `{PATH}=VALUE`; an `=` inside the braces belongs to the path.
    fn path(text: &str) -> Result<Self, String> {
        let end = if text.starts_with('{') { text.rfind('}').map(|at| at + 1) } else { text.find('=') };
        let (path, rest) = text.split_at(end.unwrap_or(text.len()));
        let value = match rest.strip_prefix('=') {
            None if rest.is_empty() => None,
            None => {
                return Err(format!(
                    "jsonpath wait format must be --for=jsonpath='{{PATH}}'=VALUE, not {text:?}"
                ));
            }
            Some("") => return Err("jsonpath wait has to have a value after the =".to_owned()),
            Some(value) => Some(value.trim_matches('\'').trim_matches('"').to_owned()),
        };
        let path = Template::relaxed(path).map_err(|e| format!("error parsing {path}: {e}"))?;
        Ok(Self::Path(PathGoal { path, value }))
    }

    /// Whether the object is as it should be.
    fn is_met(&self, object: &Value) -> Result<bool, Error> {
        match self {
            Self::Create => Ok(true),
            Self::Delete => Ok(false),
            Self::Condition { name, status } => Ok(has_condition(object, name, status)),
            Self::Path(PathGoal { path, value }) => {
                let found = path.find(object).map_err(|e| Error::plain(e.to_string()))?;
                match (found.as_slice(), value) {
                    ([], _) => Ok(false),
                    ([_, _, ..], _) => {
                        Err(Error::plain("given jsonpath expression matches more than one value: name one"))
                    }
                    ([Value::Array(_) | Value::Object(_)], Some(_)) => Err(Error::plain(
                        "jsonpath leads to a nested object or list, not to a value to compare with",
                    )),
                    ([one], Some(value)) => Ok(text_of(one) == *value),
                    ([_], None) => Ok(true),
                }
            }
        }
    }
}

/// Whether the status has the condition, and it is about the object as it is now.
fn has_condition(object: &Value, name: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let Some(condition) = conditions.iter().find(|c| text(c, "type").eq_ignore_ascii_case(name)) else {
        return false;
    };
    let observed =
        condition["observedGeneration"].as_i64().or_else(|| object["status"]["observedGeneration"].as_i64());
    let is_old = match (object["metadata"]["generation"].as_i64(), observed) {
        (Some(generation), Some(observed)) => observed < generation,
        _ => false,
    };
    !is_old && text(condition, "status").eq_ignore_ascii_case(status)
}

impl Wait {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let deadline = Instant::now() + duration::patience(self.timeout);
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.require_names(&self.filters, self.all)?;
        selection.forbid_names_with(&self.filters)?;
        if self.what == Goal::Create && !selection.has_names() {
            return Err(Error::plain("--for=create needs names: what is not there yet cannot be selected"));
        }
        let mut failures = Failures::default();
        let mut seen = 0;
        for pick in &selection.picks {
            let names = match &pick.name {
                Some(_) => vec![pick.clone()],
                None => {
                    let found = selection::fetch(session, pick, &self.filters).await?;
                    found
                        .into_iter()
                        .map(|f| Pick::named(f.resource, f.object.namespace(), f.object.name()))
                        .collect()
                }
            };
            for pick in &names {
                seen += 1;
                failures.note(session, self.one(session, pick, deadline).await)?;
            }
        }
        if seen == 0 && self.what != Goal::Delete {
            return Err(Error::plain("no matching resources found"));
        }
        failures.end()
    }

    async fn one(&self, session: &Session, pick: &Pick, deadline: Instant) -> Result<(), Error> {
        let name = pick.name.clone().unwrap_or_default();
        let url = pick.url(&Filters::default());
        let current = match self.what {
            Goal::Create | Goal::Delete => session.api.find(&url).await?,
            _ => Some(session.api.get(&url).await?),
        };
        if current.is_none() && self.what == Goal::Delete {
            return Ok(());
        }
        let met = async {
            match (&self.what, current) {
                (Goal::Delete, Some(object)) => {
                    until_gone(session, &Found { resource: pick.resource.clone(), object }).await
                }
                (_, Some(object)) if self.what.is_met(&object)? => Ok(()),
                _ => self.until_met(session, pick).await,
            }
        };
        let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match tokio::time::timeout(patience, met).await {
            Ok(result) => result?,
            Err(_) => {
                return Err(Error::plain(format!(
                    "timed out waiting for the condition on {}/{name}",
                    pick.resource.plural_name()
                )));
            }
        }
        session.say(format!("{}/{name} condition met", pick.resource.type_name()))
    }

    async fn until_met(&self, session: &Session, pick: &Pick) -> Result<(), Error> {
        let name = pick.name.clone().unwrap_or_default();
        let gone = || {
            let resource = pick.resource.plural_name();
            Error::plain(format!("{resource}/{name} was deleted while waiting for it"))
        };
        follow(&session.api, &pick.watch_url(&Filters::default()), false, |seen| {
            let met = match seen {
                Seen::List(list) => match list["items"][0].as_object() {
                    Some(_) => self.what.is_met(&list["items"][0])?,
                    None if self.what == Goal::Create => false,
                    None => return Err(gone()),
                },
                Seen::Change("DELETED", _) if self.what != Goal::Create => return Err(gone()),
                Seen::Change("DELETED", _) => false,
                Seen::Change(_, object) => self.what.is_met(object)?,
            };
            Ok(met.then_some(()))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn met(goal: &str, object: impl Into<Value>) -> bool {
        let goal: Goal = goal.parse().unwrap_or_else(|e| panic!("{goal}: {e}"));
        goal.is_met(&object.into()).expect("an answer")
    }

    #[test]
    fn conditions_match_in_any_case() {
        let pod = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Init", "status": "False"}]}});
        assert!(met("condition=ready", pod.clone()));
        assert!(met("condition=Init=false", pod.clone()));
        assert!(!met("condition=Init", pod.clone()));
        assert!(!met("condition=Other", pod));
    }

    #[test]
    fn a_condition_about_an_older_generation_does_not_count() {
        let at = |generation: i64, observed: i64| {
            json!({"metadata": {"generation": generation}, "status": {"observedGeneration": observed,
                "conditions": [{"type": "Ready", "status": "True"}]}})
        };
        assert!(!met("condition=Ready", at(2, 1)));
        assert!(met("condition=Ready", at(2, 2)));
    }

    #[test]
    fn paths_compare_with_a_value_or_are_there() {
        let pod = json!({"status": {"phase": "Running", "n": 3, "list": [{"type": "a", "v": "x=y"}]}});
        assert!(met("jsonpath={.status.phase}=Running", pod.clone()));
        assert!(met("jsonpath=.status.phase=Running", pod.clone()));
        assert!(met("jsonpath={.status.n}=3", pod.clone()));
        assert!(met("jsonpath={.status.list[?(@.type==\"a\")].v}='x=y'", pod.clone()));
        assert!(met("jsonpath={.status.phase}", pod.clone()));
        assert!(!met("jsonpath={.status.other}", pod.clone()));
        assert!(!met("jsonpath={.status.phase}=Pending", pod));
        assert!("jsonpath={.a}=".parse::<Goal>().is_err());
        assert!("ready".parse::<Goal>().is_err());
    }
}
