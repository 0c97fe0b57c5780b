//! Encrypted networks on two nodes, sealed by the program: what packets do, and what somebody on the wire sees.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use shoal_agent::network::desired::desired;
use shoal_agent::network::kernel::Kernel as _;
use shoal_agent::network::kernel::linux::Linux;
use shoal_agent::network::kernel::program::Program;
use shoal_agent::network::model::{Bridging, Interface, Lane};
use shoal_agent::network::view::{Secrecy, View};
use shoal_agent::network::wireguard::{Means, Peer, PrivateKey, Wish};
use shoal_proto::overlay::WIREGUARD_PORT;

use crate::alone::{Running, until};
use crate::packets::{Bed, answers, ask, both, cluster, network};
use crate::sample::{mend_at, node};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_shoal-agent");
pub(crate) const READY: [&str; 2] = ["task1", "task2"];

pub(crate) fn key(at: usize) -> PrivateKey {
    PrivateKey::from_bytes([u8::try_from(at).expect("small") + 1; 32])
}

/// The same cluster with its first network encrypted.
pub(crate) fn sealed(at: usize) -> View {
    let mut view = cluster(at, &READY);
    view.networks.get_mut(&network(1)).expect("it is there").secrecy = Secrecy::Encrypted;
    for (at, peer) in view.peers.values_mut().enumerate() {
        peer.key = Some(key(at).public());
    }
    view
}

pub(crate) fn wish(at: usize) -> Wish {
    let view = sealed(at);
    let this = view.this().expect("a number").clone();
    let inside = |peer: &shoal_agent::network::view::Peer| {
        let address = peer.number.sealed_address_in(view.overlay.subnet);
        address.expect("the block is large enough")
    };
    let other = &view.peers[&node(u8::try_from(2 - at).expect("small"))];
    let peer = Peer {
        endpoint: SocketAddrV4::new(other.host, WIREGUARD_PORT),
        address: inside(other),
    };
    Wish {
        key: key(at),
        host: this.host,
        address: Interface {
            address: inside(&this).into(),
            length: 17,
        },
        port: WIREGUARD_PORT,
        peers: BTreeMap::from([(key(1 - at).public(), peer)]),
    }
}

pub(crate) fn socket(bed: &Bed, at: usize) -> PathBuf {
    bed.dir.join(format!("node{at}.sock"))
}

/// Where the agent finds it.
pub(crate) fn place(bed: &Bed, at: usize) -> Program {
    let file = PathBuf::from(PROGRAM);
    Program {
        file,
        socket: socket(bed, at),
    }
}

/// The program, as the agent starts it.
pub(crate) fn program(bed: &Bed, at: usize) -> Running {
    let socket = socket(bed, at);
    let running = bed.nodes[at].start(&format!("{PROGRAM} tunnel shlwg {}", socket.display()));
    until("the program listens", || socket.exists());
    running
}

/// Makes a node what its view says; answers who seals.
pub(crate) fn settle(bed: &Bed, at: usize) -> Option<Means> {
    settle_with(bed, at, &wish(at))
}

/// The same with other keys.
pub(crate) fn settle_with(bed: &Bed, at: usize, wish: &Wish) -> Option<Means> {
    settle_as(bed, (at, &sealed(at)), wish)
}

/// The same with another view.
pub(crate) fn settle_as(bed: &Bed, (at, view): (usize, &View), wish: &Wish) -> Option<Means> {
    let place = place(bed, at);
    bed.nodes[at].within(async || {
        let kernel = Linux::open_with(place).expect("netlink");
        let state = kernel.seal(Some(wish), None).await;
        assert_eq!(state.problem, None);
        mend_at(&kernel, view, wish.host).await;
        assert_eq!(kernel.seal(Some(wish), Some(wish)).await, state, "it stays");
        state.means
    })
}

/// What passes between the nodes, until it is dropped.
pub(crate) struct Capture {
    file: PathBuf,
    running: Running,
}

impl Capture {
    pub(crate) fn start(bed: &Bed, name: &str) -> Self {
        let file = bed.dir.join(name);
        let running = bed.switch.start(&format!(
            "tcpdump -q -U -i p11 -s 0 -w {} 2>/dev/null",
            file.display()
        ));
        // The file's head is written when it listens.
        until("somebody listens on the wire", || {
            std::fs::metadata(&file).is_ok_and(|file| file.len() > 0)
        });
        Self { file, running }
    }

    pub(crate) fn end(self) -> Vec<u8> {
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(self.running);
        std::fs::read(&self.file).expect("a capture")
    }
}

pub(crate) fn shows(wire: &[u8], text: &str) -> bool {
    wire.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Every call that reaches a task over there: by address, virtual IP and published port.
pub(crate) fn call_everywhere(bed: &Bed) {
    for from in ["caller1", "caller2", "task1", "task2"] {
        assert_eq!(answers(&bed.containers[from], "10.128.16.2").0, both(), "{from}");
    }
    assert!(ask(&bed.containers["caller1"], "10.128.16.102").is_ok());
    for node in &bed.nodes {
        assert_eq!(answers(node, "10.128.16.2").0, both(), "from a node");
        assert_eq!(answers(node, "127.0.0.1:8001").0, both(), "from a node");
    }
}

#[test]
fn nobody_on_the_wire_reads_what_an_encrypted_network_sends() {
    let bed = Bed::new("sealed", Bridging::Plain);
    // The counter-check: in the clear it is read.
    bed.settle(&READY);
    let wire = Capture::start(&bed, "clear");
    call_everywhere(&bed);
    assert!(shows(&wire.end(), "cgi-bin/who"), "the capture shows nothing");

    let _programs = [program(&bed, 0), program(&bed, 1)];
    for at in [0, 1] {
        assert_eq!(settle(&bed, at), Some(Means::Program));
    }
    let wire = Capture::start(&bed, "sealed");
    call_everywhere(&bed);
    let wire = wire.end();
    assert!(
        !shows(&wire, "cgi-bin/who") && !shows(&wire, "task2"),
        "read on the wire"
    );
    assert!(wire.len() > 20_000, "nothing was on the wire");

    // Who calls from outside is seen by tasks on both nodes, whichever was called.
    for at in ["10.99.0.11:8001", "10.99.0.12:8001"] {
        let seen = answers(&bed.client, at);
        assert_eq!(seen, (both(), ["10.99.0.99".to_owned()].into()), "{at}");
    }
    let stranger = &bed.containers["stranger"];
    assert_eq!(
        answers(stranger, "10.99.0.11:8001").0,
        both(),
        "from an open network"
    );
}

#[test]
fn without_the_program_nothing_is_sent_and_with_another_one_all_is_well() {
    let bed = Bed::new("unsealed", Bridging::Plain);
    let mut programs = vec![program(&bed, 0), program(&bed, 1)];
    settle(&bed, 0);
    settle(&bed, 1);
    call_everywhere(&bed);
    programs.remove(0);
    let node = &bed.nodes[0];
    until("the devices are gone", || {
        node.run("ip -br link").find("shlvxe").is_none()
    });
    let wire = Capture::start(&bed, "gone");
    let caller = &bed.containers["caller1"];
    for at in ["10.128.16.102", "10.128.16.2"] {
        for _ in 0..4 {
            ask(caller, at).ok();
        }
    }
    assert!(
        ask(caller, "10.128.16.102").is_err(),
        "it is reached without a seal"
    );
    for at in ["127.0.0.1:8001", "10.128.16.2"] {
        for _ in 0..4 {
            ask(node, at).ok();
        }
    }
    assert!(!shows(&wire.end(), "cgi-bin/who"), "sent in the clear");
    std::fs::remove_file(socket(&bed, 0)).ok();
    programs.push(program(&bed, 0));
    settle(&bed, 0);
    call_everywhere(&bed);
}

#[test]
fn what_comes_unsealed_for_an_encrypted_network_is_dropped() {
    let bed = Bed::new("forged", Bridging::Plain);
    let _programs = [program(&bed, 0), program(&bed, 1)];
    settle(&bed, 0);
    settle(&bed, 1);
    // The second node sends as if its network were open.
    let open = |view: &View| -> View {
        let mut view = view.clone();
        for network in view.networks.values_mut() {
            network.secrecy = Secrecy::Open;
        }
        view
    };
    let (view, host) = (open(&sealed(1)), wish(1).host);
    bed.nodes[1].within(async || {
        let kernel = Linux::open().expect("netlink");
        mend_at(&kernel, &view, host).await;
    });
    assert!(
        ask(&bed.containers["caller2"], "10.128.16.101").is_err(),
        "it came in the clear"
    );
    // The tunnel for encrypted networks does not listen on the wire either.
    let rules = bed.nodes[0].run("nft list chain ip shoal refuse");
    assert!(
        rules.contains("udp dport 4786 iifname != \"shlwg\" drop"),
        "{rules}"
    );
}

#[test]
fn a_node_that_lost_its_place_is_cut_off() {
    let bed = Bed::new("lost", Bridging::Plain);
    let _programs = [program(&bed, 0), program(&bed, 1)];
    settle(&bed, 0);
    settle(&bed, 1);
    call_everywhere(&bed);
    let mut wish = wish(0);
    wish.peers.clear();
    let place = place(&bed, 0);
    bed.nodes[0].within(async || {
        let kernel = Linux::open_with(place).expect("netlink");
        assert_eq!(kernel.seal(Some(&wish), None).await.problem, None);
    });
    assert!(
        ask(&bed.containers["caller2"], "10.128.16.101").is_err(),
        "it still gets in"
    );
}

#[test]
fn a_node_that_seals_nothing_any_more_has_no_device_and_no_program() {
    let bed = Bed::new("left", Bridging::Plain);
    let _program = program(&bed, 0);
    settle(&bed, 0);
    let (place, view, host) = (place(&bed, 0), cluster(0, &READY), wish(0).host);
    let path = place.socket.clone();
    bed.nodes[0].within(async || {
        let kernel = Linux::open_with(place).expect("netlink");
        assert_eq!(kernel.seal(None, None).await.problem, None);
        mend_at(&kernel, &view, host).await;
        let found = kernel.look(Some(host)).await.expect("it looks");
        assert!(found.local.wireguard.is_none() && found.end(Lane::Sealed).device.is_none());
        assert!(desired(&view, &found.local).end(Lane::Sealed).device.is_none());
    });
    until("the program ends with its device", || !listens(&path));
}

fn listens(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
