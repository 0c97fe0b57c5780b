//! What could stand in a line, without any cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::{Command, CommandFactory as _};

use super::wants::{self, Want};
use super::{Patience, Surroundings, answer};
use crate::cli::Cli;

/// Arguments whose values nobody can know before they are typed: numbers, labels, new names, what is in a file.
const FREE: &[&str] = &[
    "ack_timeout",
    "address_pool",
    "address_pool_prefix",
    "cert_expiry",
    "dispatcher_heartbeat",
    "driver",
    "engine_grace",
    "evictions_per_minute",
    "filters",
    "from",
    "gateway",
    "grep",
    "heartbeat_misses",
    "host",
    "label_add",
    "label_rm",
    "labels",
    "log_driver",
    "log_opt",
    "manager",
    "name",
    "only",
    "options",
    "overlay_subnet",
    "profiles",
    "revision",
    "revision_history_limit",
    "scale",
    "since",
    "subnet",
    "tail",
    "task_history_limit",
    "timeout",
    "to",
    "token",
    "until",
    "username",
    "valid",
    "words",
];

fn offered(line: &[&str]) -> Vec<String> {
    let nobody = Surroundings {
        contexts: None,
        host: None,
        patience: Patience {
            connect: Duration::ZERO,
            all: Duration::ZERO,
        },
    };
    let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let answer = runtime.block_on(answer(Cli::command(), &words, &nobody));
    let word = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    answer.lines().map(word).collect()
}

#[test]
fn commands_are_offered_and_hidden_ones_are_not() {
    assert_eq!(offered(&["se"]), ["service", "secret"]);
    let all = offered(&[""]);
    assert!(all.contains(&"completion".to_owned()), "{all:?}");
    assert!(!all.contains(&"__complete".to_owned()), "{all:?}");
    assert_eq!(offered(&["stack", "d"]), ["deploy", "diff"]);
    assert_eq!(offered(&["help", "stack", "depl"]), ["deploy"]);
}

#[test]
fn options_are_offered_once_unless_they_may_be_given_again() {
    assert_eq!(offered(&["--h"]), ["--host", "--help"]);
    assert_eq!(offered(&["service", "ls", "--fo"]), ["--format"]);
    assert!(offered(&["service", "ls", "--format", "json", "--fo"]).is_empty());
    assert_eq!(offered(&["service", "ls", "-f", "name=a", "--fi"]), ["--filter"]);
    assert!(offered(&["service", "rm", "-"]).contains(&"-d".to_owned()));
    // A global option, after the verb.
    assert_eq!(offered(&["service", "ls", "--cont"]), ["--context"]);
    // Refused ones are hidden in the help, and here.
    assert!(offered(&["service", "create", "--cred"]).is_empty());
}

#[test]
fn listed_values_are_offered_where_they_are_taken() {
    assert_eq!(offered(&["cluster", "join-token", "w"]), ["worker"]);
    assert_eq!(
        offered(&["node", "update", "--availability", ""]),
        ["active", "pause", "drain"]
    );
    assert_eq!(offered(&["service", "ls", "--format=j"]), ["--format=json"]);
    assert_eq!(offered(&["completion", ""]), ["bash", "zsh", "fish"]);
}

#[test]
fn files_are_left_to_the_shell() {
    for line in [
        &["stack", "deploy", "-c", ""] as &[&str],
        &["stack", "check", "-c", "a.yaml", "-c", "x"],
        &["stack", "up", "--compose-file=dep"],
        &["stack", "config", "--env-file", ""],
        &["secret", "create", "--label", "a=b", "password", ""],
        &["service", "create", "--env-file", ""],
    ] {
        assert_eq!(offered(line), [":files"], "{line:?}");
    }
    assert_eq!(
        offered(&["stack", "check", "--project-directory", ""]),
        [":folders"]
    );
}

#[test]
fn words_of_somebody_elses_command_are_not_ours() {
    assert!(offered(&["service", "create", "nginx:1.27", "--na"]).is_empty());
    assert!(offered(&["service", "create", "--", "--na"]).is_empty());
    assert_eq!(offered(&["service", "create", "--na"]), ["--name"]);
    // The value of an option is none of our commands, whatever it looks like.
    assert_eq!(offered(&["--host", "service", "sta"]), ["stack"]);
    assert_eq!(
        offered(&["service", "update", "--args", "--image", "--imag"]),
        ["--image"]
    );
}

/// All arguments of a command and those below it, with the commands' names.
fn visit<'a>(command: &'a Command, path: &[&'a str], seen: &mut impl FnMut(&[&str], &clap::Arg)) {
    for arg in command.get_arguments() {
        seen(path, arg);
    }
    let shown = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    for verb in shown {
        let path: Vec<&str> = path.iter().copied().chain([verb.get_name()]).collect();
        visit(verb, &path, seen);
    }
}

#[test]
fn every_argument_has_candidates_or_is_known_to_have_none() {
    let mut command = Cli::command();
    command.build();
    let (mut forgotten, mut known) = (Vec::new(), BTreeSet::<&str>::new());
    visit(&command, &[], &mut |path, arg| {
        let id = arg.get_id().as_str();
        let of_the_table = crate::flags::honoured().any(|(name, _)| name == id);
        known.extend(FREE.iter().filter(|free| **free == id));
        let is_known = FREE.contains(&id) || of_the_table;
        let takes = arg.get_action().takes_values() && !arg.is_hide_set();
        if takes
            && !is_known
            && arg.get_possible_values().is_empty()
            && wants::of(path, arg, Some("shop")) == Want::Nothing
        {
            forgotten.push(format!("{} {id}", path.join(" ")));
        }
    });
    assert!(forgotten.is_empty(), "{forgotten:#?}");
    assert_eq!(known.len(), FREE.len(), "of {FREE:?} there are only {known:?}");
}
