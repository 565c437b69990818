//! `batch/v1` Job and CronJob.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::{names, time};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::replica_set::{self, CONTAINERS, IMAGES, SELECTOR};
use super::core::default_template;
use super::{Stored, kind};
use crate::check::{self, Errors};
use crate::kind::Kind;
use crate::kind::Scope::Namespaced;
use crate::pod_spec;
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_object, default_to, items, number, object, object_in, set, text, truth};

/// Category of what runs something.
const ALL: &[&str] = &["all"];

pub(crate) static JOB: Kind = kind(
    "batch",
    "v1",
    ["Job", "jobs", "job"],
    Namespaced,
    &Stored {
        defaults: |job| {
            if let Some(spec) = object(job, "spec") {
                default_job(spec);
            }
        },
        prepare: prepare_job,
        checks: |errors, job| check_job(errors, &Path::new("spec"), &job["spec"]),
        selectable: &["status.successful"],
        immutable: &["spec.completionMode", "spec.podFailurePolicy", "spec.selector", "spec.template"],
        columns: &[
            NAME,
            column("Status", "string", "Whether the job runs, is complete, has failed or is suspended."),
            column("Completions", "string", "How many pods have succeeded, of those wanted."),
            column("Duration", "string", "How long the job took, or has run so far."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: job_row,
        ..Stored::PLAIN
    },
)
.observed()
.in_categories(ALL);

pub(crate) static CRON_JOB: Kind = kind(
    "batch",
    "v1",
    ["CronJob", "cronjobs", "cronjob"],
    Namespaced,
    &Stored {
        name: cron_job_name,
        defaults: default_cron_job,
        required: &["spec.schedule"],
        checks: |errors, job| {
            let path = Path::new("spec").child("jobTemplate").child("spec");
            check_job(errors, &path, &job["spec"]["jobTemplate"]["spec"]);
            let policies = &["Allow", "Forbid", "Replace"];
            let policy = &job["spec"]["concurrencyPolicy"];
            check::one_of(errors, &Path::new("spec").child("concurrencyPolicy"), policy, policies);
        },
        columns: &[
            NAME,
            column("Schedule", "string", "When jobs are made, as cron writes it."),
            column("Timezone", "string", "The time zone of the schedule."),
            column("Suspend", "boolean", "Whether no jobs are made."),
            column("Active", "integer", "How many jobs run."),
            column("Last Schedule", "string", "Time since a job was made last."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: cron_job_row,
        ..Stored::PLAIN
    },
)
.short(&["cj"])
.observed()
.in_categories(ALL);

/// Upstream: `SetDefaults_Job`.
fn default_job(spec: &mut Map<String, Value>) {
    let absent = |spec: &Map<String, Value>, field: &str| spec.get(field).is_none_or(Value::is_null);
    if absent(spec, "completions") && absent(spec, "parallelism") {
        default_to(spec, "completions", 1);
    }
    default_to(spec, "parallelism", 1);
    let per_index = !absent(spec, "backoffLimitPerIndex");
    default_to(spec, "backoffLimit", if per_index { i64::from(i32::MAX) } else { 6 });
    default_to(spec, "completionMode", "NonIndexed");
    default_to(spec, "suspend", false);
    default_to(spec, "manualSelector", false);
    let policy = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    default_to(spec, "podReplacementPolicy", policy);
    default_template(Some(spec));
}

/// A job selects its own pods by its uid (upstream: `generateSelector` of the job's strategy).
fn prepare_job(job: &mut Value) {
    set(job, "status", json!({}));
    if truth(&job["spec"]["manualSelector"]) {
        return;
    }
    let (uid, name) = (job.uid().to_owned(), job.name().to_owned());
    let Some(spec) = object(job, "spec") else { return };
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid.clone()}});
    spec.insert("selector".into(), selector);
    let template = object_in(spec, "template").and_then(|template| object_in(template, "metadata"));
    let Some(labels) = template.and_then(|metadata| object_in(metadata, "labels")) else { return };
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.insert(format!("{prefix}controller-uid"), uid.clone().into());
        labels.insert(format!("{prefix}job-name"), name.clone().into());
    }
}

/// Upstream: `validateJobSpec`.
fn check_job(errors: &mut Errors, path: &Path, spec: &Value) {
    for field in
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"]
    {
        check::nonnegative(errors, &path.child(field), &spec[field]);
    }
    let path = path.child("template");
    pod_spec::validate_pod_template(errors, &path, &spec["template"], &[]);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if text(policy) == "Always" {
        let at = path.child("spec").child("restartPolicy");
        errors.push(FieldError::not_supported(&at, policy.clone(), &["Never", "OnFailure"]));
    }
}

fn job_row(job: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let is = |condition: &str| {
        items(&status["conditions"]).iter().any(|c| c["type"] == condition && c["status"] == "True")
    };
    let phase = match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !job.meta_str("deletionTimestamp").is_empty() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    let succeeded = number(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration =
        match (time::parse(text(&status["startTime"])), time::parse(text(&status["completionTime"]))) {
            (None, _) => String::new(),
            (Some(start), end) => time::human_age(start, end.unwrap_or(now)),
        };
    let mut row =
        vec![print::name(job), phase.into(), completions.into(), duration.into(), print::age(job, now)];
    row.extend(replica_set::wide_cells(spec));
    row
}

/// The names of the jobs add eleven letters (upstream: `ValidateCronJobCreate`).
fn cron_job_name(name: &str) -> Result<(), String> {
    const LONGEST: usize = 63 - 11;
    names::dns1123_subdomain(name)?;
    if name.len() > LONGEST { Err("must be no more than 52 characters".to_owned()) } else { Ok(()) }
}

/// Upstream: `SetDefaults_CronJob`; of the job only the pods' template is completed.
fn default_cron_job(job: &mut Value) {
    let Some(spec) = object(job, "spec") else { return };
    default_to(spec, "concurrencyPolicy", "Allow");
    default_to(spec, "suspend", false);
    default_to(spec, "successfulJobsHistoryLimit", 3);
    default_to(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = object_in(spec, "jobTemplate") {
        default_object(template, "metadata");
        default_template(object_in(template, "spec"));
    }
}

fn cron_job_row(job: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let last = match text(&status["lastScheduleTime"]) {
        "" => print::NONE.to_owned(),
        then => print::since(then, now),
    };
    let mut row = vec![
        print::name(job),
        spec["schedule"].clone(),
        print::or_none(text(&spec["timeZone"])),
        if truth(&spec["suspend"]) { "True" } else { "False" }.into(),
        items(&status["active"]).len().into(),
        last.into(),
        print::age(job, now),
    ];
    row.extend(replica_set::wide_cells(&spec["jobTemplate"]["spec"]));
    row
}
