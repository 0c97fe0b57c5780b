//! What two agents say to each other to see whether packets pass: a question, and the same bytes back. A value only.

/// Begins every packet; another text means another format.
const MAGIC: [u8; 8] = *b"shoal-p1";
/// Kind, number.
const HEADER_LEN: usize = MAGIC.len() + 1 + 8;
/// Bytes of a small probe.
pub(super) const SMALL_LEN: usize = 64;
/// Bytes of IPv4 and UDP headers around a probe.
pub(super) const AROUND_LEN: usize = 28;

/// A packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet {
    /// Wants an answer.
    Question(u64),
    /// The answer to the question of that number.
    Answer(u64),
}

impl Packet {
    /// Its bytes, `len` of them; never fewer than its header has.
    #[must_use]
    pub(super) fn bytes(self, len: usize) -> Vec<u8> {
        let (kind, number) = match self {
            Self::Question(number) => (b'?', number),
            Self::Answer(number) => (b'!', number),
        };
        let mut bytes = Vec::with_capacity(len.max(HEADER_LEN));
        bytes.extend(MAGIC);
        bytes.push(kind);
        bytes.extend(number.to_be_bytes());
        bytes.resize(len.max(HEADER_LEN), 0);
        bytes
    }

    /// What these bytes say; none when they are nothing of ours.
    #[must_use]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.strip_prefix(&MAGIC)?.split_first()?;
        let number = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
        match kind {
            b'?' => Some(Self::Question(number)),
            b'!' => Some(Self::Answer(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Packet, SMALL_LEN};

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        for packet in [Packet::Question(7), Packet::Answer(u64::MAX)] {
            let bytes = packet.bytes(SMALL_LEN);
            assert_eq!((bytes.len(), Packet::read(&bytes)), (SMALL_LEN, Some(packet)));
        }
    }

    #[test]
    fn the_bytes_of_others_are_nothing() {
        let cut = &Packet::Question(1).bytes(0)[..12];
        for bytes in [&b""[..], b"shoal-p1", b"shoal-p2?\0\0\0\0\0\0\0\0", cut] {
            assert_eq!(Packet::read(bytes), None, "{bytes:?}");
        }
    }
}
