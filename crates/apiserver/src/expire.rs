//! Forgets objects that are news and not state, once they are old (events).

use std::time::Duration;

use jiff::Timestamp;
use registry::KINDS;
use serde_json::Value;

use crate::api::ApiServer;

/// How often old objects are looked for.
const ROUND: Duration = Duration::from_secs(60);

impl ApiServer {
    /// Forgets expired objects now and then, for ever.
    pub async fn expire(&self) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.expire_once(self.clock().now()).await;
        }
    }

    /// Forgets what has expired by `now`.
    async fn expire_once(&self, now: Timestamp) {
        for kind in KINDS.iter().filter(|kind| kind.ephemeral) {
            let page = match self.store().list(&registry::storage_prefix(kind), None, 0, None).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!("looking for old {}: {error}", kind.plural);
                    continue;
                }
            };
            for item in page.items {
                let object: Value = serde_json::from_slice(&item.value).unwrap_or_default();
                if kind.strategy.expires_at(&object).is_some_and(|at| at <= now) {
                    let write = store::Write {
                        key: item.key,
                        value: None,
                        // Seen again meanwhile: then it stays.
                        expect: store::Expect::Revision(item.revision),
                        durability: store::Durability::Late,
                    };
                    if let Err(error) = self.store().write(write).await {
                        tracing::debug!("{error}");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use apimachinery::inject::{Clock, Random};
    use apimachinery::status::Status;
    use serde_json::json;
    use store::{Durability, Expect, Memory, Store, Write};

    use super::*;
    use crate::api::Config;
    use crate::node_streams::{ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams};

    pub(crate) struct NoNode;

    #[async_trait::async_trait]
    impl NodeStreams for NoNode {
        async fn logs(&self, _: &ContainerRef, _: LogOptions) -> Result<LogStream, Status> {
            Err(Status::method_not_allowed())
        }

        async fn exec(&self, _: &ContainerRef, _: ExecOptions) -> Result<ExecSession, Status> {
            Err(Status::method_not_allowed())
        }
    }

    #[tokio::test]
    async fn old_events_are_forgotten_and_leases_and_young_events_stay() {
        let store = Memory::new();
        let put = |key: &str, object: Value| Write {
            key: key.into(),
            value: Some(object.to_string().into()),
            expect: Expect::Absent,
            durability: Durability::Late,
        };
        let event = |last: &str| json!({"apiVersion": "v1", "kind": "Event", "lastTimestamp": last});
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"});
        for write in [
            put("/core/events/default/old", event("2026-01-01T00:00:00Z")),
            put("/core/events/default/young", event("2026-01-01T01:30:00Z")),
            put("/coordination.k8s.io/leases/kube-node-lease/n", lease),
        ] {
            store.write(write).await.unwrap();
        }
        let store: Arc<dyn Store> = Arc::new(store);
        let api = ApiServer::new(Config {
            store: Arc::clone(&store),
            service_cidr: "10.43.0.0/16".to_owned(),
            streams: Arc::new(NoNode),
            tokens: Arc::new(crate::authn::TokenKey::generate().expect("a key")),
            clock: Clock::new(|| Timestamp::UNIX_EPOCH),
            random: Random::seeded(1),
        });
        api.expire_once("2026-01-01T02:00:00Z".parse().unwrap()).await;
        let left = store.list("/", None, 0, None).await.unwrap().items;
        let keys: Vec<&str> = left.iter().map(|item| &*item.key).collect();
        assert_eq!(keys, ["/coordination.k8s.io/leases/kube-node-lease/n", "/core/events/default/young"]);
    }
}
