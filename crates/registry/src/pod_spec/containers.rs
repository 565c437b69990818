//! Containers: what all have in common, and what holds for init containers and for regular ones.

use std::collections::BTreeSet;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::Value;

use super::volumes::{Volumes, sources};
use super::{env, probes, resources, security};
use crate::check::{self, Errors};
use crate::value::{is_empty, items, number, text};

const NOT_FOR_INIT: &str = "may not be set for init containers without restartPolicy=Always";

/// What containers need to know of their pod.
pub(super) struct Pod<'a> {
    /// The volumes to mount, by name.
    pub(super) volumes: Volumes<'a>,
    /// `terminationGracePeriodSeconds`.
    pub(super) grace_period: i64,
}

/// `containers` (`validateContainers`).
pub(super) fn validate_containers(errors: &mut Errors, path: &Path, list: &Value, pod: &Pod<'_>) {
    if is_empty(list) {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, container) in items(list).iter().enumerate() {
        let at = path.index(i);
        validate_common(errors, &at, container, pod);
        let name = text(&container["name"]);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        probes::validate_lifecycle(errors, &at.child("lifecycle"), &container["lifecycle"], pod.grace_period);
        probes::validate_probes(errors, &at, container);
        if !is_empty(&container["restartPolicy"]) {
            errors.push(FieldError::forbidden(
                &at.child("restartPolicy"),
                "may not be set for non-init containers",
            ));
        }
    }
    validate_host_ports(errors, path, items(list));
}

/// `initContainers` (`validateInitContainers`).
pub(super) fn validate_init_containers(
    errors: &mut Errors,
    path: &Path,
    list: &Value,
    regular: &Value,
    pod: &Pod<'_>,
) {
    let mut seen: BTreeSet<&str> = items(regular).iter().map(|c| text(&c["name"])).collect();
    for (i, container) in items(list).iter().enumerate() {
        let at = path.index(i);
        validate_common(errors, &at, container, pod);
        let name = text(&container["name"]);
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        check::one_of_if_set(errors, &at.child("restartPolicy"), &container["restartPolicy"], &["Always"]);
        if container["restartPolicy"] == "Always" {
            let lifecycle = &container["lifecycle"];
            probes::validate_lifecycle(errors, &at.child("lifecycle"), lifecycle, pod.grace_period);
            probes::validate_probes(errors, &at, container);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !container[field].is_null() {
                    errors.push(FieldError::forbidden(&at.child(field), NOT_FOR_INIT));
                }
            }
        }
        validate_host_ports(errors, path, std::slice::from_ref(container));
    }
}

/// What only pods, not templates, must obey.
pub(super) fn validate_for_pod(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, container) in items(list).iter().enumerate() {
        let image = text(&container["image"]);
        if image.trim() != image {
            errors.push(FieldError::invalid(
                &path.index(i).child("image"),
                image,
                "must not have leading or trailing whitespace",
            ));
        }
    }
}

pub(super) fn validate_common(errors: &mut Errors, path: &Path, container: &Value, pod: &Pod<'_>) {
    check::required_name(errors, &path.child("name"), text(&container["name"]), names::dns1123_label);
    check::required(errors, &path.child("image"), &container["image"]);
    check::one_of(
        errors,
        &path.child("terminationMessagePolicy"),
        &container["terminationMessagePolicy"],
        &["File", "FallbackToLogsOnError"],
    );
    validate_ports(errors, &path.child("ports"), &container["ports"]);
    env::validate_env(errors, &path.child("env"), &container["env"]);
    env::validate_env_from(errors, &path.child("envFrom"), &container["envFrom"]);
    validate_mounts(errors, path, container, pod);
    validate_devices(errors, path, container, pod);
    check::one_of(
        errors,
        &path.child("imagePullPolicy"),
        &container["imagePullPolicy"],
        &["Always", "IfNotPresent", "Never"],
    );
    resources::validate_container_resources(errors, &path.child("resources"), &container["resources"]);
    let context = &container["securityContext"];
    security::validate_security_context(errors, &path.child("securityContext"), context);
}

fn validate_ports(errors: &mut Errors, path: &Path, list: &Value) {
    let mut seen = BTreeSet::new();
    for (i, port) in items(list).iter().enumerate() {
        let at = path.index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            match names::port_name(name) {
                Err(why) => errors.push(FieldError::invalid(&at.child("name"), name, why)),
                Ok(()) if !seen.insert(name) => {
                    errors.push(FieldError::duplicate(&at.child("name"), name));
                }
                Ok(()) => {}
            }
        }
        if number(&port["containerPort"]) == 0 {
            errors.push(FieldError::required(&at.child("containerPort"), ""));
        } else {
            check::port_number(errors, &at.child("containerPort"), &port["containerPort"]);
        }
        if number(&port["hostPort"]) != 0 {
            check::port_number(errors, &at.child("hostPort"), &port["hostPort"]);
        }
        check::one_of(errors, &at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

/// No two ports of the host may be the same (`AccumulateUniqueHostPorts`).
fn validate_host_ports(errors: &mut Errors, path: &Path, containers: &[Value]) {
    let mut seen = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in items(&container["ports"]).iter().enumerate() {
            let host_port = number(&port["hostPort"]);
            let key = format!("{}/{}/{host_port}", text(&port["protocol"]), text(&port["hostIP"]));
            if host_port != 0 && !seen.insert(key.clone()) {
                let at = path.index(i).child("ports").index(j).child("hostPort");
                errors.push(FieldError::duplicate(&at, key));
            }
        }
    }
}

fn validate_mounts(errors: &mut Errors, path: &Path, container: &Value, pod: &Pod<'_>) {
    let devices = items(&container["volumeDevices"]);
    let path = path.child("volumeMounts");
    let mut seen = BTreeSet::new();
    for (i, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let at = path.index(i);
        let (name, mount_path) = (text(&mount["name"]), text(&mount["mountPath"]));
        check::required(errors, &at.child("name"), &mount["name"]);
        if !pod.volumes.contains_key(name) {
            errors.push(FieldError::not_found(&at.child("name"), name));
        }
        check::required(errors, &at.child("mountPath"), &mount["mountPath"]);
        if !seen.insert(mount_path) {
            errors.push(FieldError::invalid(&at.child("mountPath"), mount_path, "must be unique"));
        }
        if devices.iter().any(|d| d["name"] == name) {
            let words = "must not already exist in volumeDevices";
            errors.push(FieldError::invalid(&at.child("name"), name, words));
        }
        if devices.iter().any(|d| d["devicePath"] == mount_path) {
            let words = "must not already exist as a path in volumeDevices";
            errors.push(FieldError::invalid(&at.child("mountPath"), mount_path, words));
        }
        let (sub_path, sub_path_expr) = (text(&mount["subPath"]), text(&mount["subPathExpr"]));
        check::local_descending_path(errors, &at.child("subPath"), sub_path);
        check::local_descending_path(errors, &at.child("subPathExpr"), sub_path_expr);
        if !sub_path.is_empty() && !sub_path_expr.is_empty() {
            errors.push(FieldError::invalid(
                &at.child("subPathExpr"),
                sub_path_expr,
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        validate_propagation(errors, &at.child("mountPropagation"), mount, container);
    }
}

fn validate_propagation(errors: &mut Errors, path: &Path, mount: &Value, container: &Value) {
    let propagation = &mount["mountPropagation"];
    check::one_of_if_set(errors, path, propagation, &["Bidirectional", "HostToContainer", "None"]);
    if propagation == "Bidirectional" && container["securityContext"]["privileged"] != true {
        errors.push(FieldError::forbidden(
            path,
            "Bidirectional mount propagation is available only to privileged containers",
        ));
    }
}

fn validate_devices(errors: &mut Errors, path: &Path, container: &Value, pod: &Pod<'_>) {
    let path = path.child("volumeDevices");
    let (mut seen_names, mut seen_paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in items(&container["volumeDevices"]).iter().enumerate() {
        let at = path.index(i);
        let (name, device_path) = (text(&device["name"]), text(&device["devicePath"]));
        check::required(errors, &at.child("name"), &device["name"]);
        check::required(errors, &at.child("devicePath"), &device["devicePath"]);
        if !seen_names.insert(name) {
            errors.push(FieldError::invalid(&at.child("name"), name, "must be unique"));
        }
        if !seen_paths.insert(device_path) {
            errors.push(FieldError::invalid(&at.child("devicePath"), device_path, "must be unique"));
        }
        match pod.volumes.get(name) {
            None => errors.push(FieldError::not_found(&at.child("name"), name)),
            Some(volume) => {
                let from = sources(volume).next().map_or("", |(kind, _)| kind);
                if !matches!(from, "persistentVolumeClaim" | "ephemeral") {
                    errors.push(FieldError::invalid(
                        &at.child("name"),
                        name,
                        "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                    ));
                }
            }
        }
    }
}
