//! The program that seals lives through what befalls it: another key, a device that somebody removed, a hang, a port that is
//! taken, a log that nobody reads any more.

use std::net::UdpSocket;
use std::process::{Command, Stdio};

use shoal_agent::network::kernel::Kernel as _;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::model::Bridging;
use shoal_agent::network::wireguard::Wish;
use shoal_proto::overlay::WIREGUARD_PORT;

use crate::alone::until;
use crate::packets::{Bed, ask};
use crate::sealed::{PROGRAM, call_everywhere, key, place, settle, settle_with, socket, wish};

/// The programs that were started on the way end with it.
struct Ended<'a>(&'a Bed);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        for at in [0, 1] {
            self.0.nodes[at].within(async || {
                let kernel = Linux::open_with(place(self.0, at)).expect("netlink");
                kernel.seal(None, None).await;
            });
        }
    }
}

/// The wish of a node after so many changes of all keys.
fn turned(at: usize, times: usize) -> Wish {
    let mut wish = wish(at);
    wish.key = key(2 * times + at);
    let peer = wish.peers.values().next().copied().expect("the other node");
    wish.peers = [(key(2 * times + 1 - at).public(), peer)].into();
    wish
}

#[test]
fn what_is_opened_is_gathered_before_it_goes_on() {
    let bed = Bed::new("gathered", Bridging::Plain);
    // The settings of its own devices, as a host has them.
    let own = |command: &str| format!("unshare --mount sh -c 'mount -t sysfs sysfs /sys && {command}'");
    let socket = socket(&bed, 0).display().to_string();
    let node = &bed.nodes[0];
    let _program = node.start(&own(&format!("exec {PROGRAM} tunnel shlwg {socket}")));
    until("the program listens", || {
        std::fs::exists(&socket).unwrap_or(false)
    });
    let settings = node.run(&own("cd /sys/class/net/shlwg && cat gro_flush_timeout tun_flags"));
    let (waits, flags) = settings.trim().split_once('\n').expect("two settings");
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).expect("a number");
    const NAPI: u32 = 0x10;
    assert_eq!((waits, flags & NAPI), ("50000", NAPI), "{settings}");
}

#[test]
fn other_keys_do_not_end_the_traffic() {
    let bed = Bed::new("turned", Bridging::Plain);
    let _ended = Ended(&bed);
    for times in 0..12 {
        for at in [0, 1] {
            settle_with(&bed, at, &turned(at, times));
        }
        until("all is reached with the new keys", || {
            ask(&bed.containers["caller1"], "10.128.16.102").is_ok()
        });
    }
    call_everywhere(&bed);
}

#[test]
fn a_device_that_somebody_removes_is_made_again_with_its_port() {
    let bed = Bed::new("removed", Bridging::Plain);
    let _ended = Ended(&bed);
    settle(&bed, 1);
    for _ in 0..5 {
        settle(&bed, 0);
        // The program sees that only later.
        bed.nodes[0].run("ip link delete shlwg");
    }
    settle(&bed, 0);
    call_everywhere(&bed);
}

#[test]
fn a_program_that_hangs_is_ended_and_followed_by_another() {
    let bed = Bed::new("hung", Bridging::Plain);
    let _ended = Ended(&bed);
    settle(&bed, 0);
    settle(&bed, 1);
    let hang = format!(
        "pkill -STOP -f '^shoal-agent tunnel shlwg {}'",
        socket(&bed, 0).display()
    );
    bed.nodes[0].run(&hang);
    settle(&bed, 0);
    call_everywhere(&bed);
}

#[test]
fn whoever_has_the_port_is_named_and_all_is_well_when_it_is_free() {
    let bed = Bed::new("taken", Bridging::Plain);
    let _ended = Ended(&bed);
    settle(&bed, 1);
    let taker =
        bed.nodes[0].within(async || UdpSocket::bind(("0.0.0.0", WIREGUARD_PORT)).expect("it is free"));
    let problem = bed.nodes[0].within(async || {
        let kernel = Linux::open_with(place(&bed, 0)).expect("netlink");
        kernel.seal(Some(&wish(0)), None).await.problem
    });
    let problem = problem.expect("it cannot seal");
    assert!(
        problem.starts_with("encrypted networks: UDP port 4787, on which sealed packets come, is taken by"),
        "{problem}"
    );
    drop(taker);
    settle(&bed, 0);
    call_everywhere(&bed);
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let bed = Bed::new("unread", Bridging::Plain);
    let _ended = Ended(&bed);
    let space = format!("--net=/proc/{}/ns/net", bed.nodes[0].pid());
    let mut program = Command::new("nsenter")
        .args([&space, PROGRAM, "tunnel", "shlwg"])
        .arg(socket(&bed, 0))
        .env("SHOAL_LOG", "trace")
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsenter runs");
    until("it listens", || socket(&bed, 0).exists());
    drop(program.stderr.take());
    settle(&bed, 0);
    settle(&bed, 1);
    call_everywhere(&bed);
    assert!(matches!(program.try_wait(), Ok(None)), "it ended");
    program.kill().ok();
    program.wait().ok();
}
