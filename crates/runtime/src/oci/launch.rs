//! Starting shims, and making sure that dead ones have left nothing running.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;

use crate::cgroup::Hierarchies;
use crate::record::{self, ContainerRecord, SandboxRecord};
use crate::shim::protocol::Fault;
use crate::{ContainerState, Error};

/// How long killed processes may take to be gone.
pub(super) const DEATH_PATIENCE: Duration = Duration::from_secs(60);

/// 128 + SIGKILL.
const KILLED: i32 = 137;

/// The boot that the machine is in.
pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Starts the shim of the sandbox in `dir` and returns when it listens.
pub(super) fn launch(command: &[OsString], dir: &Path, record: &SandboxRecord) -> Result<(), Error> {
    let system = |e: io::Error| Error::System { doing: "starting the shim".to_owned(), why: e.to_string() };
    let Some((program, arguments)) = command.split_first() else {
        return Err(system(io::Error::other("no shim command is configured")));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .arg(dir)
        .arg(format!("{}/{}", record.config.namespace, record.config.name))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(system)?;
    // The process that was spawned ends at once; the shim is its child, and holds this pipe until it is ready.
    let mut said = String::new();
    let read = child.stdout.take().map_or(Ok(0), |mut out| out.read_to_string(&mut said));
    let status = child.wait().map_err(system)?;
    read.map_err(system)?;
    if !said.is_empty() {
        let fault = serde_json::from_str::<Fault>(&said);
        return Err(fault.map_or_else(|_| system(io::Error::other(said)), Error::from));
    }
    if !status.success() {
        return Err(system(io::Error::other(format!("{} {status}", program.display()))));
    }
    Ok(())
}

/// Kills whatever a sandbox has left running and proves that it is gone; then, and only then, writes down
/// that its containers have ended, as far as the shim has not.
pub(super) fn bury(hierarchies: &Hierarchies, dir: &Path, record: &SandboxRecord) -> Result<(), Error> {
    end_processes(hierarchies, record)?;
    let same_boot = boot_id().is_ok_and(|id| id == record.boot_id);
    let why = if same_boot {
        "the shim of the pod was killed, and its containers with it"
    } else {
        "the machine was restarted"
    };
    for id in container_ids(dir) {
        let folder = record::container_dir(dir, &id);
        let recorded = write_off(&folder, why);
        recorded.map_err(|e| Error::System {
            doing: format!("recording the end of container {id}"),
            why: e.to_string(),
        })?;
    }
    Ok(())
}

/// Kills the pod and its shim and returns when neither runs.
pub(super) fn end_processes(hierarchies: &Hierarchies, record: &SandboxRecord) -> Result<(), Error> {
    // The shim first: it could fork.
    for cgroup in [record.shim_cgroup(), record.pod_cgroup()] {
        hierarchies.kill_and_wait(&cgroup, DEATH_PATIENCE).map_err(|e| Error::System {
            doing: format!("killing what is left of pod {}/{}", record.config.namespace, record.config.name),
            why: e.to_string(),
        })?;
    }
    Ok(())
}

fn write_off(folder: &Path, why: &str) -> io::Result<()> {
    let exit = folder.join("exit.json");
    if exit.exists() || !folder.join("container.json").exists() {
        return Ok(());
    }
    let finished_at = Timestamp::now();
    let started_at = match record::read(&folder.join("running.json")) {
        Ok(Some(ContainerState::Running { started_at, .. })) => started_at,
        _ => finished_at,
    };
    let state = ContainerState::Exited {
        started_at,
        finished_at,
        exit_code: KILLED,
        signal: Some(libc::SIGKILL),
        oom_killed: false,
        message: why.to_owned(),
    };
    record::write_durably(&exit, &state)
}

/// The containers that have a folder.
pub(super) fn container_ids(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("containers")).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    ids.sort();
    ids
}

/// A container's record, if it is whole.
pub(super) fn container_record(dir: &Path, id: &str) -> Option<ContainerRecord> {
    record::read(&record::container_dir(dir, id).join("container.json")).ok().flatten()
}

/// How a container has ended, if it has.
pub(super) fn exit_record(dir: &Path, id: &str) -> io::Result<Option<ContainerState>> {
    record::read(&record::container_dir(dir, id).join("exit.json"))
}
