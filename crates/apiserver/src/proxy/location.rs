//! Which address `[scheme:]name[:port]` means.

use std::net::{IpAddr, SocketAddr};

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::Value;

/// `[scheme:]name[:port]`, taken apart (upstream: `utilnet.SplitSchemeNamePort`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Whether `https` was said.
    pub(crate) https: bool,
    /// The object's name.
    pub(crate) name: &'a str,
    /// A number or a name; empty when none was said.
    pub(crate) port: &'a str,
}

impl<'a> Name<'a> {
    /// Takes the name of a `kind` (`pod`) apart.
    pub(crate) fn parse(kind: &str, id: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("?", "", ""),
        };
        if name.is_empty() || !matches!(scheme, "" | "http" | "https") {
            return Err(Status::bad_request(format!("invalid {kind} request {id:?}")));
        }
        Ok(Self { https: scheme == "https", name, port })
    }
}

/// The address of a pod: at the port that was said, or the first that it declares, or HTTP's.
pub(crate) fn of_pod(pod: &Value, name: &Name<'_>) -> Result<SocketAddr, Status> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let declared = containers.filter_map(|c| c["ports"][0]["containerPort"].as_u64()).next();
    let port = match name.port {
        "" => declared.and_then(|port| u16::try_from(port).ok()).unwrap_or(if name.https { 443 } else { 80 }),
        said => said.parse().map_err(|_| {
            Status::bad_request(format!("invalid pod request: port {said:?} is not a number"))
        })?,
    };
    let ip = pod["status"]["podIP"].as_str().unwrap_or_default();
    Ok(SocketAddr::new(proxyable(ip)?, port))
}

/// Only addresses that pods have are proxied to: not this machine's own loopback, and no metadata service
/// (upstream: `proxyutil.IsProxyableIP`).
fn proxyable(ip: &str) -> Result<IpAddr, Status> {
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local() || ip.is_multicast() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unicast_link_local() || ip.is_multicast() || ip.is_unspecified()
        }
    };
    let parsed = ip.parse().ok().filter(|ip| !is_local(ip));
    parsed.ok_or_else(|| Status::bad_request("address not allowed"))
}

/// The address of one of a service's ready endpoints, the `choice`-th of them, counted around.
pub(crate) fn of_service(
    service: &Value,
    slices: &[Value],
    name: &Name<'_>,
    choice: usize,
) -> Result<SocketAddr, Status> {
    let unavailable = |message: String| Status::new(503, "ServiceUnavailable", message);
    let port_name = match name.port.parse::<u64>() {
        Err(_) => name.port,
        Ok(number) => {
            let ports = service["spec"]["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
            let port = ports.iter().find(|port| port["port"].as_u64() == Some(number)).ok_or_else(|| {
                unavailable(format!("no service port {number} found for service {:?}", name.name))
            })?;
            port["name"].as_str().unwrap_or_default()
        }
    };
    let mut ready = Vec::new();
    for slice in slices.iter().filter(|slice| slice.label("kubernetes.io/service-name") == Some(name.name)) {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let port = ports
            .filter(|port| port["name"].as_str().unwrap_or_default() == port_name)
            .find_map(|port| u16::try_from(port["port"].as_u64()?).ok());
        let Some(port) = port else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            let ip = endpoint["addresses"][0].as_str().unwrap_or_default();
            if endpoint["conditions"]["ready"] != false
                && let Ok(ip) = proxyable(ip)
            {
                ready.push(SocketAddr::new(ip, port));
            }
        }
    }
    if ready.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {:?}", name.name)));
    }
    Ok(ready[choice % ready.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_have_a_scheme_and_a_port_if_they_say_so() {
        let parse = |id| Name::parse("pod", id).map_err(|refusal| refusal.message);
        assert_eq!(parse("web"), Ok(Name { https: false, name: "web", port: "" }));
        assert_eq!(parse("web:80"), Ok(Name { https: false, name: "web", port: "80" }));
        assert_eq!(parse("https:web:"), Ok(Name { https: true, name: "web", port: "" }));
        for wrong in ["", "ftp:web:21", "a:b:c:d", ":80"] {
            assert_eq!(parse(wrong), Err(format!("invalid pod request {wrong:?}")));
        }
    }

    #[test]
    fn a_pod_is_asked_at_the_port_that_was_said_or_the_first_it_declares() {
        let pod = |ip: &str, ports: Value| json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": ports}]}, "status": {"podIP": ip}});
        let check = |pod: &Value, id| {
            of_pod(pod, &Name::parse("pod", id).unwrap())
                .map(|a| a.to_string())
                .map_err(|refusal| refusal.message)
        };
        let declared = json!([{"containerPort": 8080}, {"containerPort": 9090}]);
        assert_eq!(check(&pod("10.42.0.7", declared.clone()), "p"), Ok("10.42.0.7:8080".into()));
        assert_eq!(check(&pod("10.42.0.7", declared.clone()), "p:81"), Ok("10.42.0.7:81".into()));
        assert_eq!(check(&pod("10.42.0.7", json!([])), "p"), Ok("10.42.0.7:80".into()));
        for ip in ["", "127.0.0.1", "169.254.169.254", "0.0.0.0", "::1"] {
            assert_eq!(check(&pod(ip, declared.clone()), "p"), Err("address not allowed".into()), "{ip}");
        }
    }

    #[test]
    fn a_service_is_asked_at_one_of_its_ready_endpoints() {
        let service =
            json!({"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}});
        let slice = json!({"metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.42.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.42.0.2"], "conditions": {"ready": false}}, {"addresses": ["10.42.0.3"]}]});
        let check = |id, choice| {
            let name = Name::parse("service", id).unwrap();
            let found = of_service(&service, std::slice::from_ref(&slice), &name, choice);
            found.map(|a| a.to_string()).map_err(|refusal| refusal.message)
        };
        assert_eq!(check("web:http", 0), Ok("10.42.0.1:8080".into()));
        assert_eq!(check("web:80", 1), Ok("10.42.0.3:8080".into()));
        assert_eq!(check("web:http", 2), Ok("10.42.0.1:8080".into()));
        assert_eq!(check("web:82", 0), Err("no service port 82 found for service \"web\"".into()));
        for id in ["web:admin", "web:81", "web", "other:http"] {
            let name = Name::parse("service", id).unwrap().name;
            assert_eq!(check(id, 0), Err(format!("no endpoints available for service {name:?}")), "{id}");
        }
    }
}
