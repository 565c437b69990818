//! What the processes of a group use, as cAdvisor counts it for upstream's kubelet.

use std::fs;
use std::io;
use std::path::Path;

use super::{Hierarchies, at};
use crate::Usage;

impl Hierarchies {
    /// What the group at `path` uses, with all groups below it.
    pub(crate) fn usage(&self, path: &str) -> io::Result<Usage> {
        if self.unified() {
            let dir = self.v2_dir(path).ok_or_else(|| not_mounted("unified"))?;
            return usage_v2(&dir);
        }
        let dir =
            |controller: &'static str| self.v1_dir(controller, path).ok_or_else(|| not_mounted(controller));
        let memory = dir("memory")?;
        let used = number(&memory.join("memory.usage_in_bytes"))?;
        let stat = read(&memory.join("memory.stat"))?;
        Ok(Usage {
            cpu_nanoseconds: number(&dir("cpuacct")?.join("cpuacct.usage"))?,
            memory: used,
            memory_working_set: used.saturating_sub(entry(&stat, "total_inactive_file")),
            pids: number(&dir("pids")?.join("pids.current"))?,
        })
    }
}

fn usage_v2(dir: &Path) -> io::Result<Usage> {
    // Without a controller its files are not there, and nothing is counted.
    let optional = |file: &str| match number(&dir.join(file)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && dir.exists() => Ok(0),
        other => other,
    };
    let used = optional("memory.current")?;
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    Ok(Usage {
        cpu_nanoseconds: entry(&read(&dir.join("cpu.stat"))?, "usage_usec") * 1000,
        memory: used,
        memory_working_set: used.saturating_sub(entry(&stat, "inactive_file")),
        pids: optional("pids.current")?,
    })
}

fn not_mounted(controller: &str) -> io::Error {
    io::Error::other(format!("the {controller} cgroup is not mounted"))
}

fn read(file: &Path) -> io::Result<String> {
    fs::read_to_string(file).map_err(|e| at(file, &e))
}

fn number(file: &Path) -> io::Result<u64> {
    read(file)?.trim().parse().map_err(|e| at(file, &io::Error::other(e)))
}

/// The number behind `name` in a list of them; 0 when it is not there.
fn entry(list: &str, name: &str) -> u64 {
    let line = list.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_counted_in_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "1000\n"),
            ("memory.stat", "anon 700\ninactive_file 250\n"),
            ("pids.current", "3\n"),
        ];
        for (file, text) in files {
            fs::write(dir.path().join(file), text).unwrap();
        }
        let used = usage_v2(dir.path()).unwrap();
        let expected = Usage { cpu_nanoseconds: 1_500_000, memory: 1000, memory_working_set: 750, pids: 3 };
        assert_eq!(used, expected);
        fs::remove_file(dir.path().join("memory.current")).unwrap();
        assert_eq!(usage_v2(dir.path()).unwrap().memory, 0, "a group without that controller");
        assert!(usage_v2(&dir.path().join("gone")).is_err());
    }

    #[test]
    fn a_group_with_nothing_in_it_uses_nothing() {
        let found = Hierarchies::detect().unwrap();
        let path = format!("/stead-usage-test-{}", std::process::id());
        found.create(&path).unwrap();
        let used = found.usage(&path);
        found.remove(&path).unwrap();
        assert_eq!(used.unwrap().pids, 0);
    }
}
