//! The bed's command line: `cargo bed up 3`, then `cargo bed exec 2 docker ps`, and so on. Also what runs inside the
//! hosts: `init` is their first process, `systemctl` and `journalctl` are its clients.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use shoal_tests::bed::{Bed, Layout, Output, clean_up_orphans, image, init, package, systemctl};

#[derive(Parser)]
#[command(
    name = "bed",
    about = "a bed of several hosts on this machine, each with its own Docker Engine"
)]
struct Arguments {
    /// Which bed; each name is a bed of its own.
    #[arg(long, default_value = "bed", global = true)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Link {
    Up,
    Down,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum With {
    /// Hosts with an Engine and the test images.
    Images,
    /// And with Shoal installed from a fresh package.
    Shoal,
}

#[derive(Subcommand)]
enum Command {
    /// Raise the bed with hosts 1 to COUNT, or boot what has no power.
    Up {
        count: usize,
        /// What to put on every host.
        #[arg(long, value_enum, default_value = "images")]
        with: With,
    },
    /// Run a command inside a host.
    Exec {
        host: usize,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Plug or unplug a host's cable.
    Link { host: usize, state: Link },
    /// Cut a host's power.
    PowerOff { host: usize },
    /// Give a host power.
    Boot { host: usize },
    /// Cut a host's power and give it back.
    Reboot { host: usize },
    /// Kill a host's Engine with signal 9.
    EngineKill { host: usize },
    /// Start a host's Engine.
    EngineStart { host: usize },
    /// Show the hosts.
    Status,
    /// Cut all power and remove the namespaces; the disks stay unless --purge.
    Down {
        #[arg(long)]
        purge: bool,
    },
    /// Run as a host's first process.
    #[command(hide = true)]
    Init,
    /// Stand in for systemctl inside a host.
    #[command(hide = true, disable_help_flag = true)]
    Systemctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Stand in for journalctl inside a host.
    #[command(hide = true, disable_help_flag = true)]
    Journalctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let Arguments { name, command } = Arguments::parse();
    let bed = || Bed::open(&name);
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Init => Ok(init::run().map(done)?),
        Command::Systemctl { words } => Ok(exit_code(systemctl::systemctl(&words)?)),
        Command::Journalctl { words } => Ok(exit_code(systemctl::journalctl(&words)?)),
        Command::Up { count, with } => up(&name, count, with).map(done),
        Command::Exec { host, command } => show(&on(&bed()?, host)?.exec(&command.join(" "))?),
        Command::Link {
            host,
            state: Link::Up,
        } => Ok(on(&bed()?, host)?.plug().map(done)?),
        Command::Link {
            host,
            state: Link::Down,
        } => Ok(on(&bed()?, host)?.unplug().map(done)?),
        Command::PowerOff { host } => Ok(on(&bed()?, host)?.power_off().map(done)?),
        Command::Boot { host } => Ok(on(&bed()?, host)?.boot().map(done)?),
        Command::Reboot { host } => Ok(on(&bed()?, host)?.reboot().map(done)?),
        Command::EngineKill { host } => Ok(on(&bed()?, host)?.engine_kill().map(done)?),
        Command::EngineStart { host } => Ok(on(&bed()?, host)?.engine_start().map(done)?),
        Command::Status => status(&bed()?).map(done),
        Command::Down { purge } => down(&name, purge).map(done),
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

fn on(bed: &Bed, number: usize) -> anyhow::Result<&shoal_tests::bed::Host> {
    let count = bed.hosts().len();
    bed.hosts()
        .get(number.wrapping_sub(1))
        .with_context(|| format!("host {number}: the bed has 1 to {count}"))
}

fn show(output: &Output) -> anyhow::Result<ExitCode> {
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    Ok(exit_code(output.code.unwrap_or(1)))
}

fn up(name: &str, count: usize, with: With) -> anyhow::Result<()> {
    clean_up_orphans()?;
    let bed = Bed::kept(name, count)?;
    image::load(bed.hosts())?;
    if with == With::Shoal {
        for host in bed.hosts() {
            let out = package::install(host, "")?;
            if !out.success() {
                bail!(
                    "{}: install.sh ended with {:?}\n{}",
                    host.name(),
                    out.code,
                    out.text()
                );
            }
        }
    }
    status(&bed)
}

fn status(bed: &Bed) -> anyhow::Result<()> {
    println!(
        "{:<6} {:<14} {:<6} {:<9} {:<14} {:<14}",
        "HOST", "ADDRESS", "POWER", "ENGINE", "MANAGER", "AGENT"
    );
    for host in bed.hosts() {
        let power = if host.is_on() { "on" } else { "off" };
        let unit = |unit: &str| {
            let answer = host.exec(&format!("systemctl is-active {unit}"));
            answer.map_or_else(|_| "-".to_owned(), |out| out.text().trim().to_owned())
        };
        let (engine, manager, agent) = (unit("docker"), unit("shoal-manager"), unit("shoal-agent"));
        let (name, address) = (host.name(), host.address());
        println!("{name:<6} {address:<14} {power:<6} {engine:<9} {manager:<14} {agent:<14}");
    }
    println!("bed {} in {}", bed.name(), bed.dir().display());
    Ok(())
}

fn down(name: &str, purge: bool) -> anyhow::Result<()> {
    clean_up_orphans()?;
    if !Layout::named(name).owner_file().exists() {
        println!("no bed named {name}");
        return Ok(());
    }
    let bed = Bed::open(name)?;
    if purge {
        bed.purge()?
    } else {
        bed.down()?
    }
    Ok(())
}
