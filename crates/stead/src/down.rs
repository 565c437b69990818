//! `stead down`: stops stead and its pods; with `--purge` nothing of it stays.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use network::Network;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::Runtime;
use runtime::oci::Oci;

use crate::instance::Instance;

/// How long stead may take to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Flags of `stead down`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Down {
    /// Remove the state and all volumes, with their data
    #[arg(long)]
    purge: bool,
    /// Do not ask
    #[arg(long, short = 'y')]
    yes: bool,
}

/// Stops the stead of `data_dir`, then its pods.
pub(crate) fn run(down: &Down, data_dir: &Path) -> Result<()> {
    let instance = Instance::find(data_dir)?;
    if down.purge && !down.yes && !confirmed(&instance)? {
        bail!("nothing was removed");
    }
    stop_daemon(&instance)?;
    let _lock = instance.lock()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(stop_pods(&instance))?;
    if down.purge {
        volumes::tear_down(&instance.dir)?;
        println!("stead is down, and {} is removed", instance.dir.display());
    } else {
        println!("stead is down; state and volumes stay in {}", instance.dir.display());
    }
    Ok(())
}

fn confirmed(instance: &Instance) -> Result<bool> {
    print!("Remove {} with all volumes and their data? [y/N] ", instance.dir.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn stop_daemon(instance: &Instance) -> Result<()> {
    let Some(pid) = instance.holder() else { return Ok(()) };
    let process = nix::unistd::Pid::from_raw(pid);
    // A pidfd becomes readable when the process has ended.
    let ended = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).context("no such process")?,
        rustix::process::PidfdFlags::empty(),
    );
    match kill(process, Signal::SIGTERM) {
        Ok(()) => {}
        Err(Errno::ESRCH) => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot stop process {}", Pid::from_raw(pid)));
        }
    }
    let Ok(ended) = ended else { return Ok(()) };
    let timeout = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let mut fds = [rustix::event::PollFd::new(&ended, rustix::event::PollFlags::IN)];
    if rustix::event::poll(&mut fds, Some(&timeout))? == 0 {
        bail!("stead (process {pid}) did not stop within {} s; end it and try again", PATIENCE.as_secs());
    }
    Ok(())
}

async fn stop_pods(instance: &Instance) -> Result<()> {
    let oci = Oci::new(instance.runtime());
    for sandbox in oci.list_pod_sandboxes().await? {
        let (id, pod) = (&sandbox.config.id, &sandbox.config);
        stop_gently(&*oci, id).await?;
        oci.stop_pod_sandbox(id).await?;
        oci.remove_pod_sandbox(id).await?;
        println!("stopped pod {}/{}", pod.namespace, pod.name);
    }
    if let Some(pod_cidr) = instance.pod_cidr()? {
        Network::open(&instance.network(pod_cidr))?.teardown()?;
    }
    unmount_pods_volumes(&instance.dir.join("pods"))?;
    let run_dir = instance.run_dir();
    if run_dir.exists() {
        std::fs::remove_dir_all(&run_dir).with_context(|| format!("cannot remove {}", run_dir.display()))?;
    }
    Ok(())
}

/// How long a container may take to stop by itself.
const GRACE: Duration = Duration::from_secs(10);

/// Asks the containers of a sandbox to end, and gives them [`GRACE`].
async fn stop_gently(oci: &dyn Runtime, sandbox: &str) -> Result<()> {
    use runtime::ContainerState::Running;
    let mut events = oci.events();
    for container in oci.containers(sandbox).await? {
        if matches!(container.state, Running { .. }) {
            let asked = oci.signal_container(sandbox, &container.config.id, Signal::SIGTERM as i32).await;
            asked.unwrap_or_else(|error| eprintln!("stead: {error}"));
        }
    }
    let all_ended = async {
        loop {
            let all = oci.containers(sandbox).await.unwrap_or_default();
            if !all.iter().any(|c| matches!(c.state, Running { .. })) {
                return;
            }
            // A lagged receiver looks again as well.
            let _ = events.recv().await;
        }
    };
    let _ = tokio::time::timeout(GRACE, all_ended).await;
    Ok(())
}

/// Takes away what pods had mounted; their logs stay.
fn unmount_pods_volumes(pods: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(pods) else { return Ok(()) };
    for entry in entries {
        volumes::tear_down(&entry?.path().join("volumes"))?;
    }
    Ok(())
}
