//! Keeps a zone current: list, then watch, of Services and EndpointSlices of all namespaces.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::zone::{Endpoint, Key, Port, Service, Slice, Target, Zone};

/// The pause before the API server is asked again after a failure; it doubles with each failure in a row.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

/// The longest pause.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// The label that says whose endpoints a slice has (KEP-752).
const SERVICE_NAME: &str = "kubernetes.io/service-name";

type SharedZone = Arc<RwLock<Zone>>;

/// Follows both kinds for ever, and says when both were listed once and the zone is complete.
pub(crate) async fn follow(client: Client, zone: SharedZone, complete: oneshot::Sender<()>) {
    let (services_listed, services) = oneshot::channel();
    let (slices_listed, slices) = oneshot::channel();
    let first_lists = async {
        if services.await.is_ok() && slices.await.is_ok() {
            zone.write().unwrap_or_else(PoisonError::into_inner).set_complete();
            let _ = complete.send(());
        }
    };
    tokio::join!(
        follow_kind(Api::<core::Service>::all(client.clone()), services_listed, &zone),
        follow_kind(Api::<discovery::EndpointSlice>::all(client), slices_listed, &zone),
        first_lists,
    );
}

/// A kind that has a place in the zone.
trait Source: Resource + Clone + Debug + DeserializeOwned {
    fn known(zone: &Zone) -> Vec<Key>;
    fn set(&self, key: &Key, zone: &mut Zone);
    fn remove(key: &Key, zone: &mut Zone);
}

async fn follow_kind<K: Source>(api: Api<K>, listed: oneshot::Sender<()>, zone: &SharedZone) {
    let mut listed = Some(listed);
    let mut backoff = FIRST_BACKOFF;
    loop {
        match list(&api, zone).await {
            Ok(version) => {
                if let Some(listed) = listed.take() {
                    // Nobody listens when DNS is shut down.
                    let _ = listed.send(());
                }
                let error = watch(&api, version, zone, &mut backoff).await;
                tracing::debug!(%error, "a watch lost its place; listing again");
            }
            Err(error) => tracing::debug!(%error, "a list failed; trying again"),
        }
        pause(&mut backoff).await;
    }
}

async fn pause(backoff: &mut Duration) {
    tokio::time::sleep(*backoff).await;
    *backoff = (*backoff * 2).min(MAX_BACKOFF);
}

/// Sets all there is, and answers the list's resourceVersion.
async fn list<K: Source>(api: &Api<K>, zone: &SharedZone) -> kube::Result<String> {
    let list = api.list(&ListParams::default()).await?;
    let mut zone = zone.write().unwrap_or_else(PoisonError::into_inner);
    let mut gone = K::known(&zone);
    let keyed: Vec<_> = list.items.iter().filter_map(|object| Some((key(object)?, object))).collect();
    let present: std::collections::HashSet<_> = keyed.iter().map(|(key, _)| key).collect();
    gone.retain(|key| !present.contains(key));
    for key in &gone {
        K::remove(key, &mut zone);
    }
    for (key, object) in &keyed {
        object.set(key, &mut zone);
    }
    Ok(list.metadata.resource_version.unwrap_or_default())
}

/// Watches, again and again where the last watch ended, until that is not possible.
async fn watch<K: Source>(
    api: &Api<K>,
    mut version: String,
    zone: &SharedZone,
    backoff: &mut Duration,
) -> kube::Error {
    loop {
        let started = Instant::now();
        let mut heard = false;
        if let Err(error) = watch_once(api, &mut version, zone, &mut heard).await {
            return error;
        }
        // A server that ends watches at once is not well; one that does so in its time is.
        if heard || started.elapsed() >= MAX_BACKOFF {
            *backoff = FIRST_BACKOFF;
        } else {
            pause(backoff).await;
        }
    }
}

async fn watch_once<K: Source>(
    api: &Api<K>,
    version: &mut String,
    zone: &SharedZone,
    heard: &mut bool,
) -> kube::Result<()> {
    let params = WatchParams { bookmarks: true, ..WatchParams::default() };
    let events = api.watch(&params, version).await?;
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let next = match event? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                if let Some(key) = key(&object) {
                    object.set(&key, &mut zone.write().unwrap_or_else(PoisonError::into_inner));
                }
                object.meta().resource_version.clone()
            }
            WatchEvent::Deleted(object) => {
                if let Some(key) = key(&object) {
                    K::remove(&key, &mut zone.write().unwrap_or_else(PoisonError::into_inner));
                }
                object.meta().resource_version.clone()
            }
            WatchEvent::Bookmark(bookmark) => Some(bookmark.metadata.resource_version),
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
        };
        if let Some(next) = next {
            *version = next;
        }
        *heard = true;
    }
    Ok(())
}

fn key(object: &impl Resource) -> Option<Key> {
    let meta = object.meta();
    Some(Key { namespace: meta.namespace.clone()?, name: meta.name.clone()? })
}

impl Source for core::Service {
    fn known(zone: &Zone) -> Vec<Key> {
        zone.service_keys()
    }

    fn set(&self, key: &Key, zone: &mut Zone) {
        zone.set_service(key, Some(service(self)));
    }

    fn remove(key: &Key, zone: &mut Zone) {
        zone.set_service(key, None);
    }
}

impl Source for discovery::EndpointSlice {
    fn known(zone: &Zone) -> Vec<Key> {
        zone.slice_keys()
    }

    fn set(&self, key: &Key, zone: &mut Zone) {
        zone.set_slice(key, slice(self));
    }

    fn remove(key: &Key, zone: &mut Zone) {
        zone.set_slice(key, None);
    }
}

fn service(object: &core::Service) -> Service {
    let spec = object.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let ports = ports.into_iter().filter_map(|at| port(at.name, at.protocol, Some(at.port))).collect();
    let target = if spec.type_.as_deref() == Some("ExternalName") {
        Target::External(spec.external_name.unwrap_or_default())
    } else if spec.cluster_ip.as_deref() == Some("None") {
        Target::Headless
    } else {
        let addresses = spec.cluster_ips.or_else(|| spec.cluster_ip.map(|address| vec![address]));
        Target::ClusterIps(addresses.unwrap_or_default().iter().filter_map(|ip| ip.parse().ok()).collect())
    };
    Service { target, ports }
}

/// `None` for a slice that is nobody's.
fn slice(object: &discovery::EndpointSlice) -> Option<Slice> {
    let service = object.metadata.labels.as_ref()?.get(SERVICE_NAME)?.clone();
    let endpoints = object.endpoints.iter().flatten().map(|endpoint| Endpoint {
        addresses: endpoint.addresses.iter().filter_map(|address| address.parse().ok()).collect(),
        hostname: endpoint.hostname.clone().filter(|hostname| !hostname.is_empty()),
        // Unknown is to be taken for ready, says the API.
        ready: endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true),
    });
    let ports = object.ports.iter().flatten().cloned();
    Some(Slice {
        service,
        endpoints: endpoints.collect(),
        ports: ports.filter_map(|at| port(at.name, at.protocol, at.port)).collect(),
    })
}

fn port(name: Option<String>, protocol: Option<String>, number: Option<i32>) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default(),
        protocol: protocol.unwrap_or_else(|| "TCP".into()).to_ascii_lowercase(),
        number: u16::try_from(number?).ok()?,
    })
}
