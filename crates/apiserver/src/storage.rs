//! Objects in and out of the store: create, update, remove, each as one atomic step with the rules of the
//! kind applied.

use std::sync::Arc;

use apimachinery::field::{FieldError, Path};
use apimachinery::inject::Random;
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use apimachinery::status::Status;
use bytes::Bytes;
use registry::nodes::Operation;
use registry::{ClusterView, Kind, Scope, rbac};
use serde_json::{Value, json};
use store::{Durability, Error, Expect, Revision, Write};
use tokio::sync::MutexGuard;

use crate::api::ApiServer;
use crate::authz::restriction;
use crate::codec::{self, Stored};
use crate::life::{self, Part};
use crate::ownership::{self, Author};
use crate::route::Target;

/// How often an update that lost a race is tried again before the client hears of it.
const MAX_UPDATE_ATTEMPTS: usize = 16;
/// How often a generated name is drawn again when it is taken (upstream: `maxNameGenerationCreateAttempts`).
const MAX_NAME_ATTEMPTS: usize = 8;
/// Letters of generated names: no vowels and nothing that looks like another
/// (upstream: `k8s.io/apimachinery/pkg/util/rand`).
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// How many of them a generated name ends with.
const NAME_SUFFIX: usize = 5;

/// What a write ended in.
pub(crate) enum Outcome {
    /// The object as it is now.
    Kept(Stored),
    /// The object as it was when it went.
    Removed(Stored),
}

impl Outcome {
    pub(crate) fn into_stored(self) -> Stored {
        match self {
            Self::Kept(stored) | Self::Removed(stored) => stored,
        }
    }
}

/// An update under way.
pub(crate) struct Update<'a> {
    pub(crate) target: &'a Target,
    pub(crate) part: Part,
    pub(crate) dry_run: bool,
    pub(crate) author: &'a Author,
    pub(crate) warnings: &'a mut Vec<String>,
}

impl ApiServer {
    /// The object, or 404.
    pub(crate) async fn read(&self, target: &Target) -> Result<Stored, Status> {
        let (found, _) = self.store().get(&target.key()).await.map_err(|e| refused(target, e))?;
        found.map(Stored::from).ok_or_else(|| Status::not_found(&target.kind.resource(), &target.name))
    }

    /// Makes an object: completes it, applies the kind's rules, stores it.
    pub(crate) async fn make(
        &self,
        target: &Target,
        object: Value,
        dry_run: bool,
        author: &Author,
        warnings: &mut Vec<String>,
    ) -> Result<Stored, Status> {
        if !object.resource_version().is_empty() {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        check_namespace(target, &object)?;
        if !object.name().is_empty() || object.meta_str("generateName").is_empty() {
            return self.make_named(target, object, dry_run, author, warnings).await;
        }
        for attempt in 1.. {
            let mut named = object.clone();
            let name = names::generate_name(object.meta_str("generateName"), &random_suffix(self.random()));
            named.meta_mut().insert("name".to_owned(), name.into());
            match self.make_named(target, named, dry_run, author, warnings).await {
                Err(status) if status.reason == "AlreadyExists" && attempt < MAX_NAME_ATTEMPTS => {}
                Err(status) if status.reason == "AlreadyExists" => return Err(no_unique_name(status)),
                outcome => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn make_named(
        &self,
        target: &Target,
        mut object: Value,
        dry_run: bool,
        author: &Author,
        warnings: &mut Vec<String>,
    ) -> Result<Stored, Status> {
        let kind = target.kind;
        let target = Target { name: object.name().to_owned(), ..target.clone() };
        let uid = uuid::Builder::from_random_bytes(self.random().bytes()).into_uuid().to_string();
        let now = self.clock().now();
        let sent = ownership::take(&mut object);
        life::begin(kind, &mut object, &target.namespace, now, uid);
        kind.strategy.set_defaults(&mut object);
        ownership::keep(&target, Part::Main, author, sent, &mut object, None, now);
        kind.strategy.prepare_for_create(&mut object);
        if let Some(user) = author.user() {
            kind.strategy.set_author(&mut object, &user.to_json());
        }
        if kind.scope == Scope::Namespaced {
            self.check_namespace_is_open(&target).await?;
        }
        if let Some(user) = author.user() {
            restriction::admit(self, user, &target, Operation::Create, &object, &Value::Null).await?;
        }
        self.consult(&target, &mut object).await?;
        let _serialised = self.admit(kind, &mut object, None).await?;
        let mut errors = registry::validate_object_meta(kind, &object);
        errors.extend(kind.strategy.validate(&object));
        errors.extend(kind.strategy.validate_create(&object));
        life::refuse_invalid(kind, &object, &errors)?;
        self.refuse_escalation(kind, author, &object, None).await?;
        let bytes = codec::encode(kind, &object);
        if dry_run {
            warnings.extend(kind.strategy.warnings(&object));
            return match self.read(&target).await {
                Ok(_) => Err(Status::already_exists(&kind.resource(), &target.name)),
                Err(_) => Ok(Stored { bytes, revision: 0 }),
            };
        }
        let revision = self
            .write(&target.key(), Some(bytes.clone()), Expect::Absent, durability(kind, Part::Main))
            .await
            .map_err(|e| refused(&target, e))?;
        warnings.extend(kind.strategy.warnings(&object));
        Ok(Stored { bytes, revision })
    }

    /// Changes an object: `change` makes the new one from the current one (with its `resourceVersion`) and is
    /// called again when another write came between. A `resourceVersion` in the new object that is not the
    /// current one is a conflict.
    pub(crate) async fn update(
        &self,
        update: Update<'_>,
        mut change: impl FnMut(&Value, &mut Vec<String>) -> Result<Value, Status> + Send,
    ) -> Result<Outcome, Status> {
        let target = update.target;
        for _ in 0..MAX_UPDATE_ATTEMPTS {
            let current = self.read(target).await?;
            let mut old = codec::decode(&current)?;
            if update.part.is_of_spec() {
                // An older release may have stored it: what has got a default since is not a change.
                target.kind.strategy.set_defaults(&mut old);
            }
            let mut warnings = Vec::new();
            let mut new = change(&old, &mut warnings)?;
            let _serialised = self.complete_update(&update, &mut new, &old).await?;
            if update.part == Part::Main {
                warnings.extend(target.kind.strategy.warnings(&new));
            }
            match self.store_update(&update, &new, &old, current).await {
                Err(Error::Conflict { .. }) => {}
                Ok(outcome) => {
                    update.warnings.append(&mut warnings);
                    return Ok(outcome);
                }
                Err(other) => return Err(refused(target, other)),
            }
        }
        Err(Status::stale(&target.kind.resource(), &target.name))
    }

    /// Applies the kind's rules to a change.
    async fn complete_update(
        &self,
        update: &Update<'_>,
        new: &mut Value,
        old: &Value,
    ) -> Result<Option<MutexGuard<'_, ()>>, Status> {
        let Update { target, part, author, .. } = *update;
        let kind = target.kind;
        // "0" asks for any version, as upstream has it.
        if matches!(new.resource_version(), "" | "0") {
            if !kind.strategy.allows_unconditional_update() {
                let path = Path::new("metadata").child("resourceVersion");
                let error = FieldError::invalid(&path, 0, "must be specified for an update");
                return Err(Status::invalid(&kind.resource(), &target.name, &[error]));
            }
        } else if new.resource_version() != old.resource_version() {
            return Err(Status::stale(&kind.resource(), &target.name));
        }
        let sent = ownership::take(new);
        if let Some(user) = author.user() {
            restriction::admit(self, user, target, Operation::Update, new, old).await?;
        }
        life::carry_over(kind, part, new, old)?;
        if part.is_of_spec() {
            kind.strategy.set_defaults(new);
        }
        ownership::keep(target, part, author, sent, new, Some(old), self.clock().now());
        let mut serialised = None;
        let mut errors = Vec::new();
        if part == Part::Main {
            kind.strategy.prepare_for_update(new, old);
            serialised = self.admit(kind, new, Some(old)).await?;
            errors = kind.strategy.validate(new);
            errors.extend(kind.strategy.validate_update(new, old));
            life::raise_generation(kind, new, old);
        }
        if matches!(part, Part::EphemeralContainers | Part::Resize) {
            errors = kind.strategy.validate(new);
            errors.extend(match part {
                Part::Resize => kind.strategy.validate_resize(new, old),
                _ => kind.strategy.validate_ephemeral_containers(new, old),
            });
            life::raise_generation(kind, new, old);
        }
        if part == Part::Status {
            errors = kind.strategy.validate_status(new, old);
        }
        errors.splice(0..0, registry::validate_object_meta_update(new, old));
        errors.splice(0..0, registry::validate_object_meta(kind, new));
        let errors = life::news(kind, errors, old);
        life::refuse_invalid(kind, new, &errors)?;
        self.refuse_escalation(kind, author, new, Some(old)).await?;
        ownership::forget_mere_times(new, old);
        Ok(serialised)
    }

    async fn store_update(
        &self,
        update: &Update<'_>,
        new: &Value,
        old: &Value,
        current: Stored,
    ) -> Result<Outcome, Error> {
        let kind = update.target.kind;
        let goes = life::may_go(kind, new);
        if new == old && !goes {
            return Ok(Outcome::Kept(current));
        }
        let bytes = codec::encode(kind, new);
        if update.dry_run {
            return Ok(Outcome::Kept(Stored { bytes, revision: current.revision }));
        }
        let expect = Expect::Revision(current.revision);
        let value = (!goes).then(|| bytes.clone());
        let revision = self.write(&update.target.key(), value, expect, durability(kind, update.part)).await?;
        let stored = Stored { bytes, revision };
        Ok(if goes { Outcome::Removed(stored) } else { Outcome::Kept(stored) })
    }

    /// Removes the object if it is still the one that was read.
    pub(crate) async fn remove(&self, target: &Target, expect: Revision) -> Result<Revision, Error> {
        self.write(&target.key(), None, Expect::Revision(expect), durability(target.kind, Part::Main)).await
    }

    /// Stores bytes. Every write of the API ends here.
    pub(crate) async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
        durability: Durability,
    ) -> Result<Revision, Error> {
        self.store().write(Write { key: Arc::from(key), value, expect, durability }).await
    }

    /// Lets the kind look at other objects. While the answer lives no other object of such a kind is
    /// written, so that what was looked at stays true.
    async fn admit(
        &self,
        kind: &Kind,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<Option<MutexGuard<'_, ()>>, Status> {
        let reads = kind.strategy.admission_reads();
        if reads.is_empty() {
            return Ok(None);
        }
        let serialised = self.admission_lock().lock().await;
        let mut view = View { lists: Vec::new(), service_cidr: self.service_cidr().to_owned() };
        for plural in reads {
            let Some(kind) = registry::KINDS.iter().find(|k| k.plural == *plural) else { continue };
            view.lists.push((plural, self.objects(&registry::storage_prefix(kind)).await?));
        }
        kind.strategy.admit(new, old, &view)?;
        Ok(Some(serialised))
    }

    /// Lets the kind complete a new object by the one that it names.
    async fn consult(&self, target: &Target, object: &mut Value) -> Result<(), Status> {
        let Some((plural, name)) = target.kind.strategy.consults(object) else { return Ok(()) };
        let Some(kind) = registry::by_resource("", "v1", plural) else { return Ok(()) };
        let (key, namespace) = (registry::key(kind, &target.namespace, &name), target.namespace.clone());
        let place = Target { kind, namespace, name, subresource: None };
        let (found, _) = self.store().get(&key).await.map_err(|error| refused(&place, error))?;
        let found = found.map(|found| codec::decode(&found.into())).transpose()?;
        target.kind.strategy.consult(object, found.as_ref(), &random_suffix(self.random()))
    }

    /// Nobody grants what they do not have.
    async fn refuse_escalation(
        &self,
        kind: &Kind,
        author: &Author,
        new: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        match author.user() {
            Some(user) if kind.group == rbac::GROUP => {
                rbac::escalation::check(&*self.policy().await?, user.subject(), kind, new, old)
            }
            _ => Ok(()),
        }
    }

    /// All objects whose keys begin with `prefix`.
    pub(crate) async fn objects(&self, prefix: &str) -> Result<Vec<Value>, Status> {
        let page = self.store().list(prefix, None, 0, None).await;
        let page = page.map_err(|e| Status::internal(e.to_string()))?;
        page.items.into_iter().map(|item| codec::decode(&item.into())).collect()
    }

    /// Refuses new objects in namespaces that are not there (404) or on their way out (403)
    /// (upstream: the admission plugin NamespaceLifecycle).
    async fn check_namespace_is_open(&self, target: &Target) -> Result<(), Status> {
        let Some(kind) = registry::by_resource("", "v1", "namespaces") else { return Ok(()) };
        let namespace = &target.namespace;
        let place = Target { kind, namespace: String::new(), name: namespace.clone(), subresource: None };
        let object = codec::decode(&self.read(&place).await?)?;
        if !object.is_terminating() {
            return Ok(());
        }
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Status::forbidden(&target.kind.resource(), &target.name, &why);
        status.details["causes"] = json!([{"reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
        Err(status)
    }
}

/// When a write of this part of an object must be on disk.
fn durability(kind: &Kind, part: Part) -> Durability {
    let late = kind.ephemeral || (part == Part::Status && kind.late_status);
    if late { Durability::Late } else { Durability::Sync }
}

/// The object's namespace must be that of the path.
pub(crate) fn check_namespace(target: &Target, object: &Value) -> Result<(), Status> {
    if object.namespace().is_empty() || object.namespace() == target.namespace {
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// A store's error as a refusal.
pub(crate) fn refused(target: &Target, error: Error) -> Status {
    let resource = target.kind.resource();
    match error {
        Error::Exists { .. } => Status::already_exists(&resource, &target.name),
        Error::Conflict { .. } => Status::stale(&resource, &target.name),
        Error::Compacted { asked, oldest } => {
            Status::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        Error::Future { asked, newest } => too_large_version(asked, newest),
        Error::Backend(why) => Status::internal(why),
    }
}

/// 504 while a revision has not happened.
pub(crate) fn check_happened(api: &ApiServer, asked: Revision) -> Result<(), Status> {
    let newest = api.store().revision();
    if asked > newest { Err(too_large_version(asked, newest)) } else { Ok(()) }
}

/// 504 for a revision that has not happened yet (upstream: `storage.NewTooLargeResourceVersionError`).
fn too_large_version(asked: Revision, newest: Revision) -> Status {
    let message = format!("Too large resource version: {asked}, current: {newest}");
    let mut status = Status::new(504, "Timeout", format!("Timeout: {message}"));
    status.details = json!({"retryAfterSeconds": 1,
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]});
    status
}

/// Upstream: `errors.NewGenerateNameConflict`.
fn no_unique_name(mut status: Status) -> Status {
    status.message += ", the server was not able to generate a unique name for the object";
    status.details["retryAfterSeconds"] = 1.into();
    status
}

fn random_suffix(random: &Random) -> String {
    let letter = |_| {
        let drawn = usize::try_from(random.below(NAME_ALPHABET.len() as u64)).unwrap_or(0);
        char::from(NAME_ALPHABET[drawn])
    };
    (0..NAME_SUFFIX).map(letter).collect()
}

struct View {
    lists: Vec<(&'static str, Vec<Value>)>,
    service_cidr: String,
}

impl ClusterView for View {
    fn list(&self, plural: &str) -> &[Value] {
        self.lists.iter().find(|(p, _)| *p == plural).map(|(_, items)| items.as_slice()).unwrap_or_default()
    }

    fn service_cidr(&self) -> &str {
        &self.service_cidr
    }
}
