//! Measures Shoal beside Docker Swarm on the same bed, in the same run, interleaved, and prints a table of medians and
//! ratios. Nothing here asserts a time: machines are noisy, ratios are what is read.

mod containers;
mod peer;
mod shapes;
mod table;

use anyhow::Result;
use clap::Parser;
use shoal_tests::bed::{Bed, image};

use crate::peer::{Peer, Shoal, Swarm};

/// What to measure.
#[derive(Debug, Parser)]
#[command(about = "Shoal beside Docker Swarm on a bed of several hosts")]
struct Arguments {
    /// Hosts of the bed; the first three are managers
    #[arg(long, default_value_t = 3)]
    hosts: usize,
    /// Rounds; each round measures every peer once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only shapes whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // One bed per peer: a manager that one of them kills must not be the other's. Only the one that is measured works;
    // the other idles.
    let beds = [raise(arguments.hosts)?, raise(arguments.hosts)?];
    let peers: [Box<dyn Peer>; 2] = [Box::new(Swarm::form(&beds[0])?), Box::new(Shoal::form(&beds[1])?)];
    let mut results = table::Results::default();
    for shape in shapes::all().iter().filter(|s| s.name.contains(&arguments.only)) {
        for round in 0..arguments.rounds {
            for (peer, bed) in peers.iter().zip(&beds) {
                let measured = (shape.run)(peer.as_ref(), bed)?;
                eprintln!(
                    "{} {} round {round}: {measured:.3} {}",
                    shape.name,
                    peer.name(),
                    shape.unit
                );
                results.add(shape, peer.name(), measured);
            }
        }
    }
    print!("{}", results.render());
    Ok(())
}

fn raise(hosts: usize) -> Result<Bed> {
    let bed = Bed::new(hosts)?;
    image::load(bed.hosts())?;
    Ok(bed)
}
