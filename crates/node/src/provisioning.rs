//! Makes and deletes local volumes as `planner::volume_binder::provisioner` says: what an external
//! provisioner does upstream.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::PersistentVolume;
use planner::volume_binder::growth::{Growth, Work};
use planner::volume_binder::parameters::Backing;
use planner::volume_binder::provisioner::{self, VolumeAction};
use planner::world::to_value;
use planner::{Action, EventType, Object, ObjectRef};
use tokio::sync::Notify;
use volumes::{FsType, VolumeSpec};

use crate::host::Host;

/// The pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Deleted volumes rest in the trash for this long.
pub const KEEP_TRASH: Duration = Duration::from_secs(24 * 60 * 60);
/// How often the trash is looked at.
const TRASH_ROUND: Duration = Duration::from_secs(60 * 60);

/// Follows claims and volumes for ever.
pub(crate) async fn run(host: Arc<Host>) {
    let changed = Arc::new(Notify::new());
    let waker = Arc::clone(&changed);
    host.informers.on_change(move |_, change| {
        let object = change.new.as_ref().or(change.old.as_ref());
        if matches!(
            object,
            Some(
                Object::PersistentVolumeClaim(_)
                    | Object::PersistentVolume(_)
                    | Object::StorageClass(_)
                    | Object::Node(_)
                    | Object::Pod(_)
            )
        ) {
            waker.notify_one();
        }
    });
    tokio::join!(provision(&host, &changed), empty_trash(&host));
}

async fn provision(host: &Arc<Host>, changed: &Notify) {
    let mut pause = FIRST_PAUSE;
    // What was told of each claim last, so that the same failure is not told again and again.
    let mut told: HashMap<ObjectRef, String> = HashMap::new();
    loop {
        let actions = {
            let dir = host.config.volumes_dir.display().to_string();
            provisioner::plan(&host.informers.world(), &host.config.name, &dir)
        };
        let mut failed = false;
        for action in actions {
            let about = match &action {
                VolumeAction::ProvisionVolume { claim, .. } => claim.clone(),
                VolumeAction::DeleteVolume { volume, .. } => volume.clone(),
                VolumeAction::Grow(growth) => growth.claim.clone(),
            };
            match act(host, action).await {
                Ok(()) => {
                    told.remove(&about);
                }
                Err(Failure { reason, message }) => {
                    failed = true;
                    if told.insert(about.clone(), message.clone()).as_ref() != Some(&message) {
                        host.provisioner.recorder.record(&about, EventType::Warning, reason, &message);
                    }
                }
            }
        }
        if failed {
            // Somebody may make room meanwhile: what is on the disk cannot be watched.
            let _ = tokio::time::timeout(pause, changed.notified()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        } else {
            pause = FIRST_PAUSE;
            changed.notified().await;
        }
    }
}

struct Failure {
    reason: &'static str,
    message: String,
}

async fn act(host: &Arc<Host>, action: VolumeAction) -> Result<(), Failure> {
    match action {
        VolumeAction::ProvisionVolume { claim, volume } => {
            let failed = |message: String| Failure { reason: "ProvisioningFailed", message };
            let name = volume.metadata.name.clone().unwrap_or_default();
            let path = make_folder(host, &claim, &volume).await.map_err(failed)?;
            let mut volume = *volume;
            if let Some(local) = volume.spec.as_mut().and_then(|s| s.local.as_mut()) {
                local.path = path.display().to_string();
            }
            match host.provisioner.executor.act(&Action::Create(to_value(&volume))).await {
                Err(error) if !error.is_stale() => Err(failed(error.to_string())),
                _ => {
                    let message = format!("Successfully provisioned volume {name}");
                    host.provisioner.recorder.record(
                        &claim,
                        EventType::Normal,
                        "ProvisioningSucceeded",
                        &message,
                    );
                    Ok(())
                }
            }
        }
        VolumeAction::DeleteVolume { volume, .. } => {
            let failed = |message: String| Failure { reason: "VolumeFailedDelete", message };
            let (name, volumes) = (volume.name.clone(), Arc::clone(&host.volumes));
            let deleted = blocking(move || volumes.delete(&name, SystemTime::now())).await;
            deleted.map_err(|e| failed(e.to_string()))?;
            let delete = Action::Delete { target: volume, resource_version: None, grace_period: None };
            match host.provisioner.executor.act(&delete).await {
                Err(error) if !error.is_stale() => Err(failed(error.to_string())),
                _ => Ok(()),
            }
        }
        VolumeAction::Grow(growth) => grow(host, growth).await,
    }
}

/// One step of a claim's growth: the disk first, then what is said of it.
async fn grow(host: &Arc<Host>, growth: Growth) -> Result<(), Failure> {
    let reason =
        if growth.work == Work::FileSystem { "FileSystemResizeFailed" } else { "VolumeResizeFailed" };
    let failed = |message: String| Failure { reason, message };
    let (volumes, name, work) = (Arc::clone(&host.volumes), growth.volume.clone(), growth.work);
    let grown = blocking(move || match work {
        Work::Nothing => Ok(()),
        Work::Volume { bytes } => volumes.grow(&name, bytes),
        Work::FileSystem => volumes.grow_file_system(&name),
    });
    grown.await.map_err(|e| failed(format!("failed to grow volume {}: {e}", growth.volume)))?;
    for action in &growth.then {
        match host.provisioner.executor.act(action).await {
            // Somebody has changed it meanwhile: the step is planned anew.
            Err(error) if error.is_stale() => return Ok(()),
            Err(error) => return Err(failed(error.to_string())),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Makes the volume's folder; the message of a failure names what to do.
async fn make_folder(
    host: &Arc<Host>,
    claim: &ObjectRef,
    volume: &PersistentVolume,
) -> Result<PathBuf, String> {
    let wanted = volume.spec.clone().unwrap_or_default();
    let capacity = wanted.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    let bytes = capacity.and_then(|q| Quantity::parse(&q.0).ok()).map_or(0, Quantity::value);
    let spec = VolumeSpec {
        name: volume.metadata.name.clone().unwrap_or_default(),
        capacity_bytes: u64::try_from(bytes).unwrap_or(0),
        namespace: claim.namespace.clone(),
        claim: claim.name.clone(),
        backing: match provisioner::backing(volume) {
            Backing::Directory => volumes::Backing::Directory,
            Backing::Image => volumes::Backing::Image,
        },
        fs_type: wanted.local.and_then(|local| FsType::of(&local.fs_type?)),
        mount_options: wanted.mount_options.unwrap_or_default(),
        storage_class: wanted.storage_class_name.unwrap_or_default(),
        access_modes: wanted.access_modes.unwrap_or_default(),
    };
    let volumes = Arc::clone(&host.volumes);
    let made = blocking(move || volumes.provision(&spec)).await;
    made.map_err(|e| format!("failed to provision volume for claim {}: {e}", claim.name))
}

async fn empty_trash(host: &Arc<Host>) {
    loop {
        let volumes = Arc::clone(&host.volumes);
        match blocking(move || volumes.empty_trash(SystemTime::now(), KEEP_TRASH)).await {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!("emptied from the trash: {}", removed.join(", ")),
            Err(error) => tracing::warn!("trash: {error}"),
        }
        tokio::time::sleep(TRASH_ROUND).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
