//! Whatever people and machines do to a set, in whatever order: no plan on the way breaks a rule (debug builds
//! judge every plan), planners always come to rest, and when the trouble is over the set is as it should be.

use proptest::prelude::*;
use serde_json::Value;

use crate::script;
use crate::sim::Sim;

/// Rounds in which the kubelet does all it is asked to; a healthy set needs about two for each pod.
const HEALING_ROUNDS: usize = 100;

fn options() -> impl Strategy<Value = String> {
    let flag = |text: &'static str| prop_oneof![Just(""), Just(text)];
    (
        0..4_u8,
        flag(" claims"),
        flag(" parallel"),
        flag(" on-delete"),
        0..3_u8,
        1..4_u8,
        0..2_u8,
        flag("Delete"),
    )
        .prop_map(
            |(replicas, claims, parallel, on_delete, partition, max_unavailable, min_ready, scaled)| {
                let mut line =
                    format!("set replicas={replicas}{claims}{parallel} min-ready={}", min_ready * 10);
                if on_delete.is_empty() {
                    line += &format!(" partition={partition} max-unavailable={max_unavailable}");
                } else {
                    line += on_delete;
                }
                if !scaled.is_empty() {
                    line += " when-scaled=Delete";
                }
                line
            },
        )
}

fn step() -> impl Strategy<Value = String> {
    let pod = (0..5_u8).prop_map(|ordinal| format!("web-{ordinal}"));
    let pod_verb = prop_oneof![
        4 => Just("ready"), 1 => Just("unready"), 1 => Just("crash"), 1 => Just("fail"),
        2 => Just("delete"), 4 => Just("finish"),
    ];
    prop_oneof![
        8 => (pod_verb, pod).prop_map(|(verb, pod)| format!("{verb} {pod}")),
        1 => (0..5_u8).prop_map(|replicas| format!("replicas {replicas}")),
        1 => (1..4_u8).prop_map(|image| format!("image web:{image}")),
        1 => (0..3_u8).prop_map(|start| format!("start {start}")),
        1 => (0..5_u8).prop_map(|ordinal| format!("delete-claim data-web-{ordinal}")),
        1 => Just("tick 7".to_owned()),
    ]
}

/// Does a step that makes sense now; others are passed over.
fn perform(sim: &mut Sim, line: &str) {
    let (verb, name) = line.split_once(' ').unwrap_or((line, ""));
    let is_possible = match verb {
        "ready" | "unready" | "crash" | "fail" => sim.pod(name).is_some_and(|pod| !is_terminal(pod)),
        "delete" => sim.pod(name).is_some(),
        "finish" => sim.pod(name).is_some_and(is_terminating),
        "delete-claim" => sim.get("PersistentVolumeClaim", "default", name).is_some(),
        _ => true,
    };
    if is_possible {
        script::perform(sim, line);
        sim.settle();
    }
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// No kubelet brings such a pod back.
fn is_terminal(pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed" || pod["status"]["phase"] == "Succeeded"
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
        && pod["status"]["conditions"]
            .as_array()
            .is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

/// The kubelet does its work, backups are done, time passes.
fn heal(sim: &mut Sim) {
    for _ in 0..HEALING_ROUNDS {
        for claim in sim.names("PersistentVolumeClaim") {
            script::perform(sim, &format!("release-claim {claim}"));
            sim.settle();
        }
        let before = sim.revision();
        for pod in sim.names("Pod") {
            let Some(object) = sim.pod(&pod).cloned() else { continue };
            if is_terminating(&object) {
                sim.finish(&pod);
            } else if !is_ready(&object) && !is_terminal(&object) {
                sim.ready(&pod);
            } else {
                continue;
            }
            sim.settle();
        }
        sim.tick(30);
        sim.settle();
        if sim.revision() == before {
            return;
        }
    }
    panic!("the set never comes to rest: {:#?}", sim.log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_set_reaches_its_goal_when_the_trouble_is_over(
        set in options(), steps in proptest::collection::vec(step(), 0..25),
    ) {
        let mut sim = Sim::new();
        script::perform(&mut sim, &set);
        sim.settle();
        for line in &steps {
            perform(&mut sim, line);
        }
        heal(&mut sim);

        let set = sim.get("StatefulSet", "default", "web").expect("the set").clone();
        let (spec, status) = (&set["spec"], &set["status"]);
        let start = spec["ordinals"]["start"].as_i64().unwrap_or(0);
        let wanted = spec["replicas"].as_i64().unwrap_or(1);
        let names: Vec<String> = (start..start + wanted).map(|ordinal| format!("web-{ordinal}")).collect();
        prop_assert_eq!(sim.names("Pod"), names.clone());
        for count in ["replicas", "readyReplicas", "availableReplicas"] {
            prop_assert_eq!(status[count].as_i64().unwrap_or(0), wanted, "{}", count);
        }
        let partition = spec["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0);
        if spec["updateStrategy"]["type"] == "RollingUpdate" && partition == 0 {
            prop_assert_eq!(&status["currentRevision"], &status["updateRevision"]);
            for name in &names {
                let labels = &sim.pod(name).expect("a pod")["metadata"]["labels"];
                prop_assert_eq!(&labels["controller-revision-hash"], &status["updateRevision"]);
            }
        }
        if !spec["volumeClaimTemplates"].is_null() {
            for name in names {
                let claim = sim.get("PersistentVolumeClaim", "default", &format!("data-{name}"));
                prop_assert_eq!(&claim.expect("a claim")["status"]["phase"], "Bound");
            }
        }
    }
}
