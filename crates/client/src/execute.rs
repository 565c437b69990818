//! Carries out the actions of a plan through the API.

use std::sync::Arc;

use apimachinery::meta::ObjectExt;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use http::Method;
use kube::Client;
use planner::plan::CREATED_NAME;
use planner::{Action, ObjectRef, Plan};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::head::Head;
use crate::informers::Informers;
use crate::paths::{Part, collection_path, object_path};
use crate::recorder::Recorder;
use crate::request::send_for;

/// Writes of one plan that are under way at the same time. The store commits what waits for it together, so a plan
/// of many takes as many commits fewer.
const TOGETHER: usize = 32;

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The API refused, or could not be reached.
    #[error("{doing} {what}: {source}")]
    Api {
        /// The verb.
        doing: &'static str,
        /// The object.
        what: String,
        /// What came back.
        source: kube::Error,
    },
    /// What the plan took for gone is there.
    #[error("{0} still exists")]
    StillThere(String),
    /// The plan names a kind that is not in the table.
    #[error("no kind {kind} of {api_version} is served")]
    UnknownKind {
        /// `apps/v1`.
        api_version: String,
        /// `StatefulSet`.
        kind: String,
    },
}

impl ExecuteError {
    /// Whether the world has moved on since the plan was made: plan again, nothing is wrong.
    pub fn is_stale(&self) -> bool {
        match self {
            Self::Api { source: kube::Error::Api(status), .. } => matches!(status.code, 404 | 409),
            Self::StillThere(_) => true,
            _ => false,
        }
    }

    /// Whether the object is not there (any more).
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source: kube::Error::Api(status), .. } if status.code == 404)
    }
}

/// Carries out plans: the hands of every planner.
#[derive(Clone)]
pub struct Executor {
    client: Client,
    informers: Arc<Informers>,
    recorder: Recorder,
}

impl Executor {
    /// An executor that writes through `client` and lets `informers` know what came of it at once.
    pub fn new(client: Client, informers: Arc<Informers>, recorder: Recorder) -> Self {
        Self { client, informers, recorder }
    }

    /// Carries out a whole plan in order. Writes that need not wait for each other ([`go_together`]) are under way
    /// at the same time.
    ///
    /// # Errors
    /// The first failure. It stops what comes after it, unless the plan's actions are independent.
    pub async fn execute(&self, plan: &Plan) -> Result<(), ExecuteError> {
        let mut first = Ok(());
        // Events follow the write they speak of: what became of it decides how they are told.
        let steps: Vec<&[Action]> =
            plan.actions.chunk_by(|_, next| matches!(next, Action::Record { .. })).collect();
        for wave in steps.chunk_by(|one, next| go_together(plan, &one[0], &next[0])) {
            // Where a failure stops the rest, one goes ahead to see (upstream: `slowStartBatch`).
            let (ahead, rest) = wave.split_at(usize::from(!plan.independent));
            for steps in [ahead, rest] {
                first = first.and(self.steps(steps, plan.independent).await);
                if first.is_err() && !plan.independent {
                    return first;
                }
            }
        }
        first
    }

    /// Carries out steps together; answers the first failure. Unless they are `independent`, none is begun after it.
    async fn steps(&self, steps: &[&[Action]], independent: bool) -> Result<(), ExecuteError> {
        let (mut outcome, mut waiting, mut under_way) = (Ok(()), steps.iter(), FuturesOrdered::new());
        loop {
            while under_way.len() < TOGETHER && (independent || outcome.is_ok()) {
                let Some(step) = waiting.next() else { break };
                under_way.push_back(self.step(step));
            }
            match under_way.next().await {
                Some(done) => outcome = outcome.and(done),
                None => return outcome,
            }
        }
    }

    /// One write, and the events that speak of it.
    async fn step(&self, step: &[Action]) -> Result<(), ExecuteError> {
        let Some((write, events)) = step.split_first() else { return Ok(()) };
        let mut created = String::new();
        let outcome = match write {
            Action::Create(object) => self.create(object).await.map(|name| created = name),
            _ => self.act(write).await,
        };
        for event in events {
            match (&outcome, event) {
                (Err(error), _) => self.tell_failure(event, error).await?,
                (Ok(()), Action::Record { about, event_type, reason, message, .. }) => {
                    let message = message.replace(CREATED_NAME, &created);
                    self.recorder.record(about, *event_type, reason, &message);
                }
                (Ok(()), _) => {}
            }
        }
        outcome
    }

    async fn tell_failure(&self, event: &Action, error: &ExecuteError) -> Result<(), ExecuteError> {
        match planner::plan::failure_event(event, &error.to_string()) {
            Some(event) if !error.is_stale() => Box::pin(self.act(&event)).await,
            _ => Ok(()),
        }
    }

    /// Carries out one action.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn act(&self, action: &Action) -> Result<(), ExecuteError> {
        match action {
            Action::Create(object) => self.create(object).await.map(drop),
            Action::Replace(object) => self.put(object, Part::Whole).await,
            Action::ReplaceStatus(object) => self.put(object, Part::Status).await,
            Action::Patch { target, patch } => {
                let path = object_path(target, Part::Whole);
                self.send("patch", target, Method::PATCH, path, patch).await
            }
            Action::PatchStatus { target, patch } => {
                let path = object_path(target, Part::Status);
                self.send("patch", target, Method::PATCH, path, patch).await
            }
            Action::Finalize(namespace) => self.put(namespace, Part::Finalize).await,
            Action::ExpectGone(target) => self.expect_gone(target).await,
            Action::Delete { target, resource_version, grace_period } => {
                let options = delete_options(target, resource_version.as_deref(), *grace_period);
                let path = object_path(target, Part::Whole);
                self.send("delete", target, Method::DELETE, path, &options).await
            }
            Action::Bind { pod, node } => {
                let binding = json!({
                    "apiVersion": "v1", "kind": "Binding",
                    "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                    "target": {"apiVersion": "v1", "kind": "Node", "name": node},
                });
                let path = object_path(pod, Part::Binding);
                let bound = self.send("bind", pod, Method::POST, path, &binding).await;
                // The answer is no pod: what became of it is read, so that nobody plans on the room twice.
                let seen = self.look(pod).await;
                bound.and(seen.map(drop))
            }
            Action::Record { about, event_type, reason, message, .. } => {
                self.recorder.record(about, *event_type, reason, message);
                Ok(())
            }
        }
    }

    /// Makes an object; answers with the name that it has got.
    async fn create(&self, object: &Value) -> Result<String, ExecuteError> {
        let target = reference(object);
        let path = collection_path(&target.api_version, &target.kind, &target.namespace);
        let answer = self.ask("create", &target, Method::POST, path, object).await?;
        self.informers.observe(&answer);
        Ok(Head::of(&answer).name().to_owned())
    }

    async fn expect_gone(&self, target: &ObjectRef) -> Result<(), ExecuteError> {
        match self.look(target).await? {
            Some(uid) if uid == target.uid => {
                Err(ExecuteError::StillThere(format!("{} {}/{}", target.kind, target.namespace, target.name)))
            }
            _ => Ok(()),
        }
    }

    /// Reads an object, and lets the informers know of it; answers with its uid, `None` when there is none of this
    /// name.
    async fn look(&self, target: &ObjectRef) -> Result<Option<String>, ExecuteError> {
        let path = object_path(target, Part::Whole);
        match self.ask("look for", target, Method::GET, path, &Value::Null).await {
            Ok(object) => {
                self.informers.observe(&object);
                Ok(Some(Head::of(&object).uid().to_owned()))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Applies a JSON merge patch to an object's status. The patch carries `metadata.uid`, so that it never
    /// lands on a successor of the same name.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn patch_status(&self, target: &ObjectRef, patch: &Value) -> Result<(), ExecuteError> {
        let path = object_path(target, Part::Status);
        self.send("update the status of", target, Method::PATCH, path, patch).await
    }

    async fn put(&self, object: &Value, part: Part) -> Result<(), ExecuteError> {
        let target = reference(object);
        let path = object_path(&target, part);
        self.send("update", &target, Method::PUT, path, object).await
    }

    async fn send(
        &self,
        doing: &'static str,
        target: &ObjectRef,
        method: Method,
        path: Option<String>,
        body: &Value,
    ) -> Result<(), ExecuteError> {
        let answer = self.ask(doing, target, method, path, body).await?;
        self.informers.observe(&answer);
        Ok(())
    }

    async fn ask(
        &self,
        doing: &'static str,
        target: &ObjectRef,
        method: Method,
        path: Option<String>,
        body: &Value,
    ) -> Result<Box<RawValue>, ExecuteError> {
        let path = path.ok_or_else(|| unknown_kind(target))?;
        let failed = |source| ExecuteError::Api {
            doing,
            what: format!("{} {}/{}", target.kind, target.namespace, target.name),
            source,
        };
        send_for(&self.client, method, &path, body).await.map_err(failed)
    }
}

/// Whether two actions that stand next to each other may be under way at the same time: objects of one kind that are
/// made, and, where the plan says that nothing in it depends on anything else, pods that are bound. Deletions keep
/// their order: it is what an ordered set promises.
fn go_together(plan: &Plan, one: &Action, next: &Action) -> bool {
    match (one, next) {
        (Action::Create(one), Action::Create(next)) => one["kind"] == next["kind"],
        (Action::Bind { .. }, Action::Bind { .. }) => plan.independent,
        _ => false,
    }
}

fn unknown_kind(target: &ObjectRef) -> ExecuteError {
    ExecuteError::UnknownKind { api_version: target.api_version.clone(), kind: target.kind.clone() }
}

fn delete_options(target: &ObjectRef, resource_version: Option<&str>, grace_period: Option<i64>) -> Value {
    // No word on dependents: they go afterwards, unless a finalizer of the object says otherwise.
    let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {}});
    if !target.uid.is_empty() {
        options["preconditions"]["uid"] = target.uid.as_str().into();
    }
    if let Some(version) = resource_version {
        options["preconditions"]["resourceVersion"] = version.into();
    }
    if let Some(seconds) = grace_period {
        options["gracePeriodSeconds"] = seconds.into();
    }
    options
}

fn reference(object: &Value) -> ObjectRef {
    ObjectRef {
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        kind: object["kind"].as_str().unwrap_or_default().to_owned(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
    }
}
