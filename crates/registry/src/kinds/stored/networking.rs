//! `networking.k8s.io`: NetworkPolicy, Ingress, IngressClass, IPAddress, ServiceCIDR.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{FieldError, Path};
use apimachinery::labels::Selector;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Stored, joined, kind};
use crate::check::{self, Errors};
use crate::kind::Kind;
use crate::kind::Scope::{Cluster, Namespaced};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_object, default_to, is_empty, items, object, objects_mut, set, text};

const GROUP: &str = "networking.k8s.io";

pub(crate) static NETWORK_POLICY: Kind = kind(
    GROUP,
    "v1",
    ["NetworkPolicy", "networkpolicies", "networkpolicy"],
    Namespaced,
    &Stored {
        defaults: default_policy,
        checks: |errors, policy| {
            let path = Path::new("spec").child("podSelector");
            check::label_selector(errors, &path, &policy["spec"]["podSelector"]);
        },
        columns: &[NAME, column("Pod-Selector", "string", "Which pods the policy is for."), AGE],
        row: |policy, now| {
            let selector = Selector::from_label_selector(&policy["spec"]["podSelector"]);
            let selector = selector.map(|selector| selector.to_string()).unwrap_or_default();
            vec![print::name(policy), print::or_none(&selector), print::age(policy, now)]
        },
        ..Stored::PLAIN
    },
)
.short(&["netpol"])
.with_generation();

pub(crate) static INGRESS: Kind = kind(
    GROUP,
    "v1",
    ["Ingress", "ingresses", "ingress"],
    Namespaced,
    &Stored {
        prepare: |ingress| set(ingress, "status", json!({"loadBalancer": {}})),
        checks: check_ingress,
        columns: &[
            NAME,
            column("Class", "string", "Whose ingress it is."),
            column("Hosts", "string", "What hosts are asked for."),
            column("Address", "string", "Where the load balancer is."),
            column("Ports", "string", "What ports are open."),
            AGE,
        ],
        row: ingress_row,
        ..Stored::PLAIN
    },
)
.short(&["ing"])
.observed();

pub(crate) static INGRESS_CLASS: Kind = kind(
    GROUP,
    "v1",
    ["IngressClass", "ingressclasses", "ingressclass"],
    Cluster,
    &Stored {
        defaults: |class| {
            let spec = object(class, "spec").filter(|spec| spec.contains_key("parameters"));
            if let Some(parameters) = spec.and_then(|spec| crate::value::object_in(spec, "parameters")) {
                default_to(parameters, "scope", "Cluster");
            }
        },
        required: &["spec.controller"],
        immutable: &["spec.controller"],
        columns: &[
            NAME,
            column("Controller", "string", "Who serves ingresses of this class."),
            column("Parameters", "string", "What the controller reads besides."),
            AGE,
        ],
        row: |class, now| {
            let (spec, parameters) = (&class["spec"], &class["spec"]["parameters"]);
            let kind = match text(&parameters["apiGroup"]) {
                "" => text(&parameters["kind"]).to_owned(),
                group => format!("{}.{group}", text(&parameters["kind"])),
            };
            let told = if parameters.is_null() {
                print::NONE.to_owned()
            } else {
                format!("{kind}/{}", text(&parameters["name"]))
            };
            vec![print::name(class), text(&spec["controller"]).into(), told.into(), print::age(class, now)]
        },
        ..Stored::PLAIN
    },
)
.with_generation();

pub(crate) static IP_ADDRESS: Kind = kind(
    GROUP,
    "v1",
    ["IPAddress", "ipaddresses", "ipaddress"],
    Cluster,
    &Stored {
        name: ip_name,
        required: &["spec.parentRef", "spec.parentRef.resource", "spec.parentRef.name"],
        immutable: &["spec.parentRef"],
        columns: &[NAME, column("ParentRef", "string", "Whose address it is.")],
        row: |address, _| {
            let parent = &address["spec"]["parentRef"];
            let words = ["group", "resource", "namespace", "name"].map(|word| text(&parent[word]));
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            vec![print::name(address), words.join("/").into()]
        },
        ..Stored::PLAIN
    },
)
.short(&["ip"]);

pub(crate) static SERVICE_CIDR: Kind = kind(
    GROUP,
    "v1",
    ["ServiceCIDR", "servicecidrs", "servicecidr"],
    Cluster,
    &Stored {
        required: &["spec.cidrs"],
        immutable: &["spec.cidrs"],
        columns: &[NAME, column("CIDRs", "string", "The ranges that addresses come from."), AGE],
        row: |range, now| {
            let cidrs: Vec<&str> = items(&range["spec"]["cidrs"]).iter().map(text).collect();
            vec![print::name(range), cidrs.join(",").into(), print::age(range, now)]
        },
        ..Stored::PLAIN
    },
)
.with_status();

/// Upstream: `SetDefaults_NetworkPolicy`, `SetDefaults_NetworkPolicyPort`.
fn default_policy(policy: &mut Value) {
    let Some(spec) = object(policy, "spec") else { return };
    default_object(spec, "podSelector");
    if spec.get("policyTypes").is_none_or(is_empty) {
        let types = if spec.get("egress").is_none_or(is_empty) {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
        spec.insert("policyTypes".into(), types);
    }
    for direction in ["ingress", "egress"] {
        for rule in objects_mut(spec, direction) {
            objects_mut(rule, "ports").for_each(|port| default_to(port, "protocol", "TCP"));
        }
    }
}

/// Upstream: `ValidateIngressSpec`.
fn check_ingress(errors: &mut Errors, ingress: &Value) {
    let (path, spec) = (Path::new("spec"), &ingress["spec"]);
    if spec["defaultBackend"].is_null() && is_empty(&spec["rules"]) {
        let words = "either `defaultBackend` or `rules` must be specified";
        errors.push(FieldError::invalid(&path, spec.clone(), words));
    }
    if !spec["defaultBackend"].is_null() {
        check_backend(errors, &path.child("defaultBackend"), &spec["defaultBackend"]);
    }
    for (i, rule) in items(&spec["rules"]).iter().enumerate() {
        if rule["http"].is_null() {
            continue;
        }
        let path = path.child("rules").index(i).child("http").child("paths");
        let paths = items(&rule["http"]["paths"]);
        if paths.is_empty() {
            errors.push(FieldError::required(&path, ""));
        }
        for (j, http) in paths.iter().enumerate() {
            check_path(errors, &path.index(j), http);
        }
    }
}

fn check_path(errors: &mut Errors, path: &Path, http: &Value) {
    let (at, kind) = (path.child("pathType"), &http["pathType"]);
    match text(kind) {
        "" => errors.push(FieldError::required(&at, "pathType must be specified")),
        "Exact" | "Prefix" if !text(&http["path"]).starts_with('/') => {
            let words = "must be an absolute path";
            errors.push(FieldError::invalid(&path.child("path"), text(&http["path"]), words));
        }
        _ => {
            let kinds = &["Exact", "ImplementationSpecific", "Prefix"];
            check::one_of_if_set(errors, &at, kind, kinds);
        }
    }
    check_backend(errors, &path.child("backend"), &http["backend"]);
}

fn check_backend(errors: &mut Errors, path: &Path, backend: &Value) {
    let service = &backend["service"];
    match (service.is_null(), backend["resource"].is_null()) {
        (true, true) => errors.push(FieldError::required(path, "resource or service backend is required")),
        (false, false) => {
            let words = "cannot set both resource and service backends";
            errors.push(FieldError::invalid(path, "", words));
        }
        (true, false) => {}
        (false, true) => {
            let path = path.child("service");
            check::required(errors, &path.child("name"), &service["name"]);
            if service["port"]["name"].is_null() && service["port"]["number"].is_null() {
                errors.push(FieldError::required(&path, "port name or number is required"));
            }
        }
    }
}

fn ingress_row(ingress: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&ingress["spec"], &ingress["status"]);
    let hosts = match joined(&spec["rules"], |rule| text(&rule["host"]).to_owned()) {
        hosts if hosts == print::NONE => "*".into(),
        hosts => hosts,
    };
    let address = |point: &Value| match text(&point["ip"]) {
        "" => text(&point["hostname"]).to_owned(),
        ip => ip.to_owned(),
    };
    let addresses: BTreeSet<String> = items(&status["loadBalancer"]["ingress"]).iter().map(address).collect();
    let addresses: Vec<String> = addresses.into_iter().filter(|address| !address.is_empty()).collect();
    vec![
        print::name(ingress),
        print::or_none(text(&spec["ingressClassName"])),
        hosts,
        addresses.join(",").into(),
        if is_empty(&spec["tls"]) { "80" } else { "80, 443" }.into(),
        print::age(ingress, now),
    ]
}

/// The name is the address as it is written canonically (upstream: `ValidateIPAddressName`).
fn ip_name(name: &str) -> Result<(), String> {
    match name.parse::<IpAddr>() {
        Ok(address) if address.to_string() == name => Ok(()),
        Ok(_) => Err("must be a canonical format IP address".to_owned()),
        Err(_) => Err("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()),
    }
}
