//! A container's OCI runtime specification, as a pure function of what is asked for.
//!
//! What containerd's CRI plugin would write (`internal/cri/opts`, `oci/spec.go`), with three parts left out,
//! because somebody else sees to them: limits and the devices' rules ([`crate::cgroup`], faster), and
//! capabilities (the shim's executor, which needs some of them a moment longer than libcontainer would leave
//! them). Network, IPC and host name come from the shim: namespaces that are not listed are inherited.

use std::path::{Path, PathBuf};

use libcontainer::oci_spec::OciSpecError;
use libcontainer::oci_spec::runtime::{
    LinuxBuilder, LinuxDevice, LinuxNamespaceBuilder, LinuxNamespaceType, Mount, MountBuilder, Process,
    ProcessBuilder, RootBuilder, Spec, SpecBuilder, UserBuilder,
};

use crate::ContainerConfig;
use crate::cgroup::Hierarchies;

/// Where the shim puts the container's own cgroup folders for the time of making the container: `v2`, and
/// one per v1 hierarchy, numbered. Their names are not those of controllers on purpose: libcontainer takes a
/// cgroup mount whose path ends in one for the place to put the container into.
pub(crate) const CGROUP_STAGE: &str = "/sys/fs/cgroup/stage";

/// Paths that tell or do too much: containerd's list.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that may be read only: containerd's list.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the machine brings in.
pub(crate) struct Host<'a> {
    /// The machine's cgroup layout.
    pub(crate) hierarchies: &'a Hierarchies,
    /// Its devices that the container gets: those that it asks for, and all others if it is privileged.
    pub(crate) devices: Vec<LinuxDevice>,
    /// Whose processes the container sees.
    pub(crate) pids: Pids,
}

/// The process namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pids {
    /// One of its own.
    Own,
    /// That of this process.
    Of(i32),
    /// The machine's.
    Host,
}

/// The specification of `config`, whose cgroup is at `cgroup` and whose root is `rootfs` beside it.
pub(crate) fn spec(config: &ContainerConfig, cgroup: &str, host: &Host<'_>) -> Result<Spec, OciSpecError> {
    let security = &config.security;
    let mut namespaces = match host.pids {
        Pids::Own | Pids::Of(_) => vec![LinuxNamespaceType::Pid, LinuxNamespaceType::Mount],
        Pids::Host => vec![LinuxNamespaceType::Mount],
    };
    if host.hierarchies.unified() {
        namespaces.push(LinuxNamespaceType::Cgroup);
    }
    let namespaces = namespaces
        .into_iter()
        .map(|typ| {
            let namespace = LinuxNamespaceBuilder::default().typ(typ);
            match host.pids {
                Pids::Of(pid) if typ == LinuxNamespaceType::Pid => {
                    namespace.path(format!("/proc/{pid}/ns/pid")).build()
                }
                _ => namespace.build(),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    let paths = |paths: &[&str]| paths.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    let (masked, mut read_only) =
        if security.privileged { (Vec::new(), Vec::new()) } else { (paths(&MASKED), paths(&READ_ONLY)) };
    if !host.hierarchies.unified() && !security.privileged {
        // The tmpfs that holds the v1 folders had to be writable to take them.
        read_only.push("/sys/fs/cgroup".to_owned());
    }
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces)
        .cgroups_path(cgroup)
        .masked_paths(masked)
        .readonly_paths(read_only);
    if !host.devices.is_empty() {
        linux = linux.devices(host.devices.clone());
    }
    let mut linux = linux.build()?;
    linux.set_resources(None);
    let mut spec = SpecBuilder::default()
        .root(RootBuilder::default().path("rootfs").readonly(security.read_only_root).build()?)
        .mounts(mounts(config, host)?)
        .process(process(config)?)
        .linux(linux)
        .build()?;
    spec.set_hostname(None);
    spec.set_annotations(None);
    Ok(spec)
}

/// The container's process; [`crate::Runtime::exec`] runs the same with another command.
pub(crate) fn process(config: &ContainerConfig) -> Result<Process, OciSpecError> {
    let security = &config.security;
    let mut user = UserBuilder::default().uid(security.uid).gid(security.gid);
    if !security.additional_gids.is_empty() {
        user = user.additional_gids(security.additional_gids.clone());
    }
    let mut process = ProcessBuilder::default()
        .terminal(config.tty)
        .user(user.build()?)
        .args(config.argv.clone())
        .env(config.env.clone())
        .cwd(config.cwd.clone())
        .no_new_privileges(security.no_new_privileges)
        .build()?;
    process.set_capabilities(None).set_rlimits(None);
    Ok(process)
}

fn mount(to: &str, kind: &str, from: &str, options: &str) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(to)
        .typ(kind)
        .source(from)
        .options(options.split(',').map(str::to_owned).collect::<Vec<_>>())
        .build()
}

fn mounts(config: &ContainerConfig, host: &Host<'_>) -> Result<Vec<Mount>, OciSpecError> {
    let access = if config.security.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", "nosuid,noexec,nodev")?,
        mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k")?,
        mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5")?,
        mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev")?,
        mount("/sys", "sysfs", "sysfs", &format!("nosuid,noexec,nodev,{access}"))?,
    ];
    mounts.extend(cgroup_mounts(host.hierarchies, access)?);
    mounts.push(mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k")?);
    mounts.retain(|m| !config.mounts.iter().any(|own| own.destination == *m.destination()));
    // What is mounted inside something comes after it.
    let mut own: Vec<_> = config.mounts.iter().collect();
    own.sort_by_key(|m| m.destination.components().count());
    for volume in own {
        let access = if volume.read_only { "ro" } else { "rw" };
        mounts.push(
            MountBuilder::default()
                .destination(&volume.destination)
                .typ("bind")
                .source(&volume.source)
                .options(["rbind", "rprivate", access].map(str::to_owned).to_vec())
                .build()?,
        );
    }
    Ok(mounts)
}

fn cgroup_mounts(hierarchies: &Hierarchies, access: &str) -> Result<Vec<Mount>, OciSpecError> {
    let options = format!("bind,nosuid,noexec,nodev,{access}");
    if hierarchies.unified() {
        return Ok(vec![mount("/sys/fs/cgroup", "bind", &stage("v2"), &options)?]);
    }
    let mut mounts = vec![mount("/sys/fs/cgroup", "tmpfs", "tmpfs", "nosuid,noexec,nodev,mode=755")?];
    for (index, hierarchy) in hierarchies.v1.iter().enumerate() {
        for controller in &hierarchy.controllers {
            let name = controller.strip_prefix("name=").unwrap_or(controller);
            let to = format!("/sys/fs/cgroup/{name}");
            mounts.push(mount(&to, "bind", &stage(&format!("v1-{index}")), &options)?);
        }
    }
    Ok(mounts)
}

fn stage(name: &str) -> String {
    format!("{CGROUP_STAGE}/{name}")
}

/// The staged folders: each with the cgroup folder on the host that is to be seen there.
pub(crate) fn cgroup_stage(hierarchies: &Hierarchies, cgroup: &str) -> Vec<(PathBuf, PathBuf)> {
    let stage = Path::new(CGROUP_STAGE);
    let relative = cgroup.trim_start_matches('/');
    if hierarchies.unified() {
        return hierarchies.v2.iter().map(|mount| (stage.join("v2"), mount.join(relative))).collect();
    }
    let numbered = hierarchies.v1.iter().enumerate();
    numbered.map(|(index, h)| (stage.join(format!("v1-{index}")), h.mount.join(relative))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::V1;
    use crate::{Resources, Security};

    fn config() -> ContainerConfig {
        ContainerConfig {
            id: "postgres.0".into(),
            layers: vec!["/layers/a".into()],
            argv: vec!["postgres".into(), "-D".into(), "/data".into()],
            env: vec!["PATH=/usr/bin".into(), "HOME=/root".into()],
            cwd: "/".into(),
            devices: Vec::new(),
            mounts: vec![
                crate::Mount {
                    source: "/host/etc/hosts".into(),
                    destination: "/etc/hosts".into(),
                    read_only: true,
                },
                crate::Mount { source: "/host/pv".into(), destination: "/data".into(), read_only: false },
            ],
            security: Security {
                uid: 999,
                gid: 999,
                additional_gids: vec![2000],
                privileged: false,
                capabilities: vec!["CAP_CHOWN".into()],
                no_new_privileges: true,
                read_only_root: true,
                seccomp_default: true,
                seccomp_profile: None,
            },
            resources: Resources::default(),
            log_path: "/logs/0.log".into(),
            tty: false,
            stdin: false,
            stdin_once: false,
            joins_processes_of: None,
            annotations: Default::default(),
        }
    }

    fn v2() -> Hierarchies {
        Hierarchies { v1: Vec::new(), v2: Some("/sys/fs/cgroup".into()) }
    }

    /// One line per fact, so that a change of the specification reads as what it means.
    fn show(spec: &Spec) -> String {
        let json = serde_json::to_value(spec).unwrap();
        let process = &json["process"];
        let mut lines = vec![
            format!("root {}", json["root"]),
            format!("user {}", process["user"]),
            format!("args {}", process["args"]),
            format!("env {}", process["env"]),
            format!("cwd {}", process["cwd"]),
            format!("no_new_privs {}", process["noNewPrivileges"]),
            format!("cgroup {}", json["linux"]["cgroupsPath"]),
        ];
        for namespace in json["linux"]["namespaces"].as_array().unwrap() {
            lines.push(format!("namespace {namespace}"));
        }
        for mount in json["mounts"].as_array().unwrap() {
            let options: Vec<_> =
                mount["options"].as_array().unwrap().iter().flat_map(|o| o.as_str()).collect();
            let text = |field: &str| mount[field].as_str().unwrap().to_owned();
            let (to, kind, from) = (text("destination"), text("type"), text("source"));
            lines.push(format!("mount {to} {kind} {from} {}", options.join(",")));
        }
        let known = ["process", "root", "mounts", "linux", "ociVersion"];
        let rest: Vec<_> =
            json.as_object().unwrap().keys().filter(|k| !known.contains(&k.as_str())).collect();
        assert!(rest.is_empty(), "not shown: {rest:?}");
        lines.join("\n")
    }

    #[test]
    fn an_ordinary_container_on_v2() {
        let spec =
            spec(&config(), "/stead/pod/c", &Host { hierarchies: &v2(), devices: vec![], pids: Pids::Own })
                .unwrap();
        insta::assert_snapshot!(show(&spec), @r#"
        root {"path":"rootfs","readonly":true}
        user {"additionalGids":[2000],"gid":999,"uid":999}
        args ["postgres","-D","/data"]
        env ["PATH=/usr/bin","HOME=/root"]
        cwd "/"
        no_new_privs true
        cgroup "/stead/pod/c"
        namespace {"type":"pid"}
        namespace {"type":"mount"}
        namespace {"type":"cgroup"}
        mount /proc proc proc nosuid,noexec,nodev
        mount /dev tmpfs tmpfs nosuid,strictatime,mode=755,size=65536k
        mount /dev/pts devpts devpts nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5
        mount /dev/mqueue mqueue mqueue nosuid,noexec,nodev
        mount /sys sysfs sysfs nosuid,noexec,nodev,ro
        mount /sys/fs/cgroup bind /sys/fs/cgroup/stage/v2 bind,nosuid,noexec,nodev,ro
        mount /dev/shm tmpfs shm nosuid,noexec,nodev,mode=1777,size=65536k
        mount /data bind /host/pv rbind,rprivate,rw
        mount /etc/hosts bind /host/etc/hosts rbind,rprivate,ro
        "#);
        let linux = spec.linux().as_ref().unwrap();
        assert_eq!(linux.masked_paths().as_ref().unwrap().len(), MASKED.len());
        assert!(linux.resources().is_none(), "limits are the cgroup module's");
        assert!(spec.process().as_ref().unwrap().capabilities().is_none(), "they are the executor's");
        assert!(spec.process().as_ref().unwrap().rlimits().is_none());
    }

    #[test]
    fn version_1_shows_each_controller_where_programs_look_for_it() {
        let v1 = |mount: &str, controllers: &[&str]| V1 {
            mount: mount.into(),
            controllers: controllers.iter().map(|c| (*c).to_owned()).collect(),
        };
        let hierarchies = Hierarchies {
            v1: vec![
                v1("/sys/fs/cgroup/cpu,cpuacct", &["cpu", "cpuacct"]),
                v1("/sys/fs/cgroup/systemd", &["name=systemd"]),
            ],
            v2: None,
        };
        let spec =
            spec(&config(), "/c", &Host { hierarchies: &hierarchies, devices: vec![], pids: Pids::Own })
                .unwrap();
        let shown = show(&spec);
        let cgroups: Vec<_> = shown.lines().filter(|l| l.contains("cgroup/")).collect();
        insta::assert_snapshot!(cgroups.join("\n"), @r"
        mount /sys/fs/cgroup/cpu bind /sys/fs/cgroup/stage/v1-0 bind,nosuid,noexec,nodev,ro
        mount /sys/fs/cgroup/cpuacct bind /sys/fs/cgroup/stage/v1-0 bind,nosuid,noexec,nodev,ro
        mount /sys/fs/cgroup/systemd bind /sys/fs/cgroup/stage/v1-1 bind,nosuid,noexec,nodev,ro
        ");
        assert!(!shown.contains(r#"namespace {"type":"cgroup"}"#), "as Docker does on v1");
        assert_eq!(
            cgroup_stage(&hierarchies, "/c")[0],
            ("/sys/fs/cgroup/stage/v1-0".into(), "/sys/fs/cgroup/cpu,cpuacct/c".into())
        );
    }

    #[test]
    fn a_privileged_container_sees_everything_and_may_write_to_sys() {
        let mut config = config();
        config.security.privileged = true;
        let spec =
            spec(&config, "/c", &Host { hierarchies: &v2(), devices: vec![], pids: Pids::Own }).unwrap();
        let linux = spec.linux().as_ref().unwrap();
        assert!(linux.masked_paths().as_ref().unwrap().is_empty());
        assert!(linux.readonly_paths().as_ref().unwrap().is_empty());
        assert!(show(&spec).contains("mount /sys sysfs sysfs nosuid,noexec,nodev,rw"));
    }

    #[test]
    fn a_volume_takes_the_place_of_a_default_mount() {
        let mut config = config();
        let memory = crate::Mount { source: "/m".into(), destination: "/dev/shm".into(), read_only: false };
        config.mounts.push(memory);
        let spec =
            spec(&config, "/c", &Host { hierarchies: &v2(), devices: vec![], pids: Pids::Own }).unwrap();
        let shown = show(&spec);
        let shm: Vec<_> = shown.lines().filter(|l| l.starts_with("mount /dev/shm ")).collect();
        assert_eq!(shm, ["mount /dev/shm bind /m rbind,rprivate,rw"]);
    }
}
