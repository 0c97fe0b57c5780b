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
mod tally;
mod trace;
mod traffic;
mod truth;
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
fn run(seed: u64) -> (trace::Trace, tally::Tally) {
    let outcome = catch_unwind(AssertUnwindSafe(|| chaos::run(seed)));
    match outcome {
        Ok(told) => told,
        Err(panic) => {
            eprintln!("seed {seed} failed; repeat it with SHOAL_SIM_SEED={seed} cargo sim");
            resume_unwind(panic)
        }
    }
}

#[test]
fn under_faults_all_properties_hold_and_after_them_the_cluster_converges() {
    if let Some(seed) = number("SHOAL_SIM_SEED") {
        let (_, met) = run(seed);
        println!("{}", met.table());
        return;
    }
    let seeds = number("SHOAL_SIM_SEEDS").unwrap_or(SEEDS);
    let met = run_all(seeds);
    println!("over {seeds} seeds:\n{}", met.table());
    let missing = met.missing();
    assert!(
        seeds < SEEDS || missing.is_empty(),
        "never met in {seeds} seeds: {missing:?}"
    );
}

/// Seeds from zero up, shared by the threads; what they met in all.
fn run_all(seeds: u64) -> tally::Tally {
    let share = |first: u64| {
        let mut met = tally::Tally::default();
        (first..seeds)
            .step_by(THREADS as usize)
            .for_each(|seed| met.add(&run(seed).1));
        met
    };
    let mut met = tally::Tally::default();
    std::thread::scope(|scope| {
        let shares: Vec<_> = (0..THREADS)
            .map(|first| scope.spawn(move || share(first)))
            .collect();
        for share in shares {
            met.add(&share.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
    });
    met
}

#[test]
fn one_seed_twice_is_one_story() {
    let seed = number("SHOAL_SIM_SEED").unwrap_or(4_711);
    let (one, other) = (run(seed), run(seed));
    one.0.assert_same(&other.0);
    assert_eq!(one.1, other.1, "two runs of one seed meet the same");
    assert!(
        one.0.digest() != run(seed + 1).0.digest(),
        "another seed is another story"
    );
}
