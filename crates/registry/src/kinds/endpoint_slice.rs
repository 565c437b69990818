//! `discovery.k8s.io/v1` EndpointSlice.

use std::collections::BTreeSet;
use std::net::IpAddr;

use apimachinery::field::{ErrorType, FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::kinds::endpoints::{cut, validate_endpoint_ip};
use crate::print::{self, AGE, NAME, UNSET, column};
use crate::value::{default_to, is_empty, items, objects_mut, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_PORTS: usize = 20_000;

const COLUMNS: &[Column] = &[
    NAME,
    column("AddressType", "string", "What the addresses are."),
    column("Ports", "string", "The ports of every endpoint."),
    column("Endpoints", "string", "The addresses behind the service."),
    AGE,
];

/// Upstream: `pkg/apis/discovery/validation`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, slice: &mut Value) {
        let Some(slice) = slice.as_object_mut() else { return };
        for port in objects_mut(slice, "ports") {
            port.entry("name").or_insert_with(|| "".into());
            default_to(port, "protocol", "TCP");
        }
    }

    fn validate(&self, slice: &Value) -> Vec<FieldError> {
        let (mut errors, path) = (Errors::new(), Path::root());
        let kinds = &["FQDN", "IPv4", "IPv6"];
        check::one_of(&mut errors, &path.child("addressType"), &slice["addressType"], kinds);
        validate_endpoints(&mut errors, &path.child("endpoints"), slice);
        validate_ports(&mut errors, &path.child("ports"), &slice["ports"]);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let field = "addressType";
        check::immutable(&mut errors, &Path::new(field), &new[field], &old[field]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, slice: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = items(&slice["ports"])
            .iter()
            .map(|port| port["port"].as_i64().map_or_else(|| "*".to_owned(), |n| n.to_string()))
            .collect();
        let addresses: Vec<String> = items(&slice["endpoints"])
            .iter()
            .flat_map(|endpoint| items(&endpoint["addresses"]))
            .map(|address| text(address).to_owned())
            .collect();
        vec![
            print::name(slice),
            text(&slice["addressType"]).into(),
            cut(&ports, UNSET).into(),
            cut(&addresses, UNSET).into(),
            print::age(slice, now),
        ]
    }
}

fn too_many(path: &Path, found: usize, max: usize) -> FieldError {
    FieldError {
        error_type: ErrorType::TooMany,
        field: path.clone(),
        bad_value: found.into(),
        detail: format!("must have at most {max} items"),
    }
}

fn validate_endpoints(errors: &mut Errors, path: &Path, slice: &Value) {
    let endpoints = items(&slice["endpoints"]);
    if endpoints.len() > MAX_ENDPOINTS {
        errors.push(too_many(path, endpoints.len(), MAX_ENDPOINTS));
        return;
    }
    for (i, endpoint) in endpoints.iter().enumerate() {
        let at = path.index(i);
        let addresses = items(&endpoint["addresses"]);
        if addresses.is_empty() {
            let words = "must contain at least 1 address";
            errors.push(FieldError::required(&at.child("addresses"), words));
        } else if addresses.len() > MAX_ADDRESSES {
            errors.push(too_many(&at.child("addresses"), addresses.len(), MAX_ADDRESSES));
        }
        for (j, address) in addresses.iter().enumerate() {
            let at = at.child("addresses").index(j);
            validate_address(errors, &at, text(&slice["addressType"]), text(address));
        }
        let hostname = text(&endpoint["hostname"]);
        if !hostname.is_empty() {
            check::name(errors, &at.child("hostname"), hostname, names::dns1123_label);
        }
        if !is_empty(&endpoint["nodeName"]) {
            let name = text(&endpoint["nodeName"]);
            check::name(errors, &at.child("nodeName"), name, names::dns1123_subdomain);
        }
    }
}

fn validate_address(errors: &mut Errors, path: &Path, kind: &str, address: &str) {
    if kind == "FQDN" {
        check::name(errors, path, address, names::dns1123_subdomain);
        return;
    }
    let right = match address.parse::<IpAddr>() {
        Ok(ip) => ip.is_ipv4() == (kind == "IPv4"),
        Err(_) => false,
    };
    if right {
        validate_endpoint_ip(errors, path, address);
    } else {
        errors.push(FieldError::invalid(path, address, format!("must be a valid {kind} address")));
    }
}

fn validate_ports(errors: &mut Errors, path: &Path, list: &Value) {
    let ports = items(list);
    if ports.len() > MAX_PORTS {
        errors.push(too_many(path, ports.len(), MAX_PORTS));
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            check::name(errors, &at.child("name"), name, names::dns1123_label);
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        check::one_of(errors, &at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        if !port["port"].is_null() {
            check::port_number(errors, &at.child("port"), &port["port"]);
        }
    }
}
