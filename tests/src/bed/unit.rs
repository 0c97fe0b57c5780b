//! Reads a systemd unit file as far as Shoal's units go. A key it does not know is an error, so that a typing
//! mistake in `deploy/systemd` fails on the bed. Decides nothing about processes but [`Unit::after_exit`].

use std::collections::BTreeMap;

/// Keys that need no action here: documentation, ordering against units a bed does not have, and limits that
/// systemd sets on a process.
const ACCEPTED: [&str; 26] = [
    "Unit.Description",
    "Unit.Documentation",
    "Unit.Wants",
    "Unit.ConditionPathExists",
    "Unit.StartLimitIntervalSec",
    "Unit.StartLimitBurst",
    "Unit.DefaultDependencies",
    "Unit.Before",
    "Unit.Conflicts",
    "Service.LimitNOFILE",
    "Service.LimitNPROC",
    "Service.LimitCORE",
    "Service.TasksMax",
    "Service.OOMScoreAdjust",
    "Service.CPUWeight",
    "Service.IOWeight",
    "Service.Delegate",
    "Service.Nice",
    "Service.NotifyAccess",
    "Service.UMask",
    "Service.StandardOutput",
    "Service.StandardError",
    "Service.TimeoutStartSec",
    "Service.WorkingDirectory",
    "Service.LogRateLimitIntervalSec",
    "Service.CPUSchedulingPolicy",
];

/// How a unit says that it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Started when its program runs.
    Simple,
    /// Started when it says `READY=1`.
    Notify,
    /// Started when its program has ended well.
    Oneshot,
}

/// When an ended unit is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// After a bad code or a signal.
    OnFailure,
    /// After every end.
    Always,
}

/// Which processes a stop reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillMode {
    /// All in the unit's cgroup.
    ControlGroup,
    /// TERM for the first one, KILL for the rest.
    Mixed,
    /// The first one only.
    Process,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// What follows an end that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Start again after the unit's delay.
    StartAgain,
    /// Stay down, as a failure.
    Fail,
    /// Stay down; all is well.
    Rest,
}

/// One service unit.
#[derive(Clone, Debug)]
pub struct Unit {
    /// `Type`.
    pub kind: Kind,
    /// `ExecStartPre`, in order.
    pub start_pre: Vec<Vec<String>>,
    /// `ExecStart`, in order (several only for a oneshot).
    pub start: Vec<Vec<String>>,
    /// `ExecReload`.
    pub reload: Vec<Vec<String>>,
    /// `ExecStop`.
    pub stop: Vec<Vec<String>>,
    /// `Restart`.
    pub restart: Restart,
    /// `RestartSec`, in milliseconds.
    pub restart_delay_ms: u64,
    /// `TimeoutStopSec`, in milliseconds.
    pub stop_timeout_ms: u64,
    /// `RestartPreventExitStatus`.
    pub prevent: Vec<i32>,
    /// `RestartForceExitStatus`.
    pub force: Vec<i32>,
    /// `SuccessExitStatus`.
    pub success: Vec<i32>,
    /// `RemainAfterExit`.
    pub remains: Remains,
    /// `KillMode`.
    pub kill_mode: KillMode,
    /// `FileDescriptorStoreMax`.
    pub stores: u64,
    /// `Environment`, in order.
    pub environment: Vec<(String, String)>,
    /// `EnvironmentFile`, in order; those with `-` may be absent.
    pub environment_files: Vec<String>,
    /// `Requires` and `BindsTo`.
    pub requires: Vec<String>,
    /// `After`.
    pub after: Vec<String>,
    /// `WantedBy`.
    pub wanted_by: Vec<String>,
}

/// Whether a unit counts as active after its program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remains {
    /// `RemainAfterExit=yes`.
    Active,
    /// The default.
    Inactive,
}

/// Why a unit file was not taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnitError {
    /// A line is neither a section nor `Key=value`.
    #[error("line {0}: neither [Section] nor Key=value")]
    Line(usize),
    /// A key this reader does not know.
    #[error("unknown key {0}: teach it to the bed's unit reader or correct it")]
    Key(String),
    /// A value that does not fit its key.
    #[error("{key}={value}: not understood")]
    Value {
        /// `Section.Key`.
        key: String,
        /// As written.
        value: String,
    },
    /// There is nothing to start.
    #[error("no ExecStart")]
    NothingToStart,
}

impl Unit {
    /// Reads the text of a unit file.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        let mut keys = Keys(read_keys(text)?);
        let unit = Self {
            kind: keys.one_of(
                "Service.Type",
                Kind::Simple,
                &[
                    ("simple", Kind::Simple),
                    ("exec", Kind::Simple),
                    ("notify", Kind::Notify),
                    ("oneshot", Kind::Oneshot),
                ],
            )?,
            start_pre: keys.commands("Service.ExecStartPre"),
            start: keys.commands("Service.ExecStart"),
            reload: keys.commands("Service.ExecReload"),
            stop: keys.commands("Service.ExecStop"),
            restart: keys.one_of(
                "Service.Restart",
                Restart::No,
                &[
                    ("no", Restart::No),
                    ("on-failure", Restart::OnFailure),
                    ("always", Restart::Always),
                ],
            )?,
            restart_delay_ms: keys.time_ms("Service.RestartSec", 100)?,
            stop_timeout_ms: keys.time_ms("Service.TimeoutStopSec", 90_000)?,
            prevent: keys.codes("Service.RestartPreventExitStatus")?,
            force: keys.codes("Service.RestartForceExitStatus")?,
            success: keys.codes("Service.SuccessExitStatus")?,
            remains: keys.one_of(
                "Service.RemainAfterExit",
                Remains::Inactive,
                &[("yes", Remains::Active), ("no", Remains::Inactive)],
            )?,
            kill_mode: keys.one_of(
                "Service.KillMode",
                KillMode::ControlGroup,
                &[
                    ("control-group", KillMode::ControlGroup),
                    ("mixed", KillMode::Mixed),
                    ("process", KillMode::Process),
                ],
            )?,
            stores: keys.number("Service.FileDescriptorStoreMax")?,
            environment: keys
                .words("Service.Environment")
                .iter()
                .filter_map(|w| pair(w))
                .collect(),
            environment_files: keys.words("Service.EnvironmentFile"),
            requires: [keys.words("Unit.Requires"), keys.words("Unit.BindsTo")].concat(),
            after: keys.words("Unit.After"),
            wanted_by: keys.words("Install.WantedBy"),
        };
        if let Some(key) = keys.0.keys().find(|key| !ACCEPTED.contains(&key.as_str())) {
            return Err(UnitError::Key(key.clone()));
        }
        if unit.start.is_empty() {
            return Err(UnitError::NothingToStart);
        }
        Ok(unit)
    }

    /// What follows an end that nobody asked for (systemd.service(5), "Restart=").
    pub fn after_exit(&self, ended: Ended) -> Next {
        let (listed, well) = match ended {
            Ended::Code(code) => (code, code == 0 || self.success.contains(&code)),
            // TERM, INT, HUP and PIPE count as a clean end.
            Ended::Signal(signal) => (128 + signal, [15, 2, 1, 13].contains(&signal)),
        };
        let stay = if well { Next::Rest } else { Next::Fail };
        if self.prevent.contains(&listed) {
            return stay;
        }
        let again = self.force.contains(&listed)
            || self.restart == Restart::Always
            || (self.restart == Restart::OnFailure && !well);
        if again { Next::StartAgain } else { stay }
    }
}

struct Keys(BTreeMap<String, Vec<String>>);

impl Keys {
    fn all(&mut self, key: &str) -> Vec<String> {
        self.0.remove(key).unwrap_or_default()
    }

    fn words(&mut self, key: &str) -> Vec<String> {
        self.all(key).iter().flat_map(|line| split_words(line)).collect()
    }

    fn commands(&mut self, key: &str) -> Vec<Vec<String>> {
        self.all(key)
            .iter()
            .map(|line| split_words(line))
            .filter(|words| !words.is_empty())
            .collect()
    }

    fn one_of<T: Copy>(&mut self, key: &str, default: T, known: &[(&str, T)]) -> Result<T, UnitError> {
        let Some(value) = self.all(key).pop() else {
            return Ok(default);
        };
        let found = known
            .iter()
            .find(|(name, _)| *name == value)
            .map(|(_, meaning)| *meaning);
        found.ok_or_else(|| UnitError::Value {
            key: key.to_owned(),
            value,
        })
    }

    fn time_ms(&mut self, key: &str, default: u64) -> Result<u64, UnitError> {
        let Some(value) = self.all(key).pop() else {
            return Ok(default);
        };
        let (digits, factor) = if let Some(digits) = value.strip_suffix("ms") {
            (digits, 1)
        } else if let Some(digits) = value.strip_suffix("min") {
            (digits, 60_000)
        } else {
            (value.strip_suffix('s').unwrap_or(&value), 1_000)
        };
        let number: Result<u64, _> = digits.trim().parse();
        number.map(|n| n * factor).map_err(|_| UnitError::Value {
            key: key.to_owned(),
            value,
        })
    }

    fn number(&mut self, key: &str) -> Result<u64, UnitError> {
        let value = self.all(key).pop().unwrap_or_else(|| "0".to_owned());
        value.parse().map_err(|_| UnitError::Value {
            key: key.to_owned(),
            value,
        })
    }

    fn codes(&mut self, key: &str) -> Result<Vec<i32>, UnitError> {
        let read = |word: &String| {
            word.parse().map_err(|_| UnitError::Value {
                key: key.to_owned(),
                value: word.clone(),
            })
        };
        self.words(key).iter().map(read).collect()
    }
}

fn pair(word: &str) -> Option<(String, String)> {
    word.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

fn read_keys(text: &str) -> Result<BTreeMap<String, Vec<String>>, UnitError> {
    let mut section = String::new();
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let joined = text.replace("\\\n", " ");
    for (index, line) in joined.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') || line.starts_with(';') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').ok_or(UnitError::Line(index + 1))?;
        keys.entry(format!("{section}.{}", key.trim()))
            .or_default()
            .push(value.trim().to_owned());
    }
    Ok(keys)
}

/// Splits at spaces, keeping what stands in single or double quotes together.
pub fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(q), _) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
#[path = "unit_test.rs"]
mod tests;
