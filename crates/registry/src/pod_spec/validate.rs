//! The spec as a whole (`ValidatePodSpec`, `ValidatePodTemplateSpec`).

use std::sync::LazyLock;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::{Value, json};

use super::containers::{self, Pod};
use super::{ephemeral, resize, resources, scheduling, security, volumes};
use crate::check::{self, Errors};
use crate::meta::validate_annotations;
use crate::value::{is_empty, items, number, text, truth};

const MAX_DNS_NAMESERVERS: usize = 3;
const MAX_DNS_SEARCH_PATHS: usize = 32;
const MAX_DNS_SEARCH_LIST_CHARS: usize = 2048;

/// Whose spec it is.
#[derive(Clone, Copy)]
pub(crate) enum For<'a> {
    /// A pod's own.
    Pod,
    /// A workload's template, with the templates of the claims that it makes volumes of.
    Template {
        /// `volumeClaimTemplates`.
        claims: &'a [Value],
    },
}

/// What a claim made from a template is to a container: a volume like any other claim's.
static CLAIM_VOLUME: LazyLock<Value> = LazyLock::new(|| json!({"persistentVolumeClaim": {}}));

/// A pod template: its labels, annotations and spec.
pub(crate) fn validate_pod_template(errors: &mut Errors, path: &Path, template: &Value, claims: &[Value]) {
    let meta = &template["metadata"];
    check::labels(errors, &path.child("labels"), &meta["labels"]);
    validate_annotations(errors, &path.child("annotations"), &meta["annotations"]);
    validate_pod_spec(errors, &path.child("spec"), &template["spec"], For::Template { claims });
    if !is_empty(&template["spec"]["ephemeralContainers"]) {
        errors.push(FieldError::forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

/// A pod's spec with its defaults filled in.
pub(crate) fn validate_pod_spec(errors: &mut Errors, path: &Path, spec: &Value, whose: For<'_>) {
    let mut volumes = volumes::validate_volumes(errors, &path.child("volumes"), &spec["volumes"]);
    if let For::Template { claims } = whose {
        volumes.extend(claims.iter().map(|claim| (text(&claim["metadata"]["name"]), &*CLAIM_VOLUME)));
    }
    let pod = Pod { volumes, grace_period: number(&spec["terminationGracePeriodSeconds"]) };
    let (regular, init) = (&spec["containers"], &spec["initContainers"]);
    containers::validate_containers(errors, &path.child("containers"), regular, &pod);
    containers::validate_init_containers(errors, &path.child("initContainers"), init, regular, &pod);
    ephemeral::validate_ephemeral_containers(errors, &path.child("ephemeralContainers"), spec, &pod);
    if matches!(whose, For::Pod) {
        containers::validate_for_pod(errors, &path.child("containers"), regular);
        containers::validate_for_pod(errors, &path.child("initContainers"), init);
    }
    resources::validate_pod_resources(errors, &path.child("resources"), &spec["resources"]);
    validate_policies(errors, path, spec);
    resize::validate_policies(errors, path, spec);
    validate_host_network_ports(errors, path, spec, whose);
    check::labels(errors, &path.child("nodeSelector"), &spec["nodeSelector"]);
    let context = &spec["securityContext"];
    security::validate_pod_security_context(errors, &path.child("securityContext"), context);
    scheduling::validate_affinity(errors, &path.child("affinity"), &spec["affinity"]);
    scheduling::validate_tolerations(errors, &path.child("tolerations"), &spec["tolerations"]);
    let spread = &spec["topologySpreadConstraints"];
    scheduling::validate_topology_spread(errors, &path.child("topologySpreadConstraints"), spread);
    validate_names(errors, path, spec);
    validate_dns(errors, path, spec);
}

fn validate_policies(errors: &mut Errors, path: &Path, spec: &Value) {
    let restart_policies = &["Always", "OnFailure", "Never"];
    check::one_of(errors, &path.child("restartPolicy"), &spec["restartPolicy"], restart_policies);
    check::one_of(
        errors,
        &path.child("dnsPolicy"),
        &spec["dnsPolicy"],
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
    let preemption = &spec["preemptionPolicy"];
    let preemption_policies = &["PreemptLowerPriority", "Never"];
    check::one_of_if_set(errors, &path.child("preemptionPolicy"), preemption, preemption_policies);
    check::in_range(
        errors,
        &path.child("activeDeadlineSeconds"),
        &spec["activeDeadlineSeconds"],
        1,
        i64::from(i32::MAX),
    );
    // Upstream reads a negative grace period as 1 second.
    if spec["terminationGracePeriodSeconds"].is_null() {
        errors.push(FieldError::required(&path.child("terminationGracePeriodSeconds"), ""));
    }
    if truth(&spec["hostPID"]) && truth(&spec["shareProcessNamespace"]) {
        errors.push(FieldError::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    if spec["hostUsers"] == false {
        for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if truth(&spec[field]) {
                let words = "when `pod.Spec.HostUsers` is false";
                errors.push(FieldError::forbidden(&path.child(shown), words));
            }
        }
    }
}

/// On the host's network a container's port is the host's (`validatePodHostNetworkDeps`). Templates may
/// leave the host's port out: the pod's defaults fill it in.
fn validate_host_network_ports(errors: &mut Errors, path: &Path, spec: &Value, whose: For<'_>) {
    if !truth(&spec["hostNetwork"]) {
        return;
    }
    for (i, container) in items(&spec["containers"]).iter().enumerate() {
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            let (host, own) = (number(&port["hostPort"]), number(&port["containerPort"]));
            if host != own && (host != 0 || matches!(whose, For::Pod)) {
                let at = path.child("containers").index(i).child("ports").index(j).child("hostPort");
                let words = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&at, host, words));
            }
        }
    }
}

fn validate_names(errors: &mut Errors, path: &Path, spec: &Value) {
    type Rule = fn(&str) -> Result<(), String>;
    let rules: [(&str, Rule); 7] = [
        ("serviceAccountName", names::dns1123_subdomain),
        ("nodeName", names::dns1123_subdomain),
        ("hostname", names::dns1123_label),
        ("subdomain", names::dns1123_label),
        ("hostnameOverride", names::dns1123_subdomain),
        ("priorityClassName", names::dns1123_subdomain),
        ("runtimeClassName", names::dns1123_subdomain),
    ];
    for (field, rule) in rules {
        let value = text(&spec[field]);
        if !value.is_empty() {
            check::name(errors, &path.child(field), value, rule);
        }
    }
    for (i, gate) in items(&spec["readinessGates"]).iter().enumerate() {
        let at = path.child("readinessGates").index(i).child("conditionType");
        check::name(errors, &at, text(&gate["conditionType"]), names::qualified_name);
    }
    for (i, gate) in items(&spec["schedulingGates"]).iter().enumerate() {
        let at = path.child("schedulingGates").index(i);
        check::name(errors, &at, text(&gate["name"]), names::qualified_name);
    }
    for (i, alias) in items(&spec["hostAliases"]).iter().enumerate() {
        let at = path.child("hostAliases").index(i);
        check::ip(errors, &at.child("ip"), text(&alias["ip"]));
        for (j, hostname) in items(&alias["hostnames"]).iter().enumerate() {
            let at = at.child("hostnames").index(j);
            check::name(errors, &at, text(hostname), names::dns1123_subdomain);
        }
    }
}

/// `dnsConfig` (`validatePodDNSConfig`); the limits are libc's.
fn validate_dns(errors: &mut Errors, path: &Path, spec: &Value) {
    let config = &spec["dnsConfig"];
    let path = path.child("dnsConfig");
    let (servers, searches) = (&config["nameservers"], &config["searches"]);
    if spec["dnsPolicy"] == "None" {
        if config.is_null() {
            let words = "must provide `dnsConfig` when `dnsPolicy` is None";
            errors.push(FieldError::required(&path, words));
            return;
        }
        if is_empty(servers) {
            let words = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            errors.push(FieldError::required(&path.child("nameservers"), words));
            return;
        }
    }
    if items(servers).len() > MAX_DNS_NAMESERVERS {
        let words = format!("must not have more than {MAX_DNS_NAMESERVERS} nameservers");
        errors.push(FieldError::invalid(&path.child("nameservers"), servers.clone(), words));
    }
    for (i, server) in items(servers).iter().enumerate() {
        check::ip(errors, &path.child("nameservers").index(i), text(server));
    }
    let at = path.child("searches");
    if items(searches).len() > MAX_DNS_SEARCH_PATHS {
        let words = format!("must not have more than {MAX_DNS_SEARCH_PATHS} search paths");
        errors.push(FieldError::invalid(&at, searches.clone(), words));
    }
    let chars: usize = items(searches).iter().map(|s| text(s).len() + 1).sum();
    if chars > MAX_DNS_SEARCH_LIST_CHARS + 1 {
        let words = format!(
            "must not have more than {MAX_DNS_SEARCH_LIST_CHARS} characters (including spaces) in the search list"
        );
        errors.push(FieldError::invalid(&at, searches.clone(), words));
    }
    for (i, search) in items(searches).iter().enumerate() {
        let search = text(search);
        if search != "." {
            // Underscores are allowed in search paths: `_tcp.example.com`.
            let plain = search.strip_suffix('.').unwrap_or(search).replace('_', "a");
            if let Err(why) = names::dns1123_subdomain(&plain) {
                errors.push(FieldError::invalid(&at.index(i), search, why));
            }
        }
    }
    for (i, option) in items(&config["options"]).iter().enumerate() {
        if is_empty(&option["name"]) {
            let at = path.child("options").index(i);
            errors.push(FieldError::required(&at, "must not be empty"));
        }
    }
}
