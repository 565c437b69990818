//! What all parts of a run share.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apimachinery::inject::{Clock, Random};
use apiserver::{ApiServer, UserInfo};
use jiff::Timestamp;
use kube::Client;
use store::{Memory, Store};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::faults::{Fault, Profile};
use crate::judge::Judge;
use crate::log::Log;
use crate::machine::Machines;
use crate::process::Process;
use crate::sabotage::Sabotage;
use crate::wire::Wire;

/// When every run begins, in seconds since 1970: a day in 2026.
const EPOCH: i64 = 1_767_225_600;

/// Hears every line of the trace.
pub(crate) type Aloud = Box<dyn Fn(&str) + Send + Sync>;

/// What a run may differ in, beside its seed.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) aloud: Option<Aloud>,
    /// How the planner of sets is broken.
    pub(crate) sabotage: Option<Sabotage>,
    /// Plans are not looked at.
    pub(crate) unchecked: bool,
}

/// A run.
pub(crate) struct Sim {
    pub(crate) dice: Dice,
    pub(crate) profile: Profile,
    pub(crate) store: Arc<Memory>,
    machines: Mutex<Machines>,
    /// Something happened to a machine that its kubelet did not do.
    pub(crate) struck: Notify,
    judge: Mutex<Judge>,
    log: Mutex<Log>,
    /// `None` while it is being restarted.
    api: Mutex<Option<ApiServer>>,
    random: Random,
    clock: Clock,
    begun: Instant,
    faulty: AtomicBool,
    controllers: Mutex<Option<Arc<Process>>>,
    pub(crate) options: Options,
}

impl Sim {
    /// A cluster in which nothing runs yet. Needs a runtime with a paused clock around it.
    pub(crate) fn new(seed: u64, options: Options) -> Arc<Self> {
        let random = Random::seeded(seed);
        let dice = Dice::new(random.clone());
        let begun = Instant::now();
        let clock = clock_from(begun);
        let store = Arc::new(Memory::new());
        let sim = Self {
            profile: Profile::draw(&dice),
            dice,
            store,
            machines: Mutex::default(),
            struck: Notify::new(),
            judge: Mutex::default(),
            log: Mutex::new(Log::new()),
            api: Mutex::default(),
            random,
            clock,
            begun,
            faulty: AtomicBool::new(true),
            controllers: Mutex::default(),
            options,
        };
        sim.start_api();
        Arc::new(sim)
    }

    /// The API, when there is one.
    pub(crate) fn api(&self) -> Option<ApiServer> {
        lock(&self.api).clone()
    }

    /// Ends the API: its watches end, and nobody answers.
    pub(crate) fn stop_api(&self) {
        if let Some(api) = lock(&self.api).take() {
            api.end_streams();
        }
    }

    /// Starts an API over the store.
    pub(crate) fn start_api(&self) {
        let api = ApiServer::new(apiserver::Config {
            store: Arc::clone(&self.store) as Arc<dyn Store>,
            service_cidr: "10.43.0.0/16".to_owned(),
            streams: Arc::new(crate::wire::NoStreams),
            tokens: Arc::new(apiserver::TokenKey::generate().expect("a key")),
            clock: self.clock.clone(),
            random: self.random.clone(),
        });
        *lock(&self.api) = Some(api);
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// A client of a user's, whose requests go over a wire of its process.
    pub(crate) fn client(self: &Arc<Self>, process: &Arc<Process>, user: &str) -> Client {
        let user = UserInfo::component(user);
        Client::new(Wire::new(Arc::clone(self), Arc::clone(process), user), "default")
    }

    /// A client that may do everything.
    pub(crate) fn admin(self: &Arc<Self>, process: &Arc<Process>) -> Client {
        let user = UserInfo::internal(&process.name);
        Client::new(Wire::new(Arc::clone(self), Arc::clone(process), user), "default")
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    pub(crate) fn judge(&self) -> MutexGuard<'_, Judge> {
        lock(&self.judge)
    }

    pub(crate) fn machines(&self) -> MutexGuard<'_, Machines> {
        lock(&self.machines)
    }

    /// Adds a line to the trace, with the time.
    pub(crate) fn note(&self, line: &str) {
        let line = format!("{:>10.3} {line}", self.elapsed().as_secs_f64());
        if let Some(aloud) = &self.options.aloud {
            aloud(&line);
        }
        self.log().note(line);
    }

    /// Something is wrong that must never be.
    pub(crate) fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(&format!("WRONG: {what}"));
        self.log().fail(what);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.log().has_failed()
    }

    /// Whether a fault strikes now; counted when it does.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let struck = self.is_faulty() && self.dice.hits(self.profile.rate(fault));
        if struck {
            self.log().count(fault);
        }
        struck
    }

    pub(crate) fn is_faulty(&self) -> bool {
        self.faulty.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn calm(&self) {
        self.faulty.store(false, Ordering::Relaxed);
    }

    /// The controllers that run now.
    pub(crate) fn controllers(&self) -> Option<Arc<Process>> {
        lock(&self.controllers).clone()
    }

    pub(crate) fn set_controllers(&self, process: &Arc<Process>) {
        *lock(&self.controllers) = Some(Arc::clone(process));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The fake time of day. It never says the same moment twice, as a real one does not: tokio's fake clock moves
/// by milliseconds.
fn clock_from(begun: Instant) -> Clock {
    let last = AtomicI64::new(0);
    Clock::new(move || {
        let elapsed = i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX);
        let told = last.fetch_max(elapsed, Ordering::Relaxed).max(elapsed - 1) + 1;
        last.store(told, Ordering::Relaxed);
        Timestamp::from_nanosecond(i128::from(EPOCH) * 1_000_000_000 + i128::from(told)).unwrap_or_default()
    })
}
