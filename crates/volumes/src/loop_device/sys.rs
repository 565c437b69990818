//! The calls to loop devices and file systems that no safe library at hand offers.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::ioctl::{IntegerSetter, NoArg, Opcode, Setter, Updater, ioctl};

// linux/loop.h
const CLR_FD: Opcode = 0x4C01;
const GET_STATUS64: Opcode = 0x4C05;
const SET_CAPACITY: Opcode = 0x4C07;
const CONFIGURE: Opcode = 0x4C0A;
const CTL_GET_FREE: Opcode = 0x4C82;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl Info {
    const NONE: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a device that nobody uses.
pub(super) fn free_device(control: &File) -> Result<u32, Errno> {
    /// The answer is what the call returns.
    struct Free;
    // SAFETY: the call takes no argument, and its return value is the number.
    unsafe impl rustix::ioctl::Ioctl for Free {
        type Output = u32;
        const IS_MUTATING: bool = false;
        fn opcode(&self) -> Opcode {
            CTL_GET_FREE
        }
        fn as_ptr(&mut self) -> *mut std::ffi::c_void {
            std::ptr::null_mut()
        }
        unsafe fn output_from_ptr(
            out: rustix::ioctl::IoctlOutput,
            _: *mut std::ffi::c_void,
        ) -> rustix::io::Result<u32> {
            u32::try_from(out).map_err(|_| Errno::RANGE)
        }
    }
    // SAFETY: as above.
    unsafe { ioctl(control, Free) }
}

/// Makes `device` the device of `file`.
pub(super) fn configure(device: &File, file: &File, transient: bool) -> Result<(), Errno> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let flags = DIRECT_IO | if transient { AUTOCLEAR } else { 0 };
    let config = Config { fd, block_size: 0, info: Info { flags, ..Info::NONE }, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads a `struct loop_config`, which `Config` is.
    unsafe { ioctl(device, Setter::<CONFIGURE, Config>::new(config)) }
}

/// Device and inode of the file that the device is of.
pub(super) fn backing_file(device: &File) -> Result<(u64, u64), Errno> {
    let mut info = Info::NONE;
    // SAFETY: LOOP_GET_STATUS64 writes a `struct loop_info64`, which `Info` is: numbers and bytes only.
    unsafe { ioctl(device, Updater::<GET_STATUS64, Info>::new(&mut info)) }?;
    Ok((info.device, info.inode))
}

/// Lets the device take over its file's size.
pub(super) fn take_size(device: &File) -> Result<(), Errno> {
    // SAFETY: LOOP_SET_CAPACITY takes no argument.
    unsafe { ioctl(device, NoArg::<SET_CAPACITY>::new()) }
}

/// Lets the device let go of its file.
pub(super) fn detach(device: &File) -> Result<(), Errno> {
    // SAFETY: LOOP_CLR_FD takes no argument.
    unsafe { ioctl(device, IntegerSetter::<CLR_FD>::new_usize(0)) }
}
