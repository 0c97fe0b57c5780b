//! How a daemon's program begins and ends: its log, the signals that stop it, the word to systemd, its exit code.

use std::fmt::Display;
use std::process::ExitCode;

use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::kind::Kind;

/// The membership has ended: the unit does not start the daemon again.
const EXIT_REMOVED: u8 = 77;
/// What lies on disk needs a person: the unit does not start the daemon again.
const EXIT_NEEDS_A_PERSON: u8 = 78;

/// How a daemon ends that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It was told to stop.
    Stopped,
    /// Its membership was ended by others: starting it again changes nothing.
    Removed,
}

/// Why a daemon cannot go on.
pub trait Fatal: Display {
    /// True when what is on disk needs a person: starting again does not help.
    fn needs_a_person(&self) -> bool;
}

/// Writes the log to standard error: what `SHOAL_LOG` asks for, else what `usual` does.
pub fn log_to_stderr(usual: &str) {
    let filter = EnvFilter::try_from_env("SHOAL_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // Who reads the log may end before us, and the word about that would end us, too.
        .log_internal_errors(false)
        .init();
}

/// Cancelled, with these words in the log, when the program is told to stop.
#[must_use]
pub fn stopped_by_signal(words: &'static str) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone(), words));
    stop
}

async fn stop_on_signal(stop: CancellationToken, words: &'static str) {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be waited for");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("{words}");
    stop.cancel();
}

/// Tells systemd that the daemon takes orders.
pub fn notify_ready() {
    // Without systemd there is nobody to tell.
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        tracing::debug!(%error, "systemd was not told");
    }
}

/// Turns the end into an exit code that the unit understands.
pub fn exit_code(kind: Kind, ended: Result<Exit, impl Fatal>) -> ExitCode {
    match ended {
        Ok(Exit::Stopped) => ExitCode::SUCCESS,
        Ok(Exit::Removed) => ExitCode::from(EXIT_REMOVED),
        Err(error) => {
            tracing::error!(%error, "{} cannot go on", kind.program());
            if error.needs_a_person() {
                ExitCode::from(EXIT_NEEDS_A_PERSON)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Shows what an order warned of.
pub fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
