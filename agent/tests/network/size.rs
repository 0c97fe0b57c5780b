//! What many endpoints cost the keeper: printed, and bounded so that a step that grows with all of them is seen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use shoal_agent::network::keeper::Keeper;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::view::View;

use crate::alone::alone;
use crate::keep::{PACE, keep};
use crate::sample::{host, mend, serve, view};

/// Services with ten tasks each.
const SERVICES: [u16; 3] = [10, 100, 1_000];

#[test]
fn thousands_of_endpoints_are_one_quick_round() {
    for services in SERVICES {
        alone(async || {
            host();
            let kernel = Arc::new(Linux::open().expect("netlink"));
            let mut with = view();
            let (keeper, _task) = Keeper::start(kernel, PACE);
            (1..=services).for_each(|number| serve(&mut with, number, 10));
            let all = took(&keeper, &with, 1).await;
            serve(&mut with, services + 1, 1);
            let one = took(&keeper, &with, 2).await;
            println!(
                "{} endpoints from nothing: {} ms; one more: {} ms",
                with.endpoints.len(),
                all.as_millis(),
                one.as_millis()
            );
            assert!(all < Duration::from_secs(60), "{all:?}");
        });
    }
}

async fn took(keeper: &Keeper, view: &View, index: u64) -> Duration {
    let start = Instant::now();
    keep(keeper, view, index).await;
    start.elapsed()
}

#[test]
fn one_more_endpoint_is_a_few_steps() {
    alone(async || {
        host();
        let kernel = Linux::open().expect("netlink");
        let mut with = view();
        (1..=100).for_each(|number| serve(&mut with, number, 10));
        mend(&kernel, &with).await;
        serve(&mut with, 101, 1);
        let few = mend(&kernel, &with).await;
        assert!(few.len() < 6, "{few:?}");
    });
}
