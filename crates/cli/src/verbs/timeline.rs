//! `timeline`: what happened to an object and to what belongs to it.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::why::one_object;
use crate::error::Error;
use crate::output::tabwriter;
use crate::selection::{self, Filters, Pick};
use crate::session::Session;
use crate::timeline;

/// Flags of `timeline`.
#[derive(Clone, Debug, clap::Args)]
pub struct Timeline {
    /// TYPE/NAME or TYPE NAME
    #[arg(required = true, num_args = 1..=2)]
    words: Vec<String>,
}

impl Timeline {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pick = one_object(session, &self.words).await?;
        let filters = Filters::default();
        let mut objects: Vec<Value> =
            selection::fetch(session, &pick, &filters).await?.into_iter().map(|f| f.object).collect();
        let uid = objects.first().map(|object| object.uid().to_owned()).unwrap_or_default();
        let pods = Pick {
            resource: session.resource("pods").await?,
            namespace: session.namespace.clone(),
            name: None,
        };
        let pods = selection::fetch(session, &pods, &filters).await?.into_iter().map(|f| f.object);
        objects.extend(pods.filter(|pod| {
            pod["metadata"]["ownerReferences"].as_array().is_some_and(|o| o.iter().any(|o| o["uid"] == *uid))
        }));
        let events = session.resource("events").await?;
        let events = session.api.get(&events.collection(Some(&session.namespace))).await?;
        let mut events = events["items"].as_array().cloned().unwrap_or_default();
        events.retain(|event| objects.iter().any(|o| event["involvedObject"]["uid"] == *o.uid()));
        session.print(tabwriter::align(&timeline::render(&timeline::steps(&objects, &events)), 2))
    }
}
