//! ConfigMaps and Secrets that a pod needs and that are not there, or lack a key.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, KeyToPath, Pod, Volume};

use super::{Cause, flag};
use crate::objects::namespace;
use crate::pods::spec;
use crate::world::World;

/// Something that a pod refers to: kind, name, and the key inside it where one is named.
type Reference<'p> = (&'static str, &'p str, Option<&'p str>);

/// One cause for each thing that is missing; optional references are not missed.
pub(super) fn missing(world: &World, pod: &Pod) -> Vec<Cause> {
    let Some(spec) = spec(pod) else { return Vec::new() };
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let mut references: BTreeSet<Reference<'_>> = containers.flat_map(of_container).collect();
    references.extend(spec.volumes.iter().flatten().flat_map(of_volume));
    references.into_iter().filter_map(|reference| cause(world, namespace(&pod.metadata), reference)).collect()
}

/// What a volume's files are made from.
fn of_volume(volume: &Volume) -> Vec<Reference<'_>> {
    let mut references = Vec::new();
    if let Some(secret) = volume.secret.as_ref().filter(|secret| secret.optional != Some(true)) {
        let name = secret.secret_name.as_deref();
        references.extend(name.into_iter().flat_map(|name| files("Secret", name, &secret.items)));
    }
    if let Some(map) = volume.config_map.as_ref().filter(|map| map.optional != Some(true)) {
        references.extend(files("ConfigMap", &map.name, &map.items));
    }
    for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
        if let Some(secret) = source.secret.as_ref().filter(|secret| secret.optional != Some(true)) {
            references.extend(files("Secret", &secret.name, &secret.items));
        }
        if let Some(map) = source.config_map.as_ref().filter(|map| map.optional != Some(true)) {
            references.extend(files("ConfigMap", &map.name, &map.items));
        }
    }
    references
}

/// The keys that become files, or the whole thing where none are named.
fn files<'p>(kind: &'static str, name: &'p str, items: &'p Option<Vec<KeyToPath>>) -> Vec<Reference<'p>> {
    let keys: Vec<Reference<'p>> =
        items.iter().flatten().map(|item| (kind, name, Some(item.key.as_str()))).collect();
    if keys.is_empty() { vec![(kind, name, None)] } else { keys }
}

fn of_container(container: &Container) -> Vec<Reference<'_>> {
    let mut references = Vec::new();
    for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
        if let Some(key) = source.secret_key_ref.as_ref().filter(|key| key.optional != Some(true)) {
            references.push(("Secret", key.name.as_str(), Some(key.key.as_str())));
        }
        if let Some(key) = source.config_map_key_ref.as_ref().filter(|key| key.optional != Some(true)) {
            references.push(("ConfigMap", key.name.as_str(), Some(key.key.as_str())));
        }
    }
    for source in container.env_from.iter().flatten() {
        if let Some(secret) = source.secret_ref.as_ref().filter(|secret| secret.optional != Some(true)) {
            references.push(("Secret", secret.name.as_str(), None));
        }
        if let Some(map) = source.config_map_ref.as_ref().filter(|map| map.optional != Some(true)) {
            references.push(("ConfigMap", map.name.as_str(), None));
        }
    }
    references
}

fn cause(world: &World, namespace: &str, (kind, name, key): Reference<'_>) -> Option<Cause> {
    let flag = flag(namespace);
    let keys = keys(world, namespace, kind, name);
    let (word, make) = match kind {
        "Secret" => ("secret", "stead create secret generic"),
        _ => ("configmap", "stead create configmap"),
    };
    let Some(keys) = keys else {
        let literal = key.unwrap_or("KEY");
        return Some(
            Cause::new(format!("{word}/{name} does not exist"))
                .fix(format!("create it: {make} {name}{flag} --from-literal={literal}=VALUE")),
        );
    };
    let wanted = key.filter(|key| !keys.contains(*key))?;
    let held: Vec<&str> = keys.iter().map(String::as_str).collect();
    let has = if held.is_empty() { "it has none".to_owned() } else { format!("it has {}", held.join(", ")) };
    let text = format!("{word}/{name} has no key \"{wanted}\"; {has}");
    Some(
        Cause::new(text)
            .fix(format!("add the key, or name one that is there: stead edit {word} {name}{flag}")),
    )
}

/// The keys of a Secret or ConfigMap; `None` when it does not exist.
fn keys(world: &World, namespace: &str, kind: &str, name: &str) -> Option<BTreeSet<String>> {
    if kind == "Secret" {
        let secret = world.secrets.get(namespace, name)?;
        return Some(secret.data.iter().flat_map(|data| data.keys().cloned()).collect());
    }
    let map = world.config_maps.get(namespace, name)?;
    let text = map.data.iter().flat_map(|data| data.keys().cloned());
    Some(text.chain(map.binary_data.iter().flat_map(|data| data.keys().cloned())).collect())
}
