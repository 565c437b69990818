//! The node's own object: what the machine has, and that it is alive (`pkg/kubelet/kubelet_node_status.go`).

use std::sync::Arc;
use std::time::Duration;

use client::send_json;
use http::Method;
use planner::Object;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::host::{Host, now};

/// Where nodes renew their leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
/// How often the lease is renewed (upstream: a quarter of its duration).
const RENEW: Duration = Duration::from_secs(10);
/// The pause before a node that could not be registered anew is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a lease lasts, in seconds.
const LEASE_SECONDS: u32 = 40;

/// Bytes of memory of the machine; 0 when the kernel does not say.
pub(crate) fn machine_memory() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The processors that this process may use.
pub(crate) fn machine_cpus() -> i64 {
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i64::try_from(count).unwrap_or(1)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn node(host: &Host) -> Value {
    let name = &host.config.name;
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                "kubernetes.io/arch": architecture(), "node.kubernetes.io/instance-type": "stead",
            },
        },
        "spec": {},
    })
}

fn status(host: &Host, held: Option<&Value>) -> Value {
    let resources = json!({
        "cpu": (host.cpu_millis / 1000).to_string(), "memory": format!("{}Ki", host.memory / 1024),
        "pods": host.config.max_pods.to_string(), "ephemeral-storage": disk_bytes(host).to_string(),
    });
    let at = apimachinery::time::format_seconds(now());
    // A condition's transition time is kept while the condition stays as it is.
    let since = |kind: &str, status: &str| {
        let all = held.and_then(|n| n["status"]["conditions"].as_array()).into_iter().flatten();
        let same = all.into_iter().find(|c| c["type"] == kind && c["status"] == status);
        same.map_or_else(|| at.clone(), |c| c["lastTransitionTime"].as_str().unwrap_or_default().to_owned())
    };
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": at, "lastTransitionTime": since(kind, status)})
    };
    let os = read("/etc/os-release");
    let os = os.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"');
    let version = format!("v1.36.0+stead{}", env!("CARGO_PKG_VERSION"));
    json!({
        "capacity": resources, "allocatable": resources,
        "addresses": [
            {"type": "InternalIP", "address": host.config.host_ip.to_string()},
            {"type": "Hostname", "address": host.config.name},
        ],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "stead has sufficient memory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "stead has no disk pressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "stead has sufficient PIDs"),
            condition("Ready", "True", "KubeletReady", "stead runs pods"),
        ],
        "nodeInfo": {
            "architecture": architecture(), "operatingSystem": "linux", "osImage": os,
            "kernelVersion": read("/proc/sys/kernel/osrelease"), "machineID": read("/etc/machine-id"),
            "bootID": read("/proc/sys/kernel/random/boot_id"),
            "systemUUID": read("/sys/class/dmi/id/product_uuid"),
            "containerRuntimeVersion": format!("stead://{}", env!("CARGO_PKG_VERSION")),
            "kubeletVersion": version, "kubeProxyVersion": version,
        },
    })
}

fn disk_bytes(host: &Host) -> u64 {
    let dir = host.config.pods_dir.parent().unwrap_or(&host.config.pods_dir);
    rustix::fs::statvfs(dir).map_or(0, |figures| figures.f_blocks * figures.f_frsize)
}

fn missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Makes the node's object, or brings it up to date; it is Ready when this returns.
pub(crate) async fn register(host: &Host) -> Result<(), kube::Error> {
    match send_json(&host.client, Method::POST, "/api/v1/nodes", &node(host)).await {
        Ok(_) => {}
        Err(error) if exists(&error) => {}
        Err(error) => return Err(error),
    }
    refresh(host).await?;
    renew(host).await
}

async fn refresh(host: &Host) -> Result<(), kube::Error> {
    let path = format!("/api/v1/nodes/{}", host.config.name);
    let held = send_json(&host.client, Method::GET, &path, &Value::Null).await?;
    let patch = json!({"status": status(host, Some(&held))});
    send_json(&host.client, Method::PATCH, &format!("{path}/status"), &patch).await.map(|_| ())
}

async fn renew(host: &Host) -> Result<(), kube::Error> {
    let name = &host.config.name;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": apimachinery::time::format_micros(now())},
    });
    match send_json(&host.client, Method::PATCH, &format!("{LEASES}/{name}"), &lease).await {
        Err(error) if missing(&error) => {
            send_json(&host.client, Method::POST, LEASES, &lease).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// Keeps the node alive for the API, for ever: renews its lease, and says anew how it is as soon as its object is gone
/// or somebody doubts that it is well.
pub(crate) async fn heartbeat(host: Arc<Host>) {
    let asked = Arc::new(Notify::new());
    let (tell, name) = (Arc::clone(&asked), host.config.name.clone());
    host.informers.on_change(move |_, change| {
        let is_asked = match (&change.old, &change.new) {
            (Some(Object::Node(node)), None) => node.metadata.name.as_ref() == Some(&name),
            (_, Some(Object::Node(node))) => {
                node.metadata.name.as_ref() == Some(&name) && planner::nodes::is_doubted(node)
            }
            _ => false,
        };
        if is_asked {
            tell.notify_one();
        }
    });
    // What happened before anybody listened.
    let is_known = |node: &Arc<_>| !planner::nodes::is_doubted(node);
    let mut registered = host.informers.world().nodes.get("", &host.config.name).is_some_and(is_known);
    loop {
        let pause = if registered { RENEW } else { AGAIN };
        tokio::select! {
            () = asked.notified() => registered = false,
            () = tokio::time::sleep(pause) => {}
        }
        let outcome = if registered { renew(&host).await } else { register(&host).await };
        match outcome {
            Ok(()) => registered = true,
            Err(error) => {
                tracing::warn!("node {}: {error}", host.config.name);
                // Somebody removed the node, or the namespace of its lease.
                registered &= !missing(&error);
            }
        }
    }
}
