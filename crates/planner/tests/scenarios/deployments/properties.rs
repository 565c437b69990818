//! Whatever people and machines do to a Deployment, in whatever order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{is_ready, is_terminating, perform, pod};
use crate::sim::Sim;

/// Rounds in which the kubelet does all it is asked to.
const HEALING_ROUNDS: usize = 60;

/// The bounds of an update, from the spec.
struct Bounds {
    most: usize,
    least: usize,
}

impl Bounds {
    fn of(sim: &Sim) -> Self {
        let deployment = sim.get("Deployment", "default", "web").expect("the deployment");
        let spec = &deployment["spec"];
        let replicas = spec["replicas"].as_u64().expect("a number");
        let rolling = &spec["strategy"]["rollingUpdate"];
        let bound = |field: &str, up: bool| {
            let value = &rolling[field];
            let percent = value.as_str().and_then(|share| share.strip_suffix('%')?.parse::<u64>().ok());
            let share = percent.map(|percent| (percent * replicas + if up { 99 } else { 0 }) / 100);
            share.or(value.as_u64()).unwrap_or(0)
        };
        let (surge, mut unavailable) = (bound("maxSurge", true), bound("maxUnavailable", false));
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let size = |number: u64| usize::try_from(number).expect("a small number");
        Self { most: size(replicas + surge), least: size(replicas.saturating_sub(unavailable)) }
    }
}

/// Follows what was done since the log was last cleared: at no moment are there more pods than `most` (those that
/// are being deleted do not count), and no deletion leaves fewer ready ones than `least`.
fn assert_within(sim: &Sim, bounds: &Bounds, before: &Census) {
    let mut alive = before.alive.clone();
    let mut ready = before.ready.clone();
    for line in &sim.log {
        if let Some(pod) = line.strip_prefix("create pod/") {
            alive.insert(pod.to_owned());
            assert!(
                alive.len() <= bounds.most.max(before.alive.len()),
                "{pod} is one too many: {:#?}",
                sim.log
            );
        }
        if let Some(pod) = line.strip_prefix("delete pod/") {
            alive.remove(pod);
            if ready.remove(pod) {
                assert!(ready.len() >= bounds.least, "{pod} was needed: {:#?}", sim.log);
            }
        }
    }
}

/// The pods that are there, and those of them that are ready.
#[derive(Clone, Default)]
struct Census {
    alive: BTreeSet<String>,
    ready: BTreeSet<String>,
}

impl Census {
    fn of(sim: &Sim) -> Self {
        let mut seen = Self::default();
        for name in sim.names("Pod") {
            let pod = sim.pod(&name).expect("a pod");
            if !is_terminating(pod) {
                seen.alive.insert(name.clone());
                if is_ready(pod) {
                    seen.ready.insert(name);
                }
            }
        }
        seen
    }
}

fn options() -> impl Strategy<Value = String> {
    let amount =
        prop_oneof![(0..3_u8).prop_map(|n| n.to_string()), (0..101_u8).prop_map(|n| format!("{n}%"))];
    let strategy = prop_oneof![
        1 => Just("recreate".to_owned()),
        5 => (amount.clone(), amount).prop_map(|(s, u)| format!("surge={s} unavailable={u}")),
    ];
    (0..6_u8, strategy, 0..3_u8, 0..3_u8).prop_map(|(replicas, strategy, min_ready, history)| {
        format!("deployment replicas={replicas} {strategy} min-ready={} history={history}", min_ready * 10)
    })
}

fn step() -> impl Strategy<Value = String> {
    let verb = prop_oneof![8 => Just("ready"), 1 => Just("crash"), 2 => Just("delete"), 5 => Just("finish")];
    prop_oneof![
        12 => (verb, 1..14_u8).prop_map(|(verb, pod)| format!("{verb} {pod}")),
        2 => (0..7_u8).prop_map(|replicas| format!("replicas {replicas}")),
        3 => (1..4_u8).prop_map(|image| format!("image web:{image}")),
        1 => prop_oneof![Just("pause".to_owned()), Just("resume".to_owned())],
        1 => Just("tick 17".to_owned()),
    ]
}

/// Does a step that makes sense now; others are passed over.
fn perform_if_possible(sim: &mut Sim, line: &str) {
    let (verb, number) = line.split_once(' ').unwrap_or((line, ""));
    let held = pod(sim, number).and_then(|pod| sim.pod(&pod).cloned());
    let is_possible = match verb {
        "ready" | "crash" | "delete" => held.is_some_and(|pod| !is_terminating(&pod)),
        "finish" => held.is_some_and(|pod| is_terminating(&pod)),
        _ => true,
    };
    if is_possible {
        perform(sim, line);
        sim.settle();
    }
}

/// The kubelet does its work, and time passes.
fn heal(sim: &mut Sim) {
    perform_if_possible(sim, "resume");
    for _ in 0..HEALING_ROUNDS {
        let before = sim.revision();
        for name in sim.names("Pod") {
            let Some(pod) = sim.pod(&name) else { continue };
            if is_terminating(pod) {
                sim.finish(&name);
            } else if !is_ready(pod) {
                sim.ready(&name);
            } else {
                continue;
            }
            sim.settle();
        }
        sim.tick(31);
        sim.settle();
        if sim.revision() == before {
            return;
        }
    }
    panic!("the deployment never comes to rest: {:#?}", sim.log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_deployment_reaches_its_goal_when_the_trouble_is_over(
        line in options(), steps in proptest::collection::vec(step(), 0..40),
    ) {
        let mut sim = Sim::new();
        perform(&mut sim, &line);
        sim.settle();
        for line in &steps {
            perform_if_possible(&mut sim, line);
        }
        heal(&mut sim);

        let deployment = sim.get("Deployment", "default", "web").expect("the deployment").clone();
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let wanted = spec["replicas"].as_i64().expect("a number");
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            prop_assert_eq!(status[count].as_i64().unwrap_or(0), wanted, "{}", count);
        }
        let pods = sim.names("Pod");
        prop_assert_eq!(i64::try_from(pods.len()).expect("few"), wanted);
        for pod in pods {
            let image = &sim.pod(&pod).expect("a pod")["spec"]["containers"][0]["image"];
            prop_assert_eq!(image, &spec["template"]["spec"]["containers"][0]["image"]);
        }
        let progress = status["conditions"].as_array().expect("conditions").iter()
            .find(|condition| condition["type"] == "Progressing").expect("Progressing");
        prop_assert_eq!(&progress["reason"], "NewReplicaSetAvailable");
        let limit = spec["revisionHistoryLimit"].as_i64().expect("a number");
        prop_assert!(i64::try_from(sim.names("ReplicaSet").len()).expect("few") <= limit + 1);
    }

    #[test]
    fn an_update_never_leaves_the_bounds_of_surge_and_unavailability(
        replicas in 1..9_u8, surge in 0..101_u8, unavailable in 0..101_u8, order in proptest::collection::vec(0..8_usize, 60),
    ) {
        let mut sim = Sim::new();
        perform(&mut sim, &format!("deployment replicas={replicas} surge={surge}% unavailable={unavailable}%"));
        sim.settle();
        heal(&mut sim);
        let bounds = Bounds::of(&sim);
        for image in ["web:2", "web:3"] {
            let before = Census::of(&sim);
            sim.log.clear();
            perform(&mut sim, &format!("image {image}"));
            sim.settle();
            assert_within(&sim, &bounds, &before);
            for chosen in &order {
                let unfinished: Vec<String> = sim.names("Pod").into_iter()
                    .filter(|name| sim.pod(name).is_some_and(|pod| is_terminating(pod) || !is_ready(pod)))
                    .collect();
                let Some(name) = unfinished.get(chosen % unfinished.len().max(1)) else { break };
                sim.log.clear();
                match is_terminating(sim.pod(name).expect("a pod")) {
                    true => sim.finish(name),
                    false => sim.ready(name),
                }
                let before = Census::of(&sim);
                sim.settle();
                assert_within(&sim, &bounds, &before);
            }
        }
    }
}
