//! `shoal cluster update`: the rules that hold for the whole cluster.

use anyhow::{bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use shoal_proto::cluster::ClusterSpec;
use shoal_proto::subnet::Subnet;

use crate::exit::Exit;
use crate::flags::pair;
use crate::render::inspect::NS;
use crate::render::output::say;
use crate::session::Session;
use crate::values::{duration_ms, show_duration};

/// Arguments of `cluster update`. What is not given stays as it is.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// How often an agent says that it lives
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    dispatcher_heartbeat: Option<u64>,
    /// Heartbeats that may be missing before a node is down
    #[arg(long, value_name = "N")]
    heartbeat_misses: Option<u32>,
    /// How long an Engine may be silent before its node is down
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    engine_grace: Option<u64>,
    /// How long an update waits for a node to say that its network knows of a change
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    ack_timeout: Option<u64>,
    /// Tasks given up in one minute when many nodes are lost at once; 0: no bound
    #[arg(long, value_name = "N")]
    evictions_per_minute: Option<u32>,
    /// Ended tasks that are kept per slot
    #[arg(long, value_name = "N")]
    task_history_limit: Option<u32>,
    /// Revisions that are kept per service
    #[arg(long, value_name = "N")]
    revision_history_limit: Option<u32>,
    /// Where subnets of networks are taken from that name none, such as 10.128.0.0/9; all pools at once
    #[arg(long, value_name = "SUBNET")]
    address_pool: Vec<Subnet>,
    /// Length of such a subnet's prefix
    #[arg(long, value_name = "BITS")]
    address_pool_prefix: Option<u8>,
    /// Where nodes have their addresses of the overlay
    #[arg(long, value_name = "SUBNET")]
    overlay_subnet: Option<Subnet>,
    /// How long certificates are good that are made from now on
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    cert_expiry: Option<u64>,
    /// Log driver of tasks that name none
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,
    /// Option of that log driver; with --log-driver, all its options
    #[arg(long, value_name = "KEY=VALUE", requires = "log_driver")]
    log_opt: Vec<String>,
}

pub(super) async fn run(session: &Session, args: UpdateArgs) -> anyhow::Result<Exit> {
    let mut cluster = session.cluster().await?;
    let status = cluster.status().await?;
    let mut spec = status.spec.clone();
    if !apply(&mut spec, args)? {
        bail!("nothing to change: name a rule, such as --task-history-limit 10");
    }
    cluster.update_rules(&spec, status.version).await?;
    say(&format!("{}\n", lines(&spec).trim_end()));
    Ok(Exit::Done)
}

/// Puts what is given into the rules; whether anything was.
fn apply(spec: &mut ClusterSpec, args: UpdateArgs) -> anyhow::Result<bool> {
    fn set<T>(rule: &mut T, given: Option<T>) -> bool {
        given.map(|given| *rule = given).is_some()
    }
    let mut driver = None;
    if let Some(name) = args.log_driver {
        ensure!(
            !name.is_empty(),
            "--log-driver is empty: name one, such as json-file"
        );
        let options = args
            .log_opt
            .iter()
            .map(|text| pair(text))
            .collect::<anyhow::Result<_>>()?;
        driver = Some(shoal_proto::container::LogDriver { name, options });
    }
    let pools = Some(args.address_pool).filter(|pools| !pools.is_empty());
    let given = [
        set(&mut spec.heartbeat_period_ms, args.dispatcher_heartbeat),
        set(&mut spec.heartbeat_misses, args.heartbeat_misses),
        set(&mut spec.engine_grace_ms, args.engine_grace),
        set(&mut spec.ack_timeout_ms, args.ack_timeout),
        set(&mut spec.evictions_per_minute, args.evictions_per_minute),
        set(&mut spec.task_history_limit, args.task_history_limit),
        set(&mut spec.revision_history_limit, args.revision_history_limit),
        set(&mut spec.certificate_lifetime_ms, args.cert_expiry),
        set(&mut spec.address_pools, pools),
        set(&mut spec.address_pool_prefix, args.address_pool_prefix),
        set(&mut spec.overlay_subnet, args.overlay_subnet),
        set(&mut spec.log_driver, driver),
    ];
    Ok(given.contains(&true))
}

/// The rules as an operator reads them.
pub(super) fn lines(spec: &ClusterSpec) -> String {
    let evictions = match spec.evictions_per_minute {
        0 => "no bound".to_owned(),
        n => format!("at most {n} a minute"),
    };
    let mut log = spec.log_driver.name.clone();
    for (key, value) in &spec.log_driver.options {
        log.push_str(&format!(" {key}={value}"));
    }
    let pools: Vec<String> = spec.address_pools.iter().map(ToString::to_string).collect();
    let rows = [
        (
            "Heartbeat:",
            format!(
                "every {}; a node is down after {} missed",
                show_duration(spec.heartbeat_period_ms),
                spec.heartbeat_misses
            ),
        ),
        ("Engine grace:", show_duration(spec.engine_grace_ms)),
        (
            "Acknowledgement:",
            format!("waited for {}", show_duration(spec.ack_timeout_ms)),
        ),
        ("Evictions:", evictions),
        (
            "History:",
            format!(
                "{} ended tasks a slot, {} revisions a service",
                spec.task_history_limit, spec.revision_history_limit
            ),
        ),
        (
            "Certificates:",
            format!("good for {}", show_duration(spec.certificate_lifetime_ms)),
        ),
        (
            "Addresses:",
            format!(
                "a /{} of {} a network",
                spec.address_pool_prefix,
                pools.join(", ")
            ),
        ),
        ("Overlay:", spec.overlay_subnet.to_string()),
        ("Logs:", log),
    ];
    rows.iter()
        .map(|(name, value)| format!("{name:<17}{value}\n"))
        .collect()
}

/// The rules with Docker's names, durations in nanoseconds, and ours where Docker has none.
pub(super) fn as_data(spec: &ClusterSpec) -> Value {
    json!({
        "Dispatcher": {
            "HeartbeatPeriod": spec.heartbeat_period_ms * NS,
            "HeartbeatMisses": spec.heartbeat_misses,
            "EngineGrace": spec.engine_grace_ms * NS,
            "AckTimeout": spec.ack_timeout_ms * NS,
        },
        "Orchestration": {
            "TaskHistoryRetentionLimit": spec.task_history_limit,
            "RevisionHistoryRetentionLimit": spec.revision_history_limit,
            "EvictionsPerMinute": spec.evictions_per_minute,
        },
        "DefaultAddrPool": spec.address_pools.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "SubnetSize": spec.address_pool_prefix,
        "OverlaySubnet": spec.overlay_subnet.to_string(),
        "CAConfig": { "NodeCertExpiry": spec.certificate_lifetime_ms * NS },
        "TaskDefaults": { "LogDriver": { "Name": spec.log_driver.name, "Options": spec.log_driver.options } },
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{ClusterSpec, UpdateArgs, apply, lines};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: UpdateArgs,
    }

    fn applied(line: &str) -> anyhow::Result<(ClusterSpec, bool)> {
        let args = Line::try_parse_from(line.split_whitespace())?.args;
        let mut spec = ClusterSpec::default();
        let given = apply(&mut spec, args)?;
        Ok((spec, given))
    }

    #[test]
    fn each_rule_that_is_given_changes_and_no_other() {
        let before = ClusterSpec::default();
        assert_eq!(applied("update").unwrap(), (before.clone(), false));
        type Change = fn(&mut ClusterSpec);
        let cases: [(&str, Change); 12] = [
            ("--dispatcher-heartbeat 1s", |s| s.heartbeat_period_ms = 1_000),
            ("--heartbeat-misses 5", |s| s.heartbeat_misses = 5),
            ("--engine-grace 1m", |s| s.engine_grace_ms = 60_000),
            ("--ack-timeout 500ms", |s| s.ack_timeout_ms = 500),
            ("--evictions-per-minute 7", |s| s.evictions_per_minute = 7),
            ("--task-history-limit 2", |s| s.task_history_limit = 2),
            ("--revision-history-limit 9", |s| s.revision_history_limit = 9),
            ("--cert-expiry 48h", |s| {
                s.certificate_lifetime_ms = 48 * 3_600_000
            }),
            ("--address-pool 10.0.0.0/16 --address-pool 172.16.0.0/12", |s| {
                s.address_pools = ["10.0.0.0/16", "172.16.0.0/12"]
                    .map(|text| text.parse().unwrap())
                    .to_vec();
            }),
            ("--address-pool-prefix 24", |s| s.address_pool_prefix = 24),
            ("--overlay-subnet 10.9.0.0/16", |s| {
                s.overlay_subnet = "10.9.0.0/16".parse().unwrap();
            }),
            ("--log-driver local --log-opt max-size=5m", |s| {
                s.log_driver.name = "local".to_owned();
                s.log_driver.options = [("max-size".to_owned(), "5m".to_owned())].into();
            }),
        ];
        for (flags, change) in cases {
            let mut wanted = before.clone();
            change(&mut wanted);
            assert_eq!(
                applied(&format!("update {flags}")).unwrap(),
                (wanted.clone(), true),
                "{flags}"
            );
            assert_ne!(lines(&wanted), lines(&before), "{flags} shows");
        }
    }

    #[test]
    fn an_option_without_its_driver_is_refused() {
        assert!(applied("update --log-opt max-size=5m").is_err());
    }
}
