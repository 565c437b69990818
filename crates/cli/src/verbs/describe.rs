//! `describe`: objects at length, with what belongs to them.

use apimachinery::meta::ObjectExt;
use jiff::Timestamp;
use serde_json::Value;

use super::events::{about_object, sort};
use crate::describe::{self, Subject};
use crate::error::Error;
use crate::manifests::Files;
use crate::selection::{self, Filters, Found, Pick};
use crate::session::{Failures, Session};

/// Where nodes' leases are kept.
const LEASES: &str = "kube-node-lease";

/// Flags of `describe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Describe {
    /// TYPE, TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    filters: Filters,
    /// Show events too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_value_t = true, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    show_events: bool,
}

impl Describe {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let selection = selection::select(session, &self.words, &self.files).await?;
        selection.forbid_names_with(&self.filters)?;
        let mut failures = Failures::default();
        let mut first = true;
        for pick in &selection.picks {
            let fetched = self.fetch(session, pick).await;
            for found in failures.note(session, fetched)?.unwrap_or_default() {
                let subject = subject(session, found, self.show_events).await?;
                let gap = if std::mem::take(&mut first) { "" } else { "\n\n" };
                let told = describe::describe(&subject, self.show_events, Timestamp::now());
                session.print(format!("{gap}{told}"))?;
            }
        }
        if first && !selection.has_names() {
            session.note(format!("No resources found in {} namespace.", session.namespace))?;
        }
        failures.end()
    }

    /// The objects; a name that no object has may be the beginning of some.
    async fn fetch(&self, session: &Session, pick: &Pick) -> Result<Vec<Found>, Error> {
        let missing = match selection::fetch(session, pick, &self.filters).await {
            Err(error) if error.is_not_found() => error,
            other => return other,
        };
        let prefix = pick.name.clone().unwrap_or_default();
        let all = Pick { name: None, ..pick.clone() };
        let mut found = selection::fetch(session, &all, &self.filters).await?;
        found.retain(|found| found.object.name().starts_with(&prefix));
        if found.is_empty() { Err(missing) } else { Ok(found) }
    }
}

/// Fetches what the description of an object shows besides.
async fn subject(session: &Session, found: Found, show_events: bool) -> Result<Subject, Error> {
    let Found { resource, object } = found;
    let mut subject = Subject::default();
    let namespace = object.namespace().to_owned();
    let list = async |word: &str, namespace: &str, filters: Filters| -> Result<Vec<Value>, Error> {
        let pick =
            Pick { resource: session.resource(word).await?, namespace: namespace.to_owned(), name: None };
        let found = selection::fetch(session, &pick, &filters).await?;
        Ok(found.into_iter().map(|found| found.object).collect())
    };
    match resource.type_name().as_str() {
        "statefulset.apps" => {
            let mut pods = list("pods", &namespace, Filters::default()).await?;
            pods.retain(|pod| pod.controller_uid() == object.uid());
            subject.pods = pods;
        }
        "persistentvolumeclaim" => {
            let mut pods = list("pods", &namespace, Filters::default()).await?;
            pods.retain(|pod| uses(pod, object.name()));
            subject.pods = pods;
        }
        "service" => {
            let selector = format!("kubernetes.io/service-name={}", object.name());
            let filters = Filters { selector, ..Filters::default() };
            subject.endpoint_slices = list("endpointslices.discovery.k8s.io", &namespace, filters).await?;
        }
        "node" => {
            let field_selector = format!("spec.nodeName={}", object.name());
            let filters = Filters { field_selector, all_namespaces: true, ..Filters::default() };
            subject.pods = list("pods", "", filters).await?;
            let lease = session.resource("leases.coordination.k8s.io").await?.url(LEASES, object.name());
            subject.lease = session.api.find(&lease).await?;
        }
        _ => {}
    }
    if show_events {
        subject.events = events(session, &resource.kind, &object).await?;
    }
    subject.object = object;
    Ok(subject)
}

fn uses(pod: &Value, claim: &str) -> bool {
    let volumes = pod["spec"]["volumes"].as_array().map(Vec::as_slice).unwrap_or_default();
    volumes.iter().any(|volume| volume["persistentVolumeClaim"]["claimName"] == claim)
}

/// The events about an object, the oldest first.
pub(crate) async fn events(session: &Session, kind: &str, object: &Value) -> Result<Vec<Value>, Error> {
    let resource = session.resource("events").await?;
    let namespace = Some(object.namespace()).filter(|namespace| !namespace.is_empty());
    let list = session.api.get(&about_object(resource.collection(namespace), kind, object.name())).await?;
    let mut events: Vec<Value> = selection::items(list, &resource).into_iter().map(|f| f.object).collect();
    // A predecessor of the same name is somebody else; nodes go by their name for a uid.
    events.retain(|event| {
        let uid = event["involvedObject"]["uid"].as_str().unwrap_or_default();
        uid.is_empty() || uid == object.uid() || uid == object.name()
    });
    sort(&mut events);
    Ok(events)
}
