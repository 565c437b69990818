//! temp
fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<u64>().unwrap());
    let (from, to) = (arguments.next().unwrap(), arguments.next().unwrap());
    for seed in from..to {
        let begun = std::time::Instant::now();
        let outcome = simulator::simulate(seed);
        println!(
            "{seed}: {:?} sim {:?} requests {} writes {} {:?} hash {:x}",
            begun.elapsed(),
            outcome.simulated,
            outcome.requests,
            outcome.writes,
            outcome.faults,
            outcome.trace_hash
        );
        if outcome.failure.is_some() {
            println!("{outcome}");
            break;
        }
    }
}
