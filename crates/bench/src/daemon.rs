//! A stead of our own: started, asked for a client, and taken down whatever happens.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::io::{AsyncBufReadExt, BufReader};

/// How long a stead may take to say that it is ready.
const PATIENCE: Duration = Duration::from_secs(30);

/// A copy of the binary that is measured, an image, and a place for data.
pub(crate) struct Place {
    stead: PathBuf,
    busybox: PathBuf,
    work: PathBuf,
}

impl Place {
    /// Checks that everything is there.
    pub(crate) fn new(stead: &Path, images: &Path, work: &Path) -> Result<Self> {
        let stead = stead.canonicalize().with_context(|| {
            format!("no stead at {}: build it with `cargo build --release -p stead`", stead.display())
        })?;
        let busybox = images.join("busybox.tar");
        let busybox = busybox.canonicalize().with_context(|| {
            format!("no image at {}: make it with `cargo xtask images`", busybox.display())
        })?;
        std::fs::create_dir_all(work).with_context(|| format!("cannot make {}", work.display()))?;
        let work = work.canonicalize()?;
        // A copy that nobody else runs: shared pages are divided among those who share them, and other steads
        // would take their part off our count.
        let own = work.join(format!("stead-{}", std::process::id()));
        std::fs::copy(&stead, &own).with_context(|| format!("cannot write {}", own.display()))?;
        Ok(Self { stead: own, busybox, work })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing depends on it being gone.
        let _ = std::fs::remove_file(&self.stead);
    }
}

/// One stead with a data directory of its own. Dropping it takes it down with everything it made.
pub(crate) struct Daemon {
    stead: PathBuf,
    dir: PathBuf,
    log: PathBuf,
    process: Option<tokio::process::Child>,
    ended: bool,
}

impl Daemon {
    /// Makes a new data directory that has the images and nothing else.
    pub(crate) fn prepare(place: &Place, name: &str) -> Result<Self> {
        let dir = place.work.join(format!("{name}-{}", std::process::id()));
        let log = place.work.join(format!("{name}.log"));
        let daemon = Self { stead: place.stead.clone(), dir, log, process: None, ended: false };
        let imported = daemon.command(&["image", "import"]).arg(&place.busybox).output();
        let imported = imported.with_context(|| format!("cannot run {}", place.stead.display()))?;
        ensure!(
            imported.status.success(),
            "importing {}: {}",
            place.busybox.display(),
            String::from_utf8_lossy(&imported.stderr)
        );
        // The first stead must not pay for writing back what the import has left to the kernel.
        nix::unistd::sync();
        Ok(daemon)
    }

    /// Starts it with a node and waits until it says that it is ready; answers how long that took.
    pub(crate) async fn start(&mut self, env: &[(&str, &str)]) -> Result<Duration> {
        self.start_with(&["--node-name", "bench"], env).await
    }

    /// The same with flags of its own.
    pub(crate) async fn start_with(&mut self, flags: &[&str], env: &[(&str, &str)]) -> Result<Duration> {
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let (pods, services) = cidrs();
        // The kernel picks a free port; stead tells it in its first line and in its kubeconfig.
        let words = ["up", "--listen", "127.0.0.1:0", "--pod-cidr", &pods, "--service-cidr", &services];
        let mut command = tokio::process::Command::from(self.command(&words));
        command.args(flags).envs(env.iter().copied());
        // A terminal's Ctrl-C is for us: we take it down in order.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).process_group(0);
        let start = Instant::now();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.stead.display()))?;
        let output = child.stdout.take().context("no pipe to stead")?;
        self.process = Some(child);
        let mut lines = BufReader::new(output).lines();
        let line =
            tokio::time::timeout(PATIENCE, lines.next_line()).await.context("stead is not ready")??;
        match line {
            Some(line) if line.starts_with("ready") => Ok(start.elapsed()),
            _ => bail!("stead did not start; it wrote: {}", self.log_text()),
        }
    }

    /// A client with one connection of its own, with the administrator's certificate.
    pub(crate) async fn client(&self) -> Result<Client> {
        Ok(Client::try_from(self.config().await?)?)
    }

    /// What a client of this stead needs to know.
    pub(crate) async fn config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.dir.join("kubeconfig"))?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// The process of stead itself.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.process.as_ref().and_then(tokio::process::Child::id).context("stead does not run")
    }

    /// The data directory: it stands in the command line of each shim.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What stead has logged so far.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Takes it down, with its pods, state and volumes.
    pub(crate) fn end(mut self) -> Result<()> {
        self.tear_down()
    }

    fn tear_down(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.ended, true) || !self.dir.exists() {
            return Ok(());
        }
        let down = self.command(&["down", "--purge", "--yes"]).output().context("cannot run stead down")?;
        ensure!(down.status.success(), "stead down: {}", String::from_utf8_lossy(&down.stderr));
        Ok(())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.stead);
        command.arg("--data-dir").arg(&self.dir).args(words);
        command
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.tear_down() {
            eprintln!("bench: {} is left behind: {error:#}", self.dir.display());
        }
    }
}

/// Ranges that other steads on the machine hardly use: by our process, in the upper half of 10.0.0.0/8.
fn cidrs() -> (String, String) {
    let block = 128 + std::process::id() % 60 * 2;
    (format!("10.{block}.0.0/16"), format!("10.{}.0.0/16", block + 1))
}
