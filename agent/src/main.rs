//! Starts the program: reads the command line, runs the daemon or hands an order to it, turns the end into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use shoal_agent::config::{Cli, Command, JoinArgs, LeaveArgs, RunArgs, SocketArgs, TunnelArgs};
use shoal_agent::daemon;
use shoal_agent::network::wireguard::program;
use shoal_daemon::args::label_map;
use shoal_daemon::kind::Kind;
use shoal_daemon::local_client::{CallError, DaemonClient, JoinWish};
use shoal_daemon::order::LeaveOrder;
use shoal_daemon::program::{exit_code, log_to_stderr, stopped_by_signal, warn};

/// Enough: the work is the Engine's.
const WORKER_THREADS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(4)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime can be made");
    match runtime.block_on(carry_out(cli)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("shoal-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => Ok(run(*args).await),
        Command::Join(args) => join(args).await,
        Command::Leave(args) => leave(args).await,
        Command::Status(args) => status(&args).await,
        Command::Tunnel(args) => tunnel(&args).await,
    }
}

async fn run(args: RunArgs) -> ExitCode {
    log_to_stderr("info");
    let stop = stopped_by_signal("stopping; containers keep running");
    exit_code(Kind::Agent, daemon::run(args, stop).await)
}

async fn tunnel(args: &TunnelArgs) -> anyhow::Result<ExitCode> {
    log_to_stderr("warn");
    program::run(&args.device, &args.socket).await?;
    Ok(ExitCode::SUCCESS)
}

async fn connect(socket: &SocketArgs) -> Result<DaemonClient, CallError> {
    DaemonClient::connect(Kind::Agent, &socket.socket).await
}

async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let advertise = args.advertise.map(|address| address.to_string());
    let wish = JoinWish {
        address: args.address,
        token: args.token.read(Kind::Agent)?,
        labels: label_map(&args.labels),
        advertise: advertise.unwrap_or_default(),
        reset: args.reset,
    };
    let done = connect(&args.socket).await?.join(wish).await?;
    warn(&done.warnings);
    let state = if done.already { "is already" } else { "is now" };
    println!("this host {state} node {} of cluster {}", done.node, done.cluster);
    Ok(ExitCode::SUCCESS)
}

async fn leave(args: LeaveArgs) -> anyhow::Result<ExitCode> {
    let how = if args.force {
        LeaveOrder::Forced
    } else {
        LeaveOrder::Orderly
    };
    warn(&connect(&args.socket).await?.leave(how).await?);
    println!(
        "this host belongs to no cluster any more; its volumes stay; `shoal node rm` takes it off the managers' list"
    );
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &SocketArgs) -> anyhow::Result<ExitCode> {
    println!("{}", connect(args).await?.status().await?);
    Ok(ExitCode::SUCCESS)
}
