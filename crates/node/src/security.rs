//! From security contexts and the image's user to what a container may do (`pkg/securitycontext`). Pure but
//! for the image's user, which the caller resolves.

use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile};
use runtime::Security;

/// What containerd and Docker grant by default.
const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Everything that Linux knows, for privileged containers and `add: [ALL]`.
const ALL_CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Numeric ids of the user that the image names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
}

/// The user to look up in the image: `runAsUser`, with `runAsGroup`, else what the image says.
pub(crate) fn user_to_resolve(pod: &Pod, container: &Container, image_user: &str) -> String {
    let pod_context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let context = container.security_context.as_ref();
    let uid = context.and_then(|c| c.run_as_user).or_else(|| pod_context.and_then(|c| c.run_as_user));
    let gid = context.and_then(|c| c.run_as_group).or_else(|| pod_context.and_then(|c| c.run_as_group));
    let image_name = image_user.split(':').next().unwrap_or_default();
    match (uid, gid) {
        (Some(uid), Some(gid)) => format!("{uid}:{gid}"),
        (Some(uid), None) => uid.to_string(),
        (None, Some(gid)) => format!("{}:{gid}", if image_name.is_empty() { "0" } else { image_name }),
        (None, None) => image_user.to_owned(),
    }
}

/// What the container may do, or why it may not run at all (`runAsNonRoot`).
pub(crate) fn security(pod: &Pod, container: &Container, user: ImageUser) -> Result<Security, String> {
    let pod_context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let context = container.security_context.as_ref();
    let non_root = context
        .and_then(|c| c.run_as_non_root)
        .or_else(|| pod_context.and_then(|c| c.run_as_non_root))
        .unwrap_or(false);
    if non_root && user.uid == 0 {
        let asked = context.and_then(|c| c.run_as_user).or(pod_context.and_then(|c| c.run_as_user));
        return Err(runs_as_root(pod, container, asked == Some(0)));
    }
    let mut additional_gids = user.additional_gids;
    if let Some(pod_context) = pod_context {
        let groups = pod_context.supplemental_groups.iter().flatten().chain(&pod_context.fs_group);
        additional_gids.extend(groups.filter_map(|gid| u32::try_from(*gid).ok()));
    }
    additional_gids.sort_unstable();
    additional_gids.dedup();
    let privileged = context.and_then(|c| c.privileged).unwrap_or(false);
    Ok(Security {
        uid: user.uid,
        gid: user.gid,
        additional_gids,
        privileged,
        capabilities: if privileged { owned(&ALL_CAPABILITIES) } else { capabilities(container) },
        no_new_privileges: context.and_then(|c| c.allow_privilege_escalation) == Some(false),
        read_only_root: context.and_then(|c| c.read_only_root_filesystem).unwrap_or(false),
        seccomp_default: !privileged && !is_unconfined(seccomp_profile(pod, container)),
        seccomp_profile: None,
    })
}

/// Upstream's sentences (`verifyRunAsNonRoot`).
fn runs_as_root(pod: &Pod, container: &Container, is_asked_for: bool) -> String {
    let meta = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let shown = format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid));
    let what = if is_asked_for {
        "container's runAsUser breaks non-root policy"
    } else {
        "container has runAsNonRoot and image will run as root"
    };
    format!("{what} (pod: {shown:?}, container: {})", container.name)
}

/// The file of the container's seccomp profile, below the node's folder of them, when it names one.
pub(crate) fn localhost_profile<'a>(pod: &'a Pod, container: &'a Container) -> Option<&'a str> {
    let profile = seccomp_profile(pod, container).filter(|p| p.type_ == "Localhost")?;
    profile.localhost_profile.as_deref()
}

fn seccomp_profile<'a>(pod: &'a Pod, container: &'a Container) -> Option<&'a SeccompProfile> {
    let pod_context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let own = container.security_context.as_ref().and_then(|c| c.seccomp_profile.as_ref());
    own.or_else(|| pod_context.and_then(|c| c.seccomp_profile.as_ref()))
}

fn is_unconfined(profile: Option<&SeccompProfile>) -> bool {
    profile.is_some_and(|p| p.type_ == "Unconfined")
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The default set, less `drop`, plus `add`; `ALL` means all (`pkg/securitycontext/util.go`).
fn capabilities(container: &Container) -> Vec<String> {
    let asked = container.security_context.as_ref().and_then(|c| c.capabilities.as_ref());
    let (add, drop) = match asked {
        Some(asked) => (asked.add.clone().unwrap_or_default(), asked.drop.clone().unwrap_or_default()),
        None => Default::default(),
    };
    let full = |name: &String| {
        let name = name.to_uppercase();
        if name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let (add, drop): (Vec<_>, Vec<_>) = (add.iter().map(full).collect(), drop.iter().map(full).collect());
    let all = "CAP_ALL".to_owned();
    let mut set = match (add.contains(&all), drop.contains(&all)) {
        (true, _) => owned(&ALL_CAPABILITIES),
        (false, true) => Vec::new(),
        (false, false) => owned(&DEFAULT_CAPABILITIES),
    };
    set.retain(|name| !drop.contains(name));
    for name in add {
        if name != all && !set.contains(&name) {
            set.push(name);
        }
    }
    set.sort();
    set
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn made(pod_context: Value, context: Value, image_user: &str) -> (String, Result<Security, String>) {
        let pod: Pod = serde_json::from_value(json!({"spec": {"securityContext": pod_context,
            "containers": [{"name": "c", "securityContext": context}]}}))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let resolve = user_to_resolve(&pod, container, image_user);
        let uid = resolve.split(':').next().and_then(|u| u.parse().ok()).unwrap_or(999);
        (resolve, security(&pod, container, ImageUser { uid, ..ImageUser::default() }))
    }

    #[test]
    fn the_container_wins_over_the_pod_and_both_over_the_image() {
        assert_eq!(made(json!({}), json!({}), "postgres").0, "postgres");
        assert_eq!(made(json!({"runAsUser": 1}), json!({}), "postgres").0, "1");
        assert_eq!(made(json!({"runAsUser": 1, "runAsGroup": 2}), json!({"runAsUser": 3}), "x").0, "3:2");
        assert_eq!(made(json!({"runAsGroup": 2}), json!({}), "postgres:root").0, "postgres:2");
    }

    #[test]
    fn root_is_refused_where_the_pod_says_so() {
        let why = |asked: Value| made(json!({"runAsNonRoot": true}), asked, "0").1.unwrap_err();
        assert_eq!(
            why(json!({})),
            "container has runAsNonRoot and image will run as root (pod: \"_()\", container: c)"
        );
        assert_eq!(
            why(json!({"runAsUser": 0})),
            "container's runAsUser breaks non-root policy (pod: \"_()\", container: c)"
        );
        assert!(made(json!({"runAsNonRoot": true, "runAsUser": 5}), json!({}), "0").1.is_ok());
    }

    #[test]
    fn capabilities_are_the_default_less_dropped_plus_added() {
        let of = |capabilities: Value| {
            made(json!({}), json!({"capabilities": capabilities}), "0").1.unwrap().capabilities
        };
        assert_eq!(of(json!({})).len(), DEFAULT_CAPABILITIES.len());
        assert_eq!(of(json!({"drop": ["ALL"], "add": ["NET_ADMIN"]})), ["CAP_NET_ADMIN"]);
        assert!(!of(json!({"drop": ["CHOWN"]})).contains(&"CAP_CHOWN".to_owned()));
    }
}
