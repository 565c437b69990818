//! From one revision to another.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::harness::Home;

/// What a timeline says of pods that are replaced one after another.
fn replaced(pods: &[&str]) -> Vec<String> {
    let steps = |pod: &&str| {
        [format!("{pod} terminating"), format!("-{pod}"), format!("+{pod}"), format!("{pod} ready")]
    };
    pods.iter().flat_map(steps).collect()
}

#[test]
fn a_template_rolls_out_and_back_and_every_pod_keeps_its_claim() {
    let home = Home::new("update-roll");
    home.create::<StatefulSet>(with_claims(set("db", 3, probed())));
    let first = status(&complete(&home, "db")).current_revision;
    for pod in ["db-0", "db-1", "db-2"] {
        home.run(&format!("exec {pod} -- sh -c 'hostname > /data/id'"));
    }
    let timeline = home.timeline();
    home.patch::<StatefulSet>("db", &version("2"));
    let second = status(&complete(&home, "db")).current_revision;
    assert_ne!(first, second);
    assert_eq!(timeline.take(), replaced(&["db-2", "db-1", "db-0"]));
    assert!(pods(&home).values().all(|pod| version_of(pod) == "2"));

    home.patch::<StatefulSet>("db", &spec(json!({"template": {"metadata": {"annotations": null}}})));
    assert_eq!(status(&complete(&home, "db")).current_revision, first, "the old revision under its old name");
    assert_eq!(timeline.take(), replaced(&["db-2", "db-1", "db-0"]));
    for pod in ["db-0", "db-1", "db-2"] {
        assert_eq!(home.run(&format!("exec {pod} -- cat /data/id")).trim(), pod);
    }
    let history = home.until("the history", |_: &Objects<ControllerRevision>| true);
    assert_eq!(history.len(), 2);
}

#[test]
fn a_partition_makes_a_canary_that_goes_on_in_phases() {
    let home = Home::new("update-canary");
    home.create::<StatefulSet>(set("db", 3, plain()));
    complete(&home, "db");
    let partition = |at: u32| {
        spec(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": at}}}))
    };
    let reach = |expected: [&str; 3]| {
        home.until(&format!("versions {expected:?}"), |all: &Objects<Pod>| {
            versions(all).into_values().eq(expected) && all.values().all(is_ready)
        });
    };
    home.patch::<StatefulSet>("db", &partition(2));
    home.patch::<StatefulSet>("db", &version("2"));
    reach(["", "", "2"]);
    let canary = home.until_one("db", "the canary counts", |set: &StatefulSet| {
        status(set).updated_replicas == Some(1) && status(set).ready_replicas == Some(3)
    });
    assert_ne!(status(&canary).current_revision, status(&canary).update_revision);
    // Each comes back as what it was.
    let before = pods(&home);
    home.run("delete pod db-0 db-2");
    home.until("both are others", |all: &Objects<Pod>| {
        let is_other =
            |name| all.get(name).is_some_and(|pod| uid(pod) != uid(&before[name]) && is_ready(pod));
        is_other("db-0") && is_other("db-2")
    });
    reach(["", "", "2"]);
    home.patch::<StatefulSet>("db", &partition(1));
    reach(["", "2", "2"]);
    home.patch::<StatefulSet>("db", &partition(0));
    reach(["2", "2", "2"]);
    complete(&home, "db");
}

#[test]
fn on_delete_replaces_what_somebody_deletes() {
    let home = Home::new("update-on-delete");
    let strategy = json!({"updateStrategy": {"type": "OnDelete"}});
    home.create::<StatefulSet>(with(set("db", 3, plain()), strategy));
    complete(&home, "db");
    let timeline = home.timeline();
    home.patch::<StatefulSet>("db", &version("2"));
    let seen = observed(&home, "db");
    assert_ne!(status(&seen).current_revision, status(&seen).update_revision);
    assert_eq!(timeline.take(), [""; 0]);
    home.run("delete pod db-1");
    ready(&home, "db-1");
    let mixed = only_ready(&home, &["db-0", "db-1", "db-2"]);
    assert!(versions(&mixed).into_values().eq(["", "2", ""]));
    home.run("delete pod db-0 db-2");
    complete(&home, "db");
    assert!(pods(&home).values().all(|pod| version_of(pod) == "2"));
}

#[test]
fn so_many_may_be_unavailable_at_once_under_either_policy() {
    let home = Home::new("update-budget");
    for (name, policy) in [("ordered", "OrderedReady"), ("parallel", "Parallel")] {
        let pod = |ordinal: u32| format!("{name}-{ordinal}");
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
        let more = json!({"podManagementPolicy": policy, "updateStrategy": strategy});
        home.create::<StatefulSet>(with(set(name, 4, probed()), more));
        complete(&home, name);
        // The next version is not Ready by itself.
        let mut next = version("2");
        next["spec"]["template"]["spec"] = json!({"containers": [held()]});
        home.patch::<StatefulSet>(name, &next);
        home.until_one(name, "the set waits for two", |set: &StatefulSet| {
            is_observed(set)
                && status(set).available_replicas == Some(2)
                && stands(set, "Progressing", "RollingOut")
        });
        let all = pods(&home);
        assert!([0, 1].map(pod).iter().all(|name| version_of(&all[name]).is_empty() && is_ready(&all[name])));
        let is_slow = |pod: &Pod| version_of(pod) == "2" && runs(pod) && !is_ready(pod);
        let mut mended = 0;
        while mended < 4 {
            let all = home.until("another is to be mended", |all: &Objects<Pod>| {
                let well = all.values().filter(|pod| is_ready(pod)).count();
                assert!(well >= 2, "never more than two at once: {:?}", versions(all));
                all.values().any(is_slow)
            });
            for (name, _) in all.iter().filter(|(_, pod)| is_slow(pod)) {
                mend(&home, name);
                home.until_one(name, "it is Ready", is_ready);
                mended += 1;
            }
        }
        complete(&home, name);
        home.run(&format!("delete sts {name} --cascade=foreground"));
    }
}

#[test]
fn a_paused_set_scales_and_repairs_and_replaces_nothing() {
    let home = Home::new("update-paused");
    home.create::<StatefulSet>(set("db", 2, plain()));
    complete(&home, "db");
    home.run("annotate sts db stead.dev/paused=true");
    home.patch::<StatefulSet>("db", &version("2"));
    home.until_one("db", "it says that it is paused", |set: &StatefulSet| {
        is_observed(set) && standing(set, "Progressing").is_some_and(|(_, reason)| reason == "Paused")
    });
    let timeline = home.timeline();
    home.run("scale sts db --replicas=3");
    ready(&home, "db-2");
    home.run("delete pod db-0");
    let all = only_ready(&home, &["db-0", "db-1", "db-2"]);
    assert!(all.values().all(|pod| version_of(pod).is_empty()), "all are of the current revision");
    let made = ["+db-2", "db-2 ready", "db-0 terminating", "-db-0", "+db-0", "db-0 ready"];
    assert_eq!(timeline.take(), made);
    home.run("annotate sts db stead.dev/paused-");
    complete(&home, "db");
    assert_eq!(timeline.take(), replaced(&["db-2", "db-1", "db-0"]));
}
