//! `apps/v1` DaemonSet.

use apimachinery::field::Path;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::replica_set::{self, CONTAINERS, IMAGES, SELECTOR};
use super::core::default_template;
use super::{Stored, kind};
use crate::kind::Kind;
use crate::kind::Scope::Namespaced;
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, number, object, object_in, set};

pub(crate) static DAEMON_SET: Kind = kind(
    "apps",
    "v1",
    ["DaemonSet", "daemonsets", "daemonset"],
    Namespaced,
    &Stored {
        defaults: default_daemon_set,
        prepare: |daemon_set| {
            let counts =
                ["currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"];
            let counts: Map<String, Value> =
                counts.into_iter().map(|count| (count.to_owned(), 0.into())).collect();
            set(daemon_set, "status", counts);
        },
        checks: |errors, set| {
            let (path, spec) = (Path::new("spec"), &set["spec"]);
            replica_set::validate_selector(errors, &path, spec);
            replica_set::validate_template(errors, &path.child("template"), spec);
        },
        immutable: &["spec.selector"],
        columns: &[
            NAME,
            column("Desired", "integer", "How many nodes should run a pod."),
            column("Current", "integer", "How many nodes that should run a pod run one."),
            column("Ready", "integer", "How many nodes have a pod that is Ready."),
            column("Up-to-date", "integer", "How many nodes run a pod of the present template."),
            column("Available", "integer", "How many nodes have a pod that has been ready for long enough."),
            column("Node Selector", "string", "What labels the nodes have."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: daemon_set_row,
        ..Stored::PLAIN
    },
)
.short(&["ds"])
.observed()
.in_categories(&["all"]);

/// Upstream: `SetDefaults_DaemonSet`.
fn default_daemon_set(daemon_set: &mut Value) {
    let Some(spec) = object(daemon_set, "spec") else { return };
    default_to(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = object_in(spec, "updateStrategy") {
        default_to(strategy, "type", "RollingUpdate");
        if strategy.get("type").is_some_and(|kind| kind == "RollingUpdate")
            && let Some(rolling) = object_in(strategy, "rollingUpdate")
        {
            default_to(rolling, "maxUnavailable", 1);
            default_to(rolling, "maxSurge", 0);
        }
    }
    default_template(Some(spec));
}

fn daemon_set_row(daemon_set: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&daemon_set["spec"], &daemon_set["status"]);
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    let mut row = vec![print::name(daemon_set)];
    row.extend(counts.iter().map(|count| Value::from(number(&status[*count]))));
    row.push(print::labels(&spec["template"]["spec"]["nodeSelector"]).into());
    row.push(print::age(daemon_set, now));
    row.extend(replica_set::wide_cells(spec));
    row
}
