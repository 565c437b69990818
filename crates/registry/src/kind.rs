//! What the table of kinds is made of.

use apimachinery::field::FieldError;
use apimachinery::names;
use apimachinery::status::Status;
use jiff::Timestamp;
use serde_json::Value;

use crate::print;

/// Whether objects of a kind live inside namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One name space for the whole cluster.
    Cluster,
    /// Named within a namespace.
    Namespaced,
}

/// The parts of an object that have a path of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// `/status`: reads the object, writes only its status.
    Status,
    /// `/scale` as `autoscaling/v1.Scale`.
    Scale,
    /// `/log` of a pod.
    Log,
    /// `/exec` in a pod.
    Exec,
    /// `/attach` to a container of a pod.
    Attach,
    /// `/portforward` of a pod.
    PortForward,
    /// `/ephemeralcontainers` of a pod: writes only `spec.ephemeralContainers`.
    EphemeralContainers,
    /// `/resize` of a pod: writes only the `resources` of its containers.
    Resize,
    /// `/proxy` to what a pod or service serves, and whatever stands below it.
    Proxy,
    /// `/binding` of a pod to a node.
    Binding,
    /// `/eviction` of a pod.
    Eviction,
    /// `/finalize` of a namespace: writes only `spec.finalizers`.
    Finalize,
    /// `/token` of a service account, as `authentication.k8s.io/v1.TokenRequest`.
    Token,
}

/// One column of `kubectl get`, as `meta/v1.TableColumnDefinition`.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading, in upstream's case: `Name`, `Ready`.
    pub name: &'static str,
    /// `string`, `integer`, `date`, …
    pub column_type: &'static str,
    /// `name` for the Name column, else empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// What the column tells.
    pub description: &'static str,
}

/// A kind of object: one line of [`crate::KINDS`].
pub struct Kind {
    /// The API group; empty for core.
    pub group: &'static str,
    /// The version served and stored.
    pub version: &'static str,
    /// `StatefulSet`.
    pub kind: &'static str,
    /// `statefulsets`: the word in paths and storage keys.
    pub plural: &'static str,
    /// `statefulset`.
    pub singular: &'static str,
    /// `sts`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Whether names live within a namespace.
    pub scope: Scope,
    /// The parts with a path of their own.
    pub subresources: &'static [Subresource],
    /// Objects that the machine can tell again after a crash (leases, events): their writes are flushed
    /// late. See the durability invariant in ARCHITECTURE.md.
    pub ephemeral: bool,
    /// Whether the machine can tell the status of these objects again after a crash (pods, nodes): status
    /// writes alone are flushed late.
    pub late_status: bool,
    /// Whether `metadata.generation` is kept: 1 on create, raised when anything but metadata and status
    /// changes.
    pub has_generation: bool,
    /// The rules of the kind.
    pub strategy: &'static dyn Strategy,
}

impl Kind {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `PodList`: the kind of what a list answers.
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// `pods` or `statefulsets.apps`: how refusals name the resource.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `Pod` or `StatefulSet.apps`: how 422 answers name the kind.
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() { self.kind.to_owned() } else { format!("{}.{}", self.kind, self.group) }
    }

    /// Whether the kind has the subresource.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}

/// The other objects that an admission decision may look at; the handlers load what
/// [`Strategy::admission_reads`] names.
pub trait ClusterView {
    /// All objects of a kind, by plural, in all namespaces; empty for a kind that was not asked for.
    fn list(&self, plural: &str) -> &[Value];
    /// The range that cluster IPs come from, for instance `10.43.0.0/16`.
    fn service_cidr(&self) -> &str;
}

/// What `/scale` tells about an object, as `autoscaling/v1.Scale` carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `spec.replicas`: how many are wanted.
    pub spec_replicas: i64,
    /// `status.replicas`: how many are there.
    pub status_replicas: i64,
    /// `status.selector`: the pods, as a label selector in query form.
    pub selector: String,
}

/// The rules of one kind. The API's handlers call them in this order: `set_defaults` on every incoming
/// object, then `prepare_for_create` or `prepare_for_update`, then `admit`, then the validation.
///
/// What all kinds share is not here but in the handlers: names, namespaces, uid, creationTimestamp,
/// resourceVersion, generation (raised when `spec` changes), deletion, and the JSON shape (unknown fields,
/// wrong types), which the schema facts check.
pub trait Strategy: Sync {
    /// Fills in defaults as upstream's `SetDefaults_*` does. Must be idempotent.
    fn set_defaults(&self, _object: &mut Value) {}

    /// Whether the status that a client sends on create is kept, as upstream does for nodes, which tell
    /// about themselves as they register.
    fn keeps_status_on_create(&self) -> bool {
        false
    }

    /// Removes what a client may not set on create. By default `status` is dropped when the kind has a
    /// status subresource; the handlers do that.
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// Carries over what an update may not change (other than metadata and status, which the handlers
    /// keep). For instance allocated addresses of a Service.
    fn prepare_for_update(&self, _new: &mut Value, _old: &Value) {}

    /// Writes down in a new object who makes it, as `authentication.k8s.io/v1.UserInfo` says it.
    fn set_author(&self, _object: &mut Value, _user: &Value) {}

    /// What is wrong with the object as a new one, besides what would be wrong with it at any time.
    fn validate_create(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with the object, all of it at once.
    fn validate(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with changing `old` to `new`: immutable fields. `validate(new)` runs as well.
    fn validate_update(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Whether a put may leave out which version it replaces (upstream: `AllowUnconditionalUpdate`).
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Whether a put makes what is not there (upstream: `AllowCreateOnUpdate`).
    fn allows_create_on_update(&self) -> bool {
        false
    }

    /// What is wrong with changing the status of `old` to that of `new`: what a write of `/status` is checked for.
    fn validate_status(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with changing the `spec.ephemeralContainers` of `old` to those of `new`. `validate(new)` runs
    /// as well.
    fn validate_ephemeral_containers(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Takes over what a write of `/resize` may change.
    fn resize(&self, _stored: &mut Value, _sent: &Value) {}

    /// What is wrong with changing `old` to `new` by a write of `/resize`. `validate(new)` runs as well.
    fn validate_resize(&self, _new: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// Sentences for `Warning:` headers: accepted, but probably not what was meant.
    fn warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Why the object of this name is never deleted, for the few of which that is so.
    fn forbids_delete(&self, _name: &str) -> Option<&'static str> {
        None
    }

    /// How names of this kind must look; the error's detail otherwise. Upstream's default is a DNS
    /// subdomain.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns1123_subdomain(name)
    }

    /// The columns of `kubectl get`. By default Name and Age.
    fn columns(&self) -> &'static [Column] {
        print::NAME_AND_AGE
    }

    /// The cells of one row, one for each of [`Strategy::columns`]. Ages are relative to `now`.
    fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![print::name(object), print::age(object, now)]
    }

    /// The values that field selectors may ask for, besides `metadata.name` and `metadata.namespace`. The
    /// same fields for every object of the kind, so that an unknown one can be refused.
    fn selectable_fields(&self, _object: &Value) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// When the object may be forgotten, for kinds whose objects are news and not state (events: an hour after
    /// they were last seen, upstream's `--event-ttl`). `None`: it stays until somebody deletes it.
    fn expires_at(&self, _object: &Value) -> Option<Timestamp> {
        None
    }

    /// Whether objects lie encrypted in the store.
    fn is_sealed(&self) -> bool {
        false
    }

    /// The grace period in seconds that a delete of this object gives when the client names none; `None`
    /// for kinds whose objects go at once. For pods: `spec.terminationGracePeriodSeconds`, 0 when the pod
    /// is not bound to a node or has ended.
    fn default_grace_period(&self, _object: &Value) -> Option<i64> {
        None
    }

    /// The plurals of the kinds that [`Strategy::admit`] looks at. Handlers serialise the writes of a kind
    /// that names any.
    fn admission_reads(&self) -> &'static [&'static str] {
        &[]
    }

    /// Fills in or refuses what depends on other objects: addresses, the default class. Runs on create
    /// (`old` is `None`) and update, after the `prepare_*` functions.
    fn admit(
        &self,
        _new: &mut Value,
        _old: Option<&Value>,
        _cluster: &dyn ClusterView,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// The one other object, by plural and name in the same namespace, that says how a new object is completed.
    fn consults(&self, _new: &Value) -> Option<(&'static str, String)> {
        None
    }

    /// Completes or refuses a new object by what the object says that [`Strategy::consults`] names (`None`: it is
    /// not there). `suffix` is five letters of chance.
    fn consult(&self, _new: &mut Value, _consulted: Option<&Value>, _suffix: &str) -> Result<(), Status> {
        Ok(())
    }

    /// What `/scale` shows; `None` for kinds without that subresource.
    fn scale(&self, _object: &Value) -> Option<Scale> {
        None
    }

    /// Writes what was put to `/scale` back. The handlers then run the usual update.
    fn set_replicas(&self, _object: &mut Value, _replicas: i64) {}

    /// Sets `spec.nodeName` and what goes with it from a `v1.Binding`. The error is the sentence of a 409.
    fn bind(&self, _object: &mut Value, _binding: &Value, _now: Timestamp) -> Result<(), String> {
        Err("this kind cannot be bound to a node".to_owned())
    }

    /// Called when a delete marks the object with a deletionTimestamp: a namespace turns `Terminating`.
    fn mark_terminating(&self, _object: &mut Value) {}

    /// Whether something besides `metadata.finalizers` keeps a terminating object: a namespace's
    /// `spec.finalizers`.
    fn is_held(&self, _object: &Value) -> bool {
        false
    }

    /// Takes over what a put to `/finalize` may write.
    fn finalize(&self, _stored: &mut Value, _sent: &Value) {}
}
