//! Makes a pod's volumes and files on the host, and takes them away again.
//!
//! Everything lives below the pod's folder: `volumes/<name>`, `etc/`, `logs/<container>/<attempt>.log` and
//! `messages/`. A claim's data lives elsewhere and is only mounted into containers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use planner::pod_actions::ContainerId;
use runtime::Mount;
use volumes::{EmptyDir, FsGroupChangePolicy, Medium, ProjectedFile, VolumeError};

use crate::env::Surroundings;
use crate::etc_files;
use crate::host::Host;
use crate::volume_plan::{FileToWrite, Missing, Source, source};

/// Where the host keeps its own resolvers.
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// Why a pod's volumes are not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpError {
    /// Something is not there yet.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The disk refused.
    #[error("MountVolume.SetUp failed for volume \"{volume}\": {source}")]
    Disk {
        /// The volume's name in the pod.
        volume: String,
        /// What went wrong.
        source: VolumeError,
    },
    /// A host path is not what the manifest says.
    #[error("MountVolume.SetUp failed for volume \"{volume}\": hostPath {} {why}", path.display())]
    HostPath {
        /// The volume's name in the pod.
        volume: String,
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl SetUpError {
    /// The event's reason.
    pub(crate) fn reason(&self) -> &'static str {
        "FailedMount"
    }
}

fn volumes_dir(host: &Host, uid: &str) -> PathBuf {
    host.pod_dir(uid).join("volumes")
}

/// Makes all volumes of the pod; doing it again changes nothing. Answers where each is on the host.
pub(crate) async fn prepare(
    host: &Arc<Host>,
    pod: &Arc<Pod>,
) -> Result<HashMap<String, PathBuf>, SetUpError> {
    let planned = plan(host, pod)?;
    let (host, pod) = (Arc::clone(host), Arc::clone(pod));
    let made = tokio::task::spawn_blocking(move || set_up_all(&host, &pod, planned)).await;
    made.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn plan(host: &Host, pod: &Pod) -> Result<Vec<(String, Source)>, Missing> {
    let host_ip = host.config.host_ip.to_string();
    let ip = pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default();
    let around = Surroundings { pod_ip: &ip, host_ip: &host_ip };
    let world = host.informers.world();
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.map(|volume| Ok((volume.name.clone(), source(pod, volume, &world, around)?))).collect()
}

fn set_up_all(
    host: &Host,
    pod: &Pod,
    planned: Vec<(String, Source)>,
) -> Result<HashMap<String, PathBuf>, SetUpError> {
    let dir = volumes_dir(host, pod.metadata.uid.as_deref().unwrap_or_default());
    let mut mounts = HashMap::new();
    for (name, source) in planned {
        let disk = |error| SetUpError::Disk { volume: name.clone(), source: error };
        let path = match source {
            Source::EmptyDir { memory, size_limit } => {
                let path = dir.join(&name);
                let medium = if memory { Medium::Memory } else { Medium::Disk };
                volumes::set_up_empty_dir(&path, &EmptyDir { medium, size_limit }).map_err(disk)?;
                own(pod, &path).map_err(disk)?;
                path
            }
            Source::Files { files, secret } => {
                let path = dir.join(&name);
                let medium = if secret { Medium::Memory } else { Medium::Disk };
                volumes::set_up_projected(&path, medium).map_err(disk)?;
                volumes::write_projected(&path, &projected(files), fs_group(pod)).map_err(disk)?;
                path
            }
            Source::HostPath { path, kind } => {
                check_host_path(&name, &path, &kind)?;
                path
            }
            Source::Claim { volume, path } => {
                let path = match path {
                    Some(path) => path,
                    None => host.volumes.path(&volume).map_err(disk)?,
                };
                own(pod, &path).map_err(disk)?;
                path
            }
        };
        mounts.insert(name, path);
    }
    Ok(mounts)
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

/// Gives a volume to the pod's `fsGroup`, when it has one.
fn own(pod: &Pod, path: &Path) -> Result<(), VolumeError> {
    let Some(gid) = fs_group(pod) else { return Ok(()) };
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let policy = match context.and_then(|c| c.fs_group_change_policy.as_deref()) {
        Some("OnRootMismatch") => FsGroupChangePolicy::OnRootMismatch,
        _ => FsGroupChangePolicy::Always,
    };
    volumes::apply_fs_group(path, gid, policy, false)
}

fn projected(files: Vec<FileToWrite>) -> Vec<ProjectedFile> {
    let files = files.into_iter();
    files.map(|FileToWrite { path, bytes, mode }| ProjectedFile { path, bytes, mode }).collect()
}

fn check_host_path(volume: &str, path: &Path, kind: &str) -> Result<(), SetUpError> {
    let wrong = |why: &str| {
        Err(SetUpError::HostPath { volume: volume.to_owned(), path: path.to_owned(), why: why.to_owned() })
    };
    match kind {
        "DirectoryOrCreate" if !path.exists() => match std::fs::create_dir_all(path) {
            Ok(()) => Ok(()),
            Err(error) => wrong(&format!("cannot be made: {error}")),
        },
        "FileOrCreate" if !path.exists() => match std::fs::File::create(path) {
            Ok(_) => Ok(()),
            Err(error) => wrong(&format!("cannot be made: {error}")),
        },
        "Directory" | "DirectoryOrCreate" if !path.is_dir() => wrong("is not a directory"),
        "File" | "FileOrCreate" if !path.is_file() => wrong("is not a file"),
        _ if !path.exists() => wrong("does not exist"),
        _ => Ok(()),
    }
}

/// Writes the files that show Secrets, ConfigMaps and the pod itself again, where they have changed.
pub(crate) async fn refresh_files(host: &Arc<Host>, pod: &Arc<Pod>) -> Result<(), SetUpError> {
    let files: Vec<(String, Source)> =
        plan(host, pod)?.into_iter().filter(|(_, source)| matches!(source, Source::Files { .. })).collect();
    if files.is_empty() {
        return Ok(());
    }
    let (host, pod) = (Arc::clone(host), Arc::clone(pod));
    let written = tokio::task::spawn_blocking(move || set_up_all(&host, &pod, files)).await;
    written.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map(|_| ())
}

/// Removes the pod's volumes; claims' data stays where it is.
pub(crate) async fn teardown(host: &Arc<Host>, uid: &str) -> Result<(), VolumeError> {
    remove(volumes_dir(host, uid)).await
}

/// Removes everything of the pod, its logs too.
pub(crate) async fn forget(host: &Arc<Host>, uid: &str) -> Result<(), VolumeError> {
    remove(host.pod_dir(uid)).await
}

async fn remove(path: PathBuf) -> Result<(), VolumeError> {
    let removed = tokio::task::spawn_blocking(move || volumes::tear_down(&path)).await;
    removed.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Writes hosts, hostname and resolv.conf for the pod.
pub(crate) async fn write_etc_files(host: &Host, pod: &Pod, ip: &str) -> std::io::Result<()> {
    let dir = host.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("etc");
    let config = &host.config;
    let host_conf = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    let dns = config.cluster_dns.to_string();
    tokio::fs::create_dir_all(&dir).await?;
    let files = [
        ("hosts", etc_files::hosts(pod, ip, &config.cluster_domain)),
        ("hostname", format!("{}\n", etc_files::hostname(pod))),
        ("resolv.conf", etc_files::resolv_conf(pod, &dns, &config.cluster_domain, &host_conf)),
    ];
    for (name, text) in files {
        tokio::fs::write(dir.join(name), text).await?;
    }
    Ok(())
}

/// The mounts of the files under /etc, where the container mounts nothing of its own there.
pub(crate) fn etc_mounts(host: &Host, pod: &Pod, container: &Container) -> Vec<Mount> {
    let dir = host.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("etc");
    let taken = |path: &Path| {
        container.volume_mounts.iter().flatten().any(|mount| Path::new(&mount.mount_path) == path)
    };
    ["hosts", "hostname", "resolv.conf"]
        .into_iter()
        .map(|name| (dir.join(name), Path::new("/etc").join(name)))
        .filter(|(_, destination)| !taken(destination))
        .map(|(source, destination)| Mount { source, destination, read_only: false })
        .collect()
}

/// The mounts that the container asks for.
pub(crate) fn container_mounts(
    container: &Container,
    volumes: &HashMap<String, PathBuf>,
) -> Result<Vec<Mount>, String> {
    let asked = container.volume_mounts.iter().flatten();
    let mounts = asked.map(|mount| {
        let sub_path = mount.sub_path.as_deref().or(mount.sub_path_expr.as_deref());
        if sub_path.is_some_and(|path| !path.is_empty()) {
            return Err(format!(
                "volumeMounts[{}].subPath of container {} is not served by stead yet: mount the whole volume",
                mount.name, container.name
            ));
        }
        let source = volumes.get(&mount.name).ok_or_else(|| {
            format!("container {} mounts {:?}, which is no volume", container.name, mount.name)
        })?;
        Ok(Mount {
            source: source.clone(),
            destination: PathBuf::from(&mount.mount_path),
            read_only: mount.read_only.unwrap_or(false),
        })
    });
    mounts.collect()
}

/// Where a run's log is.
pub(crate) fn log_path(host: &Host, uid: &str, id: &ContainerId) -> PathBuf {
    host.pod_dir(uid).join("logs").join(&id.name).join(format!("{}.log", id.attempt))
}

/// Makes the file into which a run may write its last words.
pub(crate) fn termination_message(host: &Host, uid: &str, id: &ContainerId) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let dir = host.pod_dir(uid).join("messages");
    std::fs::create_dir_all(&dir)?;
    let path = dir.join(format!("{}.{}", id.name, id.attempt));
    std::fs::File::create(&path)?;
    // Whatever user the container runs as may write it (upstream: 0666 too); the folder above is private.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(path)
}
