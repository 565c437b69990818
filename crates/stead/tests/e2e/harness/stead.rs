//! Starts, restarts and ends a stead.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::PATIENCE;
use super::followed::Followed;

/// Which program speaks for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// stead's own words.
    Stead,
    /// The real kubectl.
    Kubectl,
}

impl Client {
    /// The clients that are on this machine: stead always, kubectl when it is on the PATH.
    pub(crate) fn all() -> Vec<Self> {
        let kubectl = Command::new("kubectl").args(["version", "--client"]).output();
        if kubectl.is_ok_and(|output| output.status.success()) {
            vec![Self::Stead, Self::Kubectl]
        } else {
            println!("kubectl is not on the PATH: only stead's own words are tried");
            vec![Self::Stead]
        }
    }
}

/// A running stead, with everything of its own. Dropping it removes every trace.
pub(crate) struct Stead {
    name: String,
    dir: PathBuf,
    flags: Vec<String>,
    client: Client,
    daemon: Option<Child>,
}

impl Stead {
    /// Starts a stead with the images that are named (`postgres`, `busybox`: files of `STEAD_IMAGES`).
    pub(crate) fn start(name: &str, images: &[&str]) -> Self {
        Self::start_with(name, images, &[])
    }

    /// The same, with more flags for `stead up`.
    pub(crate) fn start_with(name: &str, images: &[&str], flags: &[&str]) -> Self {
        let root = std::env::var_os("STEAD_TEST_ROOT").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = root.join(format!("{name}-{}", std::process::id()));
        let mut this = Self {
            name: name.to_owned(),
            dir,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            client: Client::Stead,
            daemon: None,
        };
        for image in images {
            this.import(image);
        }
        this.up();
        this
    }

    /// Lets `client` speak from now on.
    pub(crate) fn speaking(mut self, client: Client) -> Self {
        self.client = client;
        self
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The kubeconfig that stead wrote.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The pid of the running stead.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("stead runs").id()
    }

    fn import(&self, image: &str) {
        let images = std::env::var_os("STEAD_IMAGES").expect(
            "STEAD_IMAGES names the folder of the test images: run the tests with `cargo xtask test`",
        );
        let file = PathBuf::from(images).join(format!("{image}.tar"));
        let output = self.command().args(["image", "import"]).arg(&file).output().expect("stead runs");
        succeeded(&output, &format!("import of {}", file.display()));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
        command.arg("--data-dir").arg(&self.dir).env_remove("KUBECONFIG");
        command
    }

    /// Starts stead (again) and waits until it says that it is ready.
    pub(crate) fn up(&mut self) {
        assert!(self.daemon.is_none(), "stead runs already");
        // The port and ranges of the first start are kept: a restart finds its pods where they were.
        let mut tries = 0;
        loop {
            if !self.flags.iter().any(|flag| flag.starts_with("--listen=")) || tries > 0 {
                self.flags = choose(&self.flags, &self.name);
            }
            match self.try_up() {
                Ok(daemon) => {
                    self.daemon = Some(daemon);
                    return;
                }
                Err(words) => {
                    tries += 1;
                    // Another stead on this machine may have taken what was chosen.
                    assert!(tries < 10, "stead does not start: {words}");
                }
            }
        }
    }

    fn try_up(&self) -> Result<Child, String> {
        std::fs::create_dir_all(&self.dir).expect("a data directory");
        let log_path = self.dir.with_extension("log");
        let log = std::fs::File::options().create(true).append(true).open(&log_path).expect("a log file");
        let mut daemon = self
            .command()
            .arg("up")
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("stead runs");
        let mut line = String::new();
        let output = daemon.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut line).expect("stead's first line");
        if line.starts_with("ready ") {
            return Ok(daemon);
        }
        daemon.wait().expect("stead ended");
        Err(std::fs::read_to_string(&log_path).unwrap_or_default())
    }

    /// SIGKILL, as a crash would.
    pub(crate) fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("stead runs");
        daemon.kill().expect("a signal");
        daemon.wait().expect("stead ended");
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("stead runs");
        let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
        assert!(daemon.wait().expect("stead ended").success(), "stead ends in good order");
    }

    /// Stops stead and its pods; the state stays.
    pub(crate) fn down(&mut self) {
        self.stop();
        let output = self.command().arg("down").output().expect("stead runs");
        succeeded(&output, "down");
    }

    /// Runs a command line, split at blanks; single quotes hold words together. Answers with what it says.
    pub(crate) fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        succeeded(&output, line);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a command line that must fail. Answers with what it says on stderr.
    pub(crate) fn fails(&self, line: &str) -> String {
        let output = self.try_run(line);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success(), "`{line}` should fail, and said: {said}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Runs a command line and answers with all that came of it.
    pub(crate) fn try_run(&self, line: &str) -> Output {
        self.client(line).stdin(Stdio::null()).output().expect("the client runs")
    }

    /// The same, in the words of another client.
    pub(crate) fn try_run_as(&self, client: Client, line: &str) -> Output {
        self.client_of(client, line).stdin(Stdio::null()).output().expect("the client runs")
    }

    fn client(&self, line: &str) -> Command {
        self.client_of(self.client, line)
    }

    /// A command line of a client, to be run as the test likes.
    pub(crate) fn client_of(&self, client: Client, line: &str) -> Command {
        let mut command = match client {
            Client::Stead => self.command(),
            Client::Kubectl => {
                let mut command = Command::new("kubectl");
                command.env("KUBECONFIG", self.kubeconfig());
                command
            }
        };
        command.args(words(line));
        command
    }

    /// Runs a command line with something to read. Answers with all that came of it.
    pub(crate) fn feed(&self, line: &str, input: &str) -> Output {
        feed(&mut self.client(line), input)
    }

    /// Starts a command line that goes on (`-w`, `-f`), whose lines are read one after another.
    pub(crate) fn follow(&self, line: &str) -> Followed {
        Followed::new(line, self.client(line))
    }

    /// The messages of the events of an object (`pod/db-0`) with this reason, as they come.
    pub(crate) fn events(&self, what: &str, reason: &str) -> Followed {
        let name = what.split_once('/').map_or(what, |(_, name)| name);
        self.follow(&format!(
            r#"get events -w --field-selector involvedObject.name={name},reason={reason} -o jsonpath='{{.message}}{{"\n"}}'"#
        ))
    }

    /// The message of the first event of an object with this reason; waits for it.
    pub(crate) fn event(&self, what: &str, reason: &str) -> String {
        self.events(what, reason).line()
    }

    /// Applies a manifest given as text.
    pub(crate) fn apply(&self, manifest: &str) -> String {
        let output = self.feed("apply -f -", manifest);
        succeeded(&output, &format!("apply of {manifest}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Applies a manifest that must be refused. Answers with the refusal.
    pub(crate) fn refuses(&self, manifest: &str) -> String {
        let output = self.feed("apply -f -", manifest);
        assert!(!output.status.success(), "this should be refused: {manifest}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Applies a file of `examples/`.
    pub(crate) fn apply_example(&self, name: &str) -> String {
        self.run(&format!("apply -f '{}'", example(name).display()))
    }

    /// Waits for a condition, as `kubectl wait` does.
    pub(crate) fn wait(&self, condition: &str, what: &str) {
        self.run(&format!("wait --for={condition} {what} --timeout={PATIENCE}s"));
    }

    /// A field of an object.
    pub(crate) fn field(&self, what: &str, path: &str) -> String {
        self.run(&format!("get {what} -o jsonpath='{{{path}}}'"))
    }

    /// Runs a shell script in a container.
    pub(crate) fn shell(&self, pod: &str, script: &str) -> String {
        assert!(!script.contains('\''), "scripts are quoted with single quotes");
        self.run(&format!("exec {pod} -- sh -c '{script}'"))
    }
}

impl Stead {
    /// For whoever reads a failure: the pods, the events and the containers' last words.
    fn tell_what_is_there(&self) {
        let said = |line: &str| {
            let output = self.command().args(words(line)).output();
            output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default()
        };
        for line in ["get pods -A -o wide", "get events -A"] {
            eprintln!("--- stead {line}\n{}", said(line));
        }
        for pod in said("get pods -o name").lines() {
            for line in [format!("logs {pod} --tail=10"), format!("logs {pod} --tail=10 --previous")] {
                eprintln!("--- stead {line}\n{}", said(&line));
            }
        }
    }
}

impl Drop for Stead {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell_what_is_there();
        }
        let down = self.command().args(["down", "--purge", "--yes"]).output();
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let log = self.dir.with_extension("log");
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let from = text.len().saturating_sub(6000);
            let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            eprintln!("--- the end of {}'s log:\n{}", self.name, &text[from..]);
        }
        let _ = std::fs::remove_file(&log);
        match down {
            Ok(output) if output.status.success() => {}
            other if std::thread::panicking() => eprintln!("stead down: {other:?}"),
            Ok(output) => panic!("stead down: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => panic!("stead down: {error}"),
        }
    }
}

/// A file of `examples/`.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name)
}

/// Free ports and ranges for one instance.
fn choose(given: &[String], name: &str) -> Vec<String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
    let (high, low) = (port / 256, port % 256);
    let mut flags = vec![format!("--listen=127.0.0.1:{port}")];
    let defaults = [
        ("--node-name", name.replace('_', "-")),
        // 10.64.0.0 to 10.127.255.0, by port: two instances seldom meet, and when they do stead refuses.
        ("--pod-cidr", format!("10.{}.{low}.0/24", 64 + high % 64)),
        ("--service-cidr", format!("10.{}.{low}.0/24", 128 + high % 64)),
    ];
    let chosen = |flag: &str| ["--listen", "--node-name", "--pod-cidr", "--service-cidr"].contains(&flag);
    for (flag, value) in defaults {
        flags.push(format!("{flag}={value}"));
    }
    let rest = given.iter().filter(|flag| !chosen(flag.split('=').next().unwrap_or_default()));
    flags.extend(rest.cloned());
    flags
}

/// Runs a program with something to read.
pub(super) fn feed(program: &mut Command, input: &str) -> Output {
    let pipes = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the client runs");
    // It may have ended without reading; what it says tells why.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the client ends")
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for letter in line.chars() {
        match letter {
            '\'' => {
                quoted = !quoted;
                begun = true;
            }
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(letter);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

pub(super) fn succeeded(output: &Output, what: &str) {
    assert!(
        output.status.success(),
        "`{what}` failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
