//! Starts the command line and turns what came of it into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use shoal_ctl::cli::Cli;
use shoal_ctl::exit::{self, Ends, Exit};

/// What was sent before is done in any case.
const INTERRUPTED: &str = "interrupted; what was asked for before goes on in the cluster";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("error: cannot start: {error}");
            return Exit::Refused.into();
        }
    };
    // A command that waits looks for an interruption itself, and says more of it: it goes first.
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            ended = cli.run() => ended,
            _ = tokio::signal::ctrl_c() => Err(Ends::with(Exit::Interrupted, INTERRUPTED)),
        }
    });
    // What the runtime still does for nobody, such as looking up a name that is not found, is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            exit::of(&error).into()
        }
    }
}
