//! A server of its own for each test, and commands as a user types them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use apimachinery::inject::{Clock, Random};
use apimachinery::status::Status;
use apiserver::node_streams::{ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams};
use apiserver::pki::Pki;
use apiserver::{ApiServer, Config};
use async_trait::async_trait;
use clap::Parser;
use futures::{FutureExt, StreamExt, stream};
use jiff::Timestamp;
use tokio::sync::{Notify, oneshot};

use crate::session::Out;
use crate::{Command, Connection, verbs};

#[derive(Parser)]
#[command(name = "stead")]
struct Words {
    #[command(flatten)]
    connection: Connection,
    #[command(subcommand)]
    command: Command,
}

/// A server with nothing in it, gone when this is dropped.
pub(super) struct Stead {
    dir: tempfile::TempDir,
    /// Dropping it ends the server.
    _stop: oneshot::Sender<()>,
}

/// What a command did.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ran {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) code: u8,
}

#[derive(Clone, Default)]
pub(super) struct Buffer {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Told at each write.
    written: Arc<Notify>,
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().expect("nobody panicked").extend_from_slice(bytes);
        self.written.notify_one();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panicked")).into_owned()
    }

    /// Waits until this text was written; tells all that was.
    pub(super) async fn until(&self, wanted: &str) -> String {
        loop {
            let text = self.text();
            if text.contains(wanted) {
                return text;
            }
            self.written.notified().await;
        }
    }
}

impl Stead {
    pub(super) async fn start() -> Self {
        // Fails when another test of this process was first: then there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a directory");
        let api = ApiServer::new(Config {
            store: Arc::new(store::Memory::new()),
            service_cidr: "10.43.0.0/16".to_owned(),
            streams: Arc::new(Echo),
            tokens: Arc::new(apiserver::TokenKey::generate().expect("a key")),
            clock: Clock::new(Timestamp::now),
            random: Random::seeded(1),
        });
        api.bootstrap().await.expect("bootstrapped");
        let listener = apiserver::bind("127.0.0.1:0".parse().expect("an address")).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let pki =
            Pki::load_or_create(&dir.path().join("pki"), &[address.ip().to_string()]).expect("certificates");
        let kubeconfig = pki.kubeconfig(&format!("https://{address}"), "stead");
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig).expect("written");
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            api.serve(listener, &pki, stopped.map(drop)).await;
        });
        Self { dir, _stop: stop }
    }

    /// Runs a command line.
    pub(super) async fn run(&self, words: &[&str]) -> Ran {
        self.run_into(words, Buffer::default()).await
    }

    /// Does something while a command runs that does not end by itself; the command prints into `out`.
    pub(super) async fn during(&self, words: &[&str], out: &Buffer, script: impl Future<Output = ()>) {
        tokio::select! {
            ran = self.run_into(words, out.clone()) => panic!("{words:?} ended: {ran:?}"),
            () = script => {}
        }
    }

    async fn run_into(&self, words: &[&str], out: Buffer) -> Ran {
        let err = Buffer::default();
        let dir = self.dir.path().display().to_string();
        let line = ["stead", "--data-dir", &dir].into_iter().chain(words.iter().copied());
        let words = Words::try_parse_from(line).unwrap_or_else(|e| panic!("{e}"));
        let session = words.connection.open(Out::new(out.clone()), Out::new(err.clone())).await;
        let mut code = 0;
        if let Err(error) = verbs::run(words.command, session).await {
            code = error.exit_code();
            if !matches!(error, crate::error::Error::Exit(_)) {
                writeln!(err.clone(), "{error}").expect("written");
            }
        }
        Ran { out: out.text(), err: err.text(), code }
    }

    /// Runs a line of words parted by spaces that shall succeed; tells what it printed.
    pub(super) async fn ok(&self, line: &str) -> String {
        let ran = self.run(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran.out
    }

    /// Runs a line of words that shall fail; tells what it said.
    pub(super) async fn fails(&self, line: &str) -> String {
        let ran = self.run(&line.split(' ').collect::<Vec<_>>()).await;
        assert_ne!(ran.code, 0, "{line}: {ran:?}");
        ran.err
    }

    /// A manifest in a file; tells its path.
    pub(super) fn manifest(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A node whose containers say what they are asked.
struct Echo;

#[async_trait]
impl NodeStreams for Echo {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status> {
        let line = format!("{} of {} tail {:?}\n", container.container, container.pod, options.tail_lines);
        Ok(stream::iter([Ok(line.into())]).boxed())
    }

    /// Prints the command; `exit N` ends with N.
    async fn exec(&self, _: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status> {
        let said = format!("{}\n", options.command.join(" "));
        let code = match options.command.as_slice() {
            [exit, code] if exit == "exit" => code.parse().expect("a number"),
            _ => 0,
        };
        Ok(ExecSession {
            stdin: None,
            stdout: Some(Box::pin(io::Cursor::new(said))),
            stderr: Some(Box::pin(io::Cursor::new("to stderr\n"))),
            resize: None,
            exit: std::future::ready(Ok(code)).boxed(),
        })
    }
}
