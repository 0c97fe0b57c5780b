//! Netlink messages of netfilter as bytes: cut apart, no more.

/// Lengths of the headers of netlink and of nfnetlink.
pub(super) const HEADERS: usize = NETLINK_HEADER + 4;
const NETLINK_HEADER: usize = 16;
/// Upper bits of an attribute's kind say how it is written.
const KIND: u16 = 0x3fff;

/// Where the next message or attribute begins.
fn aligned(length: usize) -> usize {
    length.div_ceil(4) * 4
}

/// Kind and body of each message; the body begins with the header of nfnetlink where there is one.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = bytes.get(..4)?.try_into().ok().map(u32::from_ne_bytes)? as usize;
        let message = bytes.get(..length)?;
        let body = message.get(NETLINK_HEADER..)?;
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
        Some((u16::from_ne_bytes([message[4], message[5]]), body))
    })
}

/// The value of the first attribute of a kind.
pub(super) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let head: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes([head[2], head[3]]) & KIND == wanted {
            return Some(value);
        }
        bytes = bytes.get(aligned(length)..)?;
    }
}

/// Appends an attribute.
pub(super) fn write(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(aligned(bytes.len()), 0);
}

#[cfg(test)]
mod tests {
    use super::{attribute, messages, write};

    #[test]
    fn messages_and_attributes_are_cut_at_their_ends() {
        let attributes = [
            &7_u16.to_ne_bytes()[..],
            &1_u16.to_ne_bytes(),
            b"abc\0",
            &8_u16.to_ne_bytes(),
            &0x8002_u16.to_ne_bytes(),
            b"defg",
        ]
        .concat();
        assert_eq!(attribute(&attributes, 1), Some(&b"abc"[..]));
        assert_eq!(attribute(&attributes, 2), Some(&b"defg"[..]));
        assert_eq!(attribute(&attributes, 3), None);
        assert_eq!(attribute(&attributes[..14], 2), None, "cut off");
        let mut one = vec![20, 0, 0, 0, 9, 0];
        one.resize(20, 5);
        let two = [one.clone(), one].concat();
        assert_eq!(
            messages(&two).collect::<Vec<_>>(),
            [(9, &[5; 4][..]), (9, &[5; 4][..])]
        );
        assert_eq!(messages(&two[..30]).count(), 1);
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        write(&mut bytes, 1, b"abc");
        write(&mut bytes, 2, b"defg");
        assert_eq!(bytes.len(), 16);
        assert_eq!(attribute(&bytes, 1), Some(&b"abc"[..]));
        assert_eq!(attribute(&bytes, 2), Some(&b"defg"[..]));
    }
}
