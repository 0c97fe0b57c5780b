//! Every flag of `service create` and `service update`, seen from where it matters: inside the container, at the Engine,
//! or in what the cluster keeps. A flag without a row here fails the test.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use shoal_ctl::flags::{self, On};
use shoal_tests::bed::{Host, Result};
use shoal_tests::cluster::{Cluster, Running};

const SOON: Duration = Duration::from_secs(40);

/// Where the effect of a flag is looked for, and what must be there.
enum See {
    /// A shell command in the container prints this.
    Inside(&'static str, &'static str),
    /// `docker inspect --format` of the container prints this.
    Engine(&'static str, &'static str),
    /// `service inspect` has this value at this JSON pointer.
    Kept(&'static str, &'static str),
    /// A request to this port of the host is answered.
    Answers(u16),
}

use See::{Answers, Engine, Inside, Kept};

type Row = (&'static str, &'static str, See);

/// A service with as much as fits one: flag, value, where to look.
const RICH: &[Row] = &[
    ("env", "COLOR=blue", Inside("echo $COLOR", "blue")),
    ("env-file", "/root/vars", Inside("echo $SIZE", "big")),
    ("hostname", "web-{{.Task.Slot}}", Inside("hostname", "web-1")),
    ("workdir", "/tmp", Inside("pwd", "/tmp")),
    ("user", "1000:1000", Inside("id -u", "1000")),
    ("group", "50", Inside("id -G", "50")),
    ("tty", "true", Engine("{{.Config.Tty}}", "true")),
    ("init", "true", Inside("cat /proc/1/comm", "docker-init")),
    ("read-only", "true", Inside("touch /x 2>&1 || true", "Read-only")),
    (
        "stop-signal",
        "SIGINT",
        Engine("{{.Config.StopSignal}}", "SIGINT"),
    ),
    (
        "stop-grace-period",
        "7s",
        Kept("/Spec/TaskTemplate/ContainerSpec/StopGracePeriod", "7000000000"),
    ),
    ("oom-score-adj", "500", Inside("cat /proc/1/oom_score_adj", "500")),
    (
        "container-label",
        "tier=front",
        Engine("{{index .Config.Labels \"tier\"}}", "front"),
    ),
    (
        "cap-add",
        "NET_ADMIN",
        Inside(
            "c=$(awk '/CapBnd/{print $2}' /proc/1/status); echo bit $(((0x$c >> 12) & 1))",
            "bit 1",
        ),
    ),
    (
        "cap-drop",
        "CHOWN",
        Inside(
            "c=$(awk '/CapBnd/{print $2}' /proc/1/status); echo bit $((0x$c & 1))",
            "bit 0",
        ),
    ),
    (
        "sysctl",
        "net.core.somaxconn=1024",
        Inside("cat /proc/sys/net/core/somaxconn", "1024"),
    ),
    (
        "ulimit",
        "nofile=1024:2048",
        Inside("grep 'open files' /proc/1/limits | tr -s ' '", "1024 2048"),
    ),
    (
        "health-cmd",
        "true",
        Engine("{{json .Config.Healthcheck.Test}}", "CMD-SHELL"),
    ),
    (
        "health-interval",
        "2s",
        Engine("{{.Config.Healthcheck.Interval}}", "2s"),
    ),
    (
        "health-timeout",
        "3s",
        Engine("{{.Config.Healthcheck.Timeout}}", "3s"),
    ),
    (
        "health-start-period",
        "4s",
        Engine("{{.Config.Healthcheck.StartPeriod}}", "4s"),
    ),
    (
        "health-retries",
        "5",
        Engine("{{.Config.Healthcheck.Retries}}", "5"),
    ),
    (
        "log-driver",
        "json-file",
        Engine("{{.HostConfig.LogConfig.Type}}", "json-file"),
    ),
    (
        "log-opt",
        "max-size=1m",
        Engine("{{index .HostConfig.LogConfig.Config \"max-size\"}}", "1m"),
    ),
    (
        "mount",
        "type=tmpfs,target=/scratch,tmpfs-size=1m",
        Inside("grep ' /scratch ' /proc/mounts", "size=1024k"),
    ),
    (
        "secret",
        "source=key,target=/run/key,uid=1000,mode=0400",
        Inside("cat /run/key; stat -c ' %u %a' /run/key", "hunter2 1000 400"),
    ),
    (
        "config",
        "source=conf,target=/etc/conf",
        Inside("cat /etc/conf", "colour=red"),
    ),
    (
        "network",
        "name=back,alias=db",
        Inside("nslookup db 127.0.0.11", "Name:"),
    ),
    ("publish", "8000:8000", Answers(8000)),
    (
        "host",
        "cache:10.0.0.9",
        Inside("cat /etc/hosts", "10.0.0.9\tcache"),
    ),
    (
        "limit-cpu",
        "0.5",
        Inside(
            "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us",
            "50000",
        ),
    ),
    (
        "limit-memory",
        "64m",
        Inside(
            "cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
            "67108864",
        ),
    ),
    (
        "limit-pids",
        "100",
        Inside(
            "cat /sys/fs/cgroup/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids/pids.max",
            "100",
        ),
    ),
    (
        "reserve-cpu",
        "0.25",
        Kept("/Spec/TaskTemplate/Resources/Reservations/NanoCPUs", "250000000"),
    ),
    (
        "reserve-memory",
        "32m",
        Kept(
            "/Spec/TaskTemplate/Resources/Reservations/MemoryBytes",
            "33554432",
        ),
    ),
    (
        "constraint",
        "node.platform.os==linux",
        Kept(
            "/Spec/TaskTemplate/Placement/Constraints/0",
            "node.platform.os==linux",
        ),
    ),
    (
        "placement-pref",
        "spread=node.labels.zone",
        Kept(
            "/Spec/TaskTemplate/Placement/Preferences/0/Spread/SpreadDescriptor",
            "node.labels.zone",
        ),
    ),
    ("replicas", "1", Kept("/Spec/Mode/Replicated/Replicas", "1")),
    ("drain", "3s", Kept("/Spec/Drain", "3000000000")),
    (
        "replicas-max-per-node",
        "2",
        Kept("/Spec/TaskTemplate/Placement/MaxReplicas", "2"),
    ),
    ("label", "team=blue", Kept("/Spec/Labels/team", "blue")),
    (
        "restart-condition",
        "on-failure",
        Kept("/Spec/TaskTemplate/RestartPolicy/Condition", "on-failure"),
    ),
    (
        "restart-delay",
        "1s",
        Kept("/Spec/TaskTemplate/RestartPolicy/Delay", "1000000000"),
    ),
    (
        "restart-max-attempts",
        "3",
        Kept("/Spec/TaskTemplate/RestartPolicy/MaxAttempts", "3"),
    ),
    (
        "restart-window",
        "60s",
        Kept("/Spec/TaskTemplate/RestartPolicy/Window", "60000000000"),
    ),
    (
        "update-parallelism",
        "2",
        Kept("/Spec/UpdateConfig/Parallelism", "2"),
    ),
    (
        "update-delay",
        "1s",
        Kept("/Spec/UpdateConfig/Delay", "1000000000"),
    ),
    ("update-monitor", "0s", Kept("/Spec/UpdateConfig/Monitor", "0")),
    (
        "update-failure-action",
        "rollback",
        Kept("/Spec/UpdateConfig/FailureAction", "rollback"),
    ),
    (
        "update-max-failure-ratio",
        "0.25",
        Kept("/Spec/UpdateConfig/MaxFailureRatio", "0.25"),
    ),
    (
        "update-order",
        "stop-first",
        Kept("/Spec/UpdateConfig/Order", "stop-first"),
    ),
    (
        "rollback-parallelism",
        "2",
        Kept("/Spec/RollbackConfig/Parallelism", "2"),
    ),
    (
        "rollback-delay",
        "1s",
        Kept("/Spec/RollbackConfig/Delay", "1000000000"),
    ),
    (
        "rollback-monitor",
        "3s",
        Kept("/Spec/RollbackConfig/Monitor", "3000000000"),
    ),
    (
        "rollback-failure-action",
        "continue",
        Kept("/Spec/RollbackConfig/FailureAction", "continue"),
    ),
    (
        "rollback-max-failure-ratio",
        "0.5",
        Kept("/Spec/RollbackConfig/MaxFailureRatio", "0.5"),
    ),
    (
        "rollback-order",
        "start-first",
        Kept("/Spec/RollbackConfig/Order", "start-first"),
    ),
];

/// What does not go together with the above.
const PLAIN: &[Row] = &[
    ("mode", "global", Kept("/Spec/Mode/Global", "{}")),
    (
        "entrypoint",
        "/bin/sh -c \"exec /bin/web apart\"",
        Inside("tr '\\0' ' ' < /proc/1/cmdline", "/bin/web apart"),
    ),
    ("endpoint-mode", "dnsrr", Kept("/Spec/EndpointSpec/Mode", "dnsrr")),
    ("dns", "10.0.0.2", Engine("{{.HostConfig.Dns}}", "[10.0.0.2]")),
    (
        "dns-search",
        "example.org",
        Inside("cat /etc/resolv.conf", "search example.org"),
    ),
    (
        "dns-option",
        "ndots:2",
        Inside("cat /etc/resolv.conf", "options ndots:2"),
    ),
    (
        "no-healthcheck",
        "true",
        Engine("{{json .Config.Healthcheck.Test}}", "NONE"),
    ),
];

/// What only `service update` takes, on the plain service: what is added first is taken away after.
const CHANGED: &[Row] = &[
    ("image", "shoal/web:2", Inside("echo $VERSION", "2")),
    (
        "args",
        "/bin/web",
        Kept("/Spec/TaskTemplate/ContainerSpec/Args/0", "/bin/web"),
    ),
    ("env-add", "COLOR=green", Inside("echo $COLOR", "green")),
    ("group-add", "50", Inside("id -G", "50")),
    (
        "container-label-add",
        "tier=back",
        Engine("{{index .Config.Labels \"tier\"}}", "back"),
    ),
    (
        "sysctl-add",
        "net.core.somaxconn=512",
        Inside("cat /proc/sys/net/core/somaxconn", "512"),
    ),
    (
        "ulimit-add",
        "nofile=512:512",
        Inside("grep 'open files' /proc/1/limits | tr -s ' '", "512 512"),
    ),
    (
        "mount-add",
        "type=tmpfs,target=/more",
        Inside("grep ' /more ' /proc/mounts", "tmpfs"),
    ),
    ("secret-add", "key", Inside("cat /run/secrets/key", "hunter2")),
    ("config-add", "conf", Inside("cat /conf", "colour=red")),
    (
        "network-add",
        "back",
        Engine("{{len .NetworkSettings.Networks}}", "1"),
    ),
    (
        "publish-add",
        "published=8100,target=8000,mode=host",
        Answers(8100),
    ),
    (
        "host-add",
        "cache:10.0.0.8",
        Inside("cat /etc/hosts", "10.0.0.8\tcache"),
    ),
    (
        "dns-add",
        "10.0.0.3",
        Kept(
            "/Spec/TaskTemplate/ContainerSpec/DNSConfig/Nameservers/1",
            "10.0.0.3",
        ),
    ),
    (
        "dns-search-add",
        "example.com",
        Kept(
            "/Spec/TaskTemplate/ContainerSpec/DNSConfig/Search/1",
            "example.com",
        ),
    ),
    (
        "dns-option-add",
        "timeout:1",
        Kept(
            "/Spec/TaskTemplate/ContainerSpec/DNSConfig/Options/1",
            "timeout:1",
        ),
    ),
    (
        "constraint-add",
        "node.platform.os==linux",
        Kept(
            "/Spec/TaskTemplate/Placement/Constraints/0",
            "node.platform.os==linux",
        ),
    ),
    (
        "placement-pref-add",
        "spread=node.labels.rack",
        Kept(
            "/Spec/TaskTemplate/Placement/Preferences/0/Spread/SpreadDescriptor",
            "node.labels.rack",
        ),
    ),
    ("label-add", "team=red", Kept("/Spec/Labels/team", "red")),
    ("force", "true", Kept("/Spec/TaskTemplate/ForceUpdate", "1")),
];

/// Takes away what the rows above added: flag and value.
const REMOVED: &[(&str, &str)] = &[
    ("env-rm", "COLOR"),
    ("group-rm", "50"),
    ("container-label-rm", "tier"),
    ("sysctl-rm", "net.core.somaxconn"),
    ("ulimit-rm", "nofile"),
    ("mount-rm", "/more"),
    ("secret-rm", "key"),
    ("config-rm", "conf"),
    ("network-rm", "back"),
    ("publish-rm", "8000"),
    ("host-rm", "cache:10.0.0.8"),
    ("dns-rm", "10.0.0.3"),
    ("dns-search-rm", "example.com"),
    ("dns-option-rm", "timeout:1"),
    ("constraint-rm", "node.platform.os==linux"),
    ("placement-pref-rm", "spread=node.labels.rack"),
    ("label-rm", "team"),
];

/// Flags with a test of their own: a number for jobs, which are refused until they exist; and what only newer Engines do.
const APART: &[&str] = &["max-concurrent", "health-start-interval"];

#[test]
fn every_flag_has_a_row() {
    let rows = [RICH, PLAIN, CHANGED]
        .into_iter()
        .flatten()
        .map(|(flag, _, _)| *flag);
    let removed = REMOVED.iter().map(|(flag, _)| *flag);
    let known: BTreeSet<&str> = rows.chain(removed).chain(APART.iter().copied()).collect();
    let missing: Vec<_> = flags::honoured()
        .filter(|(name, _)| !known.contains(name))
        .collect();
    assert!(missing.is_empty(), "flags without a row: {missing:?}");
    let updates = flags::honoured().filter(|(_, on)| *on == On::Update).count();
    assert!(
        updates >= REMOVED.len() * 2,
        "the table of flags has shrunk to {updates} for update"
    );
}

#[test]
fn every_flag_does_what_it_says() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let host = cluster.bed.host(1);
    host.put("/root/vars", "SIZE=big\n")?;
    host.sh("printf %s hunter2 | shoal secret create key -")?;
    host.sh("printf %s colour=red | shoal config create conf -")?;
    cluster.ok("network create --attachable back")?;

    cluster.ok(&format!(
        "service create --name rich {} --no-resolve-image shoal/web:1",
        words(RICH)
    ))?;
    check(&cluster, "rich", RICH)?;
    cluster.ok("service rm rich")?;

    cluster.ok(&format!(
        "service create --name plain {} --no-resolve-image shoal/web:1",
        words(PLAIN)
    ))?;
    check(&cluster, "plain", PLAIN)?;
    cluster.ok(&format!(
        "service update --no-resolve-image {} plain",
        words(CHANGED)
    ))?;
    check(&cluster, "plain", CHANGED)?;
    let before = inspect(&cluster, "plain")?;
    let removals: Vec<String> = REMOVED.iter().map(|(flag, value)| word(flag, value)).collect();
    cluster.ok(&format!("service update {} plain", removals.join(" ")))?;
    let after = inspect(&cluster, "plain")?;
    for row in CHANGED {
        if let (flag, _, Kept(pointer, expected)) = row
            && flag.ends_with("-add")
        {
            assert_eq!(show(before.pointer(pointer)), *expected, "--{flag}");
            assert_ne!(
                show(after.pointer(pointer)),
                *expected,
                "the removal of --{flag} left it"
            );
        }
    }
    cluster.ok("service rm plain")?;
    Ok(())
}

/// Engines do it from API 1.44 on; an older one refuses the task, with both numbers.
#[test]
fn a_start_interval_is_done_or_refused_by_the_engine_s_version() -> Result<()> {
    let cluster = Cluster::new(1, 1)?;
    let create = "service create --name slow --health-cmd true --health-start-interval 1s --restart-condition none \
                  --no-resolve-image shoal/web:1";
    let host = cluster.bed.host(1);
    let api = host.sh("docker version --format '{{.Server.APIVersion}}'")?;
    let minor: u32 = api
        .trim()
        .trim_start_matches("1.")
        .parse()
        .expect("an API version");
    let out = cluster.shoal(create)?;
    if minor >= 44 {
        let running = cluster.wait_running("slow", 1, SOON)?;
        let set = format!(
            "docker inspect --format '{{{{.Config.Healthcheck.StartInterval}}}}' {}",
            running[0].container
        );
        assert_eq!(host.sh(&set)?.trim(), "1s");
    } else {
        let text = out.text();
        assert!(!out.success() && text.contains("needs API 1.44"), "{text}");
    }
    let kept = inspect(&cluster, "slow")?;
    let pointer = "/Spec/TaskTemplate/ContainerSpec/Healthcheck/StartInterval";
    assert_eq!(show(kept.pointer(pointer)), "1000000000");
    Ok(())
}

/// One flag as the shell takes it.
fn word(flag: &str, value: &str) -> String {
    format!("'--{flag}={value}'")
}

fn words(rows: &[Row]) -> String {
    rows.iter()
        .map(|(flag, value, _)| word(flag, value))
        .collect::<Vec<_>>()
        .join(" ")
}

fn check(cluster: &Cluster, service: &str, rows: &[Row]) -> Result<()> {
    let host = cluster.bed.host(1);
    let running = cluster.wait_running(service, 1, SOON)?;
    let kept = inspect(cluster, service)?;
    for (flag, value, see) in rows {
        let found = match see {
            Inside(command, _) => inside(host, &running[0], command)?,
            Engine(format, _) => host.sh(&format!(
                "docker inspect --format '{format}' {}",
                running[0].container
            ))?,
            Kept(pointer, _) => show(kept.pointer(pointer)),
            Answers(port) => cluster.wait_answer(1, *port, SOON)?,
        };
        let expected = match see {
            Inside(_, expected) | Engine(_, expected) | Kept(_, expected) => expected,
            Answers(_) => "version",
        };
        assert!(
            found.contains(expected),
            "--{flag} {value}: expected {expected:?}, found {found:?}"
        );
    }
    Ok(())
}

fn inside(host: &Host, task: &Running, command: &str) -> Result<String> {
    let quoted = command.replace('\'', "'\\''");
    host.sh(&format!("docker exec {} sh -c '{quoted}'", task.container))
}

fn inspect(cluster: &Cluster, service: &str) -> Result<Value> {
    let text = cluster.ok(&format!("service inspect {service}"))?;
    let list: Value = serde_json::from_str(&text).expect("service inspect prints JSON");
    Ok(list[0].clone())
}

fn show(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}
