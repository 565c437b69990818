//! What `why` reads: everything that planners know, as far as it can matter, and events.

use apimachinery::meta::ObjectExt;
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Event;
use planner::World;
use planner::world::KindName;
use serde_json::Value;

use super::{EVENTS_OF_THE_CLUSTER, items, last_words};
use crate::error::Error;
use crate::resource::Resource;
use crate::session::Session;

/// Of these kinds all namespaces matter: the scheduler counts every pod on a node, volumes know their claim.
const FROM_EVERYWHERE: &[&str] = &["Pod", "PersistentVolumeClaim"];
/// These matter only to a namespace that is being emptied: newer servers warn whoever reads Endpoints, and not everybody
/// may read leases.
const ONLY_FOR_EMPTYING: &[&str] = &["Endpoints", "Lease"];

/// What planners would see.
pub(super) struct Seen {
    pub(super) world: World,
    pub(super) events: Vec<Event>,
}

/// Reads what matters to objects of one namespace, or of all. The last words of containers of `target` come first:
/// their number is limited.
pub(super) async fn fetch(
    session: &Session,
    namespace: Option<&str>,
    of_cluster: bool,
    target: &Value,
) -> Result<Seen, Error> {
    let mut lists = kinds(session, namespace, |kind| !ONLY_FOR_EMPTYING.contains(&kind)).await?;
    if lists.iter().any(|(kind, list)| kind.1 == "Namespace" && list.iter().any(ObjectExt::is_terminating)) {
        lists.extend(kinds(session, namespace, |kind| ONLY_FOR_EMPTYING.contains(&kind)).await?);
    }
    let mut world = World::default();
    for (kind, mut objects) in lists {
        if kind.1 == "Pod" {
            last_words::add(session, namespace, target, &mut objects).await;
        }
        for error in world.replace(kind, objects, 0).1 {
            session.note(format!("Warning: leaving out a {} that cannot be read: {error}", kind.1))?;
        }
    }
    Ok(Seen { world, events: events(session, namespace, of_cluster).await? })
}

async fn kinds(
    session: &Session,
    namespace: Option<&str>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(KindName, Vec<Value>)>, Error> {
    let kinds = World::KINDS.iter().filter(|(_, kind)| wanted(kind));
    try_join_all(kinds.map(async |kind| {
        let known = registry::by_gvk(kind.0, kind.1);
        let known = known.ok_or_else(|| Error::plain(format!("no such kind: {} {}", kind.0, kind.1)))?;
        let narrow = namespace.filter(|_| !FROM_EVERYWHERE.contains(&kind.1));
        let list = session.api.get(&Resource::from(known).collection(narrow)).await?;
        Ok((*kind, items(list)))
    }))
    .await
}

async fn events(session: &Session, namespace: Option<&str>, of_cluster: bool) -> Result<Vec<Event>, Error> {
    let resource = session.resource("events").await?;
    let mut urls = vec![resource.collection(namespace)];
    if of_cluster && namespace.is_some_and(|namespace| namespace != EVENTS_OF_THE_CLUSTER) {
        urls.push(resource.collection(Some(EVENTS_OF_THE_CLUSTER)));
    }
    let lists = try_join_all(urls.iter().map(|url| session.api.get(url))).await?;
    let events = lists.into_iter().flat_map(items).map(serde_json::from_value);
    events
        .collect::<Result<_, _>>()
        .map_err(|e| Error::plain(format!("cannot read the server's events: {e}")))
}
