//! A container's output, into a file of CRI's format: `<RFC3339Nano> <stream> <F|P> <text>`.
//!
//! Source: kubernetes design proposal `kubelet-cri-logging.md`; containerd `internal/cri/io/logger.go`.
//!
//! A file that is full is moved aside, to `<file>.1`, that one to `<file>.2`, and so on, and a new one begun: what a
//! container says takes at most [`FILES`] such files, however long it runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// The longest text in one line of the file; what is longer is split, all pieces but the last marked `P`.
const LINE_LIMIT: usize = 16 << 10;

/// How large a file may become, in bytes: the kubelet's default for `containerLogMaxSize`.
const SIZE_LIMIT: u64 = 10 << 20;

/// How many files there are at most: the kubelet's default for `containerLogMaxFiles`.
const FILES: u32 = 5;

/// How much is read from a pipe at once.
const READ_SIZE: usize = 64 << 10;

/// Where one container's output goes.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Bytes in the file.
    size: u64,
    size_limit: u64,
    streams: Vec<Stream>,
}

struct Stream {
    fd: OwnedFd,
    name: &'static str,
    line: Vec<u8>,
}

impl Log {
    /// Opens (or goes on with) the file at `path`.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, size_limit: SIZE_LIMIT, streams: Vec::new() })
    }

    /// Logs what comes out of `fd`, which does not block, as `name`.
    pub(super) fn add(&mut self, name: &'static str, fd: OwnedFd) {
        self.streams.push(Stream { fd, name, line: Vec::new() });
    }

    /// What to wait for, by the streams' names.
    pub(super) fn fds(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.streams.iter().map(|s| (s.name, s.fd.as_fd()))
    }

    /// Takes what is there, and gives it to `tee` too, by the stream's name. With `last`, whatever was begun is
    /// finished and all streams end: for when nobody is left to write.
    pub(super) fn read(&mut self, last: bool, tee: &mut dyn FnMut(&'static str, &[u8])) {
        let mut buffer = vec![0; READ_SIZE];
        let mut out = Vec::new();
        self.streams.retain_mut(|stream| {
            loop {
                match rustix::io::read(&stream.fd, &mut buffer) {
                    Ok(0) => break,
                    Ok(n) => {
                        tee(stream.name, &buffer[..n]);
                        format_lines(
                            &mut out,
                            &Timestamp::now(),
                            stream.name,
                            &mut stream.line,
                            &buffer[..n],
                        );
                        if last {
                            continue;
                        }
                        return true;
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) if !last => return true,
                    // EIO is how a terminal says that its last user is gone.
                    Err(_) => break,
                }
            }
            if !stream.line.is_empty() {
                write_line(&mut out, &Timestamp::now(), stream.name, false, &stream.line);
            }
            false
        });
        self.write(&out);
    }

    fn write(&mut self, out: &[u8]) {
        let len = out.len() as u64;
        if self.size > 0 && self.size + len > self.size_limit {
            self.rotate();
        }
        // A full disk must not stop the container: what cannot be written is lost.
        if self.file.write_all(out).is_ok() {
            self.size += len;
        }
    }

    /// Begins a new file. If that is not possible, the old one goes on, and it is tried again with the next line.
    fn rotate(&mut self) {
        if let Ok(file) = begin_anew(&self.path) {
            (self.file, self.size) = (file, 0);
        }
    }
}

/// Puts a new file in the place of a full one. There is one at any time: a reader who hears that the old one has
/// another name (IN_ATTRIB) finds the new one.
fn begin_anew(path: &Path) -> io::Result<File> {
    let there = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let (asides, fresh) = (moved_aside(path), beside(path, "new"));
    there(std::fs::remove_file(&fresh))?;
    let file = open(&fresh)?;
    // The oldest goes, each other one takes the next place, and the first place is free.
    for places in asides.windows(2).rev() {
        there(std::fs::rename(&places[0], &places[1]))?;
    }
    std::fs::hard_link(path, &asides[0])?;
    std::fs::rename(&fresh, path)?;
    Ok(file)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Where a log goes when it is full, the youngest first. There are none before that.
pub fn moved_aside(log: &Path) -> Vec<PathBuf> {
    (1..FILES).map(|number| beside(log, &number.to_string())).collect()
}

/// `<path>.<more>`.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(more);
    name.into()
}

/// Appends `text` to what `line` has begun, and writes out whatever is complete.
fn format_lines(out: &mut Vec<u8>, now: &Timestamp, stream: &str, line: &mut Vec<u8>, text: &[u8]) {
    for piece in text.split_inclusive(|b| *b == b'\n') {
        let (piece, complete) = match piece.strip_suffix(b"\n") {
            Some(piece) => (piece, true),
            None => (piece, false),
        };
        line.extend_from_slice(piece);
        let mut rest = line.as_slice();
        while rest.len() > LINE_LIMIT {
            let (part, more) = rest.split_at(LINE_LIMIT);
            write_line(out, now, stream, false, part);
            rest = more;
        }
        if complete {
            write_line(out, now, stream, true, rest);
            line.clear();
        } else {
            let done = line.len() - rest.len();
            line.drain(..done);
        }
    }
}

fn write_line(out: &mut Vec<u8>, now: &Timestamp, stream: &str, full: bool, text: &[u8]) {
    let tag = if full { 'F' } else { 'P' };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{now:.9} {stream} {tag} ");
    out.extend_from_slice(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(chunks: &[&[u8]]) -> (String, Vec<u8>) {
        let now: Timestamp = "2016-10-06T00:17:09.6697Z".parse().unwrap();
        let (mut out, mut line) = (Vec::new(), Vec::new());
        for chunk in chunks {
            format_lines(&mut out, &now, "stdout", &mut line, chunk);
        }
        (String::from_utf8(out).unwrap(), line)
    }

    #[test]
    fn lines_are_stamped_and_unfinished_ones_wait() {
        let (out, line) = format(&[b"one\ntw", b"o\n\nthr"]);
        assert_eq!(
            out,
            "2016-10-06T00:17:09.669700000Z stdout F one\n\
             2016-10-06T00:17:09.669700000Z stdout F two\n\
             2016-10-06T00:17:09.669700000Z stdout F \n"
        );
        assert_eq!(line, b"thr");
    }

    #[test]
    fn a_long_line_is_split_at_16_kib() {
        let long = [b'x'; 2 * LINE_LIMIT + 1];
        let (out, line) = format(&[&long, b"y\n"]);
        let shape: Vec<_> = out.lines().map(|l| (&l[38..39], l.len() - 40)).collect();
        assert_eq!(shape, [("P", LINE_LIMIT), ("P", LINE_LIMIT), ("F", 2)]);
        assert!(line.is_empty());
    }

    #[test]
    fn what_ends_without_a_newline_is_marked_partial() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let (from, to) = rustix::pipe::pipe().unwrap();
        let mut log = Log::open(&path).unwrap();
        log.add("stderr", from);
        rustix::io::write(&to, b"no newline").unwrap();
        drop(to);
        let mut heard = Vec::new();
        log.read(true, &mut |name, bytes| heard.push((name, bytes.to_vec())));
        assert_eq!(heard, [("stderr", b"no newline".to_vec())]);
        assert_eq!(log.fds().count(), 0);
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.ends_with(" stderr P no newline\n"), "{text}");
    }

    #[test]
    fn full_files_are_moved_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let mut log = Log::open(&path).unwrap();
        log.size_limit = 10;
        log.write(b"one two three\n");
        assert_eq!(text(&path), "one two three\n", "a line is never torn, however long");
        log.write(b"four\n");
        log.write(b"five\n");
        let all = || -> Vec<String> {
            let files = std::iter::once(path.clone()).chain(moved_aside(&path));
            files.filter(|file| file.exists()).map(|file| text(&file)).collect()
        };
        assert_eq!(all(), ["four\nfive\n", "one two three\n"]);
        // Also by a shim that goes on with a file that it found.
        let mut log = Log::open(&path).unwrap();
        log.size_limit = 10;
        log.write(b"six\n");
        assert_eq!(all(), ["six\n", "four\nfive\n", "one two three\n"]);
        for line in ["line seven\n", "line eight\n", "line nine\n"] {
            log.write(line.as_bytes());
        }
        assert_eq!(all(), ["line nine\n", "line eight\n", "line seven\n", "six\n", "four\nfive\n"]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 5);
    }

    #[test]
    fn what_cannot_be_moved_aside_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        log.size_limit = 10;
        log.write(b"one two three\n");
        // A folder that is not empty is in the way.
        let place = &moved_aside(&path)[3];
        std::fs::write(&moved_aside(&path)[2], "").unwrap();
        std::fs::create_dir_all(place.join("mine")).unwrap();
        log.write(b"four\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two three\nfour\n");
        std::fs::remove_dir_all(place).unwrap();
        log.write(b"five\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "five\n");
    }
}
