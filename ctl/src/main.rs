//! Starts the command line and turns what came of it into an exit code.

use std::process::ExitCode;

use clap::Parser as _;
use shoal_ctl::cli::Cli;
use shoal_ctl::exit;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("error: cannot start: {error}");
            return exit::Exit::Refused.into();
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            anstream::eprintln!("error: {error:#}");
            exit::of(&error).into()
        }
    }
}
