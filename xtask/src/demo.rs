//! `cargo xtask demo`: from a fresh machine to three PostgreSQL servers, told as it happens.

mod images;
mod place;
mod progress;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::instance::Instance;
use crate::setup::{self, C_COMPILER};
use crate::{cargo, root, shell, sweep};
use progress::Progress;

/// What a user would apply, in this order.
const MANIFESTS: [&str; 3] = ["postgres-secret.yaml", "fast-ssd.yaml", "postgres.yaml"];
const REPLICAS: usize = 3;
/// How long the servers may take to come up.
const PATIENCE: Duration = Duration::from_secs(180);

/// The command line of `cargo xtask demo`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop it all and remove every trace; the images that were built stay in target/images
    #[arg(long)]
    down: bool,
    /// Build the images here even when a registry is in reach
    #[arg(long)]
    local_images: bool,
    /// Run this stead instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where stead keeps the demo's state and volumes
    #[arg(long, value_name = "DIR", default_value = "target/demo")]
    data_dir: PathBuf,
}

/// Starts the demo, or goes on with the one that runs; or ends it.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::need_root("cargo xtask demo")?;
    let data = root().join(&args.data_dir);
    let built = || root().join("target/release/stead");
    let stead = Stead { program: args.program.clone().unwrap_or_else(built), data };
    if args.down {
        return stead.down();
    }
    if args.program.is_none() {
        setup::ensure(&[C_COMPILER])?;
        println!("building stead (some minutes, the first time)");
        build()?;
    }
    images::ensure(&stead, args.local_images)?;
    stead.up()?;
    stead.bring_up()?;
    stead.show()?;
    stead.say_what_next();
    Ok(())
}

fn build() -> Result<()> {
    shell::run(cargo().args(["build", "--release", "--locked", "--package", "stead"]))
}

/// The command that plays the demo for `cargo xtask test` with the stead `program`, and with everything of its
/// own in `data`; and the one that ends it.
pub(crate) fn rehearsal(program: &Path, data: &Path) -> Result<[Command; 2]> {
    let xtask = std::env::current_exe().context("where is this program?")?;
    Ok(["--local-images", "--down"].map(|last| {
        let mut command = Command::new(&xtask);
        command.args(["demo", "--program"]).arg(program).arg("--data-dir").arg(data).arg(last);
        command
    }))
}

/// The program, and the instance that the demo runs.
struct Stead {
    program: PathBuf,
    data: PathBuf,
}

impl Stead {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // In front: what follows `--` is not for stead.
        command.arg("--data-dir").arg(&self.data).args(words).current_dir(root()).stdin(Stdio::null());
        command
    }

    fn up(&self) -> Result<()> {
        if self.data.exists() && Instance::at(&self.data)?.is_up() {
            println!("stead runs already");
            return Ok(());
        }
        let flags = place::flags(&self.data)?;
        let mut words = vec!["up", "--detach"];
        words.extend(flags.iter().map(String::as_str));
        println!("$ stead {}", words.join(" "));
        shell::run(&mut self.command(&words))
    }

    /// Applies the manifests and follows the pods until all of them are ready.
    fn bring_up(&self) -> Result<()> {
        let mut watch = Watch::start(self)?;
        let files: Vec<String> = MANIFESTS.iter().map(|name| format!("examples/{name}")).collect();
        let mut words = vec!["apply"];
        files.iter().for_each(|file| words.extend(["-f", file]));
        println!("\n$ stead {}", words.join(" "));
        let start = Instant::now();
        shell::run(&mut self.command(&words))?;
        println!("\nthe pods come up, each after the one before it is ready:");
        let mut progress = Progress::default();
        while progress.ready() < REPLICAS {
            match watch.lines.recv_timeout(PATIENCE.saturating_sub(start.elapsed())) {
                Ok((at, line)) => {
                    for event in progress.read(&line) {
                        println!("  {:>7.2} s  {event}", at.saturating_duration_since(start).as_secs_f64());
                    }
                }
                Err(reason) => return Err(self.what_is_wrong(reason)),
            }
        }
        watch.end()
    }

    fn what_is_wrong(&self, reason: RecvTimeoutError) -> anyhow::Error {
        let why = shell::output(&mut self.command(&["why", "statefulset/postgres"]));
        let why = why.unwrap_or_else(|error| format!("{error:#}"));
        let what = match reason {
            RecvTimeoutError::Timeout => format!("not all pods are ready after {} s", PATIENCE.as_secs()),
            RecvTimeoutError::Disconnected => "the watch of pods ended".to_owned(),
        };
        anyhow::anyhow!("{what}\n{why}\nstead's log: {}", self.data.join("stead.log").display())
    }

    /// Shows what there is, and that it works: a row written over the network, by name.
    fn show(&self) -> Result<()> {
        println!("\n$ stead get pods,pvc");
        shell::run(&mut self.command(&["get", "pods,pvc"]))?;
        // Ready without a readiness probe means started; the first start makes the database first.
        let answers = "until pg_isready --quiet --host 127.0.0.1; do sleep 0.1; done";
        for ordinal in 0..REPLICAS {
            let pod = format!("postgres-{ordinal}");
            let limited = ["exec", &pod, "--", "timeout", "120", "bash", "-c", answers];
            shell::run(&mut self.command(&limited)).with_context(|| format!("{pod} does not answer"))?;
        }
        let write = r#"PGPASSWORD=$POSTGRES_PASSWORD psql --quiet -h postgres-0.database -U postgres \
    -c "create table if not exists visits (visitor inet default inet_client_addr(), at timestamptz default now())" \
    -c "insert into visits default values" -c "select * from visits""#;
        println!("\n$ stead exec postgres-2 -- bash -c '{write}'");
        shell::run(&mut self.command(&["exec", "postgres-2", "--", "bash", "-c", write]))
    }

    fn say_what_next(&self) {
        let programs = self.program.parent().unwrap_or(&self.program).display();
        let kubeconfig = self.data.join("kubeconfig");
        let kubeconfig = kubeconfig.display();
        println!(
            "\
stead runs on. Its kubeconfig: {kubeconfig}

Try next (with kubectl in place of stead, if you have it):

  export PATH={programs}:$PATH KUBECONFIG={kubeconfig}
  stead delete pod postgres-0 && stead get pods -w        # the same name, volume and rows come back
  stead scale statefulset postgres --replicas=5           # 3, then 4
  stead set image statefulset postgres postgres=postgres:15 && stead rollout status statefulset postgres
  stead apply -f examples/client-pod.yaml && stead wait pod app --for=condition=Ready
  stead exec app -- bash -c 'PGPASSWORD=swordfish psql -h $DB_PRIMARY_HOST -U postgres -c \"select * from visits\"'
  stead apply -f examples/mysql.yaml && stead why pod/mysql-0     # nobody made its Secret

  cargo xtask demo --down                                 # removes every trace"
        );
    }

    fn down(&self) -> Result<()> {
        if !self.data.exists() {
            println!("nothing is there: {} does not exist", self.data.display());
            return Ok(());
        }
        if !self.program.exists() {
            build()?;
        }
        let instance = Instance::at(&self.data)?;
        println!("stopping the demo and removing {}", self.data.display());
        sweep::purge(&self.program, &self.data)?;
        let left = instance.traces()?;
        if self.data.exists() || !left.is_empty() {
            bail!("this is left of the demo in {}:\n  {}", self.data.display(), left.join("\n  "));
        }
        println!("no trace of the demo is left; built images stay in target/images");
        Ok(())
    }
}

/// `stead get pods --watch`, line by line.
struct Watch {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Watch {
    fn start(stead: &Stead) -> Result<Self> {
        let words = ["get", "pods", "--selector", "app=postgres", "--watch", "--no-headers"];
        // That nothing is there yet is no news.
        let mut command = stead.command(&words);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("cannot watch")?;
        let output = child.stdout.take().context("the watch has no output")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    fn end(&mut self) -> Result<()> {
        self.child.kill().context("cannot end the watch")?;
        self.child.wait().map(drop).context("cannot end the watch")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Ended already, when all went well.
        let _ = self.end();
    }
}
