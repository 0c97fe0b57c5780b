//! Starts the program: reads the command line, runs the daemon or hands an order to it, turns the end into an exit code.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use shoal_manager::config::{Cli, Command, InitArgs, JoinArgs, LeaveArgs, RunArgs, SocketArgs, label_map};
use shoal_manager::daemon::{self, Exit};
use shoal_manager::local_client::{DaemonClient, InitWish, JoinWish};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The membership has ended: the unit does not start the daemon again.
const EXIT_REMOVED: u8 = 77;
/// What lies on disk needs a person: the unit does not start the daemon again.
const EXIT_NEEDS_A_PERSON: u8 = 78;

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
    let filter =
        EnvFilter::try_from_env("SHOAL_LOG").unwrap_or_else(|_| EnvFilter::new("info,openraft=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    // Whatever is written from here on is nobody else's to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone()));
    match daemon::run(args, stop).await {
        Ok(Exit::Stopped) => ExitCode::SUCCESS,
        Ok(Exit::Removed) => ExitCode::from(EXIT_REMOVED),
        Err(error) => {
            tracing::error!(%error, "shoal-manager cannot go on");
            if error.needs_a_person() {
                ExitCode::from(EXIT_NEEDS_A_PERSON)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping");
    stop.cancel();
}

async fn connect(socket: &SocketArgs) -> anyhow::Result<DaemonClient> {
    DaemonClient::connect(&socket.socket).await.with_context(|| {
        format!(
            "no shoal-manager runs here ({} does not answer): start it with `systemctl start shoal-manager`, or \
             `shoal-manager run`",
            socket.socket.display()
        )
    })
}

/// A status's own words, which are made for operators.
fn said(status: &tonic::Status) -> anyhow::Error {
    anyhow::anyhow!("{}", status.message())
}

async fn init(args: InitArgs) -> anyhow::Result<ExitCode> {
    let mut daemon = connect(&args.socket).await?;
    let wish = InitWish {
        peers: args.peers,
        labels: label_map(&args.labels),
        advertise: args.advertise.unwrap_or_default(),
        reset: args.reset,
    };
    let done = daemon.init(wish).await.map_err(|status| said(&status))?;
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
    let token = read_token(&args)?;
    let mut daemon = connect(&args.socket).await?;
    let wish = JoinWish {
        address: args.address,
        token,
        labels: label_map(&args.labels),
        advertise: args.advertise.unwrap_or_default(),
        reset: args.reset,
    };
    let done = daemon.join(wish).await.map_err(|status| said(&status))?;
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
    let left = if args.force {
        daemon.leave_by_force().await
    } else {
        daemon.leave().await
    };
    left.map_err(|status| said(&status))?;
    println!("this host is a manager no more; the daemon waits for `init` or `join`");
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &SocketArgs) -> anyhow::Result<ExitCode> {
    let mut daemon = connect(args).await?;
    let now = daemon.status().await.map_err(|status| said(&status))?;
    println!("manager {}", now.state);
    for (name, value) in [
        ("cluster", &now.cluster),
        ("node", &now.node),
        ("note", &now.message),
    ] {
        if !value.is_empty() {
            println!("{name}: {value}");
        }
    }
    for manager in now.managers {
        println!("manager: {manager}");
    }
    Ok(ExitCode::SUCCESS)
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}

/// From `--token` or the environment, a file, or standard input (`-`).
fn read_token(args: &JoinArgs) -> anyhow::Result<String> {
    let text = match (&args.token, &args.token_file) {
        (_, Some(file)) => {
            std::fs::read_to_string(file).with_context(|| format!("token file {}", file.display()))?
        }
        (Some(token), _) if token == "-" => {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .context("token from standard input")?;
            text
        }
        (Some(token), _) => token.clone(),
        (None, None) => bail!(
            "a join token is needed (--token, --token-file, SHOAL_TOKEN, or `--token -` for standard input): print one \
             on a manager with `shoal cluster join-token manager`"
        ),
    };
    Ok(text.trim().to_owned())
}
