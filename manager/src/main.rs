//! Starts the program: reads the command line, runs the daemon or hands an order to it, turns the end into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use shoal_daemon::args::label_map;
use shoal_daemon::kind::Kind;
use shoal_daemon::local_client::{CallError, DaemonClient, InitWish, JoinWish};
use shoal_daemon::order::LeaveOrder;
use shoal_daemon::program::{exit_code, log_to_stderr, stopped_by_signal, warn};
use shoal_manager::config::{Cli, Command, InitArgs, JoinArgs, LeaveArgs, RunArgs, SocketArgs};
use shoal_manager::daemon;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    match runtime.block_on(carry_out(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shoal-manager: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => Ok(run(args).await),
        Command::Init(args) => init(args).await,
        Command::Join(args) => join(args).await,
        Command::Leave(args) => leave(args).await,
        Command::Status(args) => status(&args).await,
    }
}

async fn run(args: RunArgs) -> ExitCode {
    log_to_stderr("info,openraft=error");
    // Whatever is written from here on is nobody else's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let stop = stopped_by_signal("stopping");
    exit_code(Kind::Manager, daemon::run(args, stop).await)
}

async fn connect(socket: &SocketArgs) -> Result<DaemonClient, CallError> {
    DaemonClient::connect(Kind::Manager, &socket.socket).await
}

async fn init(args: InitArgs) -> anyhow::Result<ExitCode> {
    let mut daemon = connect(&args.socket).await?;
    let wish = InitWish {
        peers: args.peers,
        labels: label_map(&args.labels),
        advertise: args.advertise.unwrap_or_default(),
        reset: args.reset,
        spec: args.rules.spec(),
    };
    let done = daemon.init(wish).await?;
    warn(&done.warnings);
    let state = if done.already {
        "is there already"
    } else {
        "founded"
    };
    println!(
        "cluster {} {state}; this host is node {}",
        done.cluster, done.node
    );
    println!("next: let this host run tasks, and others join, with");
    println!("  shoal cluster join-token worker     (then there: shoal-agent join ADDR --token T)");
    println!("  shoal cluster join-token manager    (then there: shoal-manager join ADDR --token T)");
    Ok(ExitCode::SUCCESS)
}

async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let token = args.token.read(Kind::Manager)?;
    let mut daemon = connect(&args.socket).await?;
    let wish = JoinWish {
        address: args.address,
        token,
        labels: label_map(&args.labels),
        advertise: args.advertise.unwrap_or_default(),
        reset: args.reset,
    };
    let done = daemon.join(wish).await?;
    warn(&done.warnings);
    let state = if done.already { "is already" } else { "is now" };
    println!(
        "this host {state} a manager of cluster {}, as node {}",
        done.cluster, done.node
    );
    Ok(ExitCode::SUCCESS)
}

async fn leave(args: LeaveArgs) -> anyhow::Result<ExitCode> {
    let mut daemon = connect(&args.socket).await?;
    let how = if args.force {
        LeaveOrder::Forced
    } else {
        LeaveOrder::Orderly
    };
    daemon.leave(how).await?;
    println!("this host is a manager no more; the daemon waits for `init` or `join`");
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &SocketArgs) -> anyhow::Result<ExitCode> {
    println!("{}", connect(args).await?.status().await?);
    Ok(ExitCode::SUCCESS)
}
