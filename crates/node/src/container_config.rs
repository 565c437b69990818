//! From a container's spec and its image to what the runtime starts
//! (`pkg/kubelet/kuberuntime/kuberuntime_container.go` `generateContainerConfig`). Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};
use planner::pod_actions::ContainerId;
use runtime::{ContainerConfig, Device, Mount, Resources, Security};

use crate::env::expand;

/// The search path of a container whose image names none.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a pod gets to end that does not say (`core/v1.DefaultTerminationGracePeriodSeconds`).
pub(crate) const DEFAULT_GRACE_SECONDS: u64 = 30;

/// Annotations with which the runtime keeps what the node must know again after a restart.
pub(crate) mod kept {
    pub(crate) const NAME: &str = "name";
    pub(crate) const ATTEMPT: &str = "attempt";
    pub(crate) const BACKOFF_STEP: &str = "backoff-step";
    pub(crate) const IMAGE: &str = "image";
    pub(crate) const IMAGE_ID: &str = "image-id";
    pub(crate) const STOP_SIGNAL: &str = "stop-signal";
    pub(crate) const TERMINATION_MESSAGE: &str = "termination-message";
    pub(crate) const RESOURCES: &str = "resources";
    /// Of the sandbox.
    pub(crate) const GRACE_SECONDS: &str = "termination-grace-period-seconds";

    /// The resources of a container's spec, as they are kept.
    pub(crate) fn resources(container: &k8s_openapi::api::core::v1::Container) -> String {
        // Strings as keys and values: this cannot fail.
        serde_json::to_string(&container.resources).unwrap_or_default()
    }
}

/// What the image says about running it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageFacts {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) stop_signal: String,
    pub(crate) layers: Vec<PathBuf>,
}

/// Everything that a run of a container is made of.
pub(crate) struct Parts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) container: &'a Container,
    pub(crate) id: &'a ContainerId,
    pub(crate) backoff_step: u32,
    pub(crate) image: ImageFacts,
    /// The container's own environment, after the image's.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) devices: Vec<Device>,
    pub(crate) security: Security,
    pub(crate) resources: Resources,
    /// The runtime's id of the container whose processes it sees, and which see it.
    pub(crate) joins_processes_of: Option<String>,
    pub(crate) log_path: PathBuf,
    /// Where the container may leave its last words, on the host.
    pub(crate) termination_message: &'a Path,
}

/// The runtime's id of a run.
pub(crate) fn runtime_id(id: &ContainerId) -> String {
    format!("{}.{}", id.name, id.attempt)
}

/// The configuration for the runtime, or what is wrong with it.
pub(crate) fn container_config(parts: Parts<'_>) -> Result<ContainerConfig, String> {
    let Parts { pod, container, id, image, .. } = parts;
    let lookup: BTreeMap<&str, &str> =
        parts.env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words.map(|word| expand(word, |name| lookup.get(name).map(|v| (*v).to_owned()))).collect()
    };
    let (command, args) = (expanded(&container.command), expanded(&container.args));
    // A command of the manifest takes the place of the image's entrypoint and of its arguments.
    let argv: Vec<String> = match (command.is_empty(), args.is_empty()) {
        (false, _) => command.into_iter().chain(args).collect(),
        (true, false) => image.entrypoint.iter().cloned().chain(args).collect(),
        (true, true) => image.entrypoint.iter().chain(&image.cmd).cloned().collect(),
    };
    if argv.is_empty() {
        return Err(format!(
            "no command specified: image {} has no entrypoint, set command of container {}",
            image.name, container.name
        ));
    }
    let cwd = [container.working_dir.as_deref().unwrap_or_default(), &image.working_dir, "/"]
        .into_iter()
        .find(|dir| !dir.is_empty())
        .map(PathBuf::from)
        .unwrap_or_default();
    let annotations = [
        (kept::NAME, id.name.clone()),
        (kept::ATTEMPT, id.attempt.to_string()),
        (kept::BACKOFF_STEP, parts.backoff_step.to_string()),
        (kept::IMAGE, image.name.clone()),
        (kept::IMAGE_ID, image.id.clone()),
        (kept::STOP_SIGNAL, image.stop_signal.clone()),
        (kept::TERMINATION_MESSAGE, parts.termination_message.display().to_string()),
        (kept::RESOURCES, kept::resources(container)),
    ];
    Ok(ContainerConfig {
        id: runtime_id(id),
        layers: image.layers,
        argv,
        env: environment(pod, container, &image.env, &parts.env),
        cwd,
        mounts: parts.mounts,
        devices: parts.devices,
        security: parts.security,
        resources: parts.resources,
        log_path: parts.log_path,
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        joins_processes_of: parts.joins_processes_of,
        annotations: annotations.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    })
}

/// The image's environment under the container's, with a PATH and a HOSTNAME in any case, and a TERM where
/// there is a terminal.
fn environment(pod: &Pod, container: &Container, image: &[String], own: &[(String, String)]) -> Vec<String> {
    let set = |key: &str| own.iter().any(|(held, _)| held == key);
    let key = |entry: &String| entry.split('=').next().unwrap_or_default().to_owned();
    let mut out: Vec<String> = image.iter().filter(|entry| !set(&key(entry))).cloned().collect();
    if !set("PATH") && !out.iter().any(|entry| entry.starts_with("PATH=")) {
        out.insert(0, DEFAULT_PATH.to_owned());
    }
    if container.tty == Some(true) && !set("TERM") && !out.iter().any(|entry| entry.starts_with("TERM=")) {
        out.push("TERM=xterm".to_owned());
    }
    if !set("HOSTNAME") {
        out.push(format!("HOSTNAME={}", crate::etc_files::hostname(pod)));
    }
    out.extend(own.iter().map(|(key, value)| format!("{key}={value}")));
    out
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::json;

    use super::*;

    fn argv(container: serde_json::Value) -> Result<Vec<String>, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
            "spec": {"containers": [container]}}))
        .unwrap();
        let image = ImageFacts {
            entrypoint: vec!["/entry".into()],
            cmd: vec!["serve".into()],
            ..ImageFacts::default()
        };
        container_config(Parts {
            pod: &pod,
            container: &pod.spec.as_ref().unwrap().containers[0],
            id: &ContainerId { name: "c".into(), attempt: 0 },
            backoff_step: 0,
            image,
            env: vec![("A".into(), "x".into())],
            mounts: Vec::new(),
            devices: Vec::new(),
            security: crate::security::security(
                &pod,
                &pod.spec.as_ref().unwrap().containers[0],
                crate::security::ImageUser::default(),
            )?,
            resources: Resources::default(),
            joins_processes_of: None,
            log_path: PathBuf::new(),
            termination_message: Path::new(""),
        })
        .map(|config| config.argv)
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd_as_upstream_s_table_says() {
        let cases = [
            (json!({"name": "c"}), vec!["/entry", "serve"]),
            (json!({"name": "c", "args": ["$(A)", "$(B)"]}), vec!["/entry", "x", "$(B)"]),
            (json!({"name": "c", "command": ["sh"]}), vec!["sh"]),
            (json!({"name": "c", "command": ["sh"], "args": ["-c"]}), vec!["sh", "-c"]),
        ];
        for (container, expected) in cases {
            assert_eq!(argv(container.clone()).unwrap(), expected, "{container}");
        }
    }
}
