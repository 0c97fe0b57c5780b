//! Each key of a container's spec, checked by what the container sees.

use shoal_proto::container::{Device, DnsConfig, LogDriver, Ulimit};
use shoal_proto::service::{HostPort, NetworkTarget, NetworkUse, Protocol, TaskTemplate};

use shoal_agent::engine::{ContainerState, Engine as _, EngineError, Networks, plan};

use crate::bed::{block, facts, shared, shell, shell_with};

/// Runs a script under a template and checks each line of what it writes.
pub(crate) fn sees(script: &str, change: impl FnOnce(&mut TaskTemplate), expected: &str) {
    let (seen, output) = shared().run(&shell_with(script, change));
    assert_eq!(
        output.trim(),
        expected,
        "exit {:?} {}",
        seen.exit_code,
        seen.error
    );
}

pub(crate) fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn command_entrypoint_and_arguments() {
    sees("", |t| t.container.command = None, "image command");
    sees(
        "",
        |t| t.container.command = Some(strings(&["echo", "mine"])),
        "mine",
    );
    let both = |t: &mut TaskTemplate| {
        t.container.entrypoint = Some(strings(&["echo", "from"]));
        t.container.command = Some(strings(&["entry", "point"]));
    };
    sees("", both, "from entry point");
}

#[test]
fn environment_with_placeholders_and_removals() {
    let env = |t: &mut TaskTemplate| {
        t.container.env = strings(&[
            "A=1=2",
            "NODE={{.Node.Hostname}}.{{.Service.Name}}.{{.Task.Slot}}",
            "FROM_IMAGE",
        ]);
    };
    sees("echo $A $NODE [$FROM_IMAGE]", env, "1=2 h1.web.3 []");
    sees("echo $FROM_IMAGE", |_| {}, "yes");
}

#[test]
fn hostname_directory_user_and_groups() {
    sees(
        "hostname",
        |t| t.container.hostname = Some("{{.Node.Hostname}}-{{.Task.Slot}}".to_owned()),
        "h1-3",
    );
    sees("pwd", |t| t.container.dir = Some("/data".to_owned()), "/data");
    let user = |t: &mut TaskTemplate| {
        t.container.user = Some("user1".to_owned());
        t.container.groups = strings(&["4242"]);
    };
    sees("id -u; id -g; id -G", user, "1001\n1002\n1002 4242");
    let pair = |t: &mut TaskTemplate| t.container.user = Some("7:8".to_owned());
    sees("id -u; id -g", pair, "7\n8");
}

#[test]
fn terminal_and_open_input() {
    sees(
        "tty; [ -t 1 ] && echo terminal",
        |t| t.container.tty = true,
        "/dev/pts/0\r\nterminal",
    );
    sees("[ -t 1 ] || echo plain", |_| {}, "plain");
    // Without it standard input is at its end at once.
    sees(
        "exec 2>/dev/null; timeout 1 cat; echo $?",
        |t| t.container.open_stdin = true,
        "143",
    );
    sees("timeout 1 cat; echo $?", |_| {}, "0");
}

#[test]
fn an_init_reaps_and_is_process_one() {
    sees(
        "cat /proc/1/comm; true",
        |t| t.container.init = Some(true),
        "docker-init",
    );
    sees("cat /proc/1/comm; true", |t| t.container.init = Some(false), "sh");
}

#[test]
fn stop_signal_and_grace() {
    let script = "trap 'echo got usr1; exit 7' USR1; echo up; while :; do sleep 0.1; done";
    let made = shell_with(script, |t| {
        t.container.stop_signal = Some("SIGUSR1".to_owned());
        t.container.stop_grace_ms = Some(20_000);
    });
    let deaf = shell_with("trap '' TERM; echo up; while :; do sleep 0.1; done", |_| {});
    for (assigned, grace_ms, code, words) in [(made, 20_000, 7, "got usr1"), (deaf, 1_000, 137, "up")] {
        let bed = shared();
        block(async {
            let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
            let id = bed.engine.create(&made).await.expect("create");
            bed.engine.start(&id).await.expect("start");
            while !bed.output(&id).await.contains("up") {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            bed.engine.stop(&id, grace_ms).await.expect("stop");
            let seen = bed.engine.inspect(&id).await.expect("inspect").expect("there");
            assert_eq!((seen.state, seen.exit_code), (ContainerState::Exited, Some(code)));
            assert!(bed.output(&id).await.contains(words));
            bed.engine
                .stop(&id, grace_ms)
                .await
                .expect("a second stop is fine");
            bed.engine.remove(&id).await.expect("remove");
            bed.engine.remove(&id).await.expect("a second removal is fine");
        });
    }
}

#[test]
fn limits_of_memory_processor_and_processes() {
    let change = |t: &mut TaskTemplate| {
        t.resources.limits.memory_bytes = 64 << 20;
        t.resources.limits.nano_cpus = 500_000_000;
        t.resources.limits.pids = 77;
        t.resources.reservations.memory_bytes = 32 << 20;
    };
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; \
                  cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null; cut -d' ' -f1 /sys/fs/cgroup/cpu.max 2>/dev/null; \
                  cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; \
                  cat /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/memory.low 2>/dev/null";
    sees(script, change, "67108864\n50000\n77\n33554432");
    let hungry = shell_with("tail /dev/zero", |t| t.resources.limits.memory_bytes = 16 << 20);
    let (seen, _) = shared().run(&hungry);
    assert_eq!((seen.exit_code, seen.oom_killed), (Some(137), true));
}

#[test]
fn capabilities_privileges_and_security() {
    let effective = "grep CapEff /proc/self/status | cut -f2";
    sees(
        effective,
        |t| t.container.cap_drop = strings(&["ALL"]),
        "0000000000000000",
    );
    let one = |t: &mut TaskTemplate| {
        t.container.cap_drop = strings(&["ALL"]);
        t.container.cap_add = strings(&["NET_ADMIN"]);
    };
    sees(effective, one, "0000000000001000");
    sees(
        "grep NoNewPrivs /proc/self/status | cut -f2",
        |t| {
            t.container.security_opt = strings(&["no-new-privileges"]);
        },
        "1",
    );
    let seccomp = "grep ^Seccomp: /proc/self/status | cut -f2";
    sees(seccomp, |_| {}, "2");
    let unconfined = |t: &mut TaskTemplate| t.container.security_opt = strings(&["seccomp=unconfined"]);
    sees(seccomp, unconfined, "0");
    sees(
        "mount -t tmpfs x /tmp 2>/dev/null || echo may not",
        |_| {},
        "may not",
    );
}

#[test]
fn a_privileged_container_has_all_the_host_has() {
    let bed = shared();
    let assigned = shell_with("mount -t tmpfs x /tmp && echo may mount", |t| {
        t.container.privileged = true
    });
    let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
    let id = block(bed.engine.create(&made)).expect("create");
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .expect("capabilities")
        .trim()
        .parse::<u32>();
    let all = format!("{:016x}", (1_u64 << (last.expect("a number") + 1)) - 1);
    let own = std::fs::read_to_string("/proc/self/status").expect("status");
    let started = block(bed.engine.start(&id));
    if own
        .lines()
        .any(|line| line.starts_with("CapBnd") && line.ends_with(&all))
    {
        started.expect("start");
        block(bed.until(&id, |seen| seen.state == ContainerState::Exited));
        assert_eq!(block(bed.output(&id)).trim(), "may mount");
    } else {
        // A host that lacks a right itself cannot give all: the Engine says so, which proves that it was asked.
        let error = started.expect_err("more than the host has");
        assert!(error.to_string().contains("caps"), "{error}");
    }
    block(bed.engine.remove(&id)).expect("remove");
}

#[test]
fn ulimits_sysctls_devices_shm_and_oom_score() {
    let limit = Ulimit {
        name: "nofile".to_owned(),
        soft: 1000,
        hard: 2000,
    };
    sees(
        "ulimit -Sn; ulimit -Hn",
        |t| t.container.ulimits = vec![limit],
        "1000\n2000",
    );
    let key = "net.core.somaxconn".to_owned();
    sees(
        "cat /proc/sys/net/core/somaxconn",
        |t| drop(t.container.sysctls.insert(key, "777".to_owned())),
        "777",
    );
    let device = Device {
        host: "/dev/null".to_owned(),
        container: "/dev/mine".to_owned(),
        permissions: String::new(),
    };
    sees(
        "[ -c /dev/mine ] && echo x > /dev/mine && echo ok",
        |t| t.container.devices = vec![device],
        "ok",
    );
    // Written to or not: opening alone asks the container's list of devices.
    for (permissions, expected) in [("rw", "may write"), ("r", "may not")] {
        let device = Device {
            host: "/dev/kmsg".to_owned(),
            container: "/dev/words".to_owned(),
            permissions: permissions.to_owned(),
        };
        sees(
            "( : >> /dev/words ) 2>/dev/null && echo may write || echo may not",
            |t| t.container.devices = vec![device],
            expected,
        );
    }
    sees(
        "df -k /dev/shm | tail -1 | awk '{print $2}'",
        |t| t.container.shm_bytes = Some(8 << 20),
        "8192",
    );
    sees(
        "cat /proc/self/oom_score_adj",
        |t| t.container.oom_score_adj = Some(321),
        "321",
    );
}

#[test]
fn hosts_and_resolver() {
    let hosts = |t: &mut TaskTemplate| t.container.hosts = strings(&["10.1.2.3 alpha beta"]);
    sees("grep -c -E '10.1.2.3.*(alpha|beta)' /etc/hosts", hosts, "2");
    let dns = DnsConfig {
        nameservers: strings(&["10.9.9.9"]),
        search: strings(&["example.test"]),
        options: strings(&["ndots:3"]),
    };
    let script = "grep -E '^(nameserver|search|options)' /etc/resolv.conf | sort";
    sees(
        script,
        |t| t.container.dns = dns,
        "nameserver 10.9.9.9\noptions ndots:3\nsearch example.test",
    );
}

#[test]
fn labels_are_ours_swarms_and_the_operators() {
    let assigned = shell_with("true", |t| {
        drop(t.container.labels.insert("mine".to_owned(), "1".to_owned()))
    });
    let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
    let bed = shared();
    let id = block(bed.engine.create(&made)).expect("create");
    let labels = bed.docker(&["inspect", "-f", "{{json .Config.Labels}}", &id]);
    let labels: serde_json::Value = serde_json::from_str(&labels).expect("JSON");
    for (name, value) in [
        ("mine", "1".to_owned()),
        ("com.docker.swarm.service.name", "web".to_owned()),
        ("com.docker.swarm.task.id", assigned.task.to_string()),
        ("com.docker.swarm.task.name", assigned.task_name()),
        ("com.docker.swarm.node.id", facts().node.to_string()),
        ("io.shoal.cluster", facts().cluster.to_string()),
        ("io.shoal.task", assigned.task.to_string()),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    let policy = bed.docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", &id]);
    assert_eq!(policy, "no", "a task is never restarted in place");
    assert_eq!(
        block(bed.engine.create(&made)).expect("again"),
        id,
        "a second create finds the first"
    );
    block(bed.engine.remove(&id)).expect("remove");
}

#[test]
fn a_strangers_container_under_our_name_is_not_taken() {
    let bed = shared();
    let assigned = shell("true");
    let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
    let stranger = bed.docker(&["create", "--name", &made.name, crate::bed::IMAGE]);
    let error = block(bed.engine.create(&made)).expect_err("the name is taken");
    assert!(
        matches!(&error, EngineError::Conflict(_)) && error.to_string().contains("already in use"),
        "{error}"
    );
    bed.docker(&["rm", &stranger]);
}

#[test]
fn the_log_is_bounded_unless_asked_otherwise() {
    let bed = shared();
    let config = |assigned| {
        let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
        let id = block(bed.engine.create(&made)).expect("create");
        let text = bed.docker(&[
            "inspect",
            "-f",
            "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}",
            &id,
        ]);
        block(bed.engine.remove(&id)).expect("remove");
        text
    };
    assert_eq!(config(shell("true")), "json-file map[max-file:3 max-size:10m]");
    let local = LogDriver {
        name: "local".to_owned(),
        options: [("max-size".to_owned(), "1m".to_owned())].into(),
    };
    assert_eq!(
        config(shell_with("true", |t| t.log_driver = Some(local))),
        "local map[max-size:1m]"
    );
    let small = LogDriver {
        name: "json-file".to_owned(),
        options: [("max-size", "50k"), ("max-file", "2")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    let (_, output) = bed.run(&shell_with("seq 20000; echo last", |t| {
        t.log_driver = Some(small)
    }));
    assert!(
        output.len() < 100_000 && output.trim().ends_with("last"),
        "{} bytes are left",
        output.len()
    );
}

#[test]
fn networks_of_the_host_and_none() {
    let on = |network| {
        move |t: &mut TaskTemplate| {
            t.networks = vec![NetworkUse {
                network,
                aliases: Vec::new(),
            }]
        }
    };
    sees(
        "ls /sys/class/net | grep -c docker0",
        on(NetworkTarget::Host),
        "1",
    );
    sees("ls /sys/class/net", on(NetworkTarget::None), "lo");
}

#[test]
fn ports_in_host_mode_are_published_by_the_engine() {
    let port = |protocol, container_port, published_port| HostPort {
        protocol,
        container_port,
        published_port,
        host_ip: None,
    };
    let ports = vec![port(Protocol::Tcp, 80, 8_099), port(Protocol::Udp, 53, 0)];
    let serve = "echo published > /tmp/index.html; exec httpd -f -h /tmp -p 80";
    let assigned = shell_with(serve, |t| t.host_ports = ports);
    let made = plan(&assigned, &Networks::new(), &facts()).expect("plan");
    let bed = shared();
    block(async {
        let id = bed.engine.create(&made).await.expect("create");
        bed.engine.start(&id).await.expect("start");
        let seen = bed.until(&id, |seen| seen.host_ports.len() == 2).await;
        assert!(seen.host_ports.contains(&(80, 8_099)), "{:?}", seen.host_ports);
        assert!(
            seen.host_ports
                .iter()
                .any(|(inside, outside)| *inside == 53 && *outside > 1_024)
        );
        let ask = "until wget -q -O - http://127.0.0.1:8099/; do sleep 0.1; done";
        let said = bed.docker(&[
            "run",
            "--rm",
            "--network",
            "host",
            crate::bed::IMAGE,
            "sh",
            "-c",
            ask,
        ]);
        assert_eq!(said, "published");
        bed.engine.remove(&id).await.expect("remove");
    });
}

/// Where each key of a container's spec is checked: a key without a row fails.
const ROWS: &[(&str, &str)] = &[
    ("image", "pull: a_registry_with_passwords_gives"),
    ("image_digest", "pull: an_image_is_had_by_its_digest"),
    ("pull", "pull: a_policy_of_never_asks"),
    ("entrypoint", "keys: command_entrypoint_and_arguments"),
    ("command", "keys: command_entrypoint_and_arguments"),
    ("env", "keys: environment_with_placeholders"),
    ("labels", "keys: labels_are_ours"),
    ("hostname", "keys: hostname_directory_user"),
    ("dir", "keys: hostname_directory_user"),
    ("user", "keys: hostname_directory_user"),
    ("groups", "keys: hostname_directory_user"),
    ("tty", "keys: terminal_and_open_input"),
    ("open_stdin", "keys: terminal_and_open_input"),
    ("read_only", "mounts: a_read_only_root"),
    ("init", "keys: an_init_reaps"),
    ("stop_signal", "keys: stop_signal_and_grace"),
    ("stop_grace_ms", "keys: stop_signal_and_grace"),
    ("health", "health: failures_count_after"),
    ("mounts", "mounts: a_bind_mounts_propagation"),
    ("secrets", "life: secrets_and_configs_are_seen"),
    ("configs", "life: secrets_and_configs_are_seen"),
    ("hosts", "keys: hosts_and_resolver"),
    ("dns", "keys: hosts_and_resolver"),
    ("cap_add", "keys: capabilities_privileges"),
    ("cap_drop", "keys: capabilities_privileges"),
    ("privileged", "keys: a_privileged_container"),
    ("security_opt", "keys: capabilities_privileges"),
    ("sysctls", "keys: ulimits_sysctls_devices"),
    ("ulimits", "keys: ulimits_sysctls_devices"),
    ("devices", "keys: ulimits_sysctls_devices"),
    ("shm_bytes", "keys: ulimits_sysctls_devices"),
    ("oom_score_adj", "keys: ulimits_sysctls_devices"),
];

#[test]
fn every_key_of_a_container_has_a_row() {
    let sources = [
        ("health", include_str!("health.rs")),
        ("keys", include_str!("keys.rs")),
        ("life", include_str!("life.rs")),
        ("mounts", include_str!("mounts.rs")),
        ("pull", include_str!("pull.rs")),
    ];
    let spec = serde_json::to_value(&shell("").template.container).expect("JSON");
    let keys: Vec<&String> = spec.as_object().expect("an object").keys().collect();
    let rows: Vec<&str> = ROWS.iter().map(|(key, _)| *key).collect();
    let missing: Vec<_> = keys.iter().filter(|key| !rows.contains(&key.as_str())).collect();
    assert!(missing.is_empty(), "keys that no test looks at: {missing:?}");
    for (key, place) in ROWS {
        assert!(keys.iter().any(|known| known == key), "{key} is no key any more");
        let (file, test) = place.split_once(": ").expect("file and test");
        let there = sources
            .iter()
            .any(|(name, text)| *name == file && text.contains(&format!("\nfn {test}")));
        assert!(there, "{key}: no test {place}");
    }
}
