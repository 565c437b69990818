//! Words for people: `rollout`, `wait`, `why`, `timeline`.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::*;
use crate::harness::Home;

#[test]
fn rollouts_are_followed_listed_undone_and_started() {
    let home = Home::new("words-rollout");
    home.create::<StatefulSet>(set("db", 2, plain()));
    home.run("rollout status sts/db --timeout=60s");
    assert_eq!(pods(&home).len(), 2);
    home.patch::<StatefulSet>("db", &version("2"));
    let said = home.run("rollout status sts/db --timeout=60s");
    assert!(said.contains("complete"), "{said}");
    let history = home.run("rollout history sts/db");
    let revisions: Vec<&str> = history.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(revisions[revisions.len() - 2..], ["1", "2"], "{history}");
    home.run("rollout undo sts/db");
    complete(&home, "db");
    assert!(pods(&home).values().all(|pod| version_of(pod).is_empty()));

    let before = pods(&home);
    home.run("rollout restart sts/db");
    home.run("rollout status sts/db --timeout=60s");
    let after = pods(&home);
    assert!(after.iter().all(|(name, pod)| uid(pod) != uid(&before[name])));
}

#[test]
fn a_set_can_be_waited_for_by_its_conditions() {
    let home = Home::new("words-wait");
    home.create::<StatefulSet>(set("db", 2, held()));
    running(&home, "db-0");
    home.wait("condition=Available=false", "sts/db");
    mend(&home, "db-0");
    running(&home, "db-1");
    mend(&home, "db-1");
    home.wait("condition=Available", "sts/db");
    home.wait("condition=Progressing=false", "sts/db");
    assert!(is_complete(&home.get("db")));
}

#[test]
fn why_names_the_cause_of_a_probe_that_fails_and_of_a_crash_with_its_last_words() {
    let home = Home::new("words-why");
    home.create::<StatefulSet>(set("db", 2, held()));
    home.until_one("db-0", "it is told not Ready", |pod: &k8s_openapi::api::core::v1::Pod| {
        runs(pod)
            && condition(pod, "Ready").is_some_and(|c| c.reason.as_deref() == Some("ContainersNotReady"))
    });
    home.until("the probe has failed", |all: &Objects<k8s_openapi::api::core::v1::Event>| {
        all.values().any(|event| event.reason.as_deref() == Some("Unhealthy"))
    });
    let why = home.stead("why sts/db");
    for words in ["db-0", "db-1", "readiness probe"] {
        assert!(why.contains(words), "{words:?} is not in:\n{why}");
    }
    let mut broken = plain();
    broken["command"] = json!(["sh", "-c", "echo the flux capacitor is missing >&2; exit 7"]);
    home.create::<StatefulSet>(set("broken", 1, broken));
    home.until_one("broken", "it has stalled", |set: &StatefulSet| {
        stands(set, "Stalled", "CrashLoopBackOff")
    });
    let why = home.stead("why sts/broken");
    for words in ["broken-0", "CrashLoopBackOff", "the flux capacitor is missing"] {
        assert!(why.contains(words), "{words:?} is not in:\n{why}");
    }
}

#[test]
fn a_timeline_tells_what_happened_in_order() {
    let home = Home::new("words-timeline");
    home.create::<StatefulSet>(set("db", 2, plain()));
    complete(&home, "db");
    let told = home.stead("timeline sts/db");
    let first = |words: &str| {
        told.lines()
            .position(|line| line.contains(words))
            .unwrap_or_else(|| panic!("{words:?} is not in:\n{told}"))
    };
    assert!(first("db-0") < first("db-1"), "{told}");
}
