//! What a watch saw of pods, in order: the judge of every claim about order.

use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Watches the pods of the default namespace in the background, with kube-rs.
pub(crate) struct Timeline {
    seen: Arc<Mutex<Vec<Sight>>>,
    _runtime: tokio::runtime::Runtime,
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
    /// Begins to watch.
    pub(crate) fn watch(kubeconfig: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let config = Kubeconfig::read_from(kubeconfig).expect("stead's kubeconfig");
        let pods: Api<Pod> = runtime.block_on(async {
            let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
            Api::default_namespaced(kube::Client::try_from(config.expect("a config")).expect("a client"))
        });
        let first = runtime.block_on(pods.list(&Default::default())).expect("a list of pods");
        let mut from = first.metadata.resource_version.expect("a revision");
        let into = Arc::clone(&seen);
        runtime.spawn(async move {
            loop {
                let params = WatchParams::default().timeout(290);
                let Ok(stream) = pods.watch(&params, &from).await else { return };
                futures::pin_mut!(stream);
                while let Ok(Some(event)) = stream.try_next().await {
                    if let Some(version) = note(&into, event) {
                        from = version;
                    }
                }
            }
        });
        Self { seen, _runtime: runtime }
    }

    /// What happened so far, one word a change: `+db-0`, `db-0 ready`, `db-0 terminating`, `-db-0`. Forgets it.
    pub(crate) fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().expect("no panic in the watch"));
        assert_one_at_a_time(&seen);
        let word = |sight: &Sight| match sight.what {
            What::Made => format!("+{}", sight.pod),
            What::Ready => format!("{} ready", sight.pod),
            What::Terminating => format!("{} terminating", sight.pod),
            What::Gone => format!("-{}", sight.pod),
        };
        seen.iter().map(word).collect()
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

fn note(seen: &Mutex<Vec<Sight>>, event: WatchEvent<Pod>) -> Option<String> {
    let (pod, gone) = match event {
        WatchEvent::Added(pod) | WatchEvent::Modified(pod) => (pod, false),
        WatchEvent::Deleted(pod) => (pod, true),
        WatchEvent::Bookmark(bookmark) => return Some(bookmark.metadata.resource_version),
        WatchEvent::Error(_) => return None,
    };
    let name = pod.metadata.name.clone().unwrap_or_default();
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"));
    let what = if gone {
        What::Gone
    } else if pod.metadata.deletion_timestamp.is_some() {
        What::Terminating
    } else if ready {
        What::Ready
    } else {
        What::Made
    };
    let mut seen = seen.lock().expect("no panic elsewhere");
    let before = seen.iter().rev().find(|s| s.pod == name && s.uid == uid).map(|s| s.what);
    // A pod that loses readiness for a moment is not made anew.
    if before != Some(what) && !(what == What::Made && before.is_some()) {
        seen.push(Sight { pod: name, uid, what });
    }
    pod.metadata.resource_version
}
