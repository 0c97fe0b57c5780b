//! Starts the program: reads the command line, runs the daemon or hands an order to it, turns the end into an exit code.

use std::io::Read as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser as _;
use shoal_agent::config::{Cli, Command, JoinArgs, LeaveArgs, RunArgs, SocketArgs};
use shoal_agent::daemon::{self, Exit};
use shoal_agent::local::{self, Before};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// The membership has ended: the unit does not start the daemon again. The same as the manager's.
const EXIT_REMOVED: u8 = 77;
/// What lies on disk needs a person: the unit does not start the daemon again.
const EXIT_NEEDS_A_PERSON: u8 = 78;
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
    }
}

async fn run(args: RunArgs) -> ExitCode {
    let filter = EnvFilter::try_from_env("SHOAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(stop_on_signal(stop));
    match daemon::run(args, stopped).await {
        Ok(Exit::Stopped) => ExitCode::SUCCESS,
        Ok(Exit::Removed) => ExitCode::from(EXIT_REMOVED),
        Err(error) => {
            tracing::error!(%error, "shoal-agent cannot go on");
            if error.needs_a_person() {
                ExitCode::from(EXIT_NEEDS_A_PERSON)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

async fn stop_on_signal(stop: watch::Sender<bool>) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("stopping; containers keep running");
    stop.send_replace(true);
}

async fn join(args: JoinArgs) -> anyhow::Result<ExitCode> {
    let token = read_token(&args)?;
    let outcome = local::join(&args, token).await?;
    for warning in &outcome.warnings {
        eprintln!("warning: {warning}");
    }
    let state = if outcome.before == Before::Already {
        "is already"
    } else {
        "is now"
    };
    println!(
        "this host {state} node {} of cluster {}",
        outcome.node, outcome.cluster
    );
    Ok(ExitCode::SUCCESS)
}

async fn leave(args: LeaveArgs) -> anyhow::Result<ExitCode> {
    local::leave(&args).await?;
    println!("this host belongs to no cluster any more; `shoal node rm` takes it off the managers' list");
    Ok(ExitCode::SUCCESS)
}

async fn status(args: &SocketArgs) -> anyhow::Result<ExitCode> {
    let said = local::status(&args.socket).await?;
    println!("{} {}", said.daemon, said.state);
    for (name, value) in said.facts {
        println!("{name}: {value}");
    }
    Ok(ExitCode::SUCCESS)
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
             on a manager with `shoal cluster join-token worker`"
        ),
    };
    Ok(text.trim().to_owned())
}
