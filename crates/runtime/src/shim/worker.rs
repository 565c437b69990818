//! Workers: forks of the shim that make containers and execs through libcontainer and end.
//!
//! libcontainer changes the process it runs in (directory, dumpable, mounts, memory), so the shim itself
//! never calls it. A worker is born into the container's cgroups; the processes it makes are children of the
//! shim (`as_sibling`), which waits for them.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::notify_socket::{NOTIFY_FILE, NotifySocket};
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::MemfdFlags;
use serde::{Deserialize, Serialize};

use super::channel::{receive, send};
use super::devices::{asked_devices, host_devices};
use super::environment::{add_unless_there, complete_env};
use super::executor::Launcher;
use super::protocol::{Fault, STDIO};
use super::{rootfs, sys};
use crate::cgroup::Hierarchies;
use crate::record::{self, ContainerRecord};
use crate::spec::{self, Host, Pids};
use crate::{ContainerConfig, seccomp};

/// What a worker says at its end. A terminal's master side may come with it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Outcome {
    /// The first process waits at its gate (create) or runs (exec).
    Made {
        /// In the host's numbering.
        pid: i32,
    },
    /// There is no process.
    Failed(Fault),
}

/// A worker under way.
pub(super) struct Worker {
    /// Where its [`Outcome`] comes.
    pub(super) outcome: OwnedFd,
}

/// What is common to all work.
pub(super) struct Place<'a> {
    /// The machine's cgroups.
    pub(super) hierarchies: &'a Hierarchies,
    /// The container's cgroup.
    pub(super) cgroup: &'a str,
    /// The container's folder.
    pub(super) dir: &'a Path,
    /// What HOSTNAME says.
    pub(super) hostname: &'a str,
    /// Whose processes a new container sees.
    pub(super) pids: Pids,
}

/// The ends of a new container's descriptors that are its own.
pub(super) struct CreateFds {
    /// Input, if it has one and no terminal.
    pub(super) input: Option<OwnedFd>,
    /// Output, unless it has a terminal.
    pub(super) output: Option<[OwnedFd; 2]>,
    /// See [`Launcher::gate`].
    pub(super) gate: OwnedFd,
    /// See [`Launcher::status`].
    pub(super) status: OwnedFd,
}

/// What an exec is.
pub(super) struct ExecWork {
    /// The command.
    pub(super) argv: Vec<String>,
    /// The three streams, in order.
    pub(super) stdio: [Option<OwnedFd>; STDIO],
    /// They are a terminal.
    pub(super) tty: bool,
    /// The container's first process.
    pub(super) init: i32,
}

/// Begins to make the container whose record is in `place`.
pub(super) fn create(place: &Place<'_>, fds: CreateFds) -> io::Result<Worker> {
    let streams = fds.output.iter().flatten().chain(&fds.input);
    let mut keep: Vec<_> = streams.map(AsRawFd::as_raw_fd).collect();
    keep.extend([fds.gate.as_raw_fd(), fds.status.as_raw_fd()]);
    run(place, keep, || make_container(place, fds))
}

/// Begins to run a command in a running container.
pub(super) fn exec(place: &Place<'_>, work: ExecWork) -> io::Result<Worker> {
    let keep = work.stdio.iter().flatten().map(AsRawFd::as_raw_fd).collect();
    run(place, keep, || Ok((make_exec(place, work)?, None)))
}

/// Forks, does `work` in the child with no descriptors but 0 to 2 and `keep`, and sends what came of it.
fn run(
    place: &Place<'_>,
    mut keep: Vec<i32>,
    work: impl FnOnce() -> Result<(i32, Option<OwnedFd>), Fault>,
) -> io::Result<Worker> {
    let (ours, theirs) = rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let group = place.hierarchies.open_v2(place.cgroup)?;
    match sys::fork_into(group.as_ref().map(AsFd::as_fd))? {
        sys::Fork::Parent(_) => Ok(Worker { outcome: ours }),
        sys::Fork::Child => {
            keep.push(theirs.as_raw_fd());
            let done = sys::close_others(&keep)
                .and_then(|()| place.hierarchies.join_v1(place.cgroup))
                .map_err(|e| Fault::system("joining the container's cgroup", e))
                .and_then(|()| work());
            let (outcome, terminal) = match done {
                Ok((pid, terminal)) => (Outcome::Made { pid }, terminal),
                Err(fault) => (Outcome::Failed(fault), None),
            };
            let bytes = serde_json::to_vec(&outcome).unwrap_or_default();
            let sent = send(&theirs, &bytes, terminal.as_ref());
            sys::exit_now(i32::from(sent.is_err()));
        }
    }
}

fn make_container(place: &Place<'_>, fds: CreateFds) -> Result<(i32, Option<OwnedFd>), Fault> {
    let dir = place.dir;
    let config = load(dir)?;
    adjust_oom_score(&config);
    let setup = || -> io::Result<()> {
        rootfs::enter_private_mounts()?;
        rootfs::mount_overlay(dir, &config.layers)?;
        rootfs::stage_cgroups(place.hierarchies, Some(place.cgroup))?;
        rootfs::make_cwd(&dir.join("rootfs"), &config.cwd)
    };
    setup().map_err(|e| Fault::system("mounting the container's root file system", e))?;
    write_spec(place, &config)?;

    let console = config.tty.then(|| UnixListener::bind(console_path())).transpose();
    let console = console.map_err(|e| Fault::system("making a terminal", e))?;
    let launcher = launcher(&config, Some(fds.gate.as_raw_fd()), fds.status.as_raw_fd(), false)?;
    let mut builder = builder(&config, launcher)?;
    if let Some([out, err]) = fds.output {
        give(&config, &out);
        give(&config, &err);
        builder = builder.with_stdout(out).with_stderr(err);
    }
    if let Some(input) = fds.input {
        give(&config, &input);
        builder = builder.with_stdin(input);
    }
    if console.is_some() {
        builder = builder.with_console_socket(Some(console_path()));
    }
    let making = |e: &dyn std::error::Error| Fault::system("making the container", chain(e));
    let made = builder
        .as_init(dir)
        .with_systemd(false)
        .as_sibling(true)
        .with_detach(true)
        .build()
        .map_err(|e| making(&e))?;
    let pid = made.pid().ok_or_else(|| Fault::system("making the container", "it has no process"))?;
    // libcontainer's own gate opens at once: ours, in the executor, can be passed on and tells when its
    // keeper dies.
    NotifySocket::new(made.root.join(NOTIFY_FILE)).notify_container_start().map_err(|e| making(&e))?;
    let terminal = console.map(|listener| receive_terminal(&listener)).transpose();
    Ok((pid.as_raw(), terminal.map_err(|e| Fault::system("making a terminal", e))?))
}

fn write_spec(place: &Place<'_>, config: &ContainerConfig) -> Result<(), Fault> {
    let fault = |why: &dyn ToString| Fault::system("writing the container's specification", why.to_string());
    let mut devices = if config.security.privileged { host_devices() } else { Vec::new() };
    devices.extend(asked_devices(&config.devices).map_err(|e| fault(&e))?);
    let host = Host { hierarchies: place.hierarchies, devices, pids: place.pids };
    let mut spec = spec::spec(config, place.cgroup, &host).map_err(|e| fault(&e))?;
    let home = rootfs::home(&place.dir.join("rootfs"), config.security.uid);
    if let Some(process) = spec.process_mut() {
        process.set_env(Some(complete_env(&config.env, home.as_deref(), place.hostname, config.tty)));
    }
    record::write(&place.dir.join("config.json"), &spec).map_err(|e| fault(&e))
}

fn make_exec(place: &Place<'_>, work: ExecWork) -> Result<i32, Fault> {
    let doing = "running a command in the container";
    let config = load(place.dir)?;
    adjust_oom_score(&config);
    let setup = || -> io::Result<PathBuf> {
        rootfs::enter_private_mounts()?;
        rootfs::stage_cgroups(place.hierarchies, None)?;
        let state = Path::new(rootfs::STATE).join(&config.id);
        fs::create_dir(&state)?;
        Ok(state)
    };
    let state = setup().map_err(|e| Fault::system(doing, e))?;
    Container::new(&config.id, ContainerStatus::Running, Some(work.init), place.dir, &state)
        .and_then(|container| container.save())
        .map_err(|e| Fault::system(doing, chain(&e)))?;
    let process = exec_process(place.dir, &work).map_err(|e| Fault::system(doing, e))?;
    let (told, status) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Fault::system(doing, e))?;
    let mut builder = builder(&config, launcher(&config, None, status.as_raw_fd(), work.tty)?)?;
    work.stdio.iter().flatten().for_each(|fd| give(&config, fd));
    let [stdin, stdout, stderr] = work.stdio;
    (builder.stdin, builder.stdout, builder.stderr) = (stdin, stdout, stderr);
    let made = builder
        .as_tenant()
        .with_process(Some(format!("/proc/self/fd/{}", process.as_raw_fd())))
        .as_sibling(true)
        .with_detach(true)
        .build();
    drop(status);
    match made {
        Ok(pid) => Ok(pid.as_raw()),
        Err(e) => {
            let said = io::read_to_string(fs::File::from(told)).unwrap_or_default();
            Err(serde_json::from_str(&said).unwrap_or_else(|_| Fault::system(doing, chain(&e))))
        }
    }
}

/// The container's own process with another command, as a file in memory.
fn exec_process(dir: &Path, work: &ExecWork) -> io::Result<fs::File> {
    let spec: Option<Spec> = record::read(&dir.join("config.json"))?;
    let mut process = spec
        .and_then(|spec| spec.process().clone())
        .ok_or_else(|| io::Error::other("the container has no specification"))?;
    // The terminal, if there is one, is among the streams already.
    process.set_args(Some(work.argv.clone())).set_terminal(Some(false));
    if work.tty {
        let mut env = process.env().clone().unwrap_or_default();
        add_unless_there(&mut env, "TERM", "xterm");
        process.set_env(Some(env));
    }
    let mut file = fs::File::from(rustix::fs::memfd_create("process.json", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(&process)?)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

fn load(dir: &Path) -> Result<ContainerConfig, Fault> {
    let loaded: io::Result<Option<ContainerRecord>> = record::read(&dir.join("container.json"));
    match loaded {
        Ok(Some(record)) => Ok(record.config),
        Ok(None) => Err(Fault::system("reading the container's record", "there is none")),
        Err(e) => Err(Fault::system("reading the container's record", e)),
    }
}

fn launcher(
    config: &ContainerConfig,
    gate: Option<i32>,
    status: i32,
    controlling_terminal: bool,
) -> Result<Launcher, Fault> {
    let security = config.security.clone();
    let filters = match &security.seccomp_profile {
        _ if security.privileged => Ok(Vec::new()),
        Some(profile) => seccomp::profile(profile),
        None if security.seccomp_default => seccomp::default_profile(&security.capabilities),
        None => Ok(Vec::new()),
    };
    let filters = filters.map_err(|e| Fault::system("confining the container", e))?;
    Ok(Launcher { security, filters, gate, status, controlling_terminal })
}

fn builder(config: &ContainerConfig, launcher: Launcher) -> Result<ContainerBuilder, Fault> {
    ContainerBuilder::new(config.id.clone(), SyscallType::default())
        .with_executor(launcher)
        .with_root_path(rootfs::STATE)
        .map_err(|e| Fault::system("making the container", chain(&e)))
}

fn console_path() -> PathBuf {
    Path::new(rootfs::STATE).join("console.sock")
}

/// Programs that do not run as root open /dev/stdout again, which asks for permission (runc's
/// fixStdioPermissions). /dev/null and files, which are not only theirs, stay as they are.
fn give(config: &ContainerConfig, fd: &OwnedFd) {
    let Ok(stat) = rustix::fs::fstat(fd) else { return };
    let null = stat.st_rdev == rustix::fs::makedev(1, 3);
    let file = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
    if config.security.uid != 0 && !null && !file {
        let _ = rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(config.security.uid)), None);
    }
}

/// Never the shim's own score, which is low. A lower one than the daemon's needs a capability that not every
/// root has: then it stays.
fn adjust_oom_score(config: &ContainerConfig) {
    let score = config.resources.oom_score_adj.unwrap_or(0).clamp(-1000, 1000);
    let _ = fs::write("/proc/self/oom_score_adj", score.to_string());
}

/// An error with all its causes: libcontainer's outermost sentences say little.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// The terminal that libcontainer has sent: it connected before it was made, so this does not wait.
fn receive_terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (socket, _) = listener.accept()?;
    let mut byte = [0; 64];
    let (_, mut fds) = receive(&socket, &mut byte)?;
    fds.pop().ok_or_else(|| io::Error::other("no terminal came"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_tell_their_causes() {
        let inner = io::Error::other("inner");
        let outer = libcontainer::error::LibcontainerError::OtherIO(inner);
        assert_eq!(chain(&outer), "io error: inner");
    }
}
