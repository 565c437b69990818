//! `v1` Endpoints.

use std::net::IpAddr;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, NONE, column};
use crate::value::{default_to, is_empty, items, number, objects_mut, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// How many addresses a row shows.
const SHOWN: usize = 3;

const COLUMNS: &[Column] = &[NAME, column("Endpoints", "string", "The addresses behind the service."), AGE];

/// Upstream: `ValidateEndpoints`.
struct Rules;

impl Strategy for Rules {
    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn set_defaults(&self, endpoints: &mut Value) {
        let Some(endpoints) = endpoints.as_object_mut() else { return };
        for subset in objects_mut(endpoints, "subsets") {
            for port in objects_mut(subset, "ports") {
                default_to(port, "protocol", "TCP");
            }
        }
    }

    fn validate(&self, endpoints: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (i, subset) in items(&endpoints["subsets"]).iter().enumerate() {
            validate_subset(&mut errors, &Path::new("subsets").index(i), subset);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, endpoints: &Value, now: Timestamp) -> Vec<Value> {
        vec![print::name(endpoints), addresses(&endpoints["subsets"]).into(), print::age(endpoints, now)]
    }
}

fn validate_subset(errors: &mut Errors, path: &Path, subset: &Value) {
    if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
        errors.push(FieldError::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for list in ["addresses", "notReadyAddresses"] {
        for (i, address) in items(&subset[list]).iter().enumerate() {
            let at = path.child(list).index(i);
            validate_endpoint_ip(errors, &at.child("ip"), text(&address["ip"]));
            let hostname = text(&address["hostname"]);
            if !hostname.is_empty() {
                check::name(errors, &at.child("hostname"), hostname, names::dns1123_label);
            }
        }
    }
    let ports = items(&subset["ports"]);
    for (i, port) in ports.iter().enumerate() {
        let at = path.child("ports").index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            check::name(errors, &at.child("name"), name, names::dns1123_label);
        } else if ports.len() > 1 {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        check::port_number(errors, &at.child("port"), &port["port"]);
        check::one_of(errors, &at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

/// An address that can be an endpoint's (`ValidateNonSpecialIP`).
pub(crate) fn validate_endpoint_ip(errors: &mut Errors, path: &Path, value: &str) {
    let Ok(ip) = value.parse::<IpAddr>() else {
        check::ip(errors, path, value);
        return;
    };
    let mut refuse = |words: &str| errors.push(FieldError::invalid(path, value, words));
    if ip.is_unspecified() {
        refuse("may not be unspecified (0.0.0.0 or ::)");
    }
    if ip.is_loopback() {
        refuse("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        refuse("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        refuse("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Upstream's `formatEndpoints`: `10.42.0.3:80,10.42.0.4:80 + 2 more...`.
fn addresses(subsets: &Value) -> String {
    let mut all = Vec::new();
    for subset in items(subsets) {
        let ports = items(&subset["ports"]);
        let ips = || items(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in ports {
            all.extend(ips().map(|ip| host_port(ip, number(&port["port"]))));
        }
    }
    cut(&all, NONE)
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The first few words, and how many more there are; `none` for none.
pub(crate) fn cut(words: &[String], none: &str) -> String {
    match words.len() {
        0 => none.to_owned(),
        n if n <= SHOWN => words.join(","),
        n => format!("{} + {} more...", words[..SHOWN].join(","), n - SHOWN),
    }
}
