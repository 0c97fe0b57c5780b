//! A whole cluster in one process, from one seed: managers fed from one ordered log, agents with the real decisions
//! over an Engine in memory. No sockets, no runtime, no clock. Raft itself is not simulated.
//!
//! A failing run prints its seed; `SHOAL_SIM_SEED=N cargo sim` repeats it, `SHOAL_SIM_SEEDS=N` runs so many.

mod agents;
mod chaos;
mod content;
mod convert;
mod faults;
mod lead;
mod link;
mod managers;
mod operators;
mod oracle;
mod scenarios;
mod trace;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Seeds that one run of the tests goes through, where nobody says otherwise.
const SEEDS: u64 = 100;
/// Threads that share the seeds.
const THREADS: u64 = 2;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

/// One seed, with its number in what is printed when it fails.
fn run(seed: u64) -> trace::Trace {
    let outcome = catch_unwind(AssertUnwindSafe(|| chaos::run(seed)));
    match outcome {
        Ok(trace) => trace,
        Err(panic) => {
            eprintln!("seed {seed} failed; repeat it with SHOAL_SIM_SEED={seed} cargo sim");
            resume_unwind(panic)
        }
    }
}

#[test]
fn under_faults_all_properties_hold_and_after_them_the_cluster_converges() {
    if let Some(seed) = number("SHOAL_SIM_SEED") {
        run(seed);
        return;
    }
    let seeds = number("SHOAL_SIM_SEEDS").unwrap_or(SEEDS);
    std::thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                (first..seeds)
                    .step_by(THREADS as usize)
                    .for_each(|seed| drop(run(seed)))
            });
        }
    });
}

#[test]
fn one_seed_twice_is_one_story() {
    let seed = number("SHOAL_SIM_SEED").unwrap_or(4_711);
    let (one, other) = (run(seed), run(seed));
    one.assert_same(&other);
    assert!(
        one.digest() != run(seed + 1).digest(),
        "another seed is another story"
    );
}
