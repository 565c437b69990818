//! What a watch saw of pods, in order: the judge of every claim about order.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

use super::{PATIENCE, is_ready};

/// How often the watch is compared with a list while it catches up.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Watches the pods of a namespace in the background, with kube-rs.
pub(crate) struct Timeline {
    seen: Arc<Seen>,
    pods: Api<Pod>,
    runtime: tokio::runtime::Runtime,
}

/// What the watch has told so far.
#[derive(Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sights: Vec<Sight>,
    /// Name and resourceVersion of every pod that is there.
    present: BTreeMap<String, String>,
    /// What was last said of each pod, by name and uid.
    last: BTreeMap<(String, String), What>,
}

/// One change of one pod.
#[derive(Clone, Debug)]
struct Sight {
    pod: String,
    uid: String,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Made,
    Ready,
    Terminating,
    Gone,
}

impl Timeline {
    /// Begins to watch the default namespace.
    pub(crate) fn watch(kubeconfig: &Path) -> Self {
        Self::watch_in(kubeconfig, "default")
    }

    /// Begins to watch a namespace.
    pub(crate) fn watch_in(kubeconfig: &Path, namespace: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = Kubeconfig::read_from(kubeconfig).expect("stead's kubeconfig");
        let pods: Api<Pod> = runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
            Api::namespaced(kube::Client::try_from(config.expect("a config")).expect("a client"), namespace)
        });
        let first = runtime.block_on(pods.list(&ListParams::default())).expect("a list of pods");
        let seen = Arc::new(Seen::default());
        {
            let mut state = seen.state.lock().expect("no panic elsewhere");
            state.present = versions(&first.items);
            state.last = first.items.iter().map(|pod| (identity(pod), what_is(pod))).collect();
        }
        let from = first.metadata.resource_version.expect("a revision");
        runtime.spawn(follow(pods.clone(), from, Arc::clone(&seen)));
        Self { seen, pods, runtime }
    }

    /// What happened since the last call, one word a change: `+db-0`, `db-0 ready`, `db-0 terminating`, `-db-0`.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut state = self.seen.state.lock().expect("no panic in the watch");
        // A watch runs a moment behind: wait until it has told all that a list knows.
        let until = Instant::now() + Duration::from_secs(PATIENCE);
        loop {
            drop(state);
            let listed =
                self.runtime.block_on(self.pods.list(&ListParams::default())).expect("a list of pods");
            state = self.seen.state.lock().expect("no panic in the watch");
            if state.present == versions(&listed.items) {
                break;
            }
            assert!(Instant::now() < until, "the watch of pods does not catch up");
            (state, _) = self.seen.changed.wait_timeout(state, CATCH_UP).expect("no panic in the watch");
        }
        let sights = std::mem::take(&mut state.sights);
        drop(state);
        assert_one_at_a_time(&sights);
        let word = |sight: &Sight| match sight.what {
            What::Made => format!("+{}", sight.pod),
            What::Ready => format!("{} ready", sight.pod),
            What::Terminating => format!("{} terminating", sight.pod),
            What::Gone => format!("-{}", sight.pod),
        };
        sights.iter().map(word).collect()
    }
}

fn versions(pods: &[Pod]) -> BTreeMap<String, String> {
    let version = |pod: &Pod| pod.metadata.resource_version.clone().unwrap_or_default();
    pods.iter().map(|pod| (pod.metadata.name.clone().unwrap_or_default(), version(pod))).collect()
}

async fn follow(pods: Api<Pod>, mut from: String, seen: Arc<Seen>) {
    loop {
        let Ok(stream) = pods.watch(&WatchParams::default().timeout(290), &from).await else { return };
        futures::pin_mut!(stream);
        while let Ok(Some(event)) = stream.try_next().await {
            if let Some(version) = note(&seen, event) {
                from = version;
            }
        }
    }
}

/// At most one pod of a name exists at any time.
fn assert_one_at_a_time(seen: &[Sight]) {
    let mut held: std::collections::HashMap<&str, &str> = std::collections::HashMap::new();
    for sight in seen {
        match sight.what {
            What::Gone => {
                held.remove(sight.pod.as_str());
            }
            _ => {
                let uid = held.entry(&sight.pod).or_insert(&sight.uid);
                assert_eq!(*uid, sight.uid, "two pods named {} at once", sight.pod);
            }
        }
    }
}

fn note(seen: &Seen, event: WatchEvent<Pod>) -> Option<String> {
    let (pod, gone) = match event {
        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
        WatchEvent::Deleted(pod) => (pod, true),
        WatchEvent::Bookmark(bookmark) => return Some(bookmark.metadata.resource_version),
        WatchEvent::Error(_) => return None,
    };
    let (name, uid) = identity(&pod);
    let what = if gone { What::Gone } else { what_is(&pod) };
    let version = pod.metadata.resource_version.clone().unwrap_or_default();
    let mut state = seen.state.lock().expect("no panic elsewhere");
    match what {
        What::Gone => state.present.remove(&name),
        _ => state.present.insert(name.clone(), version),
    };
    let before = state.last.insert((name.clone(), uid.clone()), what);
    // A pod that loses readiness for a moment is not made anew.
    if before != Some(what) && !(what == What::Made && before.is_some()) {
        state.sights.push(Sight { pod: name, uid, what });
    }
    drop(state);
    seen.changed.notify_all();
    pod.metadata.resource_version
}

fn identity(pod: &Pod) -> (String, String) {
    (pod.metadata.name.clone().unwrap_or_default(), pod.metadata.uid.clone().unwrap_or_default())
}

fn what_is(pod: &Pod) -> What {
    if pod.metadata.deletion_timestamp.is_some() {
        What::Terminating
    } else if is_ready(pod) {
        What::Ready
    } else {
        What::Made
    }
}
