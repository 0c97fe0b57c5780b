//! How fast packets get from a client to a task, along every path there is: beside the hosts' own link, the Engine's
//! publishing, a proxy, and Swarm's overlay. The paths take turns in every round, and ratios of medians are what is read.

mod arena;
mod report;
mod sealed;
mod tools;

use anyhow::{Result, bail};
use clap::Args;
use shoal_tests::bed::{Bed, image};

use self::arena::Arena;
use self::report::Report;

/// Hosts of each bed: one with the clients, one with the tasks that are remote.
const HOSTS: usize = 2;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Rounds; each round measures every path once
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds that each tool asks along each path
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// Only paths whose names contain one of these words
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// Measures the paths and prints a table.
pub(crate) fn measure(arguments: &Arguments) -> Result<()> {
    tools::install()?;
    let wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|w| name.contains(w.as_str()));
    let bed = raise()?;
    let mut arenas = vec![Arena::shoal(&bed)?];
    let other = wanted(arena::SWARM).then(raise).transpose()?;
    arenas.extend(other.as_ref().map(Arena::swarm).transpose()?);
    let paths = arenas
        .iter()
        .flat_map(|arena| arena.paths())
        .filter(|path| wanted(path.name));
    let paths: Vec<_> = paths.collect();
    if paths.is_empty() {
        bail!("no path has a name with one of {:?}", arguments.only);
    }
    let mut report = Report::default();
    let ended = (1..=arguments.rounds).try_for_each(|round| {
        eprintln!("round {round} of {}", arguments.rounds);
        for path in &paths {
            let found = path.ask(arguments.seconds)?;
            eprintln!("{:<40} {found:?}", path.name);
            report.add(path.name, found);
        }
        report.reachable_after(arenas[0].becomes_reachable()?);
        Ok(())
    });
    // Also after a path's failure: what was measured is not thrown away.
    print!("{}", report.render());
    ended
}

fn raise() -> Result<Bed> {
    let bed = Bed::new(HOSTS)?;
    image::load(bed.hosts())?;
    Ok(bed)
}
