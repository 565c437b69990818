//! Reads the logs of containers: CRI's format, tail, since, follow (`pkg/kubelet/kuberuntime/logs`).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::inotify::{Watch, WatchFlags};

/// How much is read from the file at a time, in bytes.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for a slow client; reading stops while they do.
const CHUNKS_WAITING: usize = 8;

/// What a reader wakes for: more text, and that the file has lost its name to a new one because it is full.
const WRITTEN: WatchFlags = WatchFlags::MODIFY.union(WatchFlags::ATTRIB);

/// Which lines, and how (`core/v1.PodLogOptions`).
#[derive(Clone, Debug, Default)]
pub struct LogQuery {
    /// Stay for lines yet to come, until the container has ended.
    pub follow: bool,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Only what went to this stream.
    pub stream: Option<LogStream>,
}

/// One of a container's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// As the file names it.
    fn name(self) -> &'static [u8] {
        match self {
            Self::Stdout => b"stdout",
            Self::Stderr => b"stderr",
        }
    }
}

/// The lines of the log at `path`. `ended` resolves when the container writes no more.
pub(crate) fn read(
    path: PathBuf,
    query: LogQuery,
    ended: impl Future<Output = ()> + Send + 'static,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let (sender, mut receiver) = mpsc::channel(CHUNKS_WAITING);
    tokio::spawn(async move {
        if let Err(error) = pump(&path, &query, ended, &sender).await {
            // A client that has gone is no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    Box::pin(futures::stream::poll_fn(move |context| receiver.poll_recv(context)))
}

async fn pump(
    path: &Path,
    query: &LogQuery,
    ended: impl Future<Output = ()> + Send,
    sender: &mpsc::Sender<std::io::Result<Bytes>>,
) -> std::io::Result<()> {
    tokio::pin!(ended);
    let mut last_round = false;
    let (mut file, mut watch) = open(path, query.follow).await?;
    let mut next = None;
    let mut lines = Lines::new(query);
    if let Some(tail) = query.tail_lines {
        skip_to_tail(&mut file, tail).await?;
    }
    let mut buffer = vec![0; CHUNK];
    loop {
        loop {
            let count = file.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            let out = lines.take(&buffer[..count]);
            if !out.is_empty() && sender.send(Ok(out.into())).await.is_err() {
                return Ok(());
            }
            if lines.is_full() {
                return Ok(());
            }
        }
        if let Some(fresh) = next.take() {
            (file, watch) = fresh;
            continue;
        }
        if watch.is_some() {
            next = successor(path, &file).await?;
            if next.is_some() {
                // To the end once more: from now on nothing is added to it.
                continue;
            }
        }
        match &watch {
            // Everything is in the file when the end is told: one more round finds it.
            Some(watch) if !last_round => tokio::select! {
                changed = watch.changed() => changed?,
                () = &mut ended => last_round = true,
                () = sender.closed() => return Ok(()),
            },
            _ => return Ok(()),
        }
    }
}

/// A file, and what tells of changes of it when somebody waits for them.
type Source = (tokio::fs::File, Option<Watch>);

/// Opens a file, and then watches it. What is added in between is read all the same. When it is moved aside in
/// between, the watch is of its successor, which is found at its end; a watch that came first would be of a file
/// to which nothing is added any more.
async fn open(path: &Path, watched: bool) -> std::io::Result<Source> {
    let file = tokio::fs::File::open(path).await?;
    let watch = if watched { Some(Watch::of(path, WRITTEN)?) } else { None };
    Ok((file, watch))
}

/// The file that was begun after `file`, which was read to its end, was full and moved aside.
async fn successor(path: &Path, file: &tokio::fs::File) -> std::io::Result<Option<Source>> {
    let identity = |meta: &Metadata| (meta.dev(), meta.ino());
    match tokio::fs::metadata(path).await {
        Ok(now) if identity(&now) != identity(&file.metadata().await?) => open(path, true).await.map(Some),
        Ok(_) => Ok(None),
        // Removed with its pod.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts the file's position where its last `tail` whole entries begin.
async fn skip_to_tail(file: &mut tokio::fs::File, tail: u64) -> std::io::Result<()> {
    use tokio::io::AsyncSeekExt;
    let mut end = file.seek(std::io::SeekFrom::End(0)).await?;
    if tail == 0 {
        return Ok(());
    }
    let mut newlines = 0;
    let mut buffer = vec![0; CHUNK];
    while end > 0 {
        let size = end.min(CHUNK as u64);
        file.seek(std::io::SeekFrom::Start(end - size)).await?;
        let chunk = &mut buffer[..usize::try_from(size).unwrap_or(CHUNK)];
        file.read_exact(chunk).await?;
        for (index, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            newlines += 1;
            // The newline before the first of the lines wanted.
            if newlines > tail {
                let start = end - size + index as u64 + 1;
                file.seek(std::io::SeekFrom::Start(start)).await?;
                return Ok(());
            }
        }
        end -= size;
    }
    file.seek(std::io::SeekFrom::Start(0)).await?;
    Ok(())
}

/// Turns the file's bytes into what a client sees.
struct Lines<'a> {
    query: &'a LogQuery,
    rest: Vec<u8>,
    left: Option<u64>,
    /// Inside a line that was written in parts: its time was printed already.
    continued: bool,
}

impl<'a> Lines<'a> {
    fn new(query: &'a LogQuery) -> Self {
        Self { query, rest: Vec::new(), left: query.limit_bytes, continued: false }
    }

    fn is_full(&self) -> bool {
        self.left == Some(0)
    }

    fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut out = Vec::new();
        let held = std::mem::take(&mut self.rest);
        let mut rest = held.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.entry(&rest[..end], &mut out);
            rest = &rest[end + 1..];
        }
        self.rest = rest.to_vec();
        if let Some(left) = &mut self.left {
            out.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= out.len() as u64;
        }
        out
    }

    /// `<time> <stream> <F|P> <text>`; P is a part of a line, with no newline of its own.
    fn entry(&mut self, entry: &[u8], out: &mut Vec<u8>) {
        let mut fields = entry.splitn(4, |byte| *byte == b' ');
        let (Some(time), Some(stream), Some(tag), Some(text)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        if self.query.stream.is_some_and(|wanted| wanted.name() != stream) {
            return;
        }
        let time = String::from_utf8_lossy(time);
        if let Some(since) = self.query.since
            && time.parse::<Timestamp>().is_ok_and(|at| at < since)
        {
            return;
        }
        if self.query.timestamps && !self.continued {
            out.extend_from_slice(time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(text);
        self.continued = tag.starts_with(b"P");
        if !self.continued {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000001Z stdout F one\n\
                       2026-01-01T00:00:02.000000001Z stdout P tw\n\
                       2026-01-01T00:00:02.000000002Z stdout F o\n\
                       2026-01-01T00:00:03.000000001Z stderr F three\n";

    async fn text(query: LogQuery) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let chunks: Vec<Bytes> = read(path, query, async {}).try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn lines_come_as_they_were_printed() {
        assert_eq!(text(LogQuery::default()).await, "one\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn tail_since_timestamps_and_limit_pick_lines() {
        let tail = LogQuery { tail_lines: Some(1), ..LogQuery::default() };
        assert_eq!(text(tail).await, "three\n");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(text(LogQuery { since, ..LogQuery::default() }).await, "three\n");
        let stamped = LogQuery { timestamps: true, tail_lines: Some(1), ..LogQuery::default() };
        assert_eq!(text(stamped).await, "2026-01-01T00:00:03.000000001Z three\n");
        assert_eq!(text(LogQuery { limit_bytes: Some(5), ..LogQuery::default() }).await, "one\nt");
        let stream = Some(LogStream::Stderr);
        assert_eq!(text(LogQuery { stream, ..LogQuery::default() }).await, "three\n");
    }

    #[tokio::test]
    async fn following_sees_what_is_written_later_and_ends_with_the_container() {
        use std::io::Write;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (over, ended) = tokio::sync::oneshot::channel::<()>();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut stream = read(path.clone(), query, async { ended.await.unwrap() });
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "one\ntwo\nthree\n");
        let mut file = std::fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"2026-01-01T00:00:04Z stdout F four\n").unwrap();
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "four\n");
        file.write_all(b"2026-01-01T00:00:05Z stdout F five\n").unwrap();
        over.send(()).unwrap();
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "five\n");
        assert!(stream.try_next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn following_goes_on_in_the_file_that_comes_after_a_full_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, LOG).unwrap();
        let (over, ended) = tokio::sync::oneshot::channel::<()>();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut stream = read(path.clone(), query, async { ended.await.unwrap() });
        assert_eq!(stream.try_next().await.unwrap().unwrap(), "one\ntwo\nthree\n");
        for text in ["four", "five"] {
            // As the shim does it: the full one gets another name, and a new one its own.
            let _ = std::fs::remove_file(dir.path().join("0.log.1"));
            std::fs::hard_link(&path, dir.path().join("0.log.1")).unwrap();
            std::fs::write(dir.path().join("new"), format!("2026-01-01T00:00:04Z stdout F {text}\n"))
                .unwrap();
            std::fs::rename(dir.path().join("new"), &path).unwrap();
            assert_eq!(stream.try_next().await.unwrap().unwrap(), format!("{text}\n"));
        }
        over.send(()).unwrap();
        assert!(stream.try_next().await.unwrap().is_none());
    }
}
