//! Ways to break the StatefulSet planner: each is a mistake that somebody could make in good faith.

/// A change of one place in a source file of the planner.
pub(super) struct Edit {
    /// The package that the file is a source of.
    pub(super) package: &'static str,
    /// The file, below the package's `src`.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) find: &'static str,
    /// What comes in its place.
    pub(super) put: &'static str,
}

/// One way to break the planner.
pub(super) struct Breakage {
    /// What is broken.
    pub(super) what: &'static str,
    /// How.
    pub(super) edits: &'static [Edit],
}

const fn edit(file: &'static str, find: &'static str, put: &'static str) -> Edit {
    Edit { package: "planner", file, find, put }
}

/// The planner judges its own plans in debug builds, and the simulator does in all; without that, suites show what
/// they find by themselves.
pub(super) const NO_CHECKER: [Edit; 2] = [
    edit(
        "stateful_set/mod.rs",
        "debug_assert_eq!(check::violations(world, key, &plan, now), Vec::<String>::new());",
        "let _ = check::violations;",
    ),
    Edit {
        package: "simulator",
        file: "judged.rs",
        find: "if is_sets && !sim.options.unchecked {",
        put: "if is_sets && !sim.options.unchecked && false {",
    },
];

/// All of them.
pub(super) const BREAKAGES: &[Breakage] = &[
    Breakage {
        what: "a pod's successor does not wait for its termination",
        edits: &[
            edit(
                "stateful_set/mod.rs",
                "members.iter().map(of_pod)",
                "members.iter().filter(|member| !member.is_terminating).map(of_pod)",
            ),
            edit(
                "stateful_set/scale.rs",
                "view.snapshot.foreign_holder(&pod_name) {",
                "view.snapshot.foreign_holder(&pod_name).filter(|pod| !is_terminating(&pod.metadata)) {",
            ),
        ],
    },
    Breakage {
        what: "in order, a pod does not wait for its predecessor to be Ready",
        edits: &[edit(
            "stateful_set/scale.rs",
            "wait_for_pod(set, pod, reasons::PREDECESSOR_NOT_READY, message, plan);\n            false",
            "wait_for_pod(set, pod, reasons::PREDECESSOR_NOT_READY, message, plan);\n            true",
        )],
    },
    Breakage {
        what: "updates forget the partition",
        edits: &[edit(
            "stateful_set/rolling_update.rs",
            "view.rank(pod.ordinal) >= view.partition().unwrap_or(0)",
            "view.rank(pod.ordinal) >= 0",
        )],
    },
    Breakage {
        what: "a missing pod below the partition is made of the new revision",
        edits: &[edit(
            "stateful_set/scale.rs",
            "Some(partition) => self.rank(ordinal) < partition,",
            "Some(_) => false,",
        )],
    },
    Breakage {
        what: "updates ignore maxUnavailable",
        edits: &[edit(
            "stateful_set/rolling_update.rs",
            "let mut budget = max_unavailable(view) - unavailable;",
            "let mut budget = max_unavailable(view) + unavailable;",
        )],
    },
    Breakage {
        what: "a pod is made on the claim that goes with its last one",
        edits: &[edit(
            "stateful_set/storage.rs",
            "stale.then_some(Blocked::Stale(claim))",
            "{ let _ = stale; None }",
        )],
    },
    Breakage {
        what: "claims of pods that are wanted again still go with them",
        edits: &[edit("stateful_set/storage.rs", "None => owners.len() == held.len(),", "None => true,")],
    },
    Breakage {
        what: "a scale-down does not wait for those who stay",
        edits: &[edit(
            "stateful_set/mod.rs",
            "        if complete {\n            scale::do_plan_condemned",
            "        if complete || !snapshot.is_terminating {\n            scale::do_plan_condemned",
        )],
    },
    Breakage {
        what: "a bad rollout does not heal: pods that are stuck are left alone",
        edits: &[edit(
            "stateful_set/rolling_update.rs",
            "!view.is_ordered() || stuck(pod, view.now).is_some()",
            "!view.is_ordered() || (stuck(pod, view.now).is_some() && crate::pods::is_terminal(pod))",
        )],
    },
    Breakage {
        what: "nobody looks again when minReadySeconds are over",
        edits: &[
            edit(
                "stateful_set/scale.rs",
                "            plan.requeue(rest);\n            let message",
                "            let message",
            ),
            edit(
                "stateful_set/mod.rs",
                "rests.filter(SignedDuration::is_positive).for_each(|rest| plan.requeue(rest));",
                "let _ = rests.filter(SignedDuration::is_positive).for_each(drop::<SignedDuration>);",
            ),
        ],
    },
];
