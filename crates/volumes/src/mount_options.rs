//! `mountOptions` as mount(2) takes them: some are flags of the mount, the rest is the file system's to read.

use rustix::mount::MountFlags;

/// What to mount with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountOptions {
    pub(crate) flags: MountFlags,
    /// For the file system, separated by commas.
    pub(crate) data: String,
}

impl MountOptions {
    /// Sorts the options (mount(8), "FILESYSTEM-INDEPENDENT MOUNT OPTIONS"). Device nodes in a volume never work:
    /// whoever writes there made them.
    pub(crate) fn parse(options: &[String]) -> Self {
        let mut flags = MountFlags::NODEV;
        let mut data: Vec<&str> = Vec::new();
        for option in options.iter().flat_map(|option| option.split(',')) {
            match option.trim() {
                "" | "defaults" | "rw" | "async" | "exec" | "suid" | "nodev" => {}
                "ro" => flags |= MountFlags::RDONLY,
                "noatime" => flags |= MountFlags::NOATIME,
                "nodiratime" => flags |= MountFlags::NODIRATIME,
                "relatime" => flags |= MountFlags::RELATIME,
                "strictatime" => flags |= MountFlags::STRICTATIME,
                "lazytime" => flags |= MountFlags::LAZYTIME,
                "noexec" => flags |= MountFlags::NOEXEC,
                "nosuid" => flags |= MountFlags::NOSUID,
                "sync" => flags |= MountFlags::SYNCHRONOUS,
                "dirsync" => flags |= MountFlags::DIRSYNC,
                other => data.push(other),
            }
        }
        Self { flags, data: data.join(",") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_told_from_what_the_file_system_reads() {
        let options = ["noatime".to_owned(), "commit=30, nosuid".to_owned(), "rw".to_owned()];
        let parsed = MountOptions::parse(&options);
        assert_eq!(parsed.flags, MountFlags::NODEV | MountFlags::NOATIME | MountFlags::NOSUID);
        assert_eq!(parsed.data, "commit=30");
        assert_eq!(MountOptions::parse(&[]).data, "");
    }
}
