//! Hosts and pods made of real network namespaces, one thread each: nothing of the machine's own network is
//! touched, and what a test leaves behind goes with its threads.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

/// Long enough for a busy machine; nothing waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own.
pub(crate) struct Namespace {
    pub(crate) tid: u32,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Namespace {
    pub(crate) fn new() -> Namespace {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (told, tid) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("tests need root");
            ip("link set lo up");
            told.send(nix::unistd::gettid().as_raw().unsigned_abs()).unwrap();
            for job in inbox {
                job();
            }
        });
        Namespace { tid: tid.recv().unwrap(), jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs something inside and waits for it; a panic inside is a panic here.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (sender, result) = mpsc::channel();
        let job = Box::new(move || {
            let _ = sender.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
        });
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().unwrap().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Answers each connection with the address that it came from, or with `banner`.
    pub(crate) fn serve(&self, port: u16, banner: Option<String>) {
        self.run(move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    let from = stream.peer_addr().unwrap().ip().to_string();
                    let _ = stream.write_all(banner.as_ref().unwrap_or(&from).as_bytes());
                }
            });
        });
    }

    /// What the server at this address says.
    pub(crate) fn ask(&self, ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.run(move || ask(ip, port))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// What the server at this address says to the calling thread's namespace.
pub(crate) fn ask(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((ip, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Runs `ip` in the calling thread's namespace; answers with what it printed.
pub(crate) fn ip(args: &str) -> String {
    let output = Command::new("ip").args(args.split(' ')).output().expect("tests need iproute2");
    assert!(output.status.success(), "ip {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a test on a host of its own.
pub(crate) fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let host = Namespace::new();
    host.run(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}
