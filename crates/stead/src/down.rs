//! `stead down`: stops stead and its pods; with `--purge` nothing of it stays.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use network::Network;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runtime::oci::Oci;
use runtime::{Runtime, SandboxConfig};
use volumes::Volumes;

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
    let dir = instance.dir.display();
    if !down.purge {
        println!("stead is down; state and volumes stay in {dir}");
        return Ok(());
    }
    let others = instance.purge()?;
    if others.is_empty() {
        println!("stead is down, and {dir} is removed");
    } else {
        println!("stead is down and all of its is removed; {dir} stays for what else is in it: {others:?}");
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

/// Ends all pods at once, and removes all that is left of them besides their data. What goes wrong with one
/// is told and does not keep the others.
async fn stop_pods(instance: &Instance) -> Result<()> {
    let oci = Oci::new(instance.runtime());
    let mut stopping = tokio::task::JoinSet::new();
    for sandbox in oci.list_pod_sandboxes().await? {
        stopping.spawn(stop_pod(Arc::clone(&oci), sandbox.config));
    }
    let mut failures = 0;
    while let Some(stopped) = stopping.join_next().await {
        match stopped? {
            Ok(pod) => println!("stopped pod {pod}"),
            Err(error) => {
                eprintln!("stead: {error:#}");
                failures += 1;
            }
        }
    }
    if failures > 0 {
        bail!("{failures} pods could not be ended: see above, and try again");
    }
    // Without a range it never had a node, and perhaps nobody who may touch the network.
    if instance.pod_cidr()?.is_some() {
        Network::remove(&instance.id, &Instance::network_notes())?;
    }
    // Their files stay: a pod that the next start begins anew finds them.
    volumes::unmount_below(&instance.dir.join("pods"))?;
    Volumes::open(&instance.dir.join("volumes"))?.close_all()?;
    let run_dir = instance.run_dir();
    if run_dir.exists() {
        std::fs::remove_dir_all(&run_dir).with_context(|| format!("cannot remove {}", run_dir.display()))?;
    }
    Ok(())
}

/// Ends a pod and answers with its name.
async fn stop_pod(oci: Arc<Oci>, pod: SandboxConfig) -> Result<String> {
    let name = format!("{}/{}", pod.namespace, pod.name);
    let stop = async {
        // A shim that does not answer is killed all the same.
        let asked = stop_gently(&*oci, &pod).await;
        asked.unwrap_or_else(|error| eprintln!("stead: {error}"));
        oci.stop_pod_sandbox(&pod.id).await?;
        oci.remove_pod_sandbox(&pod.id).await
    };
    stop.await.with_context(|| format!("cannot end pod {name}"))?;
    Ok(name)
}

/// Asks the containers of a pod to end, and gives them the pod's grace period.
async fn stop_gently(oci: &dyn Runtime, pod: &SandboxConfig) -> Result<(), runtime::Error> {
    use runtime::ContainerState::Running;
    let sandbox = &pod.id;
    let mut events = oci.events();
    for container in oci.containers(sandbox).await? {
        if matches!(container.state, Running { .. }) {
            let asked = oci
                .signal_container(sandbox, &container.config.id, node::stop_signal(&container.config))
                .await;
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
    let _ = tokio::time::timeout(node::termination_grace_period(pod), all_ended).await;
    Ok(())
}
