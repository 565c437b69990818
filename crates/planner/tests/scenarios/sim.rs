//! A cluster in a few maps: an API that keeps uids, revisions, finalizers and preconditions, every planner run
//! to rest after each change, and a kubelet that does what the test tells it. No clock, no threads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};
use planner::volume_binder::growth::Work;
use planner::volume_binder::provisioner::{self, VolumeAction};
use planner::world::KindName;
use planner::{Action, Change, Key, ObjectRef, PLANNERS, Plan, World};
use serde_json::{Value, json};

/// Plans in one settling; more means that planners undo each other's work.
const MAX_STEPS: usize = 20_000;

type Id = (String, String, String);

/// The cluster.
pub(crate) struct Sim {
    pub(crate) world: World,
    pub(crate) now: Timestamp,
    /// What was done, one line each.
    pub(crate) log: Vec<String>,
    /// `reason message` of events, in order.
    pub(crate) events: Vec<String>,
    /// Whether what is written now was planned.
    is_planned: bool,
    /// Nodes whose agents say nothing any more.
    pub(crate) silent: BTreeSet<String>,
    store: BTreeMap<Id, Value>,
    queue: VecDeque<(usize, Key)>,
    timers: BTreeSet<(Timestamp, usize, Key)>,
    revision: u64,
    /// How many of those were renewals of leases.
    beats: u64,
    uids: u64,
    /// How many names were given to what had none, and the last of them.
    generated: (u64, String),
    aliases: BTreeMap<String, String>,
}

/// Why the API refused.
#[derive(Debug)]
pub(crate) struct Refused(String);

fn kind_name(kind: &str) -> Option<KindName> {
    World::KINDS.iter().copied().find(|known| known.1 == kind)
}

/// The namespace that tests put objects of this kind into.
fn home(kind: &str) -> &'static str {
    match kind {
        "ClusterRole" | "Node" | "PersistentVolume" | "StorageClass" | "Namespace" => "",
        _ => "default",
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value["metadata"][field].as_str().unwrap_or_default()
}

fn id(object: &Value) -> Id {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    (kind, text(object, "namespace").to_owned(), text(object, "name").to_owned())
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            into.as_object_mut().map(|o| o.remove(key));
        } else {
            merge(&mut into[key], value);
        }
    }
}

impl Sim {
    pub(crate) fn new() -> Self {
        let mut sim = Self {
            world: World::default(),
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            log: Vec::new(),
            events: Vec::new(),
            is_planned: false,
            silent: BTreeSet::new(),
            store: BTreeMap::new(),
            queue: VecDeque::new(),
            timers: BTreeSet::new(),
            revision: 100,
            beats: 0,
            uids: 0,
            generated: (0, String::new()),
            aliases: BTreeMap::new(),
        };
        sim.make(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"},
                        "spec": {"finalizers": ["kubernetes"]}}));
        sim.make(json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "node-a", "labels": {"kubernetes.io/hostname": "node-a"}},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": "True"}]}}));
        sim.make(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "local", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": provisioner::PROVISIONER, "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer"}));
        sim.settle();
        sim.log.clear();
        sim
    }

    /// How many writes there were, beside renewals of leases.
    pub(crate) fn revision(&self) -> u64 {
        self.revision - self.beats
    }

    /// The object as the API would answer it.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.store.get(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
    }

    pub(crate) fn pod(&self, name: &str) -> Option<&Value> {
        self.get("Pod", "default", name)
    }

    /// Names of a kind's objects in `default`.
    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        let of_kind = self.store.keys().filter(|(k, ns, _)| k == kind && (ns == "default" || ns.is_empty()));
        of_kind.map(|(_, _, name)| name.clone()).collect()
    }

    /// Creates an object, as a user would.
    pub(crate) fn make(&mut self, object: Value) -> String {
        let name = text(&object, "name").to_owned();
        self.create(object).unwrap_or_else(|refused| panic!("create {name}: {refused:?}"));
        name
    }

    /// Changes an object, as a user would: `edit` gets the whole object.
    pub(crate) fn edit(&mut self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        self.edit_in(kind, home(kind), name, edit);
    }

    /// Changes an object as its API server does when it learns a new default: no new generation.
    pub(crate) fn edit_quietly(&mut self, kind: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let held = self.get(kind, home(kind), name).unwrap_or_else(|| panic!("no {kind} {name}"));
        let generation = held["metadata"]["generation"].clone();
        self.edit(kind, name, edit);
        self.edit(kind, name, |object| object["metadata"]["generation"] = generation);
    }

    /// The same in any namespace.
    pub(crate) fn edit_in(&mut self, kind: &str, namespace: &str, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut object =
            self.get(kind, namespace, name).unwrap_or_else(|| panic!("no {kind} {name}")).clone();
        edit(&mut object);
        self.put(object);
    }

    /// Deletes an object, as a user would.
    pub(crate) fn remove(&mut self, kind: &str, name: &str, finalizers: &[&str]) {
        if !finalizers.is_empty() {
            self.edit(kind, name, |object| {
                let held = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
                object["metadata"]["finalizers"] =
                    held.into_iter().chain(finalizers.iter().map(|f| json!(f))).collect();
            });
        }
        self.delete(&(kind.to_owned(), home(kind).to_owned(), name.to_owned()));
    }

    /// The kubelet's answer: the pod's whole status.
    pub(crate) fn pod_status(&mut self, name: &str, status: &Value) {
        self.edit("Pod", name, |pod| {
            let scheduled = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let mut status = status.clone();
            let told = status["conditions"].as_array().cloned().unwrap_or_default();
            let kept = scheduled.into_iter().filter(|c| c["type"] == "PodScheduled");
            status["conditions"] = kept.chain(told).collect();
            pod["status"] = status;
        });
    }

    /// The pod runs and is Ready, since now.
    pub(crate) fn ready(&mut self, name: &str) {
        let ip = format!("10.42.0.{}", 2 + name.bytes().map(u64::from).sum::<u64>() % 200);
        let since = self.now.to_string();
        self.pod_status(
            name,
            &json!({"phase": "Running", "podIP": ip,
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}),
        );
    }

    /// The kubelet has ended a terminating pod's processes: the name is free.
    pub(crate) fn finish(&mut self, name: &str) {
        let pod = self.pod(name).unwrap_or_else(|| panic!("no pod {name}"));
        assert!(!text(pod, "deletionTimestamp").is_empty(), "{name} is not terminating");
        self.forget(&("Pod".to_owned(), "default".to_owned(), name.to_owned()));
    }

    /// Lets time pass, and planners that asked for it look again.
    pub(crate) fn tick(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.beat();
        while self.timers.first().is_some_and(|(at, ..)| *at <= self.now) {
            if let Some((_, planner, key)) = self.timers.pop_first() {
                self.enqueue(planner, key);
            }
        }
    }

    /// All nodes renew their leases that are not silent.
    fn beat(&mut self) {
        let nodes = self.world.nodes.iter().filter_map(|node| node.metadata.name.clone());
        let alive: Vec<String> = nodes.filter(|name| !self.silent.contains(name)).collect();
        for name in alive {
            let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"renewTime": self.now.to_string()}});
            self.put(lease);
            self.beats += 1;
        }
    }

    /// Runs planners until nobody has anything to do; then nobody may find anything to do in any key at all.
    pub(crate) fn settle(&mut self) {
        for _ in 0..MAX_STEPS {
            if let Some((planner, key)) = self.queue.pop_front() {
                self.step(planner, &key);
            } else if !self.provision() {
                return self.assert_at_rest();
            }
        }
        panic!("planners do not come to rest; last: {:#?}", &self.log[self.log.len().saturating_sub(20)..]);
    }

    fn step(&mut self, planner: usize, key: &Key) {
        let plan = PLANNERS[planner].plan(&self.world, key, self.now);
        if let Some(after) = plan.requeue_after {
            assert!(after.is_positive(), "{} asks to be called at once", PLANNERS[planner].name());
            self.timers.insert((self.now + after, planner, key.clone()));
        }
        for action in &plan.actions {
            self.is_planned = true;
            let done = self.act(action);
            self.is_planned = false;
            // The world here is never late: what is refused is wrong, or two steps of one plan disagree.
            if let Err(Refused(why)) = done {
                panic!("{} {key:?}: {why}; the plan was {:#?}", PLANNERS[planner].name(), plan.actions);
            }
        }
    }

    /// Runs planners until nobody but the node has anything to do.
    pub(crate) fn plan_only(&mut self) {
        while let Some((planner, key)) = self.queue.pop_front() {
            self.step(planner, &key);
        }
    }

    /// Lets the node do what it has to do with its disks; says whether that was anything.
    pub(crate) fn provision(&mut self) -> bool {
        let actions = provisioner::plan(&self.world, "node-a", "/volumes");
        let is_any = !actions.is_empty();
        for action in actions {
            match action {
                VolumeAction::ProvisionVolume { volume, .. } => {
                    self.make(planner::world::to_value(&*volume));
                }
                VolumeAction::DeleteVolume { volume, .. } => {
                    self.log.push(format!("delete the data of {}", self.alias_volume(&volume.name)));
                    self.delete(&(volume.kind.clone(), String::new(), volume.name.clone()));
                }
                VolumeAction::Grow(growth) => {
                    match growth.work {
                        Work::Nothing => {}
                        work => self.log.push(format!("{work:?} of {}", growth.claim.name)),
                    }
                    for action in &growth.then {
                        self.act(action)
                            .unwrap_or_else(|Refused(why)| panic!("{}: {why}", growth.claim.name));
                    }
                }
            }
        }
        is_any
    }

    fn alias_volume(&self, name: &str) -> String {
        let volume = self.get("PersistentVolume", "", name);
        volume.and_then(|v| v["spec"]["claimRef"]["name"].as_str()).unwrap_or(name).to_owned()
    }

    /// Plans made for every key that any object concerns, now that all is at rest.
    pub(crate) fn all_plans(&self) -> Vec<(&'static str, Key, Plan)> {
        let mut keys = BTreeSet::new();
        for object in self.world.objects() {
            for (index, planner) in PLANNERS.iter().enumerate() {
                keys.extend(planner.keys(&self.world, &object).into_iter().map(|key| (index, key)));
            }
        }
        let plan = |(index, key): (usize, Key)| {
            let planner = PLANNERS[index];
            (planner.name(), key.clone(), planner.plan(&self.world, &key, self.now))
        };
        keys.into_iter().map(plan).collect()
    }

    fn assert_at_rest(&self) {
        for (planner, key, plan) in self.all_plans() {
            assert!(
                plan.actions.is_empty(),
                "{planner} was not told to look at {key:?}: {:#?}",
                plan.actions
            );
        }
    }

    fn enqueue(&mut self, planner: usize, key: Key) {
        if !self.queue.contains(&(planner, key.clone())) {
            self.queue.push_back((planner, key));
        }
    }

    fn tell(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        self.world.heartbeats.hear(&change, self.now);
        for object in change.old.iter().chain(&change.new) {
            for (index, planner) in PLANNERS.iter().enumerate() {
                for key in planner.keys(&self.world, object) {
                    self.enqueue(index, key);
                }
            }
        }
    }

    /// Writes an object under a new revision, or lets it go when nothing holds it any more.
    fn put(&mut self, mut object: Value) {
        let key = id(&object);
        if let Some(held) = self.store.get(&key) {
            if *held == object {
                return;
            }
            if held["spec"] != object["spec"] {
                let generation = object["metadata"]["generation"].as_i64().unwrap_or(1);
                object["metadata"]["generation"] = (generation + 1).into();
            }
            // A pod goes when its kubelet says so, and not with somebody else's word on its phase.
            let is_kubelets = held["status"]["phase"] == object["status"]["phase"] || !self.is_planned;
            let terminating = !text(&object, "deletionTimestamp").is_empty();
            if terminating && is_kubelets && !is_held(&object) {
                return self.forget(&key);
            }
        }
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.store.insert(key.clone(), object.clone());
        let kind = kind_name(&key.0).expect("a kind that worlds hold");
        let change = self.world.apply(kind, object).expect("an object of its kind");
        self.tell(change);
    }

    fn forget(&mut self, key: &Id) {
        let Some(mut object) = self.store.remove(key) else { return };
        self.note("gone", &key.0, &key.2, "");
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let kind = kind_name(&key.0).expect("a kind that worlds hold");
        let change = self.world.remove(kind, object).expect("an object of its kind");
        self.tell(change);
    }

    fn create(&mut self, mut object: Value) -> Result<(), Refused> {
        if text(&object, "name").is_empty() {
            self.generated.0 += 1;
            self.generated.1 = format!("{}{}", text(&object, "generateName"), self.generated.0);
            object["metadata"]["name"] = self.generated.1.as_str().into();
        }
        let key = id(&object);
        if self.store.contains_key(&key) {
            return Err(Refused(format!("{} exists already", key.2)));
        }
        let namespace = self.get("Namespace", "", &key.1);
        if namespace.is_some_and(|n| !text(n, "deletionTimestamp").is_empty()) {
            return Err(Refused(format!("{}: namespace {} is being terminated", key.2, key.1)));
        }
        self.uids += 1;
        object["metadata"]["uid"] = format!("uid-{}", self.uids).into();
        object["metadata"]["generation"] = 1.into();
        object["metadata"]["creationTimestamp"] = self.now.to_string().into();
        match key.0.as_str() {
            "Pod" => object["status"]["phase"] = "Pending".into(),
            "PersistentVolumeClaim" => {
                object["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
                object["status"]["phase"] = "Pending".into();
            }
            "PersistentVolume" => object["metadata"]["finalizers"] = json!(["kubernetes.io/pv-protection"]),
            _ => {}
        }
        let revision = object["metadata"]["labels"]["controller-revision-hash"].as_str().map(str::to_owned);
        let from = revision.map_or(String::new(), |hash| format!(" of {}", self.spoken_revision(&hash)));
        self.note("create", &key.0, &key.2, &from);
        self.put(object);
        Ok(())
    }

    fn delete(&mut self, key: &Id) {
        let Some(object) = self.store.get(key).cloned() else { return };
        if !text(&object, "deletionTimestamp").is_empty() {
            return;
        }
        let mut terminating = object;
        terminating["metadata"]["deletionTimestamp"] = self.now.to_string().into();
        self.note("delete", &key.0, &key.2, "");
        self.put(terminating);
    }

    /// Nobody is asked any more whether the pod's processes are gone.
    fn let_go(&mut self, key: &Id) {
        let Some(mut held) = self.store.get(key).cloned() else { return };
        self.note("force off", &key.0, &key.2, "");
        if held["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            return self.forget(key);
        }
        held["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        self.put(held);
    }

    fn expect(&self, target: &ObjectRef, version: Option<&str>) -> Result<Id, Refused> {
        let key = (target.kind.clone(), target.namespace.clone(), target.name.clone());
        let Some(held) = self.store.get(&key) else {
            return Err(Refused(format!("{} {} is not there", target.kind, target.name)));
        };
        assert!(!target.uid.is_empty(), "a write to {} without a uid", target.name);
        if text(held, "uid") != target.uid {
            return Err(Refused(format!("{} is another one", target.name)));
        }
        if version.is_some_and(|version| text(held, "resourceVersion") != version) {
            return Err(Refused(format!("{} {} has changed", target.kind, target.name)));
        }
        Ok(key)
    }

    fn act(&mut self, action: &Action) -> Result<(), Refused> {
        match action {
            Action::Create(object) => self.create(object.clone()),
            Action::Replace(object) | Action::ReplaceStatus(object) | Action::Finalize(object) => {
                let target = reference(object);
                let key = self.expect(&target, Some(text(object, "resourceVersion")))?;
                let mut held = self.store[&key].clone();
                let part = if matches!(action, Action::ReplaceStatus(_)) { "status" } else { "spec" };
                held[part] = object[part].clone();
                self.put(held);
                Ok(())
            }
            Action::Patch { target, patch } => self.patch(target, patch, false),
            Action::PatchStatus { target, patch } => self.patch(target, patch, true),
            Action::Delete { target, resource_version, grace_period } => {
                let key = self.expect(target, resource_version.as_deref())?;
                self.delete(&key);
                if *grace_period == Some(0) {
                    self.let_go(&key);
                }
                Ok(())
            }
            Action::Bind { pod, node } => {
                let key = self.expect(pod, None)?;
                let mut held = self.store[&key].clone();
                held["spec"]["nodeName"] = node.as_str().into();
                held["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "True"}]);
                self.put(held);
                Ok(())
            }
            Action::ExpectGone(target) => {
                let held = self.get(&target.kind, &target.namespace, &target.name);
                match held.is_some_and(|held| text(held, "uid") == target.uid) {
                    true => Err(Refused(format!("{} is still there", target.name))),
                    false => Ok(()),
                }
            }
            Action::Record { reason, message, .. } => {
                let message = message.replace(planner::plan::CREATED_NAME, &self.generated.1);
                self.events.push(format!("{reason} {message}"));
                Ok(())
            }
        }
    }

    fn patch(&mut self, target: &ObjectRef, patch: &Value, status: bool) -> Result<(), Refused> {
        assert_eq!(text(patch, "uid"), target.uid, "a patch names its object's uid");
        let version = patch["metadata"]["resourceVersion"].as_str();
        let key = self.expect(target, version)?;
        let mut held = self.store[&key].clone();
        let only = if status { json!({"status": patch["status"]}) } else { patch.clone() };
        merge(&mut held, &only);
        if patch["metadata"].get("ownerReferences").is_some() {
            self.note("set owners of", &target.kind, &target.name, "");
        }
        self.put(held);
        Ok(())
    }

    fn note(&mut self, verb: &str, kind: &str, name: &str, suffix: &str) {
        let line = format!("{verb} {}{suffix}", self.spoken(kind, name));
        self.log.push(line);
    }

    /// `pod/web-0`; revisions and dynamic volumes get names that do not change with a hash.
    fn spoken(&mut self, kind: &str, name: &str) -> String {
        match kind {
            "ControllerRevision" => format!("revision {}", self.spoken_revision(name)),
            "PersistentVolume" => "volume".to_owned(),
            "EndpointSlice" => "slice".to_owned(),
            "PersistentVolumeClaim" => format!("claim/{name}"),
            other => format!("{}/{name}", other.to_lowercase()),
        }
    }

    /// `r1` for the first revision that is spoken of, `r2` for the second.
    pub(crate) fn spoken_revision(&mut self, name: &str) -> String {
        let next = format!("r{}", self.aliases.len() + 1);
        self.aliases.entry(name.to_owned()).or_insert(next).clone()
    }
}

fn is_held(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
    let in_spec = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|held| !held.is_empty());
    // Processes hold a pod that has a node, until its kubelet says otherwise.
    let runs = object["kind"] == "Pod"
        && object["spec"]["nodeName"].is_string()
        && !["Failed", "Succeeded"].contains(&object["status"]["phase"].as_str().unwrap_or_default());
    finalizers || in_spec || runs
}

fn reference(object: &Value) -> ObjectRef {
    let (kind, namespace, name) = id(object);
    ObjectRef {
        api_version: object["apiVersion"].as_str().unwrap_or_default().to_owned(),
        kind,
        namespace,
        name,
        uid: text(object, "uid").to_owned(),
    }
}
