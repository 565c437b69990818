//! What each volume of a pod is made of, or what it waits for. Pure: from the pod and the world.

use std::path::PathBuf;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, KeyToPath, PersistentVolume, PersistentVolumeClaim, Pod,
    SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use planner::World;
use planner::volume_binder::provisioner::is_ours;

use crate::downward;
use crate::env::Surroundings;
use crate::tokens::{self, PodTokens};

/// A file that the node writes into a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileToWrite {
    /// Relative to the volume.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What a volume is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// An empty folder that lives as long as the pod.
    EmptyDir {
        /// In memory instead of on disk.
        memory: bool,
        /// Bytes; none for no limit.
        size_limit: Option<u64>,
    },
    /// A path of the host.
    HostPath {
        path: PathBuf,
        /// `Directory`, `DirectoryOrCreate`, `File`, …; empty for no check.
        kind: String,
    },
    /// Files that the node writes and keeps current.
    Files {
        files: Vec<FileToWrite>,
        /// Keep them in memory only.
        secret: bool,
    },
    /// A claim's data.
    Claim {
        /// The PersistentVolume's name.
        volume: String,
        /// Where it is on this node, when it is a path that somebody gave; `None` for stead's own volumes.
        path: Option<PathBuf>,
        /// The pod wants it read-only.
        read_only: bool,
        /// It is a block device.
        is_device: bool,
    },
}

/// Why a volume is not there yet; one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\": {why}")]
pub(crate) struct Missing {
    pub(crate) volume: String,
    pub(crate) why: String,
}

/// What `volume` of `pod` is made of.
pub(crate) fn source(
    pod: &Pod,
    volume: &Volume,
    world: &World,
    tokens: &PodTokens,
    around: Surroundings<'_>,
) -> Result<Source, Missing> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let missing = |why: String| Missing { volume: volume.name.clone(), why };
    if let Some(empty) = &volume.empty_dir {
        return Ok(Source::EmptyDir {
            memory: empty.medium.as_deref() == Some("Memory"),
            size_limit: crate::resources::bytes(empty.size_limit.as_ref()),
        });
    }
    if let Some(host) = &volume.host_path {
        let kind = host.type_.clone().unwrap_or_default();
        return Ok(Source::HostPath { path: PathBuf::from(&host.path), kind });
    }
    if let Some(claim) = &volume.persistent_volume_claim {
        let read_only = claim.read_only.unwrap_or(false);
        return claimed(world, pod, &claim.claim_name, read_only).map_err(missing);
    }
    if let Some(secret) = &volume.secret {
        let files = secret_files(world, namespace, secret).map_err(missing)?;
        return Ok(Source::Files { files, secret: true });
    }
    if let Some(map) = &volume.config_map {
        let files = config_map_files(world, namespace, map).map_err(missing)?;
        return Ok(Source::Files { files, secret: false });
    }
    if let Some(api) = &volume.downward_api {
        let mode = api.default_mode.unwrap_or(0o644);
        let files = downward_files(pod, api.items.as_deref(), mode, around).map_err(missing)?;
        return Ok(Source::Files { files, secret: false });
    }
    if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(0o644);
        let mut files = Vec::new();
        for source in projected.sources.iter().flatten() {
            let made = match &source.service_account_token {
                Some(token) => token_file(tokens, token, mode),
                None => projected_files(pod, world, namespace, source, mode, around),
            };
            files.extend(made.map_err(missing)?);
        }
        return Ok(Source::Files { files, secret: true });
    }
    if *volume == (Volume { name: volume.name.clone(), ..Volume::default() }) {
        return Ok(Source::EmptyDir { memory: false, size_limit: None });
    }
    Err(missing(
        "stead serves persistentVolumeClaim, emptyDir, configMap, secret, downwardAPI, projected and hostPath \
         volumes; use one of these"
            .to_owned(),
    ))
}

fn claimed(world: &World, pod: &Pod, name: &str, read_only: bool) -> Result<Source, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let claim = world
        .claims
        .get(namespace, name)
        .ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))?;
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
    }
    let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending");
    let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
    if phase != "Bound" || volume.is_empty() {
        return Err(format!("persistentvolumeclaim \"{name}\" is {phase}, not Bound"));
    }
    let found = world
        .volumes
        .get("", volume)
        .ok_or_else(|| format!("persistentvolume \"{volume}\" of claim \"{name}\" not found"))?;
    let bound_to = found.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).and_then(|r| r.uid.as_deref());
    if bound_to != claim.metadata.uid.as_deref() {
        return Err(format!("persistentvolume \"{volume}\" is bound to another claim than \"{name}\""));
    }
    if let Some(other) = earlier_user(world, claim, pod) {
        return Err(format!(
            "volume uses the ReadWriteOncePod access mode and is already in use by another pod: {other}"
        ));
    }
    let is_device = found.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()) == Some("Block");
    Ok(Source::Claim { volume: volume.to_owned(), path: foreign_path(found), read_only, is_device })
}

/// The pod that has a claim for one pod alone, when this one came after it: the scheduler sees to that, but pods may
/// name their node themselves.
fn earlier_user(world: &World, claim: &PersistentVolumeClaim, pod: &Pod) -> Option<String> {
    if !planner::scheduler::is_for_one_pod(claim) {
        return None;
    }
    let (namespace, claim) = (claim.metadata.namespace.as_deref()?, claim.metadata.name.as_deref()?);
    let age = |pod: &Pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.uid.clone());
    let mut users = planner::volume_binder::inventory::users(world, namespace, claim);
    let other = users.find(|user| user.metadata.uid != pod.metadata.uid && age(user) < age(pod))?;
    other.metadata.name.clone()
}

/// The path of a volume that was written by hand (`local` or `hostPath`).
fn foreign_path(volume: &PersistentVolume) -> Option<PathBuf> {
    if is_ours(volume) {
        return None;
    }
    let spec = volume.spec.as_ref()?;
    let path = spec.local.as_ref().map(|l| &l.path).or(spec.host_path.as_ref().map(|h| &h.path))?;
    Some(PathBuf::from(path))
}

fn bits(mode: i32) -> u32 {
    u32::try_from(mode).unwrap_or(0o644) & 0o7777
}

/// The entries of a map as files: all of them, or those that `items` names.
fn pick(
    entries: Vec<(String, Vec<u8>)>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    what: &str,
) -> Result<Vec<FileToWrite>, String> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all = entries.into_iter();
        return Ok(all.map(|(key, bytes)| FileToWrite { path: key, bytes, mode: bits(mode) }).collect());
    };
    let mut files = Vec::new();
    for item in items {
        match entries.iter().find(|(key, _)| *key == item.key) {
            Some((_, bytes)) => files.push(FileToWrite {
                path: item.path.clone(),
                bytes: bytes.clone(),
                mode: bits(item.mode.unwrap_or(mode)),
            }),
            None if optional => {}
            None => return Err(format!("{what} has no key {:?}", item.key)),
        }
    }
    Ok(files)
}

fn secret_entries(
    world: &World,
    namespace: &str,
    name: &str,
    optional: bool,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    match world.secrets.get(namespace, name) {
        Some(secret) => {
            let data = secret.data.iter().flatten();
            Ok(data.map(|(key, ByteString(bytes))| (key.clone(), bytes.clone())).collect())
        }
        None if optional => Ok(Vec::new()),
        None => Err(format!("secret \"{name}\" not found")),
    }
}

fn map_entries(
    world: &World,
    namespace: &str,
    name: &str,
    optional: bool,
) -> Result<Vec<(String, Vec<u8>)>, String> {
    match world.config_maps.get(namespace, name) {
        Some(map) => {
            let text = map.data.iter().flatten().map(|(k, v)| (k.clone(), v.clone().into_bytes()));
            let binary = map.binary_data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()));
            Ok(text.chain(binary).collect())
        }
        None if optional => Ok(Vec::new()),
        None => Err(format!("configmap \"{name}\" not found")),
    }
}

fn secret_files(
    world: &World,
    namespace: &str,
    source: &SecretVolumeSource,
) -> Result<Vec<FileToWrite>, String> {
    let name = source.secret_name.as_deref().unwrap_or_default();
    let optional = source.optional.unwrap_or(false);
    let entries = secret_entries(world, namespace, name, optional)?;
    let mode = source.default_mode.unwrap_or(0o644);
    pick(entries, source.items.as_deref(), mode, optional, &format!("secret \"{name}\""))
}

fn config_map_files(
    world: &World,
    namespace: &str,
    source: &ConfigMapVolumeSource,
) -> Result<Vec<FileToWrite>, String> {
    let optional = source.optional.unwrap_or(false);
    let entries = map_entries(world, namespace, &source.name, optional)?;
    let mode = source.default_mode.unwrap_or(0o644);
    pick(entries, source.items.as_deref(), mode, optional, &format!("configmap \"{}\"", source.name))
}

fn downward_files(
    pod: &Pod,
    items: Option<&[DownwardAPIVolumeFile]>,
    mode: i32,
    around: Surroundings<'_>,
) -> Result<Vec<FileToWrite>, String> {
    let mut files = Vec::new();
    for item in items.unwrap_or_default() {
        let value = match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), _) => downward::field(pod, &field.field_path, around)
                .ok_or_else(|| format!("{} is not a field that a pod can be told", field.field_path))?,
            (None, Some(resource)) => {
                let first = pod.spec.as_ref().and_then(|s| s.containers.first());
                first
                    .and_then(|container| downward::resource(pod, container, resource, around))
                    .ok_or_else(|| format!("{} is not a resource", resource.resource))?
            }
            (None, None) => String::new(),
        };
        files.push(FileToWrite {
            path: item.path.clone(),
            bytes: value.into_bytes(),
            mode: bits(item.mode.unwrap_or(mode)),
        });
    }
    Ok(files)
}

fn token_file(
    tokens: &PodTokens,
    wanted: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<Vec<FileToWrite>, String> {
    let asked = tokens::what(wanted.audience.as_deref(), wanted.expiration_seconds);
    let token = tokens.get(&asked).ok_or("the token was not asked for yet")?;
    Ok(vec![FileToWrite { path: wanted.path.clone(), bytes: token.clone().into_bytes(), mode: bits(mode) }])
}

fn projected_files(
    pod: &Pod,
    world: &World,
    namespace: &str,
    source: &VolumeProjection,
    mode: i32,
    around: Surroundings<'_>,
) -> Result<Vec<FileToWrite>, String> {
    if let Some(secret) = &source.secret {
        let optional = secret.optional.unwrap_or(false);
        let entries = secret_entries(world, namespace, &secret.name, optional)?;
        return pick(
            entries,
            secret.items.as_deref(),
            mode,
            optional,
            &format!("secret \"{}\"", secret.name),
        );
    }
    if let Some(map) = &source.config_map {
        let optional = map.optional.unwrap_or(false);
        let entries = map_entries(world, namespace, &map.name, optional)?;
        return pick(entries, map.items.as_deref(), mode, optional, &format!("configmap \"{}\"", map.name));
    }
    if let Some(api) = &source.downward_api {
        return downward_files(pod, api.items.as_deref(), mode, around);
    }
    Err("stead projects secret, configMap, downwardAPI and serviceAccountToken sources; use one of these"
        .to_owned())
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use planner::volume_binder::provisioner::{PROVISIONED_BY, PROVISIONER};
    use serde_json::{Value, json};

    use super::*;

    fn made(volume: Value, objects: impl FnOnce(&mut World)) -> Result<Source, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "d"},
            "spec": {"containers": [], "volumes": [volume]}}))
        .unwrap();
        let mut world = World::default();
        objects(&mut world);
        let around = Surroundings { pod_ip: "", host_ip: "", node_memory: 0, node_cpu_millis: 0 };
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[0];
        source(&pod, volume, &world, &PodTokens::new(), around).map_err(|e| e.to_string())
    }

    fn claim(phase: &str) -> Value {
        json!({"metadata": {"name": "data-db-0", "namespace": "d", "uid": "c"},
            "spec": {"volumeName": "pv"}, "status": {"phase": phase}})
    }

    #[test]
    fn a_claim_must_be_bound_and_its_volume_bound_to_it() {
        let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}});
        let error = made(volume.clone(), |_| {}).unwrap_err();
        assert!(error.ends_with("persistentvolumeclaim \"data-db-0\" not found"), "{error}");
        let pending = |w: &mut World| w.claims.insert(serde_json::from_value(claim("Pending")).unwrap());
        let error = made(volume.clone(), pending).unwrap_err();
        assert!(error.ends_with("\"data-db-0\" is Pending, not Bound"), "{error}");
        let with_volume = |uid: &'static str| {
            move |w: &mut World| {
                w.claims.insert(serde_json::from_value(claim("Bound")).unwrap());
                let pv = json!({"metadata": {"name": "pv", "annotations": {PROVISIONED_BY: PROVISIONER}},
                    "spec": {"claimRef": {"uid": uid}}});
                w.volumes.insert(serde_json::from_value(pv).unwrap());
            }
        };
        assert!(made(volume.clone(), with_volume("other")).unwrap_err().contains("another claim"));
        assert_eq!(
            made(volume, with_volume("c")).unwrap(),
            Source::Claim { volume: "pv".to_owned(), path: None, read_only: false, is_device: false }
        );
    }

    #[test]
    fn items_choose_keys_and_paths() {
        let map = |w: &mut World| {
            let map = json!({"metadata": {"name": "m", "namespace": "d"}, "data": {"a": "1", "b": "2"}});
            w.config_maps.insert(serde_json::from_value(map).unwrap());
        };
        let volume = json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "b", "path": "x/b"}]}});
        let file = FileToWrite { path: "x/b".into(), bytes: b"2".to_vec(), mode: 0o644 };
        assert_eq!(made(volume, map).unwrap(), Source::Files { files: vec![file], secret: false });
        let volume = json!({"name": "v", "configMap": {"name": "m", "items": [{"key": "c", "path": "c"}]}});
        assert!(made(volume, map).unwrap_err().ends_with("configmap \"m\" has no key \"c\""));
    }
}
