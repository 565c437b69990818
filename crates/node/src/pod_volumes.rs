//! Makes a pod's volumes and files on the host, and takes them away again.
//!
//! Everything lives below the pod's folder: `volumes/<name>`, `etc/`, `logs/<container>/<attempt>.log` and
//! `messages/`. A claim's data lives elsewhere and is only mounted into containers.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use planner::pod_actions::ContainerId;
use runtime::{Device, Mount};
use volumes::{EmptyDir, FsGroupChangePolicy, Medium, ProjectedFile, VolumeError};

use crate::etc_files;
use crate::host::Host;
use crate::sub_path;
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

/// Where the pod's volumes are, by name.
pub(crate) type PodMounts = HashMap<String, PodMount>;

/// A volume on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodMount {
    pub(crate) path: PathBuf,
    /// No container may write it: what the node keeps current is not theirs.
    pub(crate) read_only: bool,
    /// It is a block device, for `volumeDevices`.
    pub(crate) is_device: bool,
}

/// Makes all volumes of the pod; doing it again changes nothing. `in_use`: its containers ran before, and
/// what they have made of the owners of their files is left alone. Answers where each volume is on the host.
pub(crate) async fn prepare(host: &Arc<Host>, pod: &Arc<Pod>, in_use: bool) -> Result<PodMounts, SetUpError> {
    let planned = plan(host, pod).await?;
    let (host, pod) = (Arc::clone(host), Arc::clone(pod));
    blocking(move || set_up_all(&host, &pod, planned, in_use)).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

async fn plan(host: &Host, pod: &Pod) -> Result<Vec<(String, Source)>, Missing> {
    let tokens = host.tokens.of(&host.client, pod).await?;
    let ip = pod.status.as_ref().and_then(|s| s.pod_ip.clone()).unwrap_or_default();
    let around = host.surroundings(&ip);
    let world = host.informers.world();
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.map(|volume| Ok((volume.name.clone(), source(pod, volume, &world, &tokens, around)?))).collect()
}

fn set_up_all(
    host: &Host,
    pod: &Pod,
    planned: Vec<(String, Source)>,
    in_use: bool,
) -> Result<PodMounts, SetUpError> {
    let dir = volumes_dir(host, pod.metadata.uid.as_deref().unwrap_or_default());
    let mut mounts = PodMounts::new();
    for (name, source) in planned {
        let disk = |error| SetUpError::Disk { volume: name.clone(), source: error };
        let own = |path: &Path| if in_use { Ok(()) } else { own(pod, path) };
        let (path, read_only) = match source {
            Source::EmptyDir { memory, size_limit } => {
                let path = dir.join(&name);
                let medium = if memory { Medium::Memory } else { Medium::Disk };
                volumes::set_up_empty_dir(&path, &EmptyDir { medium, size_limit }).map_err(disk)?;
                own(&path).map_err(disk)?;
                (path, false)
            }
            Source::Files { files, secret } => {
                let path = dir.join(&name);
                let medium = if secret { Medium::Memory } else { Medium::Disk };
                volumes::set_up_projected(&path, medium).map_err(disk)?;
                volumes::write_projected(&path, &projected(files), fs_group(pod)).map_err(disk)?;
                (path, true)
            }
            Source::HostPath { path, kind } => {
                check_host_path(&name, &path, &kind)?;
                (path, false)
            }
            Source::Claim { volume, path, read_only, is_device: true } => {
                let path = match path {
                    Some(path) => path,
                    None => host.volumes.device(&volume).map_err(disk)?,
                };
                mounts.insert(name, PodMount { path, read_only, is_device: true });
                continue;
            }
            Source::Claim { volume, path, read_only, is_device: false } => {
                let path = match path {
                    Some(path) => path,
                    None => host.volumes.path(&volume).map_err(disk)?,
                };
                if !read_only {
                    own(&path).map_err(disk)?;
                }
                (path, read_only)
            }
        };
        mounts.insert(name, PodMount { path, read_only, is_device: false });
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

/// Checks a path of the host by its `type`. Without one a missing path becomes a folder, as container
/// runtimes make it (containerd's `WithMounts`).
fn check_host_path(volume: &str, path: &Path, kind: &str) -> Result<(), SetUpError> {
    use std::os::unix::fs::FileTypeExt;
    let wrong = |why: String| SetUpError::HostPath { volume: volume.to_owned(), path: path.to_owned(), why };
    let cannot = |error: std::io::Error| wrong(format!("cannot be made: {error}"));
    let made = std::fs::metadata(path).is_err();
    match kind {
        "" | "DirectoryOrCreate" if made => std::fs::create_dir_all(path).map_err(cannot)?,
        "FileOrCreate" if made => std::fs::File::create(path).map(drop).map_err(cannot)?,
        _ => {}
    }
    let there = std::fs::metadata(path).map_err(|_| wrong("does not exist".to_owned()))?.file_type();
    let (fits, thing) = match kind {
        "Directory" | "DirectoryOrCreate" => (there.is_dir(), "directory"),
        "File" | "FileOrCreate" => (there.is_file(), "file"),
        "Socket" => (there.is_socket(), "socket"),
        "CharDevice" => (there.is_char_device(), "character device"),
        "BlockDevice" => (there.is_block_device(), "block device"),
        _ => (true, ""),
    };
    if fits { Ok(()) } else { Err(wrong(format!("is not a {thing}"))) }
}

/// Writes the files that show Secrets, ConfigMaps and the pod itself again, where they have changed.
pub(crate) async fn refresh_files(host: &Arc<Host>, pod: &Arc<Pod>) -> Result<(), SetUpError> {
    let files: Vec<(String, Source)> = plan(host, pod)
        .await?
        .into_iter()
        .filter(|(_, source)| matches!(source, Source::Files { .. }))
        .collect();
    if files.is_empty() {
        return Ok(());
    }
    let (host, pod) = (Arc::clone(host), Arc::clone(pod));
    blocking(move || set_up_all(&host, &pod, files, true)).await.map(|_| ())
}

/// Removes the pod's volumes; claims' data stays where it is.
pub(crate) async fn teardown(host: &Arc<Host>, uid: &str) -> Result<(), VolumeError> {
    host.tokens.forget(uid);
    remove(volumes_dir(host, uid)).await
}

/// Removes everything of the pod, its logs too.
pub(crate) async fn forget(host: &Arc<Host>, uid: &str) -> Result<(), VolumeError> {
    host.tokens.forget(uid);
    remove(host.pod_dir(uid)).await
}

async fn remove(path: PathBuf) -> Result<(), VolumeError> {
    blocking(move || volumes::tear_down(&path)).await
}

/// Removes what was left behind by pods that nobody knows any more: a crash fell between their end and the
/// removal of their folder.
pub(crate) async fn forget_strangers(host: &Arc<Host>, known: &HashSet<String>) {
    let Ok(entries) = std::fs::read_dir(&host.config.pods_dir) else { return };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for uid in names.filter(|uid| !known.contains(uid)) {
        match forget(host, &uid).await {
            Ok(()) => tracing::info!(%uid, "removed what a former pod left"),
            Err(error) => tracing::warn!(%uid, "{error}"),
        }
    }
}

/// Removes the log and the last words of a run that nobody asks for any more.
pub(crate) async fn forget_run(host: &Host, uid: &str, id: &ContainerId) -> std::io::Result<()> {
    let log = log_path(host, uid, id);
    let aside = runtime::shim::moved_aside(&log);
    for path in [log, message_path(host, uid, id)].into_iter().chain(aside) {
        match tokio::fs::remove_file(path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the logs of all runs but `id`, which is about to begin, and the one before it.
pub(crate) async fn forget_older_logs(host: &Host, uid: &str, id: &ContainerId) -> std::io::Result<()> {
    for attempt in logged_attempts(host, uid, &id.name) {
        if attempt + 1 < id.attempt {
            forget_run(host, uid, &ContainerId { name: id.name.clone(), attempt }).await?;
        }
    }
    Ok(())
}

/// Which runs of a container have a log, in any order.
pub(crate) fn logged_attempts(host: &Host, uid: &str, container: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(host.pod_dir(uid).join("logs").join(container));
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.to_str()?.strip_suffix(".log")?.parse().ok()).collect()
}

/// Writes hosts, hostname and resolv.conf for the pod, each of them whole or not at all. Those that are there
/// stay: the sandbox's containers use them, and may have changed them.
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
        let path = dir.join(name);
        if !path.exists() {
            let next = dir.join(format!("{name}.next"));
            tokio::fs::write(&next, text).await?;
            tokio::fs::rename(&next, &path).await?;
        }
    }
    Ok(())
}

/// Removes what [`write_etc_files`] made, with the sandbox that it was for.
pub(crate) async fn forget_etc_files(host: &Host, uid: &str) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(host.pod_dir(uid).join("etc")).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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

/// The mounts that the container asks for. Those of a part of a volume (`subPath`) are bound below the pod's
/// volumes first, anew for each run; `env` is for `subPathExpr`.
pub(crate) fn container_mounts(
    host: &Host,
    uid: &str,
    container: &Container,
    volumes: &PodMounts,
    env: &[(String, String)],
) -> Result<Vec<Mount>, String> {
    let asked = container.volume_mounts.iter().flatten().enumerate();
    let mounts = asked.map(|(index, mount)| {
        let volume = volumes.get(&mount.name).ok_or_else(|| {
            format!("container {} mounts {:?}, which is no volume", container.name, mount.name)
        })?;
        if volume.is_device {
            return Err(format!(
                "volume {} has volumeMode Block, but is specified in volumeMounts",
                mount.name
            ));
        }
        let source = match sub_path::of(mount, env)? {
            None => volume.path.clone(),
            Some(part) => {
                // No volume is named like this.
                let place = volumes_dir(host, uid).join(".subpaths").join(&container.name);
                sub_path::bind(&volume.path, &part, &place.join(index.to_string())).map_err(|error| {
                    format!(
                        "failed to prepare subPath {part:?} for volumeMount {:?} of container {}: {error}",
                        mount.name, container.name
                    )
                })?
            }
        };
        Ok(Mount {
            source,
            destination: PathBuf::from(&mount.mount_path),
            read_only: volume.read_only || mount.read_only.unwrap_or(false),
        })
    });
    mounts.collect()
}

/// The block devices that the container asks for.
pub(crate) fn container_devices(container: &Container, volumes: &PodMounts) -> Result<Vec<Device>, String> {
    let asked = container.volume_devices.iter().flatten();
    let devices = asked.map(|device| {
        let volume = volumes.get(&device.name).ok_or_else(|| {
            format!("container {} uses device {:?}, which is no volume", container.name, device.name)
        })?;
        if !volume.is_device {
            return Err(format!(
                "volume {} has volumeMode Filesystem, but is specified in volumeDevices",
                device.name
            ));
        }
        let destination = PathBuf::from(&device.device_path);
        Ok(Device { source: volume.path.clone(), destination, read_only: volume.read_only })
    });
    devices.collect()
}

/// Where a run's log is.
pub(crate) fn log_path(host: &Host, uid: &str, id: &ContainerId) -> PathBuf {
    host.pod_dir(uid).join("logs").join(&id.name).join(format!("{}.log", id.attempt))
}

fn message_path(host: &Host, uid: &str, id: &ContainerId) -> PathBuf {
    host.pod_dir(uid).join("messages").join(format!("{}.{}", id.name, id.attempt))
}

/// Makes the file into which a run may write its last words.
pub(crate) fn termination_message(host: &Host, uid: &str, id: &ContainerId) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = message_path(host, uid, id);
    std::fs::create_dir_all(host.pod_dir(uid).join("messages"))?;
    std::fs::File::create(&path)?;
    // Whatever user the container runs as may write it (upstream: 0666 too); the folder above is private.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
    Ok(path)
}
