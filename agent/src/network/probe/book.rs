//! Which probes were asked and answered, of the last so many of each peer and way. Pure: times are given.

use std::collections::{BTreeMap, VecDeque};

use shoal_proto::id::NodeId;
use shoal_proto::reach::{Answers, Reach, Way};

/// Probes of one way that are remembered.
const WINDOW: usize = 20;
/// A question without an answer counts as lost after so long, milliseconds.
pub(super) const PATIENCE_MS: u64 = 1_000;

/// What is known about all peers.
#[derive(Debug, Default)]
pub(super) struct Book {
    last_number: u64,
    asked: BTreeMap<(NodeId, Way), VecDeque<Asked>>,
    /// Which way a question of that number went, while its answer may come.
    open: BTreeMap<u64, (NodeId, Way)>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    number: u64,
    at_us: u64,
    took_us: Option<u64>,
}

impl Book {
    /// A question goes out; its number.
    pub(super) fn ask(&mut self, peer: NodeId, way: Way, at_us: u64) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        let asked = self.asked.entry((peer, way)).or_default();
        asked.push_back(Asked {
            number,
            at_us,
            took_us: None,
        });
        if asked.len() > WINDOW
            && let Some(oldest) = asked.pop_front()
        {
            self.open.remove(&oldest.number);
        }
        self.open.insert(number, (peer, way));
        number
    }

    /// An answer came. One that nobody waits for any more is nothing.
    pub(super) fn answered(&mut self, number: u64, at_us: u64) {
        let Some(list) = self.open.remove(&number).and_then(|of| self.asked.get_mut(&of)) else {
            return;
        };
        if let Some(asked) = list.iter_mut().find(|asked| asked.number == number) {
            let took_us = at_us.saturating_sub(asked.at_us);
            asked.took_us = (took_us <= PATIENCE_MS * 1_000).then_some(took_us);
        }
    }

    /// Forgets the peers that are none any more, and ways that are none.
    pub(super) fn keep(&mut self, asks: impl Fn(&NodeId, Way) -> bool) {
        self.asked.retain(|(peer, way), _| asks(peer, *way));
        self.open.retain(|_, (peer, way)| asks(peer, *way));
    }

    /// How each peer is reached, in the order of their ids; questions that may still be answered do not count.
    #[must_use]
    pub(super) fn reaches(&self, now_us: u64) -> Vec<Reach> {
        let mut reaches: BTreeMap<NodeId, Reach> = BTreeMap::new();
        for ((peer, way), asked) in &self.asked {
            let reach = reaches.entry(*peer).or_insert_with(|| Reach::unknown(*peer));
            *reach.answers_mut(*way) = answers(asked, now_us);
        }
        reaches.into_values().collect()
    }
}

fn answers(asked: &VecDeque<Asked>, now_us: u64) -> Answers {
    let over = |one: &&Asked| one.took_us.is_some() || now_us.saturating_sub(one.at_us) > PATIENCE_MS * 1_000;
    let over: Vec<&Asked> = asked.iter().filter(over).collect();
    let mut took: Vec<u64> = over.iter().filter_map(|one| one.took_us).collect();
    took.sort_unstable();
    let lost_in_a_row = over.iter().rev().take_while(|one| one.took_us.is_none());
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Answers {
        asked: count(over.len()),
        answered: count(took.len()),
        lost_in_a_row: count(lost_in_a_row.count()),
        median_us: took.get(took.len() / 2).copied(),
    }
}

#[cfg(test)]
mod tests {
    use shoal_proto::id::NodeId;
    use shoal_proto::reach::Way;
    use shoal_proto::time::Timestamp;

    use super::{Book, PATIENCE_MS, WINDOW};

    const SECOND_US: u64 = 1_000_000;

    fn peer(n: u64) -> NodeId {
        NodeId::new(Timestamp::from_ms(n), 0)
    }

    #[test]
    fn answers_are_counted_by_way_and_open_questions_are_not() {
        let mut book = Book::default();
        let first = book.ask(peer(1), Way::Overlay, 0);
        book.ask(peer(1), Way::Overlay, SECOND_US);
        book.ask(peer(1), Way::Host, SECOND_US);
        book.answered(first, 300);
        let reach = book.reaches(SECOND_US + 10)[0];
        assert_eq!((reach.overlay.asked, reach.overlay.answered), (1, 1));
        assert_eq!((reach.overlay.median_us, reach.host.asked), (Some(300), 0));
        let later = book.reaches(SECOND_US * 3)[0];
        assert_eq!(
            (later.overlay.asked, later.overlay.lost_in_a_row, later.host.asked),
            (2, 1, 1)
        );
    }

    #[test]
    fn an_answer_that_comes_too_late_is_none() {
        let mut book = Book::default();
        let number = book.ask(peer(1), Way::Overlay, 0);
        book.answered(number, PATIENCE_MS * 1_000 + 1);
        book.answered(number, 1);
        assert_eq!(book.reaches(SECOND_US * 9)[0].overlay.answered, 0);
    }

    #[test]
    fn only_the_newest_are_remembered_and_peers_that_left_are_not() {
        let mut book = Book::default();
        for n in 0..100 {
            book.ask(peer(1), Way::OverlayFull, n);
            book.ask(peer(2), Way::OverlayFull, n);
        }
        book.keep(|id, _| *id == peer(1));
        let reaches = book.reaches(SECOND_US * 9);
        assert_eq!((reaches.len(), reaches[0].overlay_full.asked), (1, WINDOW as u32));
        assert_eq!(book.open.len(), WINDOW);
    }
}
