//! `set image`: other images for containers.

use apimachinery::patch::{merge, strategic};
use apimachinery::schema::Schema;
use serde_json::Value;

use crate::api::PatchType;
use crate::error::Error;
use crate::manifests::Files;
use crate::output::{DryRun, Report};
use crate::selection::{self, Filters, Found};
use crate::session::{Failures, Session};

/// Where the spec of pods stands: in a template, or in a pod itself.
const POD_SPECS: [&str; 2] = ["/spec/template/spec", "/spec"];

/// What to set.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Set {
    /// Set the images of containers
    Image(Image),
}

/// Flags of `set image`.
#[derive(Clone, Debug, clap::Args)]
pub struct Image {
    /// TYPE/NAME or TYPE NAME, then CONTAINER=IMAGE…; * is every container
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// All objects of the type in the namespace
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    report: Report,
}

impl Set {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let Self::Image(image) = self;
        image.run(session).await
    }
}

impl Image {
    async fn run(&self, session: &Session) -> Result<(), Error> {
        let (images, words): (Vec<String>, Vec<String>) =
            self.words.iter().cloned().partition(|word| word.contains('='));
        if images.is_empty() {
            return Err(Error::plain("at least one image update is required: CONTAINER=IMAGE"));
        }
        let images: Vec<(&str, &str)> = images.iter().filter_map(|word| word.split_once('=')).collect();
        let selection = selection::select(session, &words, &self.files).await?;
        selection.require_names(&self.filters, self.all)?;
        let mut failures = Failures::default();
        for pick in &selection.picks {
            let fetched = selection::fetch(session, pick, &self.filters).await;
            for found in failures.note(session, fetched)?.unwrap_or_default() {
                failures.note(session, self.one(session, &found, &images).await)?;
            }
        }
        failures.end()
    }

    async fn one(&self, session: &Session, found: &Found, images: &[(&str, &str)]) -> Result<(), Error> {
        let wanted = with_images(&found.object, images).map_err(Error::plain)?;
        if wanted == found.object {
            return Ok(());
        }
        let url = found.url().with("dryRun", self.report.dry_run.parameter());
        let (form, patch) = difference(&found.object, &wanted);
        let changed = match self.report.dry_run {
            DryRun::Client => wanted,
            _ => session.api.patch(&url, form, &patch).await?,
        };
        self.report.done(session, &found.resource, &changed, "image updated")
    }
}

/// The patch from one object to another, in the form that fits its kind best.
pub(super) fn difference(old: &Value, new: &Value) -> (PatchType, Value) {
    let word = |field: &str| old[field].as_str().unwrap_or_default();
    match Schema::builtin().gvk(word("apiVersion"), word("kind")) {
        Some(type_id) => (PatchType::Strategic, strategic::two_way(old, new, type_id)),
        None => (PatchType::Merge, merge::diff(old, new)),
    }
}

/// The object with other images.
fn with_images(object: &Value, images: &[(&str, &str)]) -> Result<Value, String> {
    let mut object = object.clone();
    let place = POD_SPECS
        .into_iter()
        .find(|place| object.pointer(place).is_some_and(|spec| spec["containers"].is_array()));
    let spec = place
        .and_then(|place| object.pointer_mut(place))
        .ok_or("the object has no containers to set images of")?;
    for (name, image) in images {
        let mut found = false;
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if *name == "*" || container["name"] == **name {
                    container["image"] = (*image).into();
                    found = true;
                }
            }
        }
        if !found {
            return Err(format!("unable to find container named {name:?}"));
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set() -> Value {
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}], "initContainers": [{"name": "i", "image": "i:1"}]}}}})
    }

    #[test]
    fn one_container_gets_another_image() {
        let new = with_images(&set(), &[("a", "a:2")]).expect("a set");
        let (form, patch) = difference(&set(), &new);
        assert_eq!(form, PatchType::Strategic);
        assert_eq!(patch["spec"]["template"]["spec"]["containers"], json!([{"name": "a", "image": "a:2"}]));
    }

    #[test]
    fn a_star_is_every_container() {
        let new = with_images(&set(), &[("*", "x")]).expect("a set");
        assert!(!new.to_string().contains(":1"), "{new}");
    }

    #[test]
    fn a_container_that_is_not_there_is_told() {
        assert_eq!(
            with_images(&set(), &[("z", "x")]),
            Err("unable to find container named \"z\"".to_owned())
        );
        assert_eq!(
            with_images(&json!({"spec": {}}), &[("z", "x")]),
            Err("the object has no containers to set images of".to_owned())
        );
    }
}
