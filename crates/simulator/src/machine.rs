//! The machines under the nodes: which processes live, which directories exist. This is the truth that
//! everything else only hears of; it outlives kubelets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use planner::Key;
use planner::pod_actions::{ContainerId, Record, RecordState};

/// What one run of a container will do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Its readiness probe succeeds after so long.
    pub(crate) ready_after: Duration,
    /// It ends by itself after so long, with a failure.
    pub(crate) fails_after: Option<Duration>,
    /// It ends so long after it was asked to; `None`: never.
    pub(crate) stops_after: Option<Duration>,
}

#[derive(Clone, Debug)]
struct Run {
    script: Script,
    backoff_step: u32,
    started_at: Timestamp,
    /// When it ends and with which code, as far as that is decided.
    end: Option<(Timestamp, i32)>,
    /// Not ready until then.
    unready_until: Timestamp,
}

impl Run {
    fn lives(&self, now: Timestamp) -> bool {
        self.end.is_none_or(|(at, _)| now < at)
    }

    fn end_by(&mut self, at: Timestamp, code: i32) {
        if self.end.is_none_or(|(earlier, _)| at < earlier) {
            self.end = Some((at, code));
        }
    }
}

/// A pod's surroundings on a machine.
#[derive(Clone, Debug)]
struct Sandbox {
    key: Key,
    node: String,
    ip: String,
    alive: bool,
    runs: BTreeMap<ContainerId, Run>,
}

/// All machines.
#[derive(Debug, Default)]
pub(crate) struct Machines {
    /// By the pod's uid.
    sandboxes: BTreeMap<String, Sandbox>,
    /// Volumes that are mounted, by the pod's uid.
    mounts: BTreeMap<String, Vec<String>>,
    /// Directories of volumes, by the volume's name.
    directories: BTreeSet<String>,
    /// Images that are there: node and name.
    images: BTreeSet<(String, String)>,
    /// Pods that their node is to throw out.
    pub(crate) thrown_out: BTreeSet<String>,
    addresses: u32,
}

/// What a kubelet sees of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    /// `None` when there is no sandbox; else its address, when it lives.
    pub(crate) sandbox: Option<Option<String>>,
    pub(crate) records: Vec<Record>,
    /// By container.
    pub(crate) ready: BTreeMap<String, bool>,
    /// When any of this changes by itself.
    pub(crate) next_change: Option<Timestamp>,
}

impl Machines {
    /// What there is of a pod.
    pub(crate) fn look(&self, uid: &str, now: Timestamp) -> Sight {
        let mut sight =
            Sight { sandbox: None, records: Vec::new(), ready: BTreeMap::new(), next_change: None };
        let Some(sandbox) = self.sandboxes.get(uid) else { return sight };
        sight.sandbox = Some(sandbox.alive.then(|| sandbox.ip.clone()));
        let mut changes = Vec::new();
        for (id, run) in &sandbox.runs {
            let lives = run.lives(now);
            let state = match run.end.filter(|_| !lives) {
                None => RecordState::Running { started_at: run.started_at },
                Some((finished_at, exit_code)) => RecordState::Exited {
                    started_at: run.started_at,
                    finished_at,
                    exit_code,
                    signal: None,
                    reason: if exit_code == 0 { "Completed" } else { "Error" }.to_owned(),
                    message: String::new(),
                },
            };
            if lives {
                sight.ready.insert(id.name.clone(), now >= run.unready_until);
                changes.extend(run.end.map(|(at, _)| at));
                changes.extend((now < run.unready_until).then_some(run.unready_until));
            }
            sight.records.push(Record {
                id: id.clone(),
                state,
                backoff_step: run.backoff_step,
                container_id: format!("sim://{uid}/{}.{}", id.name, id.attempt),
                image: String::new(),
                image_id: String::new(),
                resources: Default::default(),
            });
        }
        sight.next_change = changes.into_iter().min();
        sight
    }

    /// Pods that have a sandbox on a node: uid and name.
    pub(crate) fn sandboxes_of(&self, node: &str) -> Vec<(String, Key)> {
        let here = self.sandboxes.iter().filter(|(_, sandbox)| sandbox.node == node);
        here.map(|(uid, sandbox)| (uid.clone(), sandbox.key.clone())).collect()
    }

    pub(crate) fn run_sandbox(&mut self, uid: &str, key: &Key, node: &str) {
        self.addresses += 1;
        let ip = format!("10.42.{}.{}", (self.addresses >> 8) & 0xff, self.addresses & 0xff);
        let (key, node) = (key.clone(), node.to_owned());
        let sandbox = Sandbox { key, node, ip, alive: true, runs: BTreeMap::new() };
        self.sandboxes.insert(uid.to_owned(), sandbox);
    }

    /// All processes of the pod end now.
    pub(crate) fn stop_sandbox(&mut self, uid: &str, now: Timestamp) {
        let Some(sandbox) = self.sandboxes.get_mut(uid) else { return };
        sandbox.alive = false;
        sandbox.runs.values_mut().for_each(|run| run.end_by(now, 137));
    }

    pub(crate) fn remove_sandbox(&mut self, uid: &str) {
        self.sandboxes.remove(uid);
    }

    pub(crate) fn mount(&mut self, uid: &str, volumes: Vec<String>) {
        self.mounts.insert(uid.to_owned(), volumes);
    }

    /// Starts a run. What must never be comes back as an error.
    pub(crate) fn start(
        &mut self,
        uid: &str,
        id: &ContainerId,
        backoff_step: u32,
        script: Script,
        now: Timestamp,
    ) -> Result<(), String> {
        let Some(sandbox) = self.sandboxes.get(uid) else { return Ok(()) };
        let key = &sandbox.key;
        let mounted = self.mounts.get(uid).map(Vec::as_slice).unwrap_or_default();
        let twin = |(other, held): &(&String, &Sandbox)| {
            *other != uid && held.key == *key && held.runs.values().any(|run| run.lives(now))
        };
        let wrong = if let Some((other, held)) = self.sandboxes.iter().find(twin) {
            Err(format!(
                "two pods {} live at once: {other} on {} and {uid} on {}",
                key.name, held.node, sandbox.node
            ))
        } else if let Some(lost) = mounted.iter().find(|volume| !self.directories.contains(*volume)) {
            Err(format!("pod {} starts without the data of volume {lost}", key.name))
        } else {
            Ok(())
        };
        let after = |pause: Duration| now + SignedDuration::try_from(pause).unwrap_or_default();
        let run = Run {
            backoff_step,
            started_at: now,
            end: script.fails_after.map(|pause| (after(pause), 1)),
            unready_until: after(script.ready_after),
            script,
        };
        if let Some(sandbox) = self.sandboxes.get_mut(uid) {
            sandbox.runs.insert(id.clone(), run);
        }
        wrong
    }

    /// Asks a run to end.
    pub(crate) fn terminate(&mut self, uid: &str, id: &ContainerId, now: Timestamp) {
        let Some(run) = self.run(uid, id) else { return };
        if let Some(pause) = run.script.stops_after {
            run.end_by(now + SignedDuration::try_from(pause).unwrap_or_default(), 0);
        }
    }

    /// Ends a run.
    pub(crate) fn kill(&mut self, uid: &str, id: &ContainerId, now: Timestamp) {
        if let Some(run) = self.run(uid, id) {
            run.end_by(now, 137);
        }
    }

    pub(crate) fn remove_run(&mut self, uid: &str, id: &ContainerId) {
        if let Some(sandbox) = self.sandboxes.get_mut(uid) {
            sandbox.runs.remove(id);
        }
    }

    fn run(&mut self, uid: &str, id: &ContainerId) -> Option<&mut Run> {
        self.sandboxes.get_mut(uid)?.runs.get_mut(id)
    }

    /// The runs that live now: pod and container.
    pub(crate) fn living(&self, now: Timestamp) -> Vec<(String, ContainerId)> {
        let runs =
            self.sandboxes.iter().flat_map(|(uid, sandbox)| sandbox.runs.iter().map(move |run| (uid, run)));
        let living = runs.filter(|(_, (_, run))| run.lives(now));
        living.map(|(uid, (id, _))| (uid.clone(), id.clone())).collect()
    }

    pub(crate) fn lives(&self, uid: &str, now: Timestamp) -> bool {
        self.sandboxes.get(uid).is_some_and(|sandbox| sandbox.runs.values().any(|run| run.lives(now)))
    }

    pub(crate) fn crash(&mut self, uid: &str, id: &ContainerId, now: Timestamp) {
        if let Some(run) = self.run(uid, id) {
            run.end_by(now, 1);
        }
    }

    pub(crate) fn lose_readiness(&mut self, uid: &str, id: &ContainerId, until: Timestamp) {
        if let Some(run) = self.run(uid, id) {
            run.unready_until = run.unready_until.max(until);
        }
    }

    /// The machine of a node loses its power.
    pub(crate) fn power_off(&mut self, node: &str, now: Timestamp) {
        for sandbox in self.sandboxes.values_mut().filter(|sandbox| sandbox.node == node) {
            sandbox.alive = false;
            sandbox.runs.values_mut().for_each(|run| run.end_by(now, 137));
        }
    }

    pub(crate) fn has_image(&self, node: &str, image: &str) -> bool {
        self.images.contains(&(node.to_owned(), image.to_owned()))
    }

    pub(crate) fn take_image(&mut self, node: &str, image: &str) {
        self.images.insert((node.to_owned(), image.to_owned()));
    }

    pub(crate) fn make_directory(&mut self, volume: &str) {
        self.directories.insert(volume.to_owned());
    }

    /// The pod whose processes may write to a volume now.
    pub(crate) fn user_of(&self, volume: &str, now: Timestamp) -> Option<&str> {
        let mounted =
            |uid: &String| self.mounts.get(uid).is_some_and(|held| held.iter().any(|v| v == volume));
        let user = self.sandboxes.iter().find(|(uid, _)| mounted(uid) && self.lives(uid, now));
        user.map(|(_, sandbox)| sandbox.key.name.as_str())
    }

    /// Deletes a volume's data. What must never be comes back as an error.
    pub(crate) fn delete_directory(&mut self, volume: &str, now: Timestamp) -> Result<(), String> {
        self.directories.remove(volume);
        match self.user_of(volume, now) {
            Some(user) => Err(format!("the data of {volume} is deleted while pod {user} writes to it")),
            None => Ok(()),
        }
    }
}
