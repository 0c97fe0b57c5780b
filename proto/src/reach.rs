//! How one node reaches another, as its agent's probes found it, and what follows from it. Values; who asks and who tells
//! lies elsewhere.

use crate::id::NodeId;

/// UDP port on which agents answer each other's probes, on the host's address and on that in the overlay.
pub const PROBE_PORT: u16 = 4_603;

/// A way to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Its host's address, outside of the overlay.
    Host,
    /// Its overlay address, with a small packet.
    Overlay,
    /// Its overlay address, with the largest packet that the tunnel takes.
    OverlayFull,
    /// Its address inside of WireGuard, with the largest packet that fits: the way of encrypted networks.
    Sealed,
}

/// What became of the last questions on one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// Questions whose answer came or is late.
    pub asked: u32,
    /// Answers.
    pub answered: u32,
    /// Newest questions that have no answer.
    pub lost_in_a_row: u32,
    /// Median time to the answer, microseconds.
    pub median_us: Option<u64>,
}

/// How a node is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Which.
    pub node: NodeId,
    /// Outside of the overlay.
    pub host: Answers,
    /// Small packets.
    pub overlay: Answers,
    /// Full packets.
    pub overlay_full: Answers,
    /// Full packets inside of WireGuard; nothing is asked unless encrypted networks concern both.
    pub sealed: Answers,
}

/// What is wrong between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// The host itself does not answer.
    Host,
    /// The host answers, the overlay does not.
    Tunnel,
    /// Small packets pass, full ones do not.
    Mtu,
    /// All is well but for encrypted networks.
    Sealed,
    /// Some packets are lost.
    Loss,
}

/// Newest questions without an answer after which a way counts as broken.
const BROKEN_AFTER: u32 = 3;
/// Lost of a hundred from which it is said.
const LOSS_PERCENT: u32 = 10;

impl Reach {
    /// A node nothing is known about yet.
    #[must_use]
    pub fn unknown(node: NodeId) -> Self {
        Self {
            node,
            host: Answers::default(),
            overlay: Answers::default(),
            overlay_full: Answers::default(),
            sealed: Answers::default(),
        }
    }

    /// The answers on one way.
    pub fn answers_mut(&mut self, way: Way) -> &mut Answers {
        match way {
            Way::Host => &mut self.host,
            Way::Overlay => &mut self.overlay,
            Way::OverlayFull => &mut self.overlay_full,
            Way::Sealed => &mut self.sealed,
        }
    }

    /// What is wrong, the worst only; none when nothing is, or too little is known.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        if self.overlay.is_broken() {
            return Some(if self.host.is_broken() {
                Trouble::Host
            } else {
                Trouble::Tunnel
            });
        }
        if self.overlay_full.is_broken() {
            return Some(Trouble::Mtu);
        }
        if self.sealed.is_broken() {
            return Some(Trouble::Sealed);
        }
        self.overlay.is_lossy().then_some(Trouble::Loss)
    }
}

impl Answers {
    /// Lost of a hundred.
    #[must_use]
    pub fn loss_percent(&self) -> u32 {
        let lost = self.asked.saturating_sub(self.answered);
        (lost * 100).checked_div(self.asked).unwrap_or(0)
    }

    fn is_broken(&self) -> bool {
        self.lost_in_a_row >= BROKEN_AFTER
    }

    fn is_lossy(&self) -> bool {
        self.asked >= BROKEN_AFTER && self.loss_percent() >= LOSS_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Reach, Trouble};
    use crate::id::NodeId;
    use crate::time::Timestamp;

    fn answers(asked: u32, lost_in_a_row: u32) -> Answers {
        Answers {
            asked,
            answered: asked - lost_in_a_row,
            lost_in_a_row,
            median_us: Some(100),
        }
    }

    #[test]
    fn the_worst_trouble_is_named() {
        let reach = |host, overlay, overlay_full| Reach {
            node: NodeId::new(Timestamp::from_ms(1), 0),
            host: answers(20, host),
            overlay: answers(20, overlay),
            overlay_full: answers(20, overlay_full),
            sealed: Answers::default(),
        };
        assert_eq!(reach(0, 0, 0).trouble(), None);
        assert_eq!(
            reach(9, 0, 0).trouble(),
            None,
            "a firewall may close what only probes use"
        );
        assert_eq!(reach(9, 9, 9).trouble(), Some(Trouble::Host));
        assert_eq!(reach(0, 9, 9).trouble(), Some(Trouble::Tunnel));
        assert_eq!(reach(0, 0, 9).trouble(), Some(Trouble::Mtu));
        assert_eq!(reach(0, 2, 0).trouble(), Some(Trouble::Loss));
        let unsealed = Reach {
            sealed: answers(20, 9),
            ..reach(0, 2, 0)
        };
        assert_eq!(unsealed.trouble(), Some(Trouble::Sealed));
    }

    #[test]
    fn little_is_not_enough_to_judge() {
        let reach = Reach::unknown(NodeId::new(Timestamp::from_ms(1), 0));
        let two = Reach {
            overlay: answers(2, 2),
            ..reach
        };
        assert_eq!((reach.trouble(), two.trouble()), (None, None));
    }
}
