//! Flags that say what runs in the container and with which rights.

use anyhow::{Context as _, anyhow, bail};
use shoal_proto::container::{ContainerSpec, Ulimit};
use shoal_proto::service::ServiceSpec;

use super::Effect::{Refused, Set, Switch as Toggle};
use super::On::{Both, Create, Update};
use super::{Flag, Switch, pair, remove_from};
use crate::values;

pub(super) fn container(spec: &mut ServiceSpec) -> &mut ContainerSpec {
    &mut spec.template.container
}

pub(super) static ROWS: &[&[Flag]] = &[PROCESS, ENVIRONMENT, RIGHTS];

static PROCESS: &[Flag] = &[
    Flag::new(
        "image",
        Update,
        "shoal/web:2",
        "Image to run",
        Set(|s, v| {
            container(s).image = v.to_owned();
            container(s).image_digest = None;
            Ok(())
        }),
    ),
    Flag::new(
        "args",
        Update,
        "httpd -f",
        "Arguments of the command, split as a shell splits them",
        Set(|s, v| {
            container(s).command = Some(shell_words(v)?);
            Ok(())
        }),
    ),
    Flag::new(
        "entrypoint",
        Both,
        "/bin/start -v",
        "Replace the image's entrypoint",
        Set(|s, v| {
            container(s).entrypoint = Some(shell_words(v)?);
            Ok(())
        }),
    ),
    Flag::new(
        "hostname",
        Both,
        "web-{{.Task.Slot}}",
        "Hostname of the container",
        Set(|s, v| text(&mut container(s).hostname, v)),
    ),
    Flag::new(
        "workdir",
        Both,
        "/srv",
        "Working directory",
        Set(|s, v| text(&mut container(s).dir, v)),
    )
    .short('w'),
    Flag::new(
        "user",
        Both,
        "1000:1000",
        "User, and group after a colon",
        Set(|s, v| text(&mut container(s).user, v)),
    )
    .short('u'),
    Flag::new(
        "group",
        Create,
        "audio",
        "Add a further group",
        Set(|s, v| push(&mut container(s).groups, v)),
    ),
    Flag::new(
        "group-rm",
        Update,
        "audio",
        "Remove a further group",
        Set(|s, v| remove(&mut container(s).groups, "group", v)),
    ),
    Flag::new(
        "group-add",
        Update,
        "audio",
        "Add a further group",
        Set(|s, v| push(&mut container(s).groups, v)),
    ),
    Flag::new(
        "tty",
        Both,
        "true",
        "Allocate a terminal",
        Toggle(|s, v| container(s).tty = v == Switch::On),
    )
    .short('t'),
    Flag::new(
        "read-only",
        Both,
        "true",
        "Make the root file system read-only",
        Toggle(|s, v| container(s).read_only = v == Switch::On),
    ),
    Flag::new(
        "init",
        Both,
        "true",
        "Run an init as PID 1",
        Toggle(|s, v| container(s).init = Some(v == Switch::On)),
    ),
    Flag::new(
        "stop-signal",
        Both,
        "SIGINT",
        "Signal that stops the container",
        Set(|s, v| text(&mut container(s).stop_signal, v)),
    ),
    Flag::new(
        "stop-grace-period",
        Both,
        "30s",
        "Time to stop before it is killed (10s)",
        Set(|s, v| {
            container(s).stop_grace_ms = Some(values::duration_ms(v)?);
            Ok(())
        }),
    ),
    Flag::new(
        "oom-score-adj",
        Both,
        "500",
        "Adjust the host's out-of-memory score (-1000 to 1000)",
        Set(|s, v| {
            container(s).oom_score_adj = Some(v.parse().context("write a number from -1000 to 1000")?);
            Ok(())
        }),
    ),
    Flag::new(
        "isolation",
        Both,
        "default",
        "Isolation technology",
        Refused("isolation is for Windows containers, which Shoal does not run: leave it out"),
    ),
    Flag::new(
        "credential-spec",
        Both,
        "file://x",
        "Windows credential spec",
        Refused("credential specs are for Windows containers, which Shoal does not run: leave it out"),
    ),
    Flag::new(
        "force",
        Update,
        "true",
        "Replace all tasks even if nothing changed",
        Toggle(|s, v| {
            s.template.force_update += u64::from(v == Switch::On);
        }),
    ),
];

static ENVIRONMENT: &[Flag] = &[
    Flag::new(
        "env-file",
        Create,
        "prod.env",
        "Read environment variables from a file",
        Set(env_file),
    ),
    Flag::new(
        "env-rm",
        Update,
        "COLOR",
        "Remove an environment variable",
        Set(|s, v| {
            remove_from(&mut container(s).env, &format!("environment variable {v}"), |e| {
                key_of(e) == v
            })
        }),
    ),
    Flag::new(
        "env",
        Create,
        "COLOR=blue",
        "Set an environment variable; a name alone takes the caller's value",
        Set(env_add),
    )
    .short('e'),
    Flag::new(
        "env-add",
        Update,
        "COLOR=blue",
        "Set an environment variable",
        Set(env_add),
    ),
    Flag::new(
        "container-label",
        Create,
        "tier=front",
        "Label of the containers",
        Set(container_label_add),
    ),
    Flag::new(
        "container-label-rm",
        Update,
        "tier",
        "Remove a label of the containers",
        Set(|s, v| {
            container(s)
                .labels
                .remove(v)
                .map(drop)
                .ok_or_else(|| anyhow!("the service has no container label {v}"))
        }),
    ),
    Flag::new(
        "container-label-add",
        Update,
        "tier=front",
        "Label of the containers",
        Set(container_label_add),
    ),
];

static RIGHTS: &[Flag] = &[
    Flag::new(
        "cap-add",
        Both,
        "CAP_NET_ADMIN",
        "Add a capability",
        Set(|s, v| {
            container(s).cap_drop.retain(|c| c != &capability(v));
            push(&mut container(s).cap_add, &capability(v))
        }),
    ),
    Flag::new(
        "cap-drop",
        Both,
        "CAP_CHOWN",
        "Drop a capability",
        Set(|s, v| {
            container(s).cap_add.retain(|c| c != &capability(v));
            push(&mut container(s).cap_drop, &capability(v))
        }),
    ),
    Flag::new(
        "sysctl",
        Create,
        "net.core.somaxconn=1024",
        "Kernel setting of the container",
        Set(sysctl_add),
    ),
    Flag::new(
        "sysctl-rm",
        Update,
        "net.core.somaxconn",
        "Remove a kernel setting",
        Set(|s, v| {
            container(s)
                .sysctls
                .remove(v)
                .map(drop)
                .ok_or_else(|| anyhow!("the service has no sysctl {v}"))
        }),
    ),
    Flag::new(
        "sysctl-add",
        Update,
        "net.core.somaxconn=1024",
        "Kernel setting of the container",
        Set(sysctl_add),
    ),
    Flag::new(
        "ulimit",
        Create,
        "nofile=1024:2048",
        "Limit per process",
        Set(ulimit_add),
    ),
    Flag::new(
        "ulimit-rm",
        Update,
        "nofile",
        "Remove a limit per process",
        Set(|s, v| remove_from(&mut container(s).ulimits, &format!("ulimit {v}"), |u| u.name == v)),
    ),
    Flag::new(
        "ulimit-add",
        Update,
        "nofile=1024:2048",
        "Limit per process",
        Set(ulimit_add),
    ),
];

fn text(field: &mut Option<String>, value: &str) -> anyhow::Result<()> {
    *field = (!value.is_empty()).then(|| value.to_owned());
    Ok(())
}

fn push(list: &mut Vec<String>, value: &str) -> anyhow::Result<()> {
    if !list.iter().any(|v| v == value) {
        list.push(value.to_owned());
    }
    Ok(())
}

fn remove(list: &mut Vec<String>, what: &str, value: &str) -> anyhow::Result<()> {
    remove_from(list, &format!("{what} {value}"), |v| v == value)
}

fn capability(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper.starts_with("CAP_") || upper == "ALL" || upper == "RESET" {
        upper
    } else {
        format!("CAP_{upper}")
    }
}

fn key_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

fn env_add(spec: &mut ServiceSpec, entry: &str) -> anyhow::Result<()> {
    let key = key_of(entry).to_owned();
    if key.is_empty() {
        bail!("a name must stand before the =");
    }
    let entry = if entry.contains('=') {
        Some(entry.to_owned())
    } else {
        std::env::var(&key).ok().map(|v| format!("{key}={v}"))
    };
    let list = &mut container(spec).env;
    match (list.iter().position(|e| key_of(e) == key), entry) {
        (Some(place), Some(entry)) => list[place] = entry,
        (None, Some(entry)) => list.push(entry),
        (Some(place), None) => drop(list.remove(place)),
        (None, None) => {}
    }
    Ok(())
}

fn env_file(spec: &mut ServiceSpec, path: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    for line in text
        .lines()
        .map(str::trim_start)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        env_add(spec, line)?;
    }
    Ok(())
}

fn container_label_add(spec: &mut ServiceSpec, entry: &str) -> anyhow::Result<()> {
    let (key, value) = pair(entry)?;
    container(spec).labels.insert(key, value);
    Ok(())
}

fn sysctl_add(spec: &mut ServiceSpec, entry: &str) -> anyhow::Result<()> {
    let (key, value) = pair(entry)?;
    container(spec).sysctls.insert(key, value);
    Ok(())
}

fn ulimit_add(spec: &mut ServiceSpec, entry: &str) -> anyhow::Result<()> {
    let (name, limits) = pair(entry)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((&limits, &limits));
    let number = |n: &str| {
        if n == "unlimited" {
            Ok(-1)
        } else {
            n.parse::<i64>()
                .context("write name=soft:hard, such as nofile=1024:2048")
        }
    };
    let ulimit = Ulimit {
        soft: number(soft)?,
        hard: number(hard)?,
        name: name.clone(),
    };
    container(spec).ulimits.retain(|u| u.name != name);
    container(spec).ulimits.push(ulimit);
    Ok(())
}

/// Splits as a POSIX shell does: blanks, quotes, backslashes; no expansion.
pub(super) fn shell_words(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), close) if open == close => quote = None,
            (Some('"') | None, '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, open @ ('"' | '\'')) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (None, blank) if blank.is_whitespace() => words.extend(word.take()),
            (_, other) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        bail!("{text:?} has an open quote");
    }
    words.extend(word);
    Ok(words)
}
