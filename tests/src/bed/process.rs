//! How the supervisor starts a unit's program: its cgroup, its environment, its log. Never waits for one.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::cgroup;
use super::store::Store;
use super::unit::{Kind, Unit, split_words};

/// Where the units' output goes.
pub(super) const LOGS: &str = "/var/log/bed";
/// The variable that tells the supervisor its host's cgroup.
pub(super) const CGROUP_VARIABLE: &str = "BED_CGROUP";
/// What units and commands inside a host find their programs with.
pub(super) const SEARCH_PATH: &str =
    "/run/bed/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The cgroup of a unit, relative to a hierarchy's root.
fn unit_cgroup(name: &str) -> String {
    let host = std::env::var(CGROUP_VARIABLE).unwrap_or_else(|_| "shoal-bed/unknown".to_owned());
    format!("{host}/{name}")
}

/// Starts one command line of a unit and returns its process id. `main` replaces `$MAINPID`.
pub(super) fn spawn(
    name: &str,
    unit: &Unit,
    command: &[String],
    main: Option<u32>,
    store: &Store,
) -> io::Result<u32> {
    store.lend(|handed| start(name, unit, command, main, handed))
}

fn start(name: &str, unit: &Unit, command: &[String], main: Option<u32>, handed: &str) -> io::Result<u32> {
    let main = main.map_or_else(String::new, |pid| pid.to_string());
    let words = command
        .iter()
        .map(|word| word.replace("$MAINPID", &main).replace("${MAINPID}", &main));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_file(name))?;
    // The shell moves itself into the unit's cgroup before it becomes the program: nothing escapes the count.
    let mut script = String::new();
    for folder in cgroup::make(&unit_cgroup(name)).map_err(io::Error::other)? {
        script.push_str(&format!("echo $$ > {}/cgroup.procs; ", folder.display()));
    }
    script.push_str(handed);
    script.push_str("exec \"$@\"");
    // Not every shell knows descriptors of two digits.
    let mut started = Command::new("/bin/bash");
    started.arg("-c").arg(script).arg(name);
    for word in words {
        started.arg(
            word.strip_prefix('-')
                .filter(|rest| rest.starts_with('/'))
                .unwrap_or(&word),
        );
    }
    started
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("HOME", "/root")
        .env("LANG", "C.UTF-8");
    for (key, value) in environment(unit)? {
        started.env(key, value);
    }
    if unit.kind == Kind::Notify {
        started.env("NOTIFY_SOCKET", "/run/bed/notify.sock");
    }
    let child = started
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    // The supervisor reaps every child by its number; the handle is not needed.
    Ok(child.id())
}

fn environment(unit: &Unit) -> io::Result<Vec<(String, String)>> {
    let mut found = unit.environment.clone();
    for file in &unit.environment_files {
        let (path, needed) = file
            .strip_prefix('-')
            .map_or((file.as_str(), true), |path| (path, false));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if !needed && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io::Error::other(format!("{path}: {error}"))),
        };
        for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                found.push((key.trim().to_owned(), split_words(value).join(" ")));
            }
        }
    }
    Ok(found)
}

/// All processes of a unit.
pub(super) fn members(name: &str) -> Vec<u32> {
    // 0 stands for a process outside this PID namespace: none of ours.
    cgroup::processes(&unit_cgroup(name))
        .into_iter()
        .filter(|pid| *pid != 0)
        .collect()
}

/// The log of a unit.
pub(super) fn log_file(name: &str) -> String {
    format!("{LOGS}/{name}.log")
}

/// Adds a line of the supervisor's own to a unit's log.
pub(super) fn log(name: &str, message: &str) {
    let file = OpenOptions::new().create(true).append(true).open(log_file(name));
    // The log is for people; a full disk must not stop the host's first process.
    let _unwritten = file.and_then(|mut file| writeln!(file, "[bed] {message}"));
}
