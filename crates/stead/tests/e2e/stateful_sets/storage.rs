//! Claims: who keeps them, and who takes them along.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, PersistentVolumeClaim as Claim, Pod};
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::*;
use crate::harness::Home;

fn claims(home: &Home, expected: &[&str]) {
    home.until(&format!("claims {expected:?}"), |all: &Objects<Claim>| {
        all.keys().eq(expected) && all.values().all(|claim| claim.metadata.deletion_timestamp.is_none())
    });
}

fn retaining(name: &str, replicas: u32, deleted: &str, scaled: &str) -> Value {
    let policy = json!({"whenDeleted": deleted, "whenScaled": scaled});
    let more = json!({"persistentVolumeClaimRetentionPolicy": policy});
    with(with_claims(set(name, replicas, plain())), more)
}

#[test]
fn claims_of_replicas_that_are_scaled_away_go_where_the_policy_says_so() {
    let home = Home::new("claims-scaled");
    home.create::<StatefulSet>(retaining("db", 3, "Retain", "Delete"));
    complete(&home, "db");
    home.run("scale sts db --replicas=1");
    claims(&home, &["data-db-0"]);
    // A new claim, and a new disk, for the one that comes back.
    home.run("scale sts db --replicas=2");
    complete(&home, "db");
    claims(&home, &["data-db-0", "data-db-1"]);
    home.patch::<StatefulSet>(
        "db",
        &spec(json!({"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain"}})),
    );
    observed(&home, "db");
    home.run("scale sts db --replicas=0");
    home.until("no pod is left", |all: &Objects<Pod>| all.is_empty());
    claims(&home, &["data-db-0", "data-db-1"]);
    home.run("delete sts db");
    home.until("the set is gone", |all: &Objects<StatefulSet>| all.is_empty());
    claims(&home, &["data-db-0", "data-db-1"]);
}

#[test]
fn claims_of_a_deleted_set_go_where_the_policy_says_so_also_after_an_adoption() {
    let home = Home::new("claims-deleted");
    home.create::<StatefulSet>(retaining("db", 2, "Retain", "Retain"));
    complete(&home, "db");
    home.run("delete sts db --cascade=orphan");
    let db: StatefulSet = home.create(retaining("db", 2, "Delete", "Retain"));
    complete(&home, "db");
    home.until("the claims are the set's", |all: &Objects<Claim>| {
        let owner = |claim: &Claim| Some(claim.metadata.owner_references.as_ref()?.first()?.uid.clone());
        all.len() == 2 && all.values().all(|claim| owner(claim) == db.metadata.uid)
    });
    home.run("scale sts db --replicas=1");
    home.until("one is left", |all: &Objects<Pod>| names(all) == ["db-0"]);
    claims(&home, &["data-db-0", "data-db-1"]);
    home.run("delete sts db");
    claims(&home, &[]);
    home.until("no pod is left", |all: &Objects<Pod>| all.is_empty());
}

#[test]
fn a_pending_pod_whose_claim_is_deleted_gets_another() {
    let home = Home::new("claims-pending");
    let mut db = with_claims(set("db", 1, plain()));
    db["spec"]["template"]["spec"]["nodeSelector"] = json!({"test/home": home.namespace()});
    home.create::<StatefulSet>(db);
    home.until_one("db-0", "no node will do", |pod: &Pod| {
        condition(pod, "PodScheduled").is_some_and(|c| c.reason.as_deref() == Some("Unschedulable"))
    });
    let first = home.get::<Claim>("data-db-0");
    home.delete::<Claim>("data-db-0");
    home.until_one("data-db-0", "another claim", |claim: &Claim| claim.metadata.uid != first.metadata.uid);
    assert_eq!(phase(&home.get::<Pod>("db-0")), "Pending");
    let nodes: Api<Node> = Api::all(home.all::<Pod>().into_client());
    let node = home.ask(nodes.list(&Default::default())).items.remove(0).metadata.name.unwrap();
    let label = json!({"metadata": {"labels": {"test/home": home.namespace()}}});
    home.ask(nodes.patch(&node, &PatchParams::default(), &Patch::Merge(&label)));
    complete(&home, "db");
}

#[test]
fn a_claim_of_somebody_else_is_left_alone_whatever_the_policy_says() {
    let home = Home::new("claims-foreign");
    home.create::<StatefulSet>(retaining("db", 2, "Delete", "Delete"));
    complete(&home, "db");
    let other: ConfigMap = home.create(json!({"metadata": {"name": "other"}}));
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "controller": true,
        "uid": other.metadata.uid});
    home.patch::<Claim>("data-db-1", &json!({"metadata": {"ownerReferences": [owner]}}));
    home.run("delete pod db-1");
    home.until("it is told", |all: &Objects<Event>| {
        all.values().any(|event| event.reason.as_deref() == Some("ConflictingController"))
    });
    complete(&home, "db");
    home.run("scale sts db --replicas=0");
    home.until("no pod is left", |all: &Objects<Pod>| all.is_empty());
    claims(&home, &["data-db-1"]);
    home.run("delete sts db");
    claims(&home, &["data-db-1"]);
}
