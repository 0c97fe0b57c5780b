//! Every flag of `service create` and `service update`, as one table: what it is called, what it does to a spec.
//!
//! The table is the source of the parser, of the help and of the tests. A flag that Shoal cannot honour yet stands in it
//! as refused, with the reason: it is never taken and ignored.

mod container;
mod csv;
mod files;
#[cfg(test)]
mod flags_test;
mod health;
mod network;
mod placement;
mod policy;

use anyhow::{Context as _, anyhow, bail};
use clap::{Arg, ArgAction, ArgMatches, Command};
use shoal_proto::service::ServiceSpec;

use crate::exit::{Ends, Exit};

/// The command a flag belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// `service create`.
    Create,
    /// `service update`.
    Update,
    /// Both, under the same name.
    Both,
}

/// What a flag does.
pub(crate) enum Effect {
    /// Changes the spec; called once per value, in the order given.
    Set(fn(&mut ServiceSpec, &str) -> anyhow::Result<()>),
    /// A switch, which takes no value or `=true`/`=false`.
    Switch(fn(&mut ServiceSpec, Switch)),
    /// Not honoured yet: why, and what to do instead.
    Refused(&'static str),
}

/// A switch that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// `--flag` or `--flag=true`.
    On,
    /// `--flag=false`.
    Off,
}

/// One row of the table.
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) name: &'static str,
    /// One letter, where Docker has one.
    pub(crate) short: Option<char>,
    /// Where it is taken.
    pub(crate) on: On,
    /// A value that can be given: shown in the help and used by the tests.
    pub(crate) example: &'static str,
    /// One line.
    pub(crate) help: &'static str,
    /// What it does.
    pub(crate) effect: Effect,
}

impl Flag {
    pub(crate) const fn new(
        name: &'static str,
        on: On,
        example: &'static str,
        help: &'static str,
        effect: Effect,
    ) -> Self {
        Self {
            name,
            short: None,
            on,
            example,
            help,
            effect,
        }
    }

    pub(crate) const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }
}

/// All rows, in the order in which they are applied: removals come before additions of the same kind.
pub(crate) fn table() -> impl Iterator<Item = &'static Flag> {
    [
        container::ROWS,
        health::ROWS,
        files::ROWS,
        network::ROWS,
        placement::ROWS,
        policy::ROWS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .flatten()
}

/// Names of all flags that are honoured, and the command each belongs to; for tests of the whole line.
pub fn honoured() -> impl Iterator<Item = (&'static str, On)> {
    table()
        .filter(|f| !matches!(f.effect, Effect::Refused(_)))
        .map(|f| (f.name, f.on))
}

fn taken(flag: &Flag, on: On) -> bool {
    flag.on == on || flag.on == On::Both
}

/// Adds the flags of one command to its parser.
#[must_use]
pub fn add_to(mut command: Command, on: On) -> Command {
    for flag in table().filter(|f| taken(f, on)) {
        let mut arg = Arg::new(flag.name)
            .long(flag.name)
            .help(flag.help)
            .action(ArgAction::Append);
        if let Some(letter) = flag.short {
            arg = arg.short(letter);
        }
        arg = match flag.effect {
            Effect::Switch(_) => arg
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_name("BOOL"),
            Effect::Set(_) | Effect::Refused(_) => {
                arg.num_args(1).value_name(flag.example).allow_hyphen_values(true)
            }
        };
        if matches!(flag.effect, Effect::Refused(_)) {
            arg = arg.hide(true);
        }
        command = command.arg(arg);
    }
    command
}

/// Applies what was given to a spec, in the order of the table.
///
/// # Errors
/// For a value that cannot be read and for a flag that is refused; both name the flag.
pub fn apply(spec: &mut ServiceSpec, given: &ArgMatches, on: On) -> anyhow::Result<()> {
    for flag in table().filter(|f| taken(f, on)) {
        let Some(values) = given.get_many::<String>(flag.name) else {
            continue;
        };
        for value in values {
            apply_one(spec, flag, value).with_context(|| format!("--{} {value}", flag.name))?;
        }
    }
    Ok(())
}

/// Whether any flag that changes the spec was given.
#[must_use]
pub fn any_given(given: &ArgMatches, on: On) -> bool {
    table().any(|f| taken(f, on) && given.contains_id(f.name))
}

/// Whether one of these flags was given.
#[must_use]
pub fn any_of(given: &ArgMatches, names: &[&str]) -> bool {
    names.iter().any(|name| given.contains_id(name))
}

fn apply_one(spec: &mut ServiceSpec, flag: &Flag, value: &str) -> anyhow::Result<()> {
    match flag.effect {
        Effect::Set(set) => set(spec, value),
        Effect::Switch(set) => match value {
            "true" | "1" | "yes" => {
                set(spec, Switch::On);
                Ok(())
            }
            "false" | "0" | "no" => {
                set(spec, Switch::Off);
                Ok(())
            }
            other => bail!("{other:?} is neither true nor false"),
        },
        Effect::Refused(why) => bail!("{why}"),
    }
}

/// Splits `KEY=VALUE`; the value may be empty, the key may not.
pub(crate) fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Ends::with(
            Exit::Usage,
            format!("{text:?}: a key must stand before the =, as in zone=a"),
        ));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Removes what `matches` says from a list; not being there is an error that names it.
pub(crate) fn remove_from<T>(
    list: &mut Vec<T>,
    what: &str,
    matches: impl Fn(&T) -> bool,
) -> anyhow::Result<()> {
    let before = list.len();
    list.retain(|item| !matches(item));
    if list.len() == before {
        Err(anyhow!("the service has no {what}"))
    } else {
        Ok(())
    }
}
