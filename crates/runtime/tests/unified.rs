//! The other tests again, on a machine that has cgroup version 2 only, as far as processes can see: in a
//! mount namespace where nothing else is mounted at /sys/fs/cgroup. Controllers may all belong to version 1,
//! so limits are left out; devices are not.

use std::process::Command;

#[test]
fn everything_works_on_version_2_alone() {
    let here = std::env::current_exe().unwrap();
    let built = here.parent().unwrap();
    let script = "mount --make-rprivate / && umount -l /sys/fs/cgroup && \
                  mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";
    // No other crate's tests may have one of these names: those of all crates lie in one folder.
    for name in ["backends", "namespaces", "oci", "recovery"] {
        let newest = std::fs::read_dir(built)
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_none())
            .filter(|path| {
                let file = path.file_name().unwrap().to_str().unwrap();
                file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
            })
            .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
            .expect("the other tests are built with this one");
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(newest)
            .args(["--skip", "limits"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}:\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
