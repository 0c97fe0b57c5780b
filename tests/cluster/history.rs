//! The history checker: writers and readers through all managers while the leader is killed, cut off and stopped. Every
//! acknowledged write is there, once, on every manager; no write is carried out twice; no read shows what nobody wrote,
//! and none goes back; no task is restarted.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Child;
use std::time::Duration;

use shoal_tests::bed::{Host, Result, wait_for};
use shoal_tests::cluster::Cluster;

/// How often the leader is disturbed, where `SHOAL_HISTORY_ROUNDS` says nothing else.
const ROUNDS: usize = 200;
const SOON: Duration = Duration::from_secs(60);

/// A short rest after each call leaves something of the machine to the managers, and to other tests.
/// One line per call: `W START END CODE NAME WHY`, times in nanoseconds of the machine's one clock.
const WRITER: &str = r#"
i=0
while [ ! -e /root/stop ]; do
  i=$((i + 1)); name="$(hostname)-$i"; start=$(date +%s%N)
  why=$(timeout 15 shoal config create "$name" /etc/hostname 2>&1); code=$?
  [ $code = 0 ] && why=
  echo "W $start $(date +%s%N) $code $name" $why
  sleep 0.1
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
  sleep 0.1
done >> /root/reads.log
"#;

#[derive(Debug)]
struct Write {
    start: u128,
    end: u128,
    acknowledged: bool,
    name: String,
    why: String,
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
    no_write_is_carried_out_twice(&writes);
    every_read_shows_what_was_acknowledged_and_nothing_else(&writes, &reads);
    let seen = no_read_goes_back(&mut reads);
    let kept = writes.iter().filter(|w| w.acknowledged).map(|w| w.name.as_str());
    let kept: BTreeSet<&str> = kept.chain(seen.iter().map(String::as_str)).collect();
    for host in cluster.bed.hosts() {
        every_name_once(host, &kept)?;
    }
    let unknown = seen.len() - seen.iter().filter(|name| is_acknowledged(&writes, name)).count();
    println!(
        "{acknowledged} of {} writes acknowledged, all kept; {unknown} of the others were carried out; {} reads",
        writes.len(),
        reads.len()
    );
    Ok(())
}

fn is_acknowledged(writes: &[Write], name: &str) -> bool {
    writes
        .iter()
        .any(|write| write.acknowledged && write.name == name)
}

/// Each name is written by one call: only that call's own repetition could find it taken.
fn no_write_is_carried_out_twice(writes: &[Write]) {
    let repeated = writes
        .iter()
        .find(|write| !write.acknowledged && (write.why.contains("already") || write.why.contains("taken")));
    assert!(repeated.is_none(), "carried out twice: {repeated:?}");
}

fn every_read_shows_what_was_acknowledged_and_nothing_else(writes: &[Write], reads: &[Read]) {
    let begun: BTreeMap<&str, u128> = writes.iter().map(|w| (w.name.as_str(), w.start)).collect();
    for read in reads {
        let before = writes
            .iter()
            .filter(|write| write.acknowledged && write.end < read.start);
        let missing: Vec<_> = before.filter(|write| !read.names.contains(&write.name)).collect();
        assert!(
            missing.is_empty(),
            "a read from {} on misses {missing:?}",
            read.start
        );
        let was_begun = |name: &&String| begun.get(name.as_str()).is_some_and(|start| *start < read.end);
        let invented = read.names.iter().find(|name| !was_begun(name));
        assert_eq!(invented, None, "read before {} and not written yet", read.end);
    }
}

/// A read that began after others had ended shows at least what they showed: nothing is removed here. Answers what was
/// ever seen.
fn no_read_goes_back(reads: &mut [Read]) -> BTreeSet<String> {
    reads.sort_by_key(|read| read.start);
    let mut by_end: Vec<usize> = (0..reads.len()).collect();
    by_end.sort_by_key(|at| reads[*at].end);
    let mut by_end = by_end.into_iter().peekable();
    let mut seen = BTreeSet::new();
    for later in reads.iter() {
        while let Some(at) = by_end.next_if(|at| reads[*at].end < later.start) {
            seen.extend(reads[at].names.iter().cloned());
        }
        let lost = seen.difference(&later.names).next();
        assert_eq!(lost, None, "seen before {} and not after", later.start);
    }
    by_end.for_each(|at| seen.extend(reads[at].names.iter().cloned()));
    seen
}

/// On this manager's own state, which no other one answers for.
fn every_name_once(host: &Host, names: &BTreeSet<&str>) -> Result<()> {
    wait_for(&format!("all that was written on {}", host.name()), SOON, || {
        let out = host
            .exec("shoal --stale config ls --format json")
            .map_err(|e| e.to_string())?;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for line in out.ok().map_err(|e| e.to_string())?.lines() {
            let config: serde_json::Value = serde_json::from_str(line).expect("a config as JSON");
            let name = config["Name"].as_str().expect("a name").to_owned();
            *counts.entry(name).or_default() += 1;
        }
        match names.iter().find(|name| counts.get(**name) != Some(&1)) {
            None => Ok(()),
            Some(name) => Err(format!("{name} is there {:?} times", counts.get(*name))),
        }
    })
}

fn write(line: &str) -> Write {
    let words: Vec<&str> = line.splitn(6, ' ').collect();
    let [_, start, end, code, name, ref why @ ..] = words[..] else {
        panic!("a writer's line: {line}")
    };
    Write {
        start: start.parse().expect("a time"),
        end: end.parse().expect("a time"),
        acknowledged: code == "0",
        name: name.to_owned(),
        why: why.concat(),
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
