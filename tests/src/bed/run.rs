//! Runs programs of the machine and waits for conditions. Knows nothing about beds: it turns every failure
//! into an error that shows the command, its exit code and what it printed.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often [`wait_for`] looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What can go wrong on a bed. Each message names the command or the file.
#[derive(thiserror::Error)]
pub enum BedError {
    /// A program of the machine is missing.
    #[error("could not start `{command}`: {source} (is the package installed? see deploy/test)")]
    NotStarted {
        /// The whole command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command ended with another code than 0.
    #[error("`{}` ended with {:?}\n{}{}", .0.command, .0.code, .0.stdout, .0.stderr)]
    Failed(Box<Output>),
    /// A condition did not come true in time.
    #[error("waited {within:?} for {what}; last seen: {seen}")]
    Timeout {
        /// The condition, in words.
        what: String,
        /// How long was waited.
        within: Duration,
        /// What the last look found instead.
        seen: String,
    },
    /// A file of the bed could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bed was asked for something it cannot do.
    #[error("{0}")]
    Refused(String),
}

/// A test that returns an error is shown its `Debug`: the same words, line ends kept.
impl std::fmt::Debug for BedError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// What most functions of the bed return.
pub type Result<T, E = BedError> = std::result::Result<T, E>;

/// What a finished command left behind.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// The exit code; `None` when a signal ended it. 124 means that its time was up.
    pub code: Option<i32>,
    /// Standard output, lossily as UTF-8.
    pub stdout: String,
    /// Standard error, lossily as UTF-8.
    pub stderr: String,
}

impl Output {
    /// True when the command ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output without the trailing line end, or [`BedError::Failed`] when the command failed.
    pub fn ok(self) -> Result<String> {
        if !self.success() {
            return Err(BedError::Failed(Box::new(self)));
        }
        Ok(self.stdout.trim_end().to_owned())
    }

    /// Both streams, one after the other: what a person would have seen.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `program args…` to its end, without standard input.
pub fn run(program: &str, args: &[&str]) -> Result<Output> {
    run_command(Command::new(program).args(args))
}

/// Like [`run`], and turns a code other than 0 into an error.
pub fn must(program: &str, args: &[&str]) -> Result<String> {
    run(program, args)?.ok()
}

/// Runs a prepared command to its end, without standard input.
pub(super) fn run_command(command: &mut Command) -> Result<Output> {
    let line = describe(command);
    let out = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BedError::NotStarted {
            command: line.clone(),
            source,
        })?;
    Ok(Output {
        command: line,
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    })
}

/// The command line as a person would type it.
pub(super) fn describe(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

/// Looks until `look` returns `Ok`, at most `within`. An `Err` of `look` says what it saw instead.
pub fn wait_for<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = match look() {
            Ok(value) => return Ok(value),
            Err(seen) => seen,
        };
        if start.elapsed() >= within {
            return Err(BedError::Timeout {
                what: what.to_owned(),
                within,
                seen,
            });
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Reads a file of the bed.
pub(super) fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| BedError::File {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file of the bed, making its folder.
pub(super) fn write(path: &std::path::Path, content: impl AsRef<[u8]>) -> Result<()> {
    let failed = |source| BedError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}

/// Makes a folder of the bed, and those above it.
pub(super) fn make_dir(path: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| BedError::File {
        path: path.to_owned(),
        source,
    })
}
