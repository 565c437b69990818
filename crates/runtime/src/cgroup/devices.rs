//! Which devices a container may open: runc's default list (`libcontainer/specconv`, AllowedDevices).
//!
//! Version 1 takes lines of text, version 2 a BPF program; both are made from [`ALLOWED`].

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Hierarchies, at};
use crate::Device;

/// Character devices that may be read and written: major, and minor if not all of them.
const ALLOWED: [(u32, Option<u32>); 9] = [
    (1, Some(3)), // null
    (1, Some(5)), // zero
    (1, Some(7)), // full
    (1, Some(8)), // random
    (1, Some(9)), // urandom
    (5, Some(0)), // tty
    (5, Some(1)), // console
    (5, Some(2)), // ptmx
    (136, None),  // pts/*
];

impl Hierarchies {
    /// Closes all devices but the usual ones and `blocks` to the group at `path`. Nodes may still be made: a node
    /// alone opens nothing.
    pub(crate) fn restrict_devices(&self, path: &str, blocks: &[Device]) -> io::Result<()> {
        let blocks = blocks.iter().map(Block::of).collect::<io::Result<Vec<_>>>()?;
        if self.unified() {
            let Some(group) = self.open_v2(path)? else { return Ok(()) };
            return bpf::attach(group.as_fd(), &program(&blocks));
        }
        let Some(dir) = self.v1_dir("devices", path) else { return Ok(()) };
        restrict_v1(&dir, &blocks)
    }
}

/// A block device that may be opened.
struct Block {
    major: u32,
    minor: u32,
    read_only: bool,
}

impl Block {
    fn of(device: &Device) -> io::Result<Self> {
        let meta = fs::metadata(&device.source).map_err(|e| at(&device.source, &e))?;
        if !meta.file_type().is_block_device() {
            return Err(at(&device.source, &io::Error::other("is not a block device")));
        }
        let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        Ok(Self { major, minor, read_only: device.read_only })
    }
}

fn restrict_v1(dir: &Path, blocks: &[Block]) -> io::Result<()> {
    let write = |file: &str, rule: &str| {
        let file = dir.join(file);
        fs::write(&file, rule).map_err(|e| at(&file, &e))
    };
    write("devices.deny", "a")?;
    write("devices.allow", "c *:* m")?;
    write("devices.allow", "b *:* m")?;
    for (major, minor) in ALLOWED {
        let minor = minor.map_or("*".to_owned(), |m| m.to_string());
        write("devices.allow", &format!("c {major}:{minor} rwm"))?;
    }
    for Block { major, minor, read_only } in blocks {
        let access = if *read_only { "rm" } else { "rwm" };
        write("devices.allow", &format!("b {major}:{minor} {access}"))?;
    }
    Ok(())
}

/// One BPF instruction, as `struct bpf_insn` of linux/bpf.h lays it out.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: u32) -> u64 {
    let off = u16::from_ne_bytes(off.to_ne_bytes());
    u64::from(code) | u64::from(dst | src << 4) << 8 | u64::from(off) << 16 | u64::from(imm) << 32
}

const LDX_W: u8 = 0x61;
const ALU_AND: u8 = 0x54;
const ALU_RSH: u8 = 0x74;
const JEQ: u8 = 0x15;
const JNE: u8 = 0x55;
const JSET: u8 = 0x45;
const MOV: u8 = 0xb7;
const MOV_REGISTER: u8 = 0xbc;
const EXIT: u8 = 0x95;

const TYPE_BLOCK: u32 = 1; // BPF_DEVCG_DEV_BLOCK
const TYPE_CHAR: u32 = 2; // BPF_DEVCG_DEV_CHAR
const ACCESS_MKNOD: u32 = 1; // BPF_DEVCG_ACC_MKNOD
const ACCESS_WRITE: u32 = 4; // BPF_DEVCG_ACC_WRITE

/// The rules as a program of type BPF_PROG_TYPE_CGROUP_DEVICE. Its context (r1) is `bpf_cgroup_dev_ctx`:
/// access above type, major, minor, 32 bits each.
fn program(blocks: &[Block]) -> Vec<u64> {
    let mut code = vec![
        insn(LDX_W, 2, 1, 0, 0),
        insn(LDX_W, 4, 1, 4, 0),
        insn(LDX_W, 5, 1, 8, 0),
        insn(MOV_REGISTER, 3, 2, 0, 0),
        insn(ALU_AND, 3, 0, 0, 0xffff), // r3: the type
        insn(ALU_RSH, 2, 0, 0, 16),     // r2: the access
    ];
    let allow = [insn(MOV, 0, 0, 0, 1), insn(EXIT, 0, 0, 0, 0)];
    let deny = [insn(MOV, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)];
    code.push(insn(JNE, 2, 0, 2, ACCESS_MKNOD));
    code.extend(allow);
    for Block { major, minor, read_only } in blocks {
        let checks = if *read_only { 1 } else { 0 };
        code.push(insn(JNE, 3, 0, 4 + checks, TYPE_BLOCK));
        code.push(insn(JNE, 4, 0, 3 + checks, *major));
        code.push(insn(JNE, 5, 0, 2 + checks, *minor));
        if *read_only {
            code.push(insn(JSET, 2, 0, 2, ACCESS_WRITE));
        }
        code.extend(allow);
    }
    code.push(insn(JEQ, 3, 0, 2, TYPE_CHAR));
    code.extend(deny);
    for (major, minor) in ALLOWED {
        match minor {
            Some(minor) => {
                code.push(insn(JNE, 4, 0, 3, major));
                code.push(insn(JNE, 5, 0, 2, minor));
            }
            None => code.push(insn(JNE, 4, 0, 2, major)),
        }
        code.extend(allow);
    }
    code.extend(deny);
    code
}

/// The two forms of bpf(2) that no safe library at hand offers.
#[allow(unsafe_code)]
mod bpf {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_TYPE_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;

    /// The head of `union bpf_attr` for BPF_PROG_LOAD; what follows may be left out and counts as zero.
    #[repr(C)]
    struct Load {
        prog_type: u32,
        insn_cnt: u32,
        insns: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buf: u64,
    }

    /// The head of `union bpf_attr` for BPF_PROG_ATTACH.
    #[repr(C)]
    struct Attach {
        target_fd: u32,
        attach_bpf_fd: u32,
        attach_type: u32,
        attach_flags: u32,
    }

    /// Loads `program` and lets it decide for the cgroup `group`, as long as that exists.
    pub(super) fn attach(group: BorrowedFd<'_>, program: &[u64]) -> io::Result<()> {
        let license = c"Apache-2.0";
        let load = Load {
            prog_type: PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
            insns: program.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 0,
            log_size: 0,
            log_buf: 0,
        };
        // SAFETY: `load` and what it points to live until the call returns; the kernel copies them and
        // verifies the program.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just given us this descriptor.
        let prog = unsafe { OwnedFd::from_raw_fd(fd) };
        let attach = Attach {
            target_fd: group.as_raw_fd().unsigned_abs(),
            attach_bpf_fd: prog.as_raw_fd().unsigned_abs(),
            attach_type: ATTACH_TYPE_DEVICE,
            attach_flags: ALLOW_MULTI,
        };
        // SAFETY: `attach` lives until the call returns and holds numbers only.
        let done =
            unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_rules_deny_all_first() {
        let dir = tempfile::tempdir().unwrap();
        restrict_v1(dir.path(), &[]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("devices.deny")).unwrap(), "a");
        assert_eq!(fs::read_to_string(dir.path().join("devices.allow")).unwrap(), "c 136:* rwm");
        restrict_v1(dir.path(), &[Block { major: 7, minor: 3, read_only: true }]).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("devices.allow")).unwrap(), "b 7:3 rm");
    }

    #[test]
    fn the_kernel_accepts_the_v2_program() {
        let found = Hierarchies::detect().unwrap();
        let path = format!("/stead-devices-test-{}", std::process::id());
        let dir = found.v2_dir(&path).expect("a cgroup2 mount");
        fs::create_dir(&dir).unwrap();
        let group = found.open_v2(&path).unwrap().unwrap();
        let blocks = [true, false].map(|read_only| Block { major: 7, minor: 3, read_only });
        let attached = bpf::attach(group.as_fd(), &program(&blocks));
        fs::remove_dir(&dir).unwrap();
        attached.unwrap();
    }
}
