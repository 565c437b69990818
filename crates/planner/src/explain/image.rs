//! Images that a node cannot get: a wrong name, no access, no network, or nobody allowed to fetch it.

use k8s_openapi::api::core::v1::Pod;

use super::{Cause, Walk, container, flag};
use crate::objects::{controller_of, name, namespace};
use crate::pods::spec;

/// What is wrong, as far as the node's words tell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// The name cannot be read.
    BadName,
    /// The registry does not have it.
    NotFound,
    /// The registry wants (other) credentials, or does not say whether it has it.
    NoAccess,
    /// The registry was not reached.
    NoNetwork,
    /// It is not here, and the pod forbids to fetch it.
    NeverPulled,
    /// Anything else.
    Unknown,
}

/// Words of ours and of containerd's by which troubles are told apart, the more telling ones first.
const WORDS: &[(&str, Trouble)] = &[
    ("asks for credentials", Trouble::NoAccess),
    ("unauthorized", Trouble::NoAccess),
    ("authorization failed", Trouble::NoAccess),
    ("pull access denied", Trouble::NoAccess),
    ("forbidden", Trouble::NoAccess),
    ("has no such image", Trouble::NotFound),
    ("manifest unknown", Trouble::NotFound),
    ("not found", Trouble::NotFound),
    ("cannot be reached", Trouble::NoNetwork),
    ("no such host", Trouble::NoNetwork),
    ("connection refused", Trouble::NoNetwork),
    ("i/o timeout", Trouble::NoNetwork),
    ("network is unreachable", Trouble::NoNetwork),
];

/// Why the container has no image, with what its node said last of it.
pub(super) fn problem(walk: &Walk<'_>, pod: &Pod, container: &str, reason: &str, said: &str) -> Cause {
    let image = container::image(pod, container);
    let said = without_preamble(said, &image);
    let trouble = trouble(reason, said);
    // Our own node gives advice behind what it found; what is below is more to the point.
    let found =
        if trouble == Trouble::Unknown { said } else { said.split("; check ").next().unwrap_or(said) };
    let cause = Cause::new(format!("container {container} has no image ({reason})")).words(found);
    let other = format!("name another: {}", set_image(walk, pod, container));
    let import = "bring it: stead image import FILE";
    match trouble {
        Trouble::BadName => cause.fix(format!("{image} is no image's name; {other}")),
        Trouble::NotFound => cause.fix(format!("check the name and the tag {image}; {other}; or {import}")),
        Trouble::NoAccess => {
            let missing = missing_secrets(walk, pod);
            if missing.is_empty() {
                let has = if pull_secrets(pod).next().is_some() { "other credentials" } else { "credentials" };
                return cause.fix(format!(
                    "check the name {image}, or give {has}: a Secret of type kubernetes.io/dockerconfigjson, named in \
                     the pod's spec.imagePullSecrets"
                ));
            }
            cause.because(missing)
        }
        Trouble::NoNetwork => cause.fix(format!(
            "see that this machine reaches the registry, name a mirror (stead up --registry-mirror HOST=URL), or {import}"
        )),
        Trouble::NeverPulled => cause.fix(format!("{import}; or set imagePullPolicy to IfNotPresent")),
        Trouble::Unknown => cause.fix(format!("check the name {image}, or {import}")),
    }
}

fn trouble(reason: &str, said: &str) -> Trouble {
    match reason {
        "InvalidImageName" => return Trouble::BadName,
        "ErrImageNeverPull" => return Trouble::NeverPulled,
        _ => {}
    }
    let said = said.to_lowercase();
    WORDS.iter().find(|(word, _)| said.contains(word)).map_or(Trouble::Unknown, |(_, trouble)| *trouble)
}

/// What went wrong, without that a pull did.
fn without_preamble<'s>(said: &'s str, image: &str) -> &'s str {
    let mut said = said.trim();
    for preamble in ["Back-off pulling image", "Failed to pull image"] {
        let rest = said.strip_prefix(&format!("{preamble} \"{image}\""));
        said = rest.map_or(said, |rest| rest.trim_start_matches([':', ' ']));
    }
    said
}

/// The command that gives the container another image: where the pod is made from a template, in that.
fn set_image(walk: &Walk<'_>, pod: &Pod, container: &str) -> String {
    let ns = namespace(&pod.metadata);
    let owner = controller_of(&pod.metadata);
    let target = match owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())) {
        Some(("StatefulSet", set)) => format!("sts/{set}"),
        Some(("ReplicaSet", set)) => {
            let held = walk.world.replica_sets.get(ns, set);
            let above = held.and_then(|set| controller_of(&set.metadata)).filter(|o| o.kind == "Deployment");
            above.map_or_else(|| format!("rs/{set}"), |above| format!("deploy/{}", above.name))
        }
        _ => format!("pod/{}", name(&pod.metadata)),
    };
    format!("stead set image {target}{} {container}=IMAGE", flag(ns))
}

fn pull_secrets(pod: &Pod) -> impl Iterator<Item = &str> {
    let secrets = spec(pod).and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    secrets.iter().map(|secret| secret.name.as_str())
}

/// Credentials that the pod names and that are not there.
fn missing_secrets(walk: &Walk<'_>, pod: &Pod) -> Vec<Cause> {
    let ns = namespace(&pod.metadata);
    let missing = pull_secrets(pod).filter(|secret| walk.world.secrets.get(ns, secret).is_none());
    missing
        .map(|secret| {
            Cause::new(format!("secret/{secret}, which spec.imagePullSecrets names, does not exist"))
                .fix("create it, of type kubernetes.io/dockerconfigjson: stead apply -f FILE")
        })
        .collect()
}
