//! What happens by itself: containers crash, lose their readiness, nodes throw pods out, the API is restarted.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::sim::Sim;

/// The longest that a container is not ready, in milliseconds.
const LONGEST_UNREADY: u64 = 60_000;
/// The longest that there is no API, in milliseconds.
const LONGEST_OUTAGE: u64 = 20_000;

/// Strikes now and then, for ever.
pub(crate) async fn run(sim: Arc<Sim>) {
    loop {
        sleep(sim.dice.millis(100, 30_000)).await;
        if sim.strikes(Fault::ApiRestarted) {
            sim.note("the API ends");
            sim.stop_api();
            sleep(sim.dice.millis(10, LONGEST_OUTAGE)).await;
            sim.note("the API is there again");
            sim.start_api();
        }
        let now = sim.now();
        let living = sim.machines().living(now);
        let Some((uid, container)) = sim.dice.pick(&living) else { continue };
        if sim.strikes(Fault::ContainerCrashed) {
            sim.note(&format!("a container of pod {uid} crashes"));
            sim.machines().crash(uid, container, now);
        }
        if sim.strikes(Fault::ReadinessLost) {
            let pause = SignedDuration::try_from(sim.dice.millis(100, LONGEST_UNREADY)).unwrap_or_default();
            sim.note(&format!("pod {uid} is not ready for {pause:#}"));
            sim.machines().lose_readiness(uid, container, now + pause);
        }
        if sim.strikes(Fault::PodFailed) {
            sim.note(&format!("pod {uid} is thrown out"));
            sim.machines().thrown_out.insert(uid.clone());
        }
        sim.struck.notify_waiters();
    }
}
