//! Shoal beside Docker Swarm, measured in the same run on the same machine, in turn. Prints a table of medians and
//! ratios; asserts nothing. `cargo compare`, as root; `cargo compare --runs 1` for a look.

mod side;

use std::time::Instant;

use clap::Parser;
use shoal_tests::bed::Result;
use side::Side;

#[derive(Parser)]
struct Arguments {
    /// Measurements of each kind on each side, in turn.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Hosts of each side; all are managers up to three.
    #[arg(long, default_value_t = 3)]
    hosts: usize,
    /// Only the rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// One row of the table: seconds of each run on each side.
struct Row {
    name: &'static str,
    swarm: Vec<f64>,
    shoal: Vec<f64>,
}

type Measure = fn(&Side, usize) -> Result<f64>;

const ROWS: [(&str, Measure); 9] = [
    ("1 replica, created to started", |side, n| create(side, n, 1)),
    ("10 replicas, created to last started", |side, n| {
        create(side, n, 10)
    }),
    ("50 replicas, created to last started", |side, n| {
        create(side, n, 50)
    }),
    ("100 replicas, created to last started", |side, n| {
        create(side, n, 100)
    }),
    ("scale 10 to 50, to last started", |side, n| {
        scale(side, n, 10, 50)
    }),
    ("scale 50 to 10, to last stopped", |side, n| {
        scale(side, n, 50, 10)
    }),
    ("update of 20 in fives, to last new started", update),
    ("stack of 20 services, deployed to last started", stack),
    ("leader killed, to first accepted write", |side, n| {
        side.until_write_after_leader_kill(n)
    }),
];

fn create(side: &Side, run: usize, count: usize) -> Result<f64> {
    let name = format!("c{count}x{run}");
    let words =
        format!("service create --detach --no-resolve-image --name {name} --replicas {count} shoal/idle:1");
    let seconds = side.until_started(&words, &name, "shoal/idle", count)?;
    side.remove(&name)?;
    Ok(seconds)
}

fn scale(side: &Side, run: usize, from: usize, to: usize) -> Result<f64> {
    let name = format!("s{from}x{to}x{run}");
    let words =
        format!("service create --detach --no-resolve-image --name {name} --replicas {from} shoal/idle:1");
    side.until_started(&words, &name, "shoal/idle", from)?;
    let words = format!("service scale --detach {name}={to}");
    let seconds = if to > from {
        side.until_started(&words, &name, "shoal/idle", to)?
    } else {
        side.until_left(&words, &name, to)?
    };
    side.remove(&name)?;
    Ok(seconds)
}

fn update(side: &Side, run: usize) -> Result<f64> {
    let name = format!("u{run}");
    // Swarm reads a monitor of 0 as 5 s.
    let monitor = if side.name == "swarm" { "1ms" } else { "0s" };
    side.order(&format!(
        "service create --detach --no-resolve-image --no-healthcheck --name {name} --replicas 20 --update-parallelism 5 \
         --update-delay 0s --update-monitor {monitor} shoal/web:1"
    ))?;
    side.wait_count(&name, "shoal/web:1", 20)?;
    let words = format!("service update --detach --no-resolve-image --image shoal/web:2 {name}");
    let seconds = side.until_started(&words, &name, "shoal/web:2", 20)?;
    side.remove(&name)?;
    Ok(seconds)
}

fn stack(side: &Side, run: usize) -> Result<f64> {
    let mut file = "version: \"3.8\"\nservices:\n".to_owned();
    for number in 0..20 {
        file.push_str(&format!("  s{number}:\n    image: shoal/idle:1\n"));
    }
    side.bed().host(1).put("/root/stack.yaml", file)?;
    let detach = if side.name == "shoal" { "--detach" } else { "" };
    let start = side::now_ns()?;
    side.order(&format!(
        "stack deploy {detach} --resolve-image never -c /root/stack.yaml t{run}"
    ))?;
    let mut last = start;
    for number in 0..20 {
        let name = format!("t{run}_s{number}");
        side.wait_count(&name, "shoal/idle", 1)?;
        last = last.max(side.last_start_ns(&name)?);
    }
    side.order(&format!("stack rm t{run}"))?;
    for number in 0..20 {
        side.wait_count(&format!("t{run}_s{number}"), "shoal/", 0)?;
    }
    Ok((last - start) as f64 / 1e9)
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let managers = arguments.hosts.min(3);
    let sides = [
        Side::swarm(arguments.hosts, managers)?,
        Side::shoal(arguments.hosts, managers)?,
    ];
    println!(
        "{} hosts a side, {managers} managers, medians of {} runs\n",
        arguments.hosts, arguments.runs
    );
    println!("| seconds | swarm | shoal | shoal / swarm |\n| --- | --- | --- | --- |");
    for (name, measure) in ROWS.iter().filter(|(name, _)| name.contains(&arguments.only)) {
        if managers < 3 && name.starts_with("leader") {
            continue;
        }
        let mut row = Row {
            name,
            swarm: Vec::new(),
            shoal: Vec::new(),
        };
        for run in 0..arguments.runs {
            row.swarm.push(measure(&sides[0], run)?);
            row.shoal.push(measure(&sides[1], run)?);
        }
        print_row(row);
    }
    print_cost(&sides)
}

fn print_row(mut row: Row) {
    let (swarm, shoal) = (median(&mut row.swarm), median(&mut row.shoal));
    println!(
        "| {} | {swarm:.3} | {shoal:.3} | {:.2} |",
        row.name,
        shoal / swarm
    );
}

/// What an idle minute costs, and the memory it stands in.
fn print_cost(sides: &[Side; 2]) -> anyhow::Result<()> {
    println!("\n| on the first host | swarm | shoal |\n| --- | --- | --- |");
    let mut memory = Vec::new();
    for side in sides {
        let (ours, engine) = side.memory_kib()?;
        memory.push(format!(
            "{:.0} + Engine {:.0}",
            ours as f64 / 1024.0,
            engine as f64 / 1024.0
        ));
    }
    println!("| resident memory, MiB | {} | {} |", memory[0], memory[1]);
    let busy = |side: &Side| -> Result<f64> {
        let host = side.bed().host(1);
        let units: &[&str] = if side.name == "swarm" {
            &["docker"]
        } else {
            &["docker", "shoal-manager", "shoal-agent"]
        };
        units
            .iter()
            .try_fold(0.0, |sum, unit| Ok(sum + host.unit_cpu(unit)?.as_secs_f64()))
    };
    let (since, before) = (Instant::now(), [busy(&sides[0])?, busy(&sides[1])?]);
    std::thread::sleep(std::time::Duration::from_secs(20));
    let seconds = since.elapsed().as_secs_f64();
    let idle = |at: usize| -> Result<f64> { Ok((busy(&sides[at])? - before[at]) / seconds * 100.0) };
    println!(
        "| idle CPU with the Engine, % of a core | {:.2} | {:.2} |",
        idle(0)?,
        idle(1)?
    );
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
