//! Whose pods they are.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;

use super::*;
use crate::harness::Home;

#[test]
fn every_replica_has_a_name_a_place_and_a_disk_of_its_own_and_finds_them_again() {
    let home = Home::new("own-identity");
    home.create::<StatefulSet>(with_claims(set("db", 3, plain())));
    complete(&home, "db");
    for ordinal in 0..3 {
        let (name, ordinal) = (format!("db-{ordinal}"), ordinal.to_string());
        let pod = home.get::<Pod>(&name);
        let label = |key: &str| pod.metadata.labels.as_ref().unwrap()[key].as_str();
        assert_eq!(label("statefulset.kubernetes.io/pod-name"), name);
        assert_eq!(label("apps.kubernetes.io/pod-index"), ordinal);
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some(&*name), Some("db")));
        assert_eq!(home.run(&format!("exec {name} -- hostname")).trim(), name);
        let told = home.run(&format!("exec {name} -- hostname -f"));
        assert_eq!(told.trim(), format!("{name}.db.own-identity.svc.cluster.local"));
        home.run(&format!("exec {name} -- sh -c 'hostname >> /data/id'"));
    }
    home.run("scale sts db --replicas=0");
    home.until("no pod is left", |all: &Objects<Pod>| all.is_empty());
    home.run("scale sts db --replicas=3");
    complete(&home, "db");
    for name in ["db-0", "db-1", "db-2"] {
        assert_eq!(home.run(&format!("exec {name} -- cat /data/id")).trim(), name);
    }
}

fn owner(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

#[test]
fn orphans_are_adopted_as_they_are() {
    let home = Home::new("own-orphans");
    let db = with_claims(set("db", 2, plain()));
    let former: StatefulSet = home.create(db.clone());
    complete(&home, "db");
    let before: Vec<String> = pods(&home).values().map(|pod| uid(pod).to_owned()).collect();
    let timeline = home.timeline();
    home.run("delete sts db --cascade=orphan");
    let orphans =
        home.until("nobody owns them", |all: &Objects<Pod>| all.values().all(|p| owner(p).is_none()));
    assert_eq!(orphans.len(), 2);
    let next: StatefulSet = home.create(db);
    assert_ne!(next.metadata.uid, former.metadata.uid);
    complete(&home, "db");
    let adopted = pods(&home);
    assert!(adopted.values().all(|pod| owner(pod) == next.metadata.uid.as_deref()));
    assert_eq!(adopted.values().map(uid).collect::<Vec<_>>(), before);
    assert_eq!(timeline.take(), [""; 0], "no pod noticed");
}

#[test]
fn a_pod_that_no_longer_matches_is_let_go_and_taken_back_when_it_does() {
    let home = Home::new("own-strays");
    let db: StatefulSet = home.create(set("db", 2, plain()));
    complete(&home, "db");
    let before = home.get::<Pod>("db-1");
    home.run("label pod db-1 app=other --overwrite");
    home.until_one("db-1", "it is let go", |pod: &Pod| owner(pod).is_none());
    // It holds the name: the set cannot make another, and says so.
    home.until_one("db", "one is missing", |set: &StatefulSet| status(set).replicas == 1);
    assert!(home.stead("why sts/db").contains("db-1"));
    home.run("label pod db-1 app=db --overwrite");
    let back =
        home.until_one("db-1", "it is taken back", |pod: &Pod| owner(pod) == db.metadata.uid.as_deref());
    assert_eq!(uid(&back), uid(&before));
    complete(&home, "db");

    home.run("label pod db-1 app=other --overwrite");
    home.until_one("db-1", "it is let go", |pod: &Pod| owner(pod).is_none());
    home.run("delete pod db-1");
    let next = home.until_one("db-1", "the set makes its own", is_ready);
    assert_ne!(uid(&next), uid(&before));
    complete(&home, "db");
}
