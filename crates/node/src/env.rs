//! A container's environment: values, references, expansion (`pkg/kubelet/kubelet_pods.go`
//! `makeEnvironmentVariables`). Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};
use planner::World;

use crate::downward;

/// Why an environment cannot be made; the text is the container's `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvError {
    /// A Secret or ConfigMap that the container needs does not exist.
    #[error("{kind} \"{name}\" not found")]
    Missing {
        /// `secret` or `configmap`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It exists and has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A fieldRef or resourceFieldRef that names nothing.
    #[error("env {variable}: {path} is not a field that a container can be told")]
    UnknownField {
        /// The variable.
        variable: String,
        /// The path.
        path: String,
    },
}

/// What of the pod's surroundings its environment may tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    /// The pod's address.
    pub(crate) pod_ip: &'a str,
    /// The node's address.
    pub(crate) host_ip: &'a str,
    /// Bytes of memory of the node: the limit of a container that has none.
    pub(crate) node_memory: i64,
    /// Thousandths of processors of the node, for the same.
    pub(crate) node_cpu_millis: i64,
}

/// The environment of `container`, in order, as `KEY=value`; later entries win over the image's.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    world: &World,
    around: Surroundings<'_>,
) -> Result<Vec<(String, String)>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let mut values: BTreeMap<String, String> =
        service_links(world.services.iter().filter(|service| is_told(service, namespace, links)));
    let mut order: Vec<String> = values.keys().cloned().collect();
    let mut set = |values: &mut BTreeMap<String, String>, key: String, value: String| {
        if values.insert(key.clone(), value).is_none() {
            order.push(key);
        }
    };
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        for (key, value) in whole_source(world, namespace, source)? {
            set(&mut values, format!("{prefix}{key}"), value);
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (None, Some(_)) => match referenced(pod, container, world, variable, around)? {
                Some(value) => value,
                None => continue,
            },
            (value, _) => expand(value.as_deref().unwrap_or_default(), |name| values.get(name).cloned()),
        };
        set(&mut values, variable.name.clone(), value);
    }
    Ok(order.into_iter().filter_map(|key| values.remove(&key).map(|value| (key, value))).collect())
}

/// Whether a pod is told of the service: those of its namespace, if it wants to, and always the API's (upstream:
/// `getServiceEnvVarMap`).
fn is_told(service: &Service, namespace: &str, links: bool) -> bool {
    let meta = &service.metadata;
    let (within, name) = (meta.namespace.as_deref(), meta.name.as_deref());
    (links && within == Some(namespace)) || (within == Some("default") && name == Some("kubernetes"))
}

/// `DB_SERVICE_HOST` and so on, for every service of the namespace that has an address
/// (`pkg/kubelet/envvars`).
fn service_links<'a>(services: impl Iterator<Item = &'a Arc<Service>>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for service in services {
        let Some((ip, ports)) = address(service) else { continue };
        let name = service.metadata.name.as_deref().unwrap_or_default().to_uppercase().replace('-', "_");
        out.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        for (index, port) in ports.iter().enumerate() {
            if index == 0 {
                out.insert(format!("{name}_SERVICE_PORT"), port.port.to_string());
                let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
                out.insert(format!("{name}_PORT"), format!("{protocol}://{ip}:{}", port.port));
            }
            if let Some(port_name) = &port.name {
                let port_name = port_name.to_uppercase().replace('-', "_");
                out.insert(format!("{name}_SERVICE_PORT_{port_name}"), port.port.to_string());
            }
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let stem = format!("{name}_PORT_{}_{protocol}", port.port);
            out.insert(stem.clone(), format!("{}://{ip}:{}", protocol.to_lowercase(), port.port));
            out.insert(format!("{stem}_PROTO"), protocol.to_lowercase());
            out.insert(format!("{stem}_PORT"), port.port.to_string());
            out.insert(format!("{stem}_ADDR"), ip.to_owned());
        }
    }
    out
}

fn address(service: &Service) -> Option<(&str, &[k8s_openapi::api::core::v1::ServicePort])> {
    let spec = service.spec.as_ref()?;
    let ip = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")?;
    Some((ip, spec.ports.as_deref()?))
}

fn whole_source(
    world: &World,
    namespace: &str,
    source: &k8s_openapi::api::core::v1::EnvFromSource,
) -> Result<Vec<(String, String)>, EnvError> {
    let mut out = Vec::new();
    if let Some(reference) = &source.config_map_ref {
        match world.config_maps.get(namespace, &reference.name) {
            Some(map) => out.extend(map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone()))),
            None if reference.optional == Some(true) => {}
            None => return Err(EnvError::Missing { kind: "configmap", name: reference.name.clone() }),
        }
    }
    if let Some(reference) = &source.secret_ref {
        match world.secrets.get(namespace, &reference.name) {
            Some(secret) => out.extend(
                secret
                    .data
                    .iter()
                    .flatten()
                    .map(|(k, v)| (k.clone(), String::from_utf8_lossy(&v.0).into_owned())),
            ),
            None if reference.optional == Some(true) => {}
            None => return Err(EnvError::Missing { kind: "secret", name: reference.name.clone() }),
        }
    }
    Ok(out)
}

/// The value that `valueFrom` names; `None` for an optional one that is not there.
fn referenced(
    pod: &Pod,
    container: &Container,
    world: &World,
    variable: &EnvVar,
    around: Surroundings<'_>,
) -> Result<Option<String>, EnvError> {
    let Some(from) = &variable.value_from else { return Ok(None) };
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    if let Some(key) = &from.secret_key_ref {
        let secret = world.secrets.get(namespace, &key.name);
        let value = secret.and_then(|s| s.data.as_ref()?.get(&key.key));
        let value = value.map(|v| String::from_utf8_lossy(&v.0).into_owned());
        return keyed(
            value,
            secret.is_some(),
            key.optional,
            ("secret", "Secret"),
            namespace,
            &key.name,
            &key.key,
        );
    }
    if let Some(key) = &from.config_map_key_ref {
        let map = world.config_maps.get(namespace, &key.name);
        let value = map.and_then(|m| m.data.as_ref()?.get(&key.key)).cloned();
        return keyed(
            value,
            map.is_some(),
            key.optional,
            ("configmap", "ConfigMap"),
            namespace,
            &key.name,
            &key.key,
        );
    }
    if let Some(field) = &from.field_ref {
        let unknown =
            || EnvError::UnknownField { variable: variable.name.clone(), path: field.field_path.clone() };
        return downward::field(pod, &field.field_path, around).map(Some).ok_or_else(unknown);
    }
    if let Some(resource) = &from.resource_field_ref {
        let unknown =
            || EnvError::UnknownField { variable: variable.name.clone(), path: resource.resource.clone() };
        return downward::resource(pod, container, resource, around).map(Some).ok_or_else(unknown);
    }
    Ok(None)
}

fn keyed(
    value: Option<String>,
    object_exists: bool,
    optional: Option<bool>,
    (word, kind): (&'static str, &'static str),
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<String>, EnvError> {
    match value {
        Some(value) => Ok(Some(value)),
        None if optional == Some(true) => Ok(None),
        None if object_exists => Err(EnvError::MissingKey {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        }),
        None => Err(EnvError::Missing { kind: word, name: name.to_owned() }),
    }
}

/// Replaces `$(NAME)`; `$$` is a dollar, and a name that is not known stays as it is written
/// (`third_party/forked/golang/expansion`).
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|r| r.split_once(')')) {
            out.push_str(&value(name).unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out + rest
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::json;

    use super::*;

    fn world() -> World {
        let mut world = World::default();
        let secret =
            json!({"metadata": {"name": "s", "namespace": "d"}, "data": {"password": "aHVudGVyMg=="}});
        world.secrets.insert(serde_json::from_value::<Secret>(secret).unwrap());
        let map = json!({"metadata": {"name": "m", "namespace": "d"}, "data": {"A": "1", "B": "2"}});
        world.config_maps.insert(serde_json::from_value::<ConfigMap>(map).unwrap());
        let service = json!({"metadata": {"name": "my-db", "namespace": "d"},
            "spec": {"clusterIP": "10.43.0.9", "ports": [{"port": 5432, "protocol": "TCP"}]}});
        world.services.insert(serde_json::from_value::<Service>(service).unwrap());
        world
    }

    fn made(env: serde_json::Value, env_from: serde_json::Value) -> Result<Vec<String>, String> {
        let container = json!({"name": "c", "env": env, "envFrom": env_from});
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "db-0", "namespace": "d", "uid": "u", "labels": {"app": "db"}},
            "spec": {"nodeName": "n", "enableServiceLinks": false, "containers": [container]},
        }))
        .unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let around = Surroundings {
            pod_ip: "10.42.0.7",
            host_ip: "10.0.0.1",
            node_memory: 1 << 30,
            node_cpu_millis: 2000,
        };
        environment(&pod, container, &world(), around)
            .map(|all| all.into_iter().map(|(k, v)| format!("{k}={v}")).collect())
            .map_err(|e| e.to_string())
    }

    #[test]
    fn values_references_and_expansion_come_together() {
        let env = json!([
            {"name": "HOST", "value": "db-0"},
            {"name": "URL", "value": "postgres://$(HOST):$(PORT)/$$(HOST)"},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
            {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
            {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "x", "optional": true}}},
        ]);
        assert_eq!(
            made(env, json!([{"configMapRef": {"name": "m"}, "prefix": "P_"}])).unwrap(),
            [
                "P_A=1",
                "P_B=2",
                "HOST=db-0",
                "URL=postgres://db-0:$(PORT)/$(HOST)",
                "PASSWORD=hunter2",
                "ME=db-0",
                "IP=10.42.0.7",
                "APP=db",
                "MEMORY=1024",
                "CPU=0"
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let secret = |name: &str, key: &str| json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]);
        assert_eq!(made(secret("x", "password"), json!(null)).unwrap_err(), "secret \"x\" not found");
        assert_eq!(made(secret("s", "pw"), json!(null)).unwrap_err(), "couldn't find key pw in Secret d/s");
        let whole = json!([{"configMapRef": {"name": "y"}}]);
        assert_eq!(made(json!(null), whole).unwrap_err(), "configmap \"y\" not found");
    }

    #[test]
    fn services_are_told_by_name() {
        let links = service_links(world().services.iter().filter(|service| is_told(service, "d", true)));
        assert_eq!(links["MY_DB_SERVICE_HOST"], "10.43.0.9");
        assert_eq!(links["MY_DB_PORT_5432_TCP_ADDR"], "10.43.0.9");
    }
}
