//! A namespace of its own for one test, in a stead that tests share: starting one for each of them would take
//! longer than most of them do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::stead::{feed, succeeded};
use super::{Client, PATIENCE, Stead, Timeline};

/// The stead that runs now, as long as a test uses it.
static SHARED: Mutex<Weak<Stead>> = Mutex::new(Weak::new());
/// How many there were: each has names of its own, as one may still end when the next begins.
static STARTED: AtomicU32 = AtomicU32::new(0);

/// The objects of a kind, by name.
pub(crate) type Objects<K> = BTreeMap<String, K>;

/// What a home can hold.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + 'static
{
}

impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + 'static
{
}

/// A namespace in the shared stead. Dropping it deletes the namespace.
pub(crate) struct Home {
    namespace: String,
    api: kube::Client,
    runtime: tokio::runtime::Runtime,
    stead: Arc<Stead>,
}

impl Home {
    /// A namespace of this name.
    pub(crate) fn new(namespace: &str) -> Self {
        let stead = shared();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = Kubeconfig::read_from(stead.kubeconfig()).expect("stead's kubeconfig");
        let api = runtime.block_on(client_of(config));
        let this = Self { namespace: namespace.to_owned(), api, runtime, stead };
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).expect("a namespace");
        let namespaces: Api<Namespace> = Api::all(this.api.clone());
        this.runtime.block_on(namespaces.create(&PostParams::default(), &object)).expect("a namespace");
        this
    }

    /// Its name.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The admin's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.stead.kubeconfig()
    }

    /// A client of somebody else's.
    pub(crate) fn client(&self, kubeconfig: Kubeconfig) -> kube::Client {
        self.runtime.block_on(client_of(kubeconfig))
    }

    /// The typed API of a kind in this namespace.
    pub(crate) fn all<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.api.clone(), &self.namespace)
    }

    /// Waits for one request.
    pub(crate) fn ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> T {
        self.try_ask(request).unwrap_or_else(|error| panic!("{}: {error}", self.namespace))
    }

    /// Waits for one request that may be refused.
    pub(crate) fn try_ask<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        self.runtime.block_on(request)
    }

    /// Makes an object.
    pub(crate) fn create<K: Kind>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).expect("an object of its kind");
        self.ask(self.all().create(&PostParams::default(), &object))
    }

    /// The object of this name.
    pub(crate) fn get<K: Kind>(&self, name: &str) -> K {
        self.ask(self.all().get(name))
    }

    /// Applies a JSON merge patch.
    pub(crate) fn patch<K: Kind>(&self, name: &str, patch: &Value) -> K {
        self.ask(self.all().patch(name, &PatchParams::default(), &Patch::Merge(patch)))
    }

    /// Deletes an object, with the kind's own grace and propagation.
    pub(crate) fn delete<K: Kind>(&self, name: &str) {
        self.ask(self.all::<K>().delete(name, &DeleteParams::default()));
    }

    /// Watches until the objects of a kind are as they should be, and answers with them. `what` says so in
    /// words, for whoever reads the failure.
    pub(crate) fn until<K: Kind>(&self, what: &str, is_so: impl Fn(&Objects<K>) -> bool) -> Objects<K> {
        let api = self.all::<K>();
        let last = std::cell::RefCell::new(Objects::new());
        let wait = async {
            loop {
                let list = api.list(&ListParams::default()).await.expect("a list");
                let from = list.metadata.resource_version.clone().unwrap_or_default();
                let mut objects: Objects<K> = list.items.into_iter().map(|o| (o.name_any(), o)).collect();
                let mut events =
                    pin!(api.watch(&WatchParams::default(), &from).await.expect("a watch of the list"));
                loop {
                    if is_so(&objects) {
                        return objects;
                    }
                    last.replace(objects.clone());
                    match events.next().await {
                        Some(Ok(WatchEvent::Added(o) | WatchEvent::Modified(o))) => {
                            objects.insert(o.name_any(), o);
                        }
                        Some(Ok(WatchEvent::Deleted(o))) => drop(objects.remove(&o.name_any())),
                        Some(Ok(WatchEvent::Bookmark(_))) => {}
                        Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => break,
                    }
                }
            }
        };
        let waited =
            self.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(PATIENCE), wait).await });
        waited.unwrap_or_else(|_| {
            let seen = serde_json::to_string(&*last.borrow()).unwrap_or_default();
            panic!("{}: not within {PATIENCE} s: {what}; there is {seen}", self.namespace)
        })
    }

    /// Watches until the object of this name is as it should be, and answers with it.
    pub(crate) fn until_one<K: Kind>(&self, name: &str, what: &str, is_so: impl Fn(&K) -> bool) -> K {
        let mut all = self.until(what, |all: &Objects<K>| all.get(name).is_some_and(&is_so));
        all.remove(name).expect("it was there a moment ago")
    }

    /// A watch of the pods, that tells what happened from now on.
    pub(crate) fn timeline(&self) -> Timeline {
        Timeline::watch_in(&self.stead.kubeconfig(), &self.namespace)
    }

    /// Runs a command line here: kubectl's where there is one, else stead's.
    pub(crate) fn run(&self, line: &str) -> String {
        self.stead.run(&self.here(line))
    }

    /// Runs a command line here that must fail. Answers with what it says on stderr.
    pub(crate) fn fails(&self, line: &str) -> String {
        self.stead.fails(&self.here(line))
    }

    /// Runs one of stead's own command lines here.
    pub(crate) fn stead(&self, line: &str) -> String {
        let output = self.stead.try_run_as(Client::Stead, &self.here(line));
        succeeded(&output, line);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs somebody's program, who finds stead by its kubeconfig, with something to read. Answers with all that came
    /// of it.
    pub(crate) fn feed(&self, mut program: Command, input: &str) -> Output {
        feed(program.env("KUBECONFIG", self.stead.kubeconfig()), input)
    }

    /// A command line of a client here, to be run as the test likes.
    pub(crate) fn client_of(&self, client: Client, line: &str) -> std::process::Command {
        self.stead.client_of(client, &self.here(line))
    }

    /// The API's client.
    pub(crate) fn api(&self) -> kube::Client {
        self.api.clone()
    }

    /// Waits for whatever a test does with the API.
    pub(crate) fn wait_for<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(PATIENCE), work).await.expect("not within the time")
        })
    }

    /// Waits for a condition, as `kubectl wait` does.
    pub(crate) fn wait(&self, condition: &str, what: &str) {
        self.run(&format!("wait --for={condition} {what} --timeout={PATIENCE}s"));
    }

    fn here(&self, line: &str) -> String {
        format!("-n {} {line}", self.namespace)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in ["get sts,pods,pvc -o wide", "get sts -o yaml", "get events"] {
                let output = self.stead.try_run_as(Client::Stead, &self.here(line));
                eprintln!("--- stead {line}\n{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        // Its pods need not be waited for: the stead's own end takes all that is left.
        let namespaces: Api<Namespace> = Api::all(self.api.clone());
        let _ = self.runtime.block_on(namespaces.delete(&self.namespace, &DeleteParams::default()));
    }
}

async fn client_of(kubeconfig: Kubeconfig) -> kube::Client {
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.expect("a config");
    // A refusal for now (429) is what some tests ask for.
    config.default_retry = false;
    kube::Client::try_from(config).expect("a client")
}

fn shared() -> Arc<Stead> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stead) = shared.upgrade() {
        return stead;
    }
    let name = format!("sets-{}", STARTED.fetch_add(1, Ordering::Relaxed));
    let client = Client::all().pop().expect("stead's own words");
    let stead = Arc::new(Stead::start(&name, &["busybox"]).speaking(client));
    *shared = Arc::downgrade(&stead);
    stead
}
