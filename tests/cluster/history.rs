//! The history checker: writers and readers through all managers while the leader is killed, cut off and stopped. Every
//! acknowledged write is there, once, on every manager; no read goes back; no task is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::Duration;

use shoal_tests::bed::{Host, Result, wait_for};
use shoal_tests::cluster::Cluster;

/// How often the leader is disturbed, where `SHOAL_HISTORY_ROUNDS` says nothing else.
const ROUNDS: usize = 15;
/// How many earlier reads each read is compared with.
const LOOK_BACK: usize = 20;
const SOON: Duration = Duration::from_secs(60);

/// One line per call: `W START END CODE NAME`, times in nanoseconds of the machine's one clock.
const WRITER: &str = r#"
i=0
while [ ! -e /root/stop ]; do
  i=$((i + 1)); name="$(hostname)-$i"; start=$(date +%s%N)
  timeout 15 shoal config create "$name" /etc/hostname >/dev/null 2>&1; code=$?
  echo "W $start $(date +%s%N) $code $name"
done >> /root/writes.log
"#;
/// One line per call that succeeded: `R START END NAME…`.
const READER: &str = r#"
while [ ! -e /root/stop ]; do
  start=$(date +%s%N)
  if names=$(timeout 15 shoal config ls --format json 2>/dev/null); then
    end=$(date +%s%N)
    echo "R $start $end" $(echo "$names" | sed 's/.*"Name":"\([^"]*\)".*/\1/')
  fi
done >> /root/reads.log
"#;

#[derive(Debug)]
struct Write {
    end: u128,
    acknowledged: bool,
    name: String,
}

#[derive(Debug)]
struct Read {
    start: u128,
    end: u128,
    names: BTreeSet<String>,
}

#[test]
fn nothing_acknowledged_is_lost_and_no_read_goes_back() -> Result<()> {
    let rounds = std::env::var("SHOAL_HISTORY_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(ROUNDS);
    let cluster = Cluster::new(3, 3)?;
    cluster.ok("service create --name web --replicas 3 --no-resolve-image shoal/web:1")?;
    let tasks = cluster.wait_running("web", 3, SOON)?;
    let mut loops: Vec<Child> = Vec::new();
    for host in cluster.bed.hosts() {
        loops.push(host.spawn(WRITER)?);
        loops.push(host.spawn(READER)?);
    }
    for round in 0..rounds {
        disturb(&cluster, round)?;
    }
    for host in cluster.bed.hosts() {
        host.sh("touch /root/stop")?;
    }
    for mut child in loops {
        child.wait().expect("the loops were started here");
    }
    cluster.wait_ready(3)?;
    assert_eq!(
        cluster.wait_running("web", 3, SOON)?,
        tasks,
        "a task was restarted"
    );
    check(&cluster)
}

/// Takes the leader away in one of three ways until another one leads, and gives it back.
fn disturb(cluster: &Cluster, round: usize) -> Result<()> {
    let number = cluster.leader()?;
    let host = cluster.bed.host(number);
    match round % 3 {
        0 => {
            host.kill("shoal-manager", "KILL")?;
            host.wait_sh("the manager to be back", SOON, "shoal-manager status")
                .map(drop)
        }
        1 => {
            host.kill("shoal-manager", "STOP")?;
            cluster.leader_but_for(number)?;
            host.kill("shoal-manager", "CONT")
        }
        _ => {
            host.unplug()?;
            cluster.leader_but_for(number)?;
            host.plug()
        }
    }
}

fn check(cluster: &Cluster) -> Result<()> {
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for host in cluster.bed.hosts() {
        writes.extend(host.get("/root/writes.log")?.lines().map(write));
        reads.extend(host.get("/root/reads.log")?.lines().map(read));
    }
    let acknowledged = writes.iter().filter(|write| write.acknowledged).count();
    assert!(
        acknowledged > 20 && reads.len() > 20,
        "{acknowledged} writes, {} reads",
        reads.len()
    );
    for read in &reads {
        let before = writes
            .iter()
            .filter(|write| write.acknowledged && write.end < read.start);
        let missing: Vec<_> = before.filter(|write| !read.names.contains(&write.name)).collect();
        assert!(
            missing.is_empty(),
            "a read from {} on misses {missing:?}",
            read.start
        );
    }
    no_read_goes_back(&mut reads);
    let names: BTreeSet<&str> = writes
        .iter()
        .filter(|w| w.acknowledged)
        .map(|w| w.name.as_str())
        .collect();
    for host in cluster.bed.hosts() {
        every_name_once(host, &names)?;
    }
    println!("{acknowledged} writes of {}, {} reads", writes.len(), reads.len());
    Ok(())
}

/// A read that began after another had ended shows at least what that one showed: nothing is removed here.
fn no_read_goes_back(reads: &mut [Read]) {
    reads.sort_by_key(|read| read.end);
    for (at, later) in reads.iter().enumerate() {
        let earlier = reads[..at]
            .iter()
            .rev()
            .filter(|read| read.end < later.start)
            .take(LOOK_BACK);
        let lost = earlier
            .flat_map(|earlier| earlier.names.difference(&later.names))
            .next();
        assert_eq!(lost, None, "seen before {} and not after", later.start);
    }
}

fn every_name_once(host: &Host, names: &BTreeSet<&str>) -> Result<()> {
    let text = wait_for("a read at the end", SOON, || {
        let out = host
            .exec("shoal config ls --format json")
            .map_err(|e| e.to_string())?;
        if out.success() {
            Ok(out.stdout)
        } else {
            Err(out.text())
        }
    })?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in text.lines() {
        let config: serde_json::Value = serde_json::from_str(line).expect("a config as JSON");
        *counts
            .entry(config["Name"].as_str().expect("a name").to_owned())
            .or_default() += 1;
    }
    for name in names {
        assert_eq!(counts.get(*name), Some(&1), "{name} on {}", host.name());
    }
    Ok(())
}

fn write(line: &str) -> Write {
    let words: Vec<&str> = line.split(' ').collect();
    let [_, _, end, code, name] = words[..] else {
        panic!("a writer's line: {line}")
    };
    Write {
        end: end.parse().expect("a time"),
        acknowledged: code == "0",
        name: name.to_owned(),
    }
}

fn read(line: &str) -> Read {
    let mut words = line.split(' ').skip(1);
    let mut time = || words.next().and_then(|word| word.parse().ok()).expect("a time");
    let (start, end) = (time(), time());
    Read {
        start,
        end,
        names: words.map(str::to_owned).collect(),
    }
}
