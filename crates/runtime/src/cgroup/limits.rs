//! Limits and counters.

use std::fs;
use std::io;
use std::path::Path;

use super::{Hierarchies, at};
use crate::Resources;

impl Hierarchies {
    /// Writes `limits` to the group at `path`, in which processes run. Memory that is in use is not taken away: version
    /// 1 refuses that itself, and version 2 would kill for it.
    pub(crate) fn update(&self, path: &str, limits: &Resources) -> io::Result<()> {
        if let Some(limit) = limits.memory_limit.and_then(|limit| u64::try_from(limit).ok()) {
            let used = self.usage(path)?.memory_working_set;
            if limit < used {
                let why = format!("attempting to set a memory limit ({limit}) below what is in use ({used})");
                return Err(io::Error::other(why));
            }
        }
        self.apply(path, limits)
    }

    /// Writes `limits` to the group at `path`.
    pub(crate) fn apply(&self, path: &str, limits: &Resources) -> io::Result<()> {
        if self.unified() {
            match self.v2_dir(path) {
                Some(dir) => apply_v2(&dir, limits),
                None => Ok(()),
            }
        } else {
            self.apply_v1(path, limits)
        }
    }

    fn apply_v1(&self, path: &str, limits: &Resources) -> io::Result<()> {
        let set = |controller: &str, file: &str, value: Option<String>| match value {
            Some(value) => match self.v1_dir(controller, path) {
                Some(dir) => write(&dir.join(file), &value),
                None => Err(io::Error::other(format!("the {controller} cgroup is not mounted"))),
            },
            None => Ok(()),
        };
        set("cpu", "cpu.shares", limits.cpu_shares.map(|v| v.to_string()))?;
        set("cpu", "cpu.cfs_period_us", limits.cpu_period.map(|v| v.to_string()))?;
        set("cpu", "cpu.cfs_quota_us", limits.cpu_quota.map(|v| v.to_string()))?;
        set("pids", "pids.max", limits.pids_limit.map(|v| v.to_string()))?;
        match (limits.memory_limit, self.v1_dir("memory", path)) {
            (Some(limit), Some(dir)) => apply_v1_memory(&dir, limit),
            (Some(_), None) => Err(io::Error::other("the memory cgroup is not mounted")),
            (None, _) => Ok(()),
        }
    }

    /// How many processes of the group the kernel has killed for memory.
    pub(crate) fn oom_kills(&self, path: &str) -> u64 {
        let file = if self.unified() {
            self.v2_dir(path).map(|dir| dir.join("memory.events"))
        } else {
            self.v1_dir("memory", path).map(|dir| dir.join("memory.oom_control"))
        };
        let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .and_then(|count| count.trim().parse().ok())
            .unwrap_or(0)
    }
}

/// Memory, and memory and swap together: no swap, as containerd does. The second file is there only with swap
/// accounting; the kernel refuses whatever would make it the lesser of the two.
fn apply_v1_memory(dir: &Path, limit: i64) -> io::Result<()> {
    let files = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"].map(|file| dir.join(file));
    let Ok(both) = fs::read_to_string(&files[1]) else { return write(&files[0], &limit.to_string()) };
    let grows = both.trim().parse::<i64>().is_ok_and(|both| limit > both);
    let order = if grows { [&files[1], &files[0]] } else { [&files[0], &files[1]] };
    order.into_iter().try_for_each(|file| write(file, &limit.to_string()))
}

fn apply_v2(dir: &Path, limits: &Resources) -> io::Result<()> {
    if let Some(shares) = limits.cpu_shares {
        write(&dir.join("cpu.weight"), &weight(shares).to_string())?;
    }
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let quota = limits.cpu_quota.filter(|q| *q > 0).map_or("max".to_owned(), |q| q.to_string());
        write(&dir.join("cpu.max"), &format!("{quota} {}", limits.cpu_period.unwrap_or(100_000)))?;
    }
    if let Some(limit) = limits.memory_limit {
        write(&dir.join("memory.max"), &limit.to_string())?;
        write_if_there(&dir.join("memory.swap.max"), "0")?;
        // All or nothing: a database without one of its processes is worse than none (the kubelet's default).
        write_if_there(&dir.join("memory.oom.group"), "1")?;
    }
    if let Some(limit) = limits.pids_limit {
        write(&dir.join("pids.max"), &limit.to_string())?;
    }
    Ok(())
}

/// v1's shares (2 to 262144) as v2's weight (1 to 10000): KEP-2254.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    fs::write(file, value).map_err(|e| at(file, &io::Error::new(e.kind(), format!("writing {value}: {e}"))))
}

fn write_if_there(file: &Path, value: &str) -> io::Result<()> {
    if file.exists() { write(file, value) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_as_kep_2254_says() {
        assert_eq!([2, 102, 1024, 262_144].map(weight), [1, 4, 39, 10_000]);
    }

    #[test]
    fn v2_limits_are_written_in_v2_words() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["memory.swap.max", "memory.oom.group"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let limits = Resources {
            cpu_shares: Some(1024),
            cpu_quota: Some(50_000),
            cpu_period: Some(100_000),
            memory_limit: Some(64 << 20),
            pids_limit: Some(100),
            oom_score_adj: None,
        };
        apply_v2(dir.path(), &limits).unwrap();
        let read = |file: &str| fs::read_to_string(dir.path().join(file)).unwrap();
        assert_eq!(read("cpu.weight"), "39");
        assert_eq!(read("cpu.max"), "50000 100000");
        assert_eq!(read("memory.max"), "67108864");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("memory.oom.group"), "1");
        assert_eq!(read("pids.max"), "100");
    }

    #[test]
    fn v1_limits_reach_the_kernel() {
        let found = Hierarchies::detect().unwrap();
        if found.unified() {
            // The kernel has no v1 files to read back; the v2 test above speaks for such a machine.
            return;
        }
        let path = format!("/stead-limits-test-{}", std::process::id());
        found.create(&path).unwrap();
        let limits = Resources {
            cpu_shares: Some(512),
            cpu_quota: Some(20_000),
            cpu_period: Some(50_000),
            memory_limit: Some(32 << 20),
            pids_limit: Some(17),
            oom_score_adj: None,
        };
        found.apply(&path, &limits).unwrap();
        let read = |controller: &str, file: &str| {
            fs::read_to_string(found.v1_dir(controller, &path).unwrap().join(file)).unwrap().trim().to_owned()
        };
        let seen = [
            read("cpu", "cpu.shares"),
            read("cpu", "cpu.cfs_quota_us"),
            read("cpu", "cpu.cfs_period_us"),
            read("memory", "memory.limit_in_bytes"),
            read("pids", "pids.max"),
        ];
        found.remove(&path).unwrap();
        assert_eq!(seen, ["512", "20000", "50000", "33554432", "17"]);
    }
}
