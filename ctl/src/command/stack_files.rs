//! The Compose files of a stack: which ones, what is said about them, `stack check` and `stack config`. Works offline.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, ValueHint};

use crate::compose::finding::Level;
use crate::compose::interpolate::Unset;
use crate::compose::{self, Input, Loaded, Options, Report, emit};
use crate::exit::{Ends, Exit};
use crate::render::diagnostic::{self, Style};
use crate::render::output::say;

/// Most bytes taken from standard input.
const STDIN_BYTES_MAX: u64 = 4 << 20;

/// Which files make the stack.
#[derive(Debug, Clone, Args)]
pub struct FileArgs {
    /// Compose file, or - for standard input; several are merged in order. Without one: compose.yaml,
    /// docker-compose.yml or docker-stack.yml of this folder
    #[arg(
        short = 'c',
        long = "compose-file",
        value_name = "FILE",
        value_delimiter = ',',
        value_hint = ValueHint::FilePath
    )]
    files: Vec<PathBuf>,
    /// Environment file to read instead of .env beside the first file
    #[arg(long = "env-file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    env_files: Vec<PathBuf>,
    /// Folder that relative paths begin at; without it, that of the first file
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    project_directory: Option<PathBuf>,
    /// Profile whose services are to run, beside those of COMPOSE_PROFILES
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
    /// Treat warnings, such as a variable that is not set, as errors
    #[arg(long)]
    strict: bool,
}

/// Arguments of `stack check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    files: FileArgs,
    /// text, or json: one finding a line
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    format: String,
    /// Name of the stack, for the length of full names
    stack: Option<String>,
}

/// Arguments of `stack config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    files: FileArgs,
}

impl FileArgs {
    /// Loads the files and prints what is to be said about them to standard error.
    ///
    /// # Errors
    /// When they cannot be deployed, or standard input cannot be read.
    pub(crate) fn load(&self, stack: Option<String>) -> anyhow::Result<Loaded> {
        let outcome = compose::load(&self.options(stack)?);
        let report = match &outcome {
            Ok(loaded) => &loaded.report,
            Err(report) => report,
        };
        anstream::eprint!("{}", diagnostic::text(&report.sources, &report.findings, style()));
        let warned = report.findings.count(Level::Warning) > 0;
        match outcome {
            Ok(_) if self.strict && warned => {
                Err(invalid("the file has warnings, and --strict makes them errors"))
            }
            Ok(loaded) => Ok(loaded),
            Err(_) => Err(invalid("the file cannot be deployed; nothing has changed")),
        }
    }

    /// Whether a file was named; without one, a default is looked for.
    pub(crate) fn is_any_named(&self) -> bool {
        !self.files.is_empty()
    }

    fn options(&self, stack: Option<String>) -> anyhow::Result<Options> {
        let mut files = self.files.clone();
        if files.is_empty() {
            files.extend(compose::default_files(&PathBuf::new()));
        }
        if files.iter().filter(|file| file.as_os_str() == "-").count() > 1 {
            return Err(invalid("standard input can be read once: give -c - one time"));
        }
        let files = files.into_iter().map(input).collect::<anyhow::Result<_>>()?;
        Ok(Options {
            files,
            project_dir: self.project_directory.clone(),
            // Variables that are not text cannot stand in a file that is.
            env: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            env_files: self.env_files.clone(),
            stack_name: stack,
            profiles: self.profiles.clone(),
            unset: Unset::Warn,
        })
    }
}

fn invalid(message: &str) -> anyhow::Error {
    Ends::with(Exit::Usage, message)
}

fn input(path: PathBuf) -> anyhow::Result<Input> {
    if path.as_os_str() != "-" {
        return Ok(Input::File(path));
    }
    let mut text = String::new();
    let read = std::io::stdin()
        .lock()
        .take(STDIN_BYTES_MAX)
        .read_to_string(&mut text);
    match read {
        Ok(_) => Ok(Input::Text("<stdin>".to_owned(), text)),
        Err(error) => Err(invalid(&format!(
            "cannot read a file from standard input: {error}"
        ))),
    }
}

fn style() -> Style {
    if std::io::stderr().is_terminal() {
        Style::Colour
    } else {
        Style::Plain
    }
}

/// Says what holds for the files.
///
/// # Errors
/// With [`Exit::Usage`] when they cannot be deployed.
pub(crate) fn check(args: &CheckArgs) -> anyhow::Result<Exit> {
    if args.format == "text" {
        let loaded = args.files.load(args.stack.clone())?;
        let services = match loaded.model.services.len() {
            1 => "1 service".to_owned(),
            count => format!("{count} services"),
        };
        say(&format!("{} can be deployed: {services}\n", loaded.stack));
        return Ok(Exit::Done);
    }
    let outcome = compose::load(&args.files.options(args.stack.clone())?);
    let valid = outcome.is_ok();
    let report: Report = match outcome {
        Ok(loaded) => loaded.report,
        Err(report) => *report,
    };
    for finding in diagnostic::json(&report.sources, &report.findings) {
        say(&format!("{}\n", serde_json::to_string(&finding)?));
    }
    let warned = report.findings.count(Level::Warning) > 0;
    if valid && !(args.files.strict && warned) {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Usage)
    }
}

/// Prints the files as one, with variables put in.
///
/// # Errors
/// With [`Exit::Usage`] when they cannot be deployed.
pub(crate) fn config(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let loaded = args.files.load(None)?;
    say(&emit::yaml(&loaded.tree));
    Ok(Exit::Done)
}
