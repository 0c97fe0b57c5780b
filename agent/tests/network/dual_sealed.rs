//! Encrypted networks with IPv6: its packets are sealed as those of IPv4 are, and without a seal none is sent.

use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::model::Bridging;
use shoal_agent::network::view::{Secrecy, View};
use shoal_agent::network::wireguard::Means;

use crate::alone::{Running, until};
use crate::dual::{at, dual, saw, widen, widened};
use crate::packets::{Bed, address, answers, ask, both, network};
use crate::sample::mend_at;
use crate::sealed::{Capture, READY, program, sealed, settle_as, shows, socket, wish};

/// What answers carry.
const PLAINTEXT: &str = "cgi-bin/who";

fn new(name: &str) -> Bed {
    let mut bed = Bed::new(name, Bridging::Plain);
    widen(&mut bed);
    bed
}

/// Both nodes carry the encrypted network in both families.
fn seal(bed: &Bed) -> [Running; 2] {
    let programs = [program(bed, 0), program(bed, 1)];
    for at in [0, 1] {
        settle(bed, at);
    }
    programs
}

fn settle(bed: &Bed, at: usize) {
    let sealed = settle_as(bed, (at, &widened(sealed(at))), &wish(at));
    assert_eq!(sealed, Some(Means::Program));
}

/// A view with its network in the clear.
fn open(mut view: View) -> View {
    view.networks.get_mut(&network(1)).expect("it is there").secrecy = Secrecy::Open;
    view
}

fn call_everywhere(bed: &Bed) {
    for (from, to) in [("caller1", 102), ("caller2", 101), ("task1", 102)] {
        let answer = ask(&bed.containers[from], &at(address(1, to)));
        assert!(answer.is_ok(), "{from} to {to}: {answer:?}");
    }
    for from in ["caller1", "caller2", "task1", "task2"] {
        let who = answers(&bed.containers[from], &at(address(1, 2))).0;
        assert_eq!(who, both(), "{from}");
    }
}

#[test]
fn in_ipv6_all_is_reached_and_nobody_reads_it_on_the_wire() {
    let bed = new("sealed6");
    bed.settle_as(&READY, dual);
    let wire = Capture::start(&bed, "open");
    call_everywhere(&bed);
    assert!(shows(&wire.end(), PLAINTEXT), "the capture shows nothing");

    let _programs = seal(&bed);
    let wire = Capture::start(&bed, "sealed");
    call_everywhere(&bed);
    let wire = wire.end();
    assert!(
        !shows(&wire, PLAINTEXT) && !shows(&wire, "task2"),
        "read on the wire"
    );
    assert!(wire.len() > 20_000, "nothing was on the wire");

    // Who calls from outside is seen by tasks on both nodes, whichever was called.
    for at in ["[fd99::11]:8001", "[fd99::12]:8001"] {
        assert_eq!(answers(&bed.client, at), (both(), saw(&["fd99::99"])), "{at}");
    }
    let stranger = &bed.containers["stranger"];
    let seen = answers(stranger, "[fd99::11]:8001").0;
    assert_eq!(seen, both(), "from an open network");
}

#[test]
fn without_the_program_nothing_of_ipv6_is_sent() {
    let bed = new("unsealed6");
    let [first, _second] = seal(&bed);
    call_everywhere(&bed);
    drop(first);
    let node = &bed.nodes[0];
    until("the devices are gone", || {
        node.run("ip -br link").find("shlvxe").is_none()
    });
    // There is a way to everywhere, too.
    node.run("ip -6 route add default via fd99::12");
    let wire = Capture::start(&bed, "gone");
    let caller = &bed.containers["caller1"];
    for to in [address(1, 102), address(1, 2)] {
        for from in [caller, node] {
            for _ in 0..4 {
                ask(from, &at(to)).ok();
            }
        }
    }
    let reached = ask(caller, &at(address(1, 102)));
    assert!(reached.is_err(), "it is reached without a seal");
    for _ in 0..4 {
        // A client's packets enter at the other node, and its answers would leave here.
        ask(&bed.client, "[fd99::12]:8001").ok();
        ask(caller, "[fd99::12]:8001").ok();
    }
    let wire = wire.end();
    let inside = six_bytes(102);
    assert!(!shows_bytes(&wire, &inside), "sent in the clear");
    std::fs::remove_file(socket(&bed, 0)).ok();
    let _program = program(&bed, 0);
    settle(&bed, 0);
    call_everywhere(&bed);
}

/// An address of a task on the encrypted network as it is in a packet.
fn six_bytes(host: u8) -> Vec<u8> {
    crate::dual::six(address(1, host)).octets().to_vec()
}

fn shows_bytes(wire: &[u8], bytes: &[u8]) -> bool {
    wire.windows(bytes.len()).any(|part| part == bytes)
}

#[test]
fn what_comes_unsealed_in_ipv6_for_an_encrypted_network_is_dropped() {
    let bed = new("forged6");
    let _programs = seal(&bed);
    call_everywhere(&bed);
    // The second node sends as if its network were open.
    let (view, host) = (open(widened(sealed(1))), wish(1).host);
    bed.nodes[1].within(async || {
        let kernel = Linux::open().expect("netlink");
        mend_at(&kernel, &view, host).await;
    });
    let wire = Capture::start(&bed, "forged");
    let came = ask(&bed.containers["caller2"], &at(address(1, 101)));
    assert!(came.is_err(), "it came in the clear");
    assert!(shows_bytes(&wire.end(), &six_bytes(101)), "nothing was sent");
}

#[test]
fn where_the_tunnel_is_too_small_for_ipv6_nothing_of_an_encrypted_network_is_sent() {
    let bed = new("small6");
    for node in &bed.nodes {
        // Enough for the open tunnel; what is sealed has 110 bytes less, and IPv6 needs 1,280.
        node.run("ip link set eth0 mtu 1350");
    }
    let _programs = seal(&bed);
    let node = &bed.nodes[0];
    node.run("ip -6 route add default via fd99::12");
    let wire = Capture::start(&bed, "small");
    for from in [&bed.containers["caller1"], node] {
        let reached = ask(from, &at(address(1, 102)));
        assert!(reached.is_err(), "it is reached without a seal");
    }
    assert!(!shows_bytes(&wire.end(), &six_bytes(102)), "sent in the clear");
    let reached = ask(&bed.containers["caller1"], "10.128.16.102");
    assert!(reached.is_ok(), "IPv4 is as it was: {reached:?}");
}
