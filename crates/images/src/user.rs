//! Who a container runs as: an image's or a pod's user, looked up in the image's own /etc/passwd.
//!
//! The rules are runc's (`GetExecUser` in github.com/moby/sys/user).

use std::collections::BTreeSet;
use std::io;

use crate::Image;
use crate::rootfs::read_file;

/// More of /etc/passwd or /etc/group than this is not read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// The highest number, from upstream's `maxID`.
const MAX_ID: u32 = i32::MAX as u32;

/// Numbers for the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserIds {
    /// The user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The groups that name the user as a member; none when the group was given.
    pub additional_gids: Vec<u32>,
}

/// Why a user could not be found.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such name in the image.
    #[error("the image has no {what} {name:?} in {file}")]
    Unknown {
        /// `user` or `group`.
        what: &'static str,
        /// As it was given.
        name: String,
        /// Where it was looked for.
        file: &'static str,
    },
    /// A number that Linux does not have.
    #[error("{0} is not a user's or group's number: they go up to {MAX_ID}")]
    Range(String),
    /// The disk refused.
    #[error("cannot read {file} of the image: {why}")]
    Io {
        /// Which file.
        file: &'static str,
        /// What went wrong.
        why: io::Error,
    },
}

struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
}

struct GroupEntry {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Looks up `user`, `user:group`, `1000`, `1000:1000`; empty is root. A number needs no entry (its group is then
/// 0), a name does. Blocks for as long as it takes to read two small files.
pub fn resolve_user(image: &Image, spec: &str) -> Result<UserIds, UserError> {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = number(user)?;
    let passwd = entries(image, "/etc/passwd", passwd_entry)?;
    let entry = passwd.into_iter().find(|entry| match number {
        Some(number) => entry.uid == number,
        None => entry.name == user,
    });
    let (uid, gid) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(number)) => (number, 0),
        (None, None) => {
            return Err(UserError::Unknown { what: "user", name: user.into(), file: "/etc/passwd" });
        }
    };
    let groups = entries(image, "/etc/group", group_entry)?;
    if !group.is_empty() {
        return Ok(UserIds { uid, gid: find_group(&groups, group)?, additional_gids: Vec::new() });
    }
    let member = |group: &&GroupEntry| entry.as_ref().is_some_and(|user| group.members.contains(&user.name));
    let additional: BTreeSet<u32> = groups.iter().filter(member).map(|group| group.gid).collect();
    Ok(UserIds { uid, gid, additional_gids: additional.into_iter().collect() })
}

fn find_group(groups: &[GroupEntry], spec: &str) -> Result<u32, UserError> {
    if let Some(number) = number(spec)? {
        return Ok(number);
    }
    let found = groups.iter().find(|group| group.name == spec).map(|group| group.gid);
    found.ok_or_else(|| UserError::Unknown { what: "group", name: spec.into(), file: "/etc/group" })
}

fn number(text: &str) -> Result<Option<u32>, UserError> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        Ok(number) if number <= MAX_ID => Ok(Some(number)),
        _ => Err(UserError::Range(text.into())),
    }
}

fn entries<T>(image: &Image, file: &'static str, parse: fn(&str) -> Option<T>) -> Result<Vec<T>, UserError> {
    let bytes = read_file(&image.layers, file, MAX_FILE).map_err(|why| UserError::Io { file, why })?;
    let bytes = bytes.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(parse).collect())
}

/// `name:password:uid:gid:comment:home:shell`; what is not so is passed over, as upstream does.
fn passwd_entry(line: &str) -> Option<PasswdEntry> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?.to_owned();
    let uid = fields.nth(1)?.parse().ok()?;
    Some(PasswdEntry { name, uid, gid: fields.next()?.parse().ok()? })
}

/// `name:password:gid:member,member`
fn group_entry(line: &str) -> Option<GroupEntry> {
    let mut fields = line.trim().split(':');
    let name = fields.next()?.to_owned();
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    Some(GroupEntry { name, gid, members })
}
