//! Stories of a group of managers, with real files and real gRPC on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bed_test::*;
use super::*;

fn usual(_: &mut RaftConfig) {}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_manager_keeps_what_it_acknowledged_over_a_restart() {
    let mut group = Group::of(1, usual).await;
    let (first, answer) = group.hosts[0].raft().propose(b"one".to_vec()).await.unwrap();
    assert_eq!(answer, b"1");
    let (second, _) = group.hosts[0].raft().propose(b"two".to_vec()).await.unwrap();
    assert!(second > first);
    let id = group.hosts[0].raft().id();
    group.stop().await;

    group.hosts[0].start().await.unwrap();
    assert_eq!(group.hosts[0].raft().id(), id);
    let began = Instant::now();
    assert_eq!(group.agreed().await, ["one", "two"]);
    assert!(began.elapsed() < Duration::from_secs(3));
    group.write("three").await;
    assert_eq!(group.agreed().await, ["one", "two", "three"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initializing_twice_is_fine() {
    let mut group = Group::of(1, usual).await;
    let host = &group.hosts[0];
    host.raft().initialize(&host.name, &host.address).await.unwrap();
    assert!(host.raft().has_group());
    assert_eq!(host.raft().members().voters, [host.manager()]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_hold_the_same_entries_and_a_follower_names_the_leader() {
    let mut group = Group::of(3, usual).await;
    for n in 0..50 {
        group.write(&format!("entry {n}")).await;
    }
    assert_eq!(group.agreed().await.len(), 50);
    eventually("all have said their level", || {
        group.hosts.iter().all(|h| h.raft().common_level() == Some(1))
    })
    .await;
    let leader = group.leader().await;
    let follower = (leader + 1) % 3;
    let refused = group.hosts[follower]
        .raft()
        .propose(b"x".to_vec())
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        ProposeError::NotLeader {
            leader: Some(group.hosts[leader].manager())
        }
    );
    let refused = group.hosts[follower].raft().read_barrier().await.unwrap_err();
    assert_eq!(
        refused,
        ReadError::NotLeader {
            leader: Some(group.hosts[leader].manager())
        }
    );
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_write_after_a_leaders_death_is_accepted_soon_and_it_catches_up_by_log() {
    let mut group = Group::of(3, usual).await;
    group.write("before").await;
    let dead = group.leader().await;
    group.hosts[dead].stop().await;
    let began = Instant::now();
    group.write("after").await;
    println!("first write {:?} after the leader stopped", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5));
    group.hosts[dead].start().await.unwrap();
    assert_eq!(group.agreed().await, ["before", "after"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_was_away_for_long_catches_up_by_snapshot() {
    let short = |c: &mut RaftConfig| {
        c.snapshot = SnapshotRule {
            entries: 20,
            kept: 0,
            bytes: u64::MAX,
        }
    };
    let mut group = Group::of(3, short).await;
    group.write("before").await;
    let away = (group.leader().await + 1) % 3;
    group.hosts[away].stop().await;
    for n in 0..300 {
        group.write(&format!("entry {n}")).await;
    }
    let leader = group.leader().await;
    eventually("the log is cut", || {
        group.hosts[leader].raft().metrics().purged_index > Some(200)
    })
    .await;
    group.hosts[away].start().await.unwrap();
    assert_eq!(group.agreed().await.len(), 301);
    assert!(group.hosts[away].raft().metrics().snapshot_index > Some(200));

    // And what came as a snapshot survives a restart.
    group.hosts[away].stop().await;
    group.hosts[away].start().await.unwrap();
    group.write("last").await;
    assert_eq!(group.agreed().await.len(), 302);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_manager_is_a_voter_once_it_has_the_log_even_when_the_log_was_cut() {
    let short = |c: &mut RaftConfig| {
        c.snapshot = SnapshotRule {
            entries: 20,
            kept: 0,
            bytes: u64::MAX,
        }
    };
    let mut group = Group::of(1, short).await;
    for n in 0..200 {
        group.write(&format!("entry {n}")).await;
    }
    eventually("the log is cut", || {
        group.hosts[0].raft().metrics().purged_index > Some(100)
    })
    .await;
    let new = Host::new("new", &group.cuts, short).await;
    let manager = new.manager();
    assert!(!new.raft().has_group());
    group.hosts.push(new);
    group.hosts[0]
        .raft()
        .add_manager(manager.clone(), PATIENCE)
        .await
        .unwrap();
    group.hosts[0]
        .raft()
        .add_manager(manager.clone(), PATIENCE)
        .await
        .unwrap();
    assert!(group.hosts[0].raft().members().voters.contains(&manager));
    assert_eq!(group.agreed().await.len(), 200);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_a_crash_left_ahead_of_the_log_is_taken_over_at_the_start() {
    let mut group = Group::of(1, usual).await;
    group.write("old").await;
    group.stop().await;
    let dir = group.hosts[0].config.dir.clone();
    let log = std::fs::read(dir.join("log.redb")).unwrap();
    group.hosts[0].config.snapshot = SnapshotRule {
        entries: 10,
        kept: 0,
        bytes: u64::MAX,
    };
    group.hosts[0].start().await.unwrap();
    for n in 0..30 {
        group.write(&format!("entry {n}")).await;
    }
    eventually("there is a snapshot", || {
        group.hosts[0].raft().metrics().snapshot_index > Some(20)
    })
    .await;
    group.stop().await;
    // As if the snapshot had just been received, and the log not been cut yet.
    std::fs::write(dir.join("log.redb"), log).unwrap();
    std::fs::remove_file(dir.join("log.witness")).unwrap();
    group.hosts[0].start().await.unwrap();
    group.write("after").await;
    let texts = group.agreed().await;
    assert!(
        texts.len() > 15 && texts[0] == "old" && texts.last().unwrap() == "after",
        "{texts:?}"
    );
    group.stop().await;
    group.hosts[0].start().await.unwrap();
    assert_eq!(group.agreed().await, texts);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_manager_refuses_to_start_and_leaves_everything_as_it_is() {
    let mut group = Group::of(1, usual).await;
    group.write("kept").await;
    group.stop().await;
    let path = group.hosts[0].config.dir.join("log.redb");
    let whole = std::fs::read(&path).unwrap();
    let cut = &whole[..whole.len() / 2];
    std::fs::write(&path, cut).unwrap();
    let refused = group.hosts[0].start().await.unwrap_err().to_string();
    assert!(
        refused.contains("log.redb") && refused.contains("ways out"),
        "{refused}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), cut);
    // Restored, it goes on.
    std::fs::write(&path, whole).unwrap();
    group.hosts[0].start().await.unwrap();
    assert_eq!(group.agreed().await, ["kept"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_large_entries_is_cut_by_its_bytes() {
    let by_bytes = |c: &mut RaftConfig| {
        c.snapshot = SnapshotRule {
            bytes: 200 * 1024,
            ..SnapshotRule::default()
        }
    };
    let mut group = Group::of(1, by_bytes).await;
    let large = "x".repeat(20 * 1024);
    for _ in 0..200 {
        group.write(&large).await;
    }
    eventually("the log is cut", || {
        group.hosts[0].raft().metrics().purged_index > Some(100)
    })
    .await;
    group.stop().await;
    group.hosts[0].start().await.unwrap();
    assert_eq!(group.agreed().await.len(), 200);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_never_catches_up_is_taken_out_again_and_writes_go_on() {
    let mut group = Group::of(1, usual).await;
    let ghost = Manager {
        raft_id: 77,
        node: "ghost".into(),
        address: "127.0.0.1:1".into(),
    };
    let refused = group.hosts[0]
        .raft()
        .add_manager(ghost.clone(), Duration::from_millis(500))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, MembershipError::NotCaughtUp { manager, .. } if *manager == ghost),
        "{refused}"
    );
    let members = group.hosts[0].raft().members();
    assert_eq!((members.voters.len(), members.learners.len()), (1, 0));
    group.write("still here").await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_is_transferred_on_request() {
    let mut group = Group::of(3, usual).await;
    group.write("one").await;
    let old = group.leader().await;
    let next = (old + 1) % 3;
    let began = Instant::now();
    group.hosts[old]
        .raft()
        .transfer_leader(group.hosts[next].raft().id())
        .await
        .unwrap();
    group.write("two").await;
    println!("first write {:?} after a transfer was asked for", began.elapsed());
    assert_eq!(group.leader().await, next);
    assert_eq!(group.agreed().await, ["one", "two"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_a_manager_is_refused_when_no_quorum_would_stay_and_done_otherwise() {
    let mut group = Group::of(3, usual).await;
    let leader = group.leader().await;
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let ids: Vec<u64> = group.hosts.iter().map(|h| h.raft().id()).collect();
    group.hosts[dead].stop().await;
    let raft = group.hosts[leader].raft().clone();
    eventually("the dead one is missed", || raft.reach().0 == 2).await;
    let refused = raft.remove_manager(ids[other]).await.unwrap_err();
    assert!(
        matches!(&refused, MembershipError::WouldLoseQuorum(_)),
        "{refused}"
    );
    assert!(
        refused
            .to_string()
            .contains("2 managers, of which 2 are needed and 1 are reachable"),
        "{refused}"
    );

    raft.remove_manager(ids[dead]).await.unwrap();
    raft.remove_manager(ids[other]).await.unwrap();
    assert_eq!(raft.members().voters.len(), 1);
    assert!(matches!(
        raft.remove_manager(ids[leader]).await,
        Err(MembershipError::WouldLoseQuorum(_))
    ));
    assert_eq!(
        raft.remove_manager(ids[dead]).await,
        Err(MembershipError::Unknown(ids[dead]))
    );
    raft.propose(b"alone again".to_vec()).await.unwrap();
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_asked_to_leave_hands_over_and_names_the_next() {
    let mut group = Group::of(3, usual).await;
    let old = group.leader().await;
    let leaving = group.hosts[old].raft().id();
    let answer = group.hosts[old].raft().remove_manager(leaving).await.unwrap_err();
    let MembershipError::NotLeader { leader: Some(next) } = answer else {
        panic!("{answer}")
    };
    let new = group.leader().await;
    assert_eq!(group.hosts[new].manager(), next);
    group.hosts[new].raft().remove_manager(leaving).await.unwrap();
    assert_eq!(group.hosts[new].raft().members().voters.len(), 2);
    group.write("without it").await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_writes_and_reads_are_refused_with_the_numbers_and_nothing_is_lost() {
    let mut group = Group::of(3, usual).await;
    group.write("before").await;
    let leader = group.leader().await;
    for n in [1, 2] {
        group.hosts[(leader + n) % 3].stop().await;
    }
    let raft = group.hosts[leader].raft().clone();
    eventually("the lease is over", || raft.reach().0 == 1).await;
    let refused = raft.propose(b"lost?".to_vec()).await.unwrap_err();
    assert_eq!(
        refused,
        ProposeError::NoQuorum {
            reachable: 1,
            voters: 3,
            needed: 2
        }
    );
    assert_eq!(
        raft.read_barrier().await,
        Err(ReadError::NoQuorum {
            reachable: 1,
            voters: 3,
            needed: 2
        })
    );
    assert_eq!(group.hosts[leader].ledger().texts(), ["before"]);
    group.hosts[(leader + 1) % 3].start().await.unwrap();
    group.write("after").await;
    assert_eq!(group.agreed().await, ["before", "after"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_cut_off_steps_aside_and_its_return_disturbs_nobody() {
    let mut group = Group::of(3, usual).await;
    group.write("before").await;
    let old = group.leader().await;
    group.cut_off(old);
    let others: Vec<usize> = (0..3).filter(|n| *n != old).collect();
    eventually("another leads", || {
        others.iter().any(|n| group.now(*n).may_decide())
    })
    .await;
    let new = *others.iter().find(|n| group.now(**n).may_decide()).unwrap();
    group.hosts[new]
        .raft()
        .propose(b"while it was away".to_vec())
        .await
        .unwrap();
    // The old leader may not serve: neither a write nor a read.
    assert!(group.hosts[old].raft().read_barrier().await.is_err());
    let term = group.now(new).term;
    group.reconnect();
    let raft = group.hosts[old].raft();
    eventually("it follows", || {
        group
            .now(old)
            .leader
            .as_ref()
            .is_some_and(|l| l.raft_id != raft.id())
    })
    .await;
    assert_eq!(group.agreed().await, ["before", "while it was away"]);
    assert_eq!(group.now(new).term, term, "its return started an election");
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_managers_stopped_at_once_come_back_in_any_order_with_everything() {
    let mut group = Group::of(3, usual).await;
    for n in 0..20 {
        group.write(&format!("entry {n}")).await;
    }
    group.stop().await;
    for n in [2, 0, 1] {
        group.hosts[n].start().await.unwrap();
    }
    assert_eq!(group.agreed().await.len(), 20);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_over_the_limit_is_refused_and_one_at_the_limit_reaches_everybody() {
    let mut group = Group::of(3, usual).await;
    let leader = group.leader().await;
    let refused = group.hosts[leader]
        .raft()
        .propose(vec![b'x'; MAX_ENTRY_BYTES + 1])
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        ProposeError::TooLarge {
            size: MAX_ENTRY_BYTES + 1,
            limit: MAX_ENTRY_BYTES
        }
    );
    let writes = (0..8).map(|_| group.hosts[leader].raft().propose(vec![b'x'; MAX_ENTRY_BYTES]));
    for written in futures::future::join_all(writes).await {
        written.unwrap();
    }
    assert_eq!(group.agreed().await.len(), 8);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_the_machine_does_not_know_stops_the_manager_with_the_reason() {
    let mut group = Group::of(1, usual).await;
    let raft = group.hosts[0].raft().clone();
    let stopped = raft.propose(b"from the future".to_vec()).await.unwrap_err();
    assert!(
        matches!(
            stopped,
            ProposeError::Stopped { .. } | ProposeError::OutcomeUnknown { .. }
        ),
        "{stopped}"
    );
    let reason = tokio::time::timeout(PATIENCE, raft.failed()).await.unwrap();
    assert!(reason.contains("level 9"), "{reason}");
    group.stop().await;
    let refused = group.hosts[0].start().await.unwrap_err().to_string();
    assert!(refused.contains("level 9"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_known_secret_is_nowhere_in_the_data_directory() {
    let short = |c: &mut RaftConfig| {
        c.snapshot = SnapshotRule {
            entries: 10,
            kept: 5,
            bytes: u64::MAX,
        }
    };
    let mut group = Group::of(3, short).await;
    for n in 0..40 {
        group.write(&format!("{n} the-known-secret-{n}")).await;
    }
    group.agreed().await;
    eventually("there is a snapshot", || {
        group.hosts[0].raft().metrics().snapshot_index.is_some()
    })
    .await;
    group.stop().await;
    for host in &group.hosts {
        let files = files_below(host.dir.path());
        assert!(files.len() >= 4, "{files:?}");
        for path in files {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(16).any(|w| w == b"the-known-secret");
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

fn files_below(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let items = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    items
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// A disk of each manager whose room the test sets. A reserve that is given up makes room, as on a real one.
fn small_disk(free: &Arc<AtomicU64>) -> impl Fn(&mut RaftConfig) + use<> {
    let free = free.clone();
    move |config| {
        let (free, room) = (free.clone(), config.room);
        config.probe = Some(Arc::new(move |dir: &std::path::Path| {
            let reserve = if dir.join("reserve").exists() {
                room.reserve_bytes
            } else {
                0
            };
            Ok((free.load(Ordering::SeqCst) + room.reserve_bytes).saturating_sub(reserve))
        }));
    }
}

const PLENTY: u64 = 1 << 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_with_path_and_bytes_and_takes_them_again_by_itself() {
    let free = Arc::new(AtomicU64::new(PLENTY));
    let mut group = Group::of(1, small_disk(&free)).await;
    group.write("before").await;
    free.store(1000, Ordering::SeqCst);
    let raft = group.hosts[0].raft().clone();
    let mut disk = raft.disk();
    tokio::time::timeout(PATIENCE, disk.wait_for(Option::is_some))
        .await
        .unwrap()
        .unwrap();
    let refused = raft.propose(b"no room".to_vec()).await.unwrap_err();
    let ProposeError::DiskFull {
        path, missing_bytes, ..
    } = &refused
    else {
        panic!("{refused}")
    };
    assert_eq!(path, &group.hosts[0].config.dir);
    let room = group.hosts[0].config.room;
    assert_eq!(
        *missing_bytes,
        room.reserve_bytes + 2 * room.floor_bytes - (1000 + room.reserve_bytes)
    );
    // Reads are still answered, stale or not.
    assert_eq!(group.hosts[0].ledger().texts(), ["before"]);
    raft.read_barrier().await.unwrap();

    free.store(PLENTY, Ordering::SeqCst);
    tokio::time::timeout(PATIENCE, disk.wait_for(Option::is_none))
        .await
        .unwrap()
        .unwrap();
    group.write("after").await;
    assert_eq!(group.agreed().await, ["before", "after"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_full_hands_over_and_writes_go_on() {
    let disks: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(PLENTY))).collect();
    let next = AtomicU64::new(0);
    let each = |config: &mut RaftConfig| {
        small_disk(&disks[next.fetch_add(1, Ordering::SeqCst) as usize])(config);
    };
    let mut group = Group::of(3, each).await;
    group.write("before").await;
    group.agreed().await;
    let full = group.leader().await;
    disks[full].store(1000, Ordering::SeqCst);
    eventually("another leads", || {
        (0..3).any(|n| n != full && group.now(n).may_decide()) && !group.now(full).am_leader()
    })
    .await;
    group.write("while it is full").await;
    let refused = group.hosts[full].raft().propose(b"x".to_vec()).await.unwrap_err();
    assert!(
        matches!(refused, ProposeError::NotLeader { leader: Some(_) }),
        "{refused}"
    );
    // It takes no entries, and goes on where it was once there is room.
    assert_eq!(group.hosts[full].ledger().texts(), ["before"]);
    disks[full].store(PLENTY, Ordering::SeqCst);
    assert_eq!(group.agreed().await, ["before", "while it is full"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_disks_of_most_managers_full_writes_are_refused_naming_them() {
    let disks: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(PLENTY))).collect();
    let next = AtomicU64::new(0);
    let each = |config: &mut RaftConfig| {
        small_disk(&disks[next.fetch_add(1, Ordering::SeqCst) as usize])(config);
    };
    let mut group = Group::of(3, each).await;
    group.write("before").await;
    let leader = group.leader().await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for n in others {
        disks[n].store(1000, Ordering::SeqCst);
    }
    let raft = group.hosts[leader].raft().clone();
    eventually("the leader knows", || {
        let peers = raft.metrics().peers;
        peers.len() == 2 && peers.values().all(|peer| peer.disk_full == Some(true))
    })
    .await;
    let refused = raft.propose(b"no room".to_vec()).await.unwrap_err();
    assert!(matches!(refused, ProposeError::DisksFull { .. }), "{refused}");
    for n in others {
        let name = group.hosts[n].manager().to_string();
        assert!(refused.to_string().contains(&name), "{refused} without {name}");
    }
    raft.read_barrier().await.unwrap();
    disks[others[0]].store(PLENTY, Ordering::SeqCst);
    eventually("the leader hears of the room", || {
        raft.metrics()
            .peers
            .values()
            .any(|peer| peer.disk_full == Some(false))
    })
    .await;
    group.write("after").await;
    disks[others[1]].store(PLENTY, Ordering::SeqCst);
    assert_eq!(group.agreed().await, ["before", "after"]);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_manager_with_room_takes_over_and_answers_reads_though_all_others_are_full() {
    let disks: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(PLENTY))).collect();
    let next = AtomicU64::new(0);
    let each = |config: &mut RaftConfig| {
        small_disk(&disks[next.fetch_add(1, Ordering::SeqCst) as usize])(config);
    };
    let mut group = Group::of(3, each).await;
    group.write("before").await;
    group.agreed().await;
    let leader = group.leader().await;
    let last = (leader + 1) % 3;
    for n in (0..3).filter(|n| *n != last) {
        disks[n].store(1000, Ordering::SeqCst);
    }
    eventually("the last one leads", || group.now(last).may_decide()).await;
    let raft = group.hosts[last].raft().clone();
    raft.read_barrier().await.unwrap();
    eventually("it knows of the others", || {
        let peers = raft.metrics().peers;
        peers.len() == 2 && peers.values().all(|peer| peer.disk_full == Some(true))
    })
    .await;
    assert!(matches!(
        raft.propose(b"no room".to_vec()).await,
        Err(ProposeError::DisksFull { .. })
    ));
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_stopped_a_moment_ago_does_not_count_when_another_is_taken_out() {
    let mut group = Group::of(3, usual).await;
    let leader = group.leader().await;
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let leaving = group.hosts[other].raft().id();
    let raft = group.hosts[leader].raft().clone();
    group.hosts[dead].stop().await;
    // At once: what was heard of it is younger than the time after which it counts as gone.
    assert_eq!(raft.reach().0, 3);
    let refused = raft.remove_manager(leaving).await.unwrap_err().to_string();
    assert!(
        refused.contains("2 managers, of which 2 are needed and 1 are reachable"),
        "{refused}"
    );
    group.write("writes go on").await;
    group.stop().await;
}
