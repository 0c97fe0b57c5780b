//! The history checker: writers and readers through all managers while leaders die, are cut off, and come back.
//!
//! Every acknowledged write is there exactly once on every manager, and no read goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::bed_test::*;
use super::*;

const ROUNDS: usize = 12;
const WRITERS: usize = 3;
const READERS: usize = 2;

/// Who runs right now: what a client can reach.
type Reach = Arc<Mutex<Vec<Option<(RaftHandle, Arc<Ledger>)>>>>;

#[derive(Default)]
struct History {
    acknowledged: Mutex<Vec<String>>,
    unknown: Mutex<BTreeSet<String>>,
    /// The most entries that any completed read has seen.
    seen: AtomicUsize,
    reads: AtomicUsize,
    over: AtomicBool,
}

async fn write(reach: Reach, history: Arc<History>, writer: usize) {
    let mut at = writer;
    let mut count = 0;
    while !history.over.load(Ordering::SeqCst) {
        let text = format!("w{writer}-{count}");
        let handle = reach.lock().unwrap()[at % 3].clone();
        let Some((raft, _)) = handle else {
            at += 1;
            tokio::task::yield_now().await;
            continue;
        };
        match raft.propose(text.clone().into_bytes()).await {
            Ok(_) => {
                history.acknowledged.lock().unwrap().push(text);
                count += 1;
            }
            Err(ProposeError::NotLeader { .. } | ProposeError::NoQuorum { .. }) => {
                at += 1;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            // It may be written later: never try the same text again.
            Err(ProposeError::OutcomeUnknown { .. } | ProposeError::Stopped { .. }) => {
                history.unknown.lock().unwrap().insert(text);
                count += 1;
                at += 1;
            }
            Err(e) => panic!("{text}: {e}"),
        }
    }
}

async fn read(reach: Reach, history: Arc<History>, reader: usize) {
    let mut at = reader;
    while !history.over.load(Ordering::SeqCst) {
        at += 1;
        let handle = reach.lock().unwrap()[at % 3].clone();
        let Some((raft, ledger)) = handle else {
            tokio::task::yield_now().await;
            continue;
        };
        let acknowledged = history.acknowledged.lock().unwrap().clone();
        let seen = history.seen.load(Ordering::SeqCst);
        if raft.read_barrier().await.is_err() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let texts = ledger.texts();
        assert!(
            texts.len() >= seen,
            "a read went back from {seen} to {} entries",
            texts.len()
        );
        let all: BTreeSet<&String> = texts.iter().collect();
        let missing: Vec<&String> = acknowledged.iter().filter(|a| !all.contains(a)).collect();
        assert!(
            missing.is_empty(),
            "a read misses what was acknowledged before it: {missing:?}"
        );
        history.seen.fetch_max(texts.len(), Ordering::SeqCst);
        history.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn publish(group: &Group, reach: &Reach) {
    let now = group
        .hosts
        .iter()
        .map(|h| h.is_running().then(|| (h.raft().clone(), h.ledger().clone())));
    *reach.lock().unwrap() = now.collect();
}

/// How long it takes, from now on, until a write is accepted by any manager but the fallen one.
async fn first_write(group: &Group, fallen: usize, history: &History, round: usize) -> Duration {
    let began = Instant::now();
    let text = format!("after fall {round}");
    for n in (0..3).filter(|n| *n != fallen).cycle() {
        match group.hosts[n].raft().propose(text.clone().into_bytes()).await {
            Ok(_) => break,
            Err(ProposeError::NotLeader { .. } | ProposeError::NoQuorum { .. }) => {}
            Err(e) => panic!("{text}: {e}"),
        }
        assert!(began.elapsed() < PATIENCE, "no write was accepted any more");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    history.acknowledged.lock().unwrap().push(text);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_is_there_once_and_no_read_goes_back_while_leaders_fall() {
    let short = |c: &mut RaftConfig| {
        c.snapshot = SnapshotRule {
            entries: 500,
            kept: 100,
            bytes: u64::MAX,
        }
    };
    let mut group = Group::of(3, short).await;
    let (reach, history) = (Reach::default(), Arc::new(History::default()));
    publish(&group, &reach);
    let mut clients = Vec::new();
    clients.extend((0..WRITERS).map(|n| tokio::spawn(write(reach.clone(), history.clone(), n))));
    clients.extend((0..READERS).map(|n| tokio::spawn(read(reach.clone(), history.clone(), n))));

    let mut waits = Vec::new();
    for round in 0..ROUNDS {
        let leader = group.leader().await;
        let before = history.acknowledged.lock().unwrap().len();
        eventually("writes go on", || {
            history.acknowledged.lock().unwrap().len() > before
        })
        .await;
        if round % 2 == 0 {
            reach.lock().unwrap()[leader] = None;
            let ends = tokio::spawn(group.hosts[leader].fall());
            waits.push(first_write(&group, leader, &history, round).await);
            ends.await.unwrap();
            group.hosts[leader].start().await.unwrap();
            publish(&group, &reach);
        } else {
            group.cut_off(leader);
            waits.push(first_write(&group, leader, &history, round).await);
            group.reconnect();
        }
        assert!(
            clients.iter().all(|c| !c.is_finished()),
            "a client has found a fault"
        );
    }
    history.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    check(&group.agreed().await, &history);
    println!("first write after a leader fell (stopped, cut off, in turn): {waits:?}");
    waits.sort();
    let (median, worst) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("median {median:?}, worst {worst:?}");
    println!("{} reads", history.reads.load(Ordering::SeqCst));
    group.stop().await;
}

fn check(texts: &[String], history: &History) {
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    texts.iter().for_each(|t| *times.entry(t).or_default() += 1);
    let acknowledged = history.acknowledged.lock().unwrap();
    let unknown = history.unknown.lock().unwrap();
    println!(
        "{} writes acknowledged, {} of unknown outcome",
        acknowledged.len(),
        unknown.len()
    );
    for text in acknowledged.iter() {
        assert_eq!(times.remove(text), Some(1), "{text} was acknowledged");
    }
    for (text, count) in times {
        assert!(
            count == 1 && unknown.contains(text),
            "{text} is there {count} times, and nobody wrote it so"
        );
    }
}
