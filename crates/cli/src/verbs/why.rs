//! `why`: the chain of causes of what something waits for, as `planner::explain` finds it in what the API tells.

use apimachinery::meta::ObjectExt;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use planner::World;
use planner::explain::{Chain, explain};
use serde_json::{Value, json};

use crate::error::Error;
use crate::output::Format;
use crate::resource::Resource;
use crate::selection::{self, Filters, Pick};
use crate::session::Session;

/// Of these kinds all namespaces matter: the scheduler counts every pod on a node, volumes know their claim.
const FROM_EVERYWHERE: &[&str] = &["Pod", "PersistentVolumeClaim"];
/// Newer servers warn whoever reads these; they matter only to a namespace that is being emptied.
const ONLY_FOR_NAMESPACES: &str = "Endpoints";
/// Events about things without a namespace are kept here.
pub(crate) const EVENTS_OF_THE_CLUSTER: &str = "default";
/// The logs of at most so many containers are read for their last words.
const MOST_LOGS: usize = 8;
/// How many lines of a log are last words.
const LAST_LINES: &str = "5";

/// Flags of `why`.
#[derive(Clone, Debug, clap::Args)]
pub struct Why {
    /// TYPE/NAME or TYPE NAME: sts/db, pod/db-0, pvc/data-db-0, svc/db, pv/…, node/…, ns/…
    #[arg(required = true, num_args = 1..=2)]
    words: Vec<String>,
    /// The chain as data: json, yaml, jsonpath=…
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<Format>,
}

impl Why {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pick = one_object(session, &self.words).await?;
        let kind = &pick.resource.kind;
        if !World::KINDS.iter().any(|known| *known == (&pick.resource.api_version(), kind)) {
            return Err(Error::plain(format!(
                "nothing waits in objects of kind {kind}: ask about sts, pod, pvc, pv, svc, node or ns"
            )));
        }
        let found = session.api.get(&pick.url(&Filters::default())).await;
        let (object, missing) = match found {
            Ok(object) => (object, None),
            Err(error) if error.is_not_found() => (Value::Null, Some(error)),
            Err(error) => return Err(error),
        };
        let namespace = namespace_of(&pick, &object, session);
        let mut world = World::default();
        for (kind, mut objects) in fetch_world(session, &pick, namespace).await? {
            if kind.1 == "Pod" {
                add_last_words(session, namespace, &object, &mut objects).await;
            }
            for error in world.replace(kind, objects, 0).1 {
                session.note(format!("Warning: leaving out a {} that cannot be read: {error}", kind.1))?;
            }
        }
        let events = fetch_events(session, &pick, namespace).await?;
        let name = pick.name.as_deref().unwrap_or_default();
        let chain = explain(&world, &events, &pick.resource.kind, namespace, name, Timestamp::now());
        let Some(missing) = missing else { return self.print(session, &pick, namespace, &chain) };
        // Something that is about to be made has a story of its own.
        if chain.causes.iter().any(|cause| !cause.because.is_empty()) {
            self.print(session, &pick, namespace, &chain)?;
        }
        Err(missing)
    }

    fn print(&self, session: &Session, pick: &Pick, namespace: &str, chain: &Chain) -> Result<(), Error> {
        match &self.output {
            None | Some(Format::Wide) => session.print(chain.to_string()),
            Some(Format::Name) => {
                Err(Error::plain("why has no names to print: use -o json, yaml or jsonpath=…"))
            }
            Some(Format::Data(format)) => {
                let namespace = Some(namespace).filter(|_| pick.resource.namespaced);
                session.print(format.print(&json!({
                    "kind": pick.resource.kind,
                    "namespace": namespace,
                    "name": pick.name,
                    "causes": chain.causes,
                }))?)
            }
        }
    }
}

/// The one object that `TYPE/NAME` or `TYPE NAME` names.
///
/// # Errors
/// When the words name none or several, or the kind is unknown.
pub(crate) async fn one_object(session: &Session, words: &[String]) -> Result<Pick, Error> {
    let selection = selection::select(session, words, &crate::manifests::Files::default()).await?;
    match <[Pick; 1]>::try_from(selection.picks) {
        Ok([pick]) if pick.name.is_some() => Ok(pick),
        _ => Err(Error::plain("name one object: TYPE/NAME or TYPE NAME, for instance sts/web")),
    }
}

/// The namespace to look around in: the object's own, the one that it is, or that of the claim that has it.
fn namespace_of<'a>(pick: &'a Pick, object: &'a Value, session: &'a Session) -> &'a str {
    match pick.resource.kind.as_str() {
        "Namespace" => pick.name.as_deref().unwrap_or_default(),
        "PersistentVolume" => object["spec"]["claimRef"]["namespace"].as_str().unwrap_or(&session.namespace),
        _ => &session.namespace,
    }
}

/// Every kind that planners know, as far as it can matter.
async fn fetch_world(
    session: &Session,
    pick: &Pick,
    namespace: &str,
) -> Result<Vec<(planner::world::KindName, Vec<Value>)>, Error> {
    let kinds = World::KINDS
        .iter()
        .filter(|(_, kind)| *kind != ONLY_FOR_NAMESPACES || pick.resource.kind == "Namespace");
    try_join_all(kinds.map(async |kind| {
        let known = registry::by_gvk(kind.0, kind.1);
        let known = known.ok_or_else(|| Error::plain(format!("no such kind: {} {}", kind.0, kind.1)))?;
        let narrow = Some(namespace).filter(|_| !FROM_EVERYWHERE.contains(&kind.1));
        let list = session.api.get(&Resource::from(known).collection(narrow)).await?;
        Ok((*kind, items(list)))
    }))
    .await
}

async fn fetch_events(session: &Session, pick: &Pick, namespace: &str) -> Result<Vec<Event>, Error> {
    let resource = session.resource("events").await?;
    let mut urls = vec![resource.collection(Some(namespace))];
    if !pick.resource.namespaced && namespace != EVENTS_OF_THE_CLUSTER {
        urls.push(resource.collection(Some(EVENTS_OF_THE_CLUSTER)));
    }
    let lists = try_join_all(urls.iter().map(|url| session.api.get(url))).await?;
    let events = lists.into_iter().flat_map(items).map(serde_json::from_value);
    events
        .collect::<Result<_, _>>()
        .map_err(|e| Error::plain(format!("cannot read the server's events: {e}")))
}

/// The objects of a list.
pub(crate) fn items(mut list: Value) -> Vec<Value> {
    list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default()
}

/// Puts the end of the log into statuses of containers that have failed without a termination message: what a
/// program said last is the nearest to its reason. A log that cannot be read is no loss.
async fn add_last_words(session: &Session, namespace: &str, target: &Value, pods: &mut [Value]) {
    let Ok(resource) = session.resource("pods").await else { return };
    // Those that are asked about come first: the number of logs is limited.
    let is_asked_about = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
        pod.uid() == target.uid() || owners.iter().any(|owner| owner["uid"] == *target.uid())
    };
    let mut order: Vec<usize> =
        (0..pods.len()).filter(|index| pods[*index].namespace() == namespace).collect();
    order.sort_by_key(|index| !is_asked_about(&pods[*index]));
    let mut left = MOST_LOGS;
    for index in order {
        let pod = &mut pods[index];
        let pod_name = pod.name().to_owned();
        for list in ["initContainerStatuses", "containerStatuses"] {
            for status in pod["status"][list].as_array_mut().into_iter().flatten() {
                let Some((end, previous)) = wordless_end(status) else { continue };
                if left == 0 {
                    return;
                }
                left -= 1;
                let container = status["name"].as_str().unwrap_or_default();
                let log = resource.part_url(namespace, &pod_name, "log").with("container", container);
                let log = log.with("tailLines", LAST_LINES).flag("previous", previous);
                let said = session.api.get_text(&log).await;
                if let (Ok(said), Some(message)) = (said, status.pointer_mut(end)) {
                    *message = said.into();
                }
            }
        }
    }
}

/// Where the message of a failed run is missing, and whether that run is not the container's last any more.
fn wordless_end(status: &mut Value) -> Option<(&'static str, bool)> {
    let places = [
        ("/state/terminated", "/state/terminated/message"),
        ("/lastState/terminated", "/lastState/terminated/message"),
    ];
    if status["ready"] == true {
        return None;
    }
    let (place, message) = places.into_iter().find(|(place, _)| status.pointer(place).is_some())?;
    let end = status.pointer_mut(place)?;
    let said = end["message"].as_str().unwrap_or_default();
    if end["exitCode"] == 0 || !said.is_empty() {
        return None;
    }
    end["message"] = "".into();
    // While a container waits for its restart, its last run still counts as the previous one.
    Some((message, place.starts_with("/last")))
}
