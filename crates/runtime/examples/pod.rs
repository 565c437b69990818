//! One pod from nothing to its exit code, with the time of every step: `cargo run --example pod`, as root,
//! with busybox-static installed. It is its own shim, as stead is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use runtime::oci::{Oci, OciConfig};
use runtime::{
    ContainerConfig, ContainerState, ExecConfig, Processes, Resources, Runtime, SandboxConfig, Security,
};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "shim") {
        return runtime::shim::main(&args[2..]);
    }
    let dir = std::env::temp_dir().join(format!("stead-example-{}", std::process::id()));
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = tokio.map_err(Into::into).and_then(|tokio| tokio.block_on(show(&dir)));
    let _ = fs::remove_dir_all(&dir);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

async fn show(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let layer = dir.join("layer");
    fs::create_dir_all(layer.join("bin"))?;
    fs::copy("/bin/busybox", layer.join("bin/busybox"))?;
    symlink("busybox", layer.join("bin/sh"))?;
    let runtime = Oci::new(OciConfig {
        root: dir.join("pods"),
        run_dir: dir.join("run"),
        cgroup_root: format!("/stead-example-{}", std::process::id()),
        shim_command: vec![std::env::current_exe()?.into(), "shim".into()],
    });
    for round in 0..5 {
        let pod = format!("pod-{round}");
        let mut events = runtime.events();
        let mut last = Instant::now();
        let mut step = |what: &str| {
            println!("{:>8.1?}  {what}", last.elapsed());
            last = Instant::now();
        };
        let pid = runtime.run_pod_sandbox(sandbox(&pod)).await?.pid.unwrap_or_default();
        step("sandbox");
        runtime.create_container(&pod, container(&layer, &dir.join("log"), "sleep 1000")).await?;
        step("create");
        runtime.start_container(&pod, "main.0").await?;
        step("start");
        let argv = ["sh", "-c", "exit 0"].map(str::to_owned).to_vec();
        runtime
            .exec(&pod, "main.0", ExecConfig { argv, stdin: None, stdout: None, stderr: None, tty: false })
            .await?;
        step("exec");
        let memory = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let pss = memory
            .lines()
            .filter(|l| l.starts_with("Pss:") || l.starts_with("Private_Dirty"))
            .collect::<String>();
        runtime.signal_container(&pod, "main.0", 9).await?;
        while !matches!(runtime.containers(&pod).await?[0].state, ContainerState::Exited { .. }) {
            events.recv().await?;
        }
        step("kill, until it is recorded");
        runtime.remove_pod_sandbox(&pod).await?;
        step("remove");
        println!("          shim: {pss}");
    }
    Ok(())
}

fn sandbox(id: &str) -> SandboxConfig {
    SandboxConfig {
        id: id.to_owned(),
        namespace: "default".to_owned(),
        name: id.to_owned(),
        hostname: id.to_owned(),
        host_network: false,
        host_ipc: false,
        processes: Processes::Container,
        sysctls: BTreeMap::new(),
        cgroup_parent: format!("burstable/{id}"),
        resources: Resources::default(),
        annotations: BTreeMap::new(),
    }
}

fn container(layer: &Path, log: &Path, script: &str) -> ContainerConfig {
    ContainerConfig {
        id: "main.0".to_owned(),
        layers: vec![layer.to_owned()],
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: PathBuf::from("/"),
        devices: Vec::new(),
        mounts: Vec::new(),
        security: Security {
            uid: 0,
            gid: 0,
            additional_gids: Vec::new(),
            privileged: false,
            capabilities: vec!["CAP_CHOWN".to_owned()],
            no_new_privileges: false,
            read_only_root: false,
            seccomp_default: true,
            seccomp_profile: None,
        },
        resources: Resources { memory_limit: Some(64 << 20), ..Resources::default() },
        log_path: log.to_owned(),
        tty: false,
        stdin: false,
        stdin_once: false,
        joins_processes_of: None,
        annotations: BTreeMap::new(),
    }
}
