//! What many endpoints cost: printed, and bounded so that a step that grows with all of them is seen.

use std::time::{Duration, Instant};

use shoal_agent::network::kernel::linux::Linux;

use crate::alone::alone;
use crate::sample::{host, mend, serve, view};

/// Services with ten tasks each.
const SERVICES: [u16; 3] = [10, 100, 1_000];

#[test]
fn thousands_of_endpoints_are_one_quick_round() {
    for services in SERVICES {
        alone(async || {
            host();
            let kernel = Linux::open().expect("netlink");
            let mut with = view();
            (1..=services).for_each(|number| serve(&mut with, number, 10));
            let start = Instant::now();
            let ops = mend(&kernel, &with).await;
            let all = start.elapsed();
            serve(&mut with, services + 1, 1);
            let start = Instant::now();
            let few = mend(&kernel, &with).await;
            println!(
                "{} endpoints: {} steps in {} ms; one more: {} steps in {} ms (both with two looks)",
                with.endpoints.len(),
                ops.len(),
                all.as_millis(),
                few.len(),
                start.elapsed().as_millis()
            );
            assert!(all < Duration::from_secs(60), "{all:?}");
            assert!(few.len() < 6, "{few:?}");
        });
    }
}
