//! Measures Shoal beside Docker Swarm on beds of the same shape, in the same run, interleaved, and prints a table of
//! medians and ratios. Nothing here asserts a time: machines are noisy, ratios are what is read.

mod containers;
mod floor;
mod paths;
mod peer;
mod shapes;
mod shoal;
mod swarm;
mod table;

use anyhow::Result;
use clap::{Parser, Subcommand};
use shoal_tests::bed::{Bed, image, package};

use crate::shapes::{Arena, Shape};
use crate::table::{Measured, Results};

/// What to measure.
#[derive(Debug, Parser)]
#[command(about = "Shoal beside Docker Swarm on a bed of several hosts")]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    /// Hosts of the bed; the first three are managers
    #[arg(long, default_value_t = 4)]
    hosts: usize,
    /// Rounds; each round measures every peer once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these shapes; a word that names none: all whose name contains it
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// What else can be measured.
#[derive(Debug, Subcommand)]
enum What {
    /// Throughput and requests from clients to tasks, along every path
    Paths(paths::Arguments),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    package::pack_release()?;
    match &arguments.what {
        Some(What::Paths(paths)) => paths::measure(paths),
        None => measure_shapes(&arguments),
    }
}

fn measure_shapes(arguments: &Arguments) -> Result<()> {
    // One bed per peer: a manager that one of them kills must not be the other's. Only the one that is measured works;
    // the other idles.
    let beds = [raise(arguments.hosts)?, raise(arguments.hosts)?];
    let (swarm, shoal) = (swarm::Swarm::form(&beds[0])?, shoal::Shoal::form(&beds[1])?);
    let arenas = [
        Arena {
            peer: &swarm,
            bed: &beds[0],
        },
        Arena {
            peer: &shoal,
            bed: &beds[1],
        },
    ];
    let mut results = Results::default();
    let all = shapes::all();
    let is_name = |only: &String| all.iter().any(|shape| shape.name == only);
    let wanted = |shape: &&Shape| {
        let mut only = arguments.only.iter();
        let named = only.any(|only| shape.name == only || (!is_name(only) && shape.name.contains(only)));
        (arguments.only.is_empty() || named) && shape.hosts_min <= arguments.hosts
    };
    let ended = measure(all.iter().filter(wanted), arguments.rounds, &arenas, &mut results);
    // Also after a peer's failure: an hour of rounds is not thrown away.
    print!("{}", results.render());
    ended
}

fn measure<'a>(
    shapes: impl Iterator<Item = &'a Shape>,
    rounds: usize,
    arenas: &[Arena<'_>],
    results: &mut Results,
) -> Result<()> {
    for shape in shapes {
        for _ in 0..rounds.min(shape.rounds_max) {
            round(shape, arenas, results)?;
        }
    }
    Ok(())
}

/// Measures every peer once, and the Engines alone on the bed that is measured last.
fn round(shape: &Shape, arenas: &[Arena<'_>], results: &mut Results) -> Result<()> {
    for arena in arenas {
        let found = (shape.run)(arena)?;
        let what = found.first().map(|first| first.what.clone());
        for one in found {
            results.add(arena.peer.name(), one);
        }
        if let (Some(floor), Some(what), "shoal") = (shape.floor, what, arena.peer.name()) {
            let value = floor(arena.bed)?;
            results.add("engine", Measured { what, value });
        }
    }
    Ok(())
}

fn raise(hosts: usize) -> Result<Bed> {
    let bed = Bed::new(hosts)?;
    image::load(bed.hosts())?;
    Ok(bed)
}
