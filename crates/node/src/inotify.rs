//! Hears of changes of a file or folder.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify;
pub(crate) use rustix::fs::inotify::WatchFlags;
use tokio::io::unix::AsyncFd;

/// A watch (inotify(7)); it ends when it is dropped.
pub(crate) struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// Begins to listen.
    pub(crate) fn of(path: &Path, events: WatchFlags) -> std::io::Result<Self> {
        let inotify = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
        inotify::add_watch(&inotify, path, events)?;
        Ok(Self(crate::async_fd::watch(inotify)?))
    }

    /// Resolves when something has happened since it was asked last.
    pub(crate) async fn changed(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.0.readable().await?;
            let mut events = [0; 4096];
            match rustix::io::read(self.0.get_ref(), &mut events[..]) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
