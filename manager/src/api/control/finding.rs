//! From what all agents say of their network to what is wrong with it, in words that name the nodes, the cause and what
//! would mend it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shoal_proto::id::NodeId;
use shoal_proto::overlay::{OVERLAY_PORT, WIREGUARD_PORT};
use shoal_proto::reach::{PROBE_PORT, Reach, Trouble};

/// What one node said.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    /// Which.
    pub(super) node: NodeId,
    /// Its hostname.
    pub(super) name: String,
    /// Why it said nothing.
    pub(super) silent: Option<String>,
    /// What it says is not as it should be.
    pub(super) problems: Vec<String>,
    /// Largest packet of its tunnel; 0: none.
    pub(super) tunnel_mtu: u32,
    /// Index it had applied, where that is not enough.
    pub(super) late_at: Option<u64>,
    /// How it reaches the others.
    pub(super) reaches: Vec<Reach>,
}

/// What is wrong, the nodes' own problems first: they are often the cause of what follows.
pub(super) fn findings(heard: &[Heard]) -> Vec<String> {
    let mut found = Vec::new();
    for one in heard {
        found.extend(one.silent.iter().map(|why| format!("{}: {why}", one.name)));
        found.extend(one.problems.iter().map(|words| format!("{}: {words}", one.name)));
        if let Some(index) = one.late_at {
            found.push(format!(
                "{}: lags behind: what was decided after index {index} is not in force there",
                one.name
            ));
        }
    }
    found.extend(tunnels_of_different_sizes(heard));
    found.extend(pairs(heard));
    found
}

/// Packets that fit one tunnel and not the other are lost without a word.
fn tunnels_of_different_sizes(heard: &[Heard]) -> Option<String> {
    let sizes: BTreeSet<u32> = heard
        .iter()
        .map(|one| one.tunnel_mtu)
        .filter(|mtu| *mtu > 0)
        .collect();
    if sizes.len() < 2 {
        return None;
    }
    let with = |size: &u32| {
        let names: Vec<&str> = heard
            .iter()
            .filter(|one| one.tunnel_mtu == *size)
            .map(|one| one.name.as_str())
            .collect();
        format!("{size} bytes on {}", names.join(", "))
    };
    let list: Vec<String> = sizes.iter().map(with).collect();
    Some(format!(
        "tunnels take packets of different sizes: {}; give all hosts the same MTU",
        list.join("; ")
    ))
}

/// Troubles between two nodes, once for both directions where they are the same.
fn pairs(heard: &[Heard]) -> Vec<String> {
    let names: BTreeMap<NodeId, &Heard> = heard.iter().map(|one| (one.node, one)).collect();
    let mut troubles = BTreeMap::new();
    for one in heard {
        for reach in &one.reaches {
            if let Some(trouble) = reach.trouble() {
                troubles.insert((one.node, reach.node), (trouble, reach.overlay.loss_percent()));
            }
        }
    }
    let mut found = Vec::new();
    for ((from, to), (trouble, loss)) in &troubles {
        // A node that was removed meanwhile is nobody's trouble.
        let (Some(one), Some(other)) = (names.get(from), names.get(to)) else {
            continue;
        };
        let back = troubles
            .get(&(*to, *from))
            .is_some_and(|(back, _)| back == trouble);
        if back && to < from {
            continue;
        }
        let arrow = if back { "<->" } else { "->" };
        found.push(format!(
            "{} {arrow} {}: {}",
            one.name,
            other.name,
            words(*trouble, one, *loss)
        ));
    }
    found.sort();
    found
}

fn words(trouble: Trouble, from: &Heard, loss_percent: u32) -> String {
    match trouble {
        Trouble::Host => format!(
            "no answer, neither from the host itself nor through the overlay: is the host up, and are UDP port \
             {PROBE_PORT} (probes) and {OVERLAY_PORT} (the tunnel's) open between the two"
        ),
        Trouble::Tunnel => format!(
            "the host answers, the overlay does not: UDP port {OVERLAY_PORT} (the tunnel's) is closed between the two, or \
             one of them has a problem that is named above"
        ),
        Trouble::Mtu => format!(
            "small packets pass, packets of {} bytes do not: the network between the two takes smaller ones than the \
             hosts' devices say; lower the MTU of these devices",
            from.tunnel_mtu
        ),
        Trouble::Sealed => format!(
            "the overlay answers, encrypted networks do not: UDP port {WIREGUARD_PORT} is closed between the two, packets of \
             full size do not pass, or one of them has a problem that is named above"
        ),
        Trouble::Loss => format!("{loss_percent} of 100 packets are lost"),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::NodeId;
    use shoal_proto::reach::{Answers, Reach};
    use shoal_proto::time::Timestamp;

    use super::{Heard, findings};

    fn id(n: u64) -> NodeId {
        NodeId::new(Timestamp::from_ms(n), 0)
    }

    fn reach(to: u64, host: u32, overlay: u32, overlay_full: u32) -> Reach {
        let lost = |lost_in_a_row| Answers {
            asked: 20,
            answered: 20 - lost_in_a_row,
            lost_in_a_row,
            median_us: Some(300),
        };
        Reach {
            node: id(to),
            host: lost(host),
            overlay: lost(overlay),
            overlay_full: lost(overlay_full),
            sealed: Answers::default(),
        }
    }

    fn node(n: u64, reaches: Vec<Reach>) -> Heard {
        Heard {
            node: id(n),
            name: format!("h{n}"),
            silent: None,
            problems: Vec::new(),
            tunnel_mtu: 1_450,
            late_at: None,
            reaches,
        }
    }

    #[test]
    fn a_sound_cluster_has_no_findings() {
        let heard = [node(1, vec![reach(2, 0, 0, 0)]), node(2, vec![reach(1, 0, 0, 0)])];
        assert_eq!(findings(&heard), Vec::<String>::new());
    }

    #[test]
    fn a_broken_pair_is_named_once_with_its_cause() {
        let heard = [node(1, vec![reach(2, 0, 9, 9)]), node(2, vec![reach(1, 0, 9, 9)])];
        let found = findings(&heard);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].starts_with("h1 <-> h2: the host answers, the overlay does not"),
            "{found:?}"
        );
        let one_way = [node(1, vec![reach(2, 0, 0, 9)]), node(2, vec![reach(1, 0, 0, 0)])];
        let found = findings(&one_way);
        assert!(
            found[0].starts_with("h1 -> h2: small packets pass, packets of 1450 bytes"),
            "{found:?}"
        );
    }

    #[test]
    fn a_pair_that_cannot_seal_is_named_with_the_port() {
        let mut unsealed = reach(2, 0, 0, 0);
        unsealed.sealed = Answers {
            asked: 20,
            answered: 0,
            lost_in_a_row: 20,
            median_us: None,
        };
        let found = findings(&[node(1, vec![unsealed]), node(2, vec![reach(1, 0, 0, 0)])]);
        assert!(
            found[0].starts_with("h1 -> h2: the overlay answers, encrypted networks do not: UDP port 4787"),
            "{found:?}"
        );
    }

    #[test]
    fn what_a_node_says_of_itself_comes_first() {
        let mut silent = node(2, Vec::new());
        silent.silent = Some("its agent did not answer within 5s".to_owned());
        silent.tunnel_mtu = 0;
        let mut first = node(1, vec![reach(2, 9, 9, 9)]);
        first.problems = vec!["port 80/tcp is taken by process nginx (pid 7)".to_owned()];
        first.late_at = Some(12);
        let found = findings(&[first, silent]);
        let begins: Vec<&str> = found
            .iter()
            .map(|words| words.split(' ').next().unwrap_or(""))
            .collect();
        assert_eq!(begins, ["h1:", "h1:", "h2:", "h1"], "{found:?}");
        assert!(
            found[1].contains("index 12") && found[3].contains("UDP port 4603"),
            "{found:?}"
        );
    }

    #[test]
    fn tunnels_of_different_sizes_are_named() {
        let mut small = node(2, Vec::new());
        small.tunnel_mtu = 1_400;
        let found = findings(&[node(1, Vec::new()), small, node(3, Vec::new())]);
        assert!(
            found[0].contains("1400 bytes on h2; 1450 bytes on h1, h3"),
            "{found:?}"
        );
    }
}
