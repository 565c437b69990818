//! `autoscaling/v2` HorizontalPodAutoscaler.

use apimachinery::field::{FieldError, Path};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Stored, kind};
use crate::check::Errors;
use crate::kind::Kind;
use crate::kind::Scope::Namespaced;
use crate::print::{self, AGE, NAME, UNSET, column};
use crate::value::{default_to, entries, is_empty, items, number, object, text};

pub(crate) static HORIZONTAL_POD_AUTOSCALER: Kind = kind(
    "autoscaling",
    "v2",
    ["HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler"],
    Namespaced,
    &Stored {
        defaults: default_autoscaler,
        required: &["spec.scaleTargetRef.kind", "spec.scaleTargetRef.name"],
        checks: check_autoscaler,
        columns: &[
            NAME,
            column("Reference", "string", "What is scaled."),
            column("Targets", "string", "Each metric as it is, and as it should be."),
            column("MinPods", "string", "How many pods there are at the least."),
            column("MaxPods", "string", "How many pods there are at the most."),
            column("Replicas", "string", "How many pods there are."),
            AGE,
        ],
        row: autoscaler_row,
        ..Stored::PLAIN
    },
)
.short(&["hpa"])
.with_status()
.in_categories(&["all"]);

/// Upstream: `SetDefaults_HorizontalPodAutoscaler`.
fn default_autoscaler(autoscaler: &mut Value) {
    let Some(spec) = object(autoscaler, "spec") else { return };
    default_to(spec, "minReplicas", 1);
    if spec.get("metrics").is_none_or(is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec.insert(
            "metrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]),
        );
    }
}

/// Upstream: `validateHorizontalPodAutoscalerSpec`.
fn check_autoscaler(errors: &mut Errors, autoscaler: &Value) {
    let (path, spec) = (Path::new("spec"), &autoscaler["spec"]);
    let (least, most) = (&spec["minReplicas"], number(&spec["maxReplicas"]));
    if least.as_i64().is_some_and(|n| n < 1) {
        let words = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path.child("minReplicas"), least.clone(), words));
    }
    let at = path.child("maxReplicas");
    if most < 1 {
        errors.push(FieldError::invalid(&at, most, "must be greater than 0"));
    }
    if most < number(least) {
        errors.push(FieldError::invalid(&at, most, "must be greater than or equal to `minReplicas`"));
    }
}

fn autoscaler_row(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&autoscaler["spec"], &autoscaler["status"]);
    let target = &spec["scaleTargetRef"];
    let least = &spec["minReplicas"];
    vec![
        print::name(autoscaler),
        format!("{}/{}", text(&target["kind"]), text(&target["name"])).into(),
        targets(&spec["metrics"], &status["currentMetrics"]),
        if least.is_null() { UNSET.into() } else { least.to_string().into() },
        number(&spec["maxReplicas"]).to_string().into(),
        number(&status["currentReplicas"]).to_string().into(),
        print::age(autoscaler, now),
    ]
}

/// Each metric as it is and as it should be, the first two in full (`formatHPAMetrics`).
fn targets(metrics: &Value, current: &Value) -> Value {
    const SHOWN: usize = 2;
    let mut told: Vec<String> =
        items(metrics).iter().enumerate().map(|(i, metric)| target(metric, &current[i])).collect();
    if told.is_empty() {
        return print::NONE.into();
    }
    let more = told.len().saturating_sub(SHOWN);
    told.truncate(SHOWN);
    let told = told.join(", ");
    if more > 0 { format!("{told} + {more} more...").into() } else { told.into() }
}

fn target(metric: &Value, current: &Value) -> String {
    // The source's own part stands under its type, in small letters: `resource`, `containerResource`.
    let part = entries(metric).find(|(name, _)| *name != "type").map_or("", |(name, _)| name);
    let (wanted, now) = (&metric[part]["target"], &current[part]["current"]);
    let shown = |value: &Value| match value {
        Value::Null => "<unknown>".to_owned(),
        Value::String(quantity) => quantity.clone(),
        other => other.to_string(),
    };
    let told = if !wanted["averageUtilization"].is_null() {
        let now = &now["averageUtilization"];
        let now = if now.is_null() { shown(now) } else { format!("{now}%") };
        format!("{now}/{}%", wanted["averageUtilization"])
    } else if !wanted["averageValue"].is_null() {
        format!("{}/{}{}", shown(&now["averageValue"]), shown(&wanted["averageValue"]), average(part))
    } else {
        format!("{}/{}", shown(&now["value"]), shown(&wanted["value"]))
    };
    match part {
        "resource" | "containerResource" => format!("{}: {told}", text(&metric[part]["name"])),
        _ => told,
    }
}

/// What is said of an average over something that is not the pods themselves.
fn average(part: &str) -> &'static str {
    if matches!(part, "object" | "external") { " (avg)" } else { "" }
}
