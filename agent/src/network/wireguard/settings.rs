//! From how WireGuard should be set and how it is to what has to be said. Pure. Peers that are right are left alone: what
//! is said of a peer ends its session.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use shoal_proto::tunnel_key::TunnelKey;

use super::{Peer, PrivateKey, Wish};

/// How it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its own public key; none before the first.
    pub key: Option<TunnelKey>,
    /// UDP port.
    pub port: u16,
    /// The other ends.
    pub peers: BTreeMap<TunnelKey, SeenPeer>,
}

/// Another end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenPeer {
    /// Where it was told to be, or was heard last.
    pub endpoint: Option<SocketAddr>,
    /// What it may send from, with lengths of prefixes.
    pub allowed: Vec<(IpAddr, u8)>,
}

/// What has to be said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Another key of its own; ends all sessions.
    pub key: Option<PrivateKey>,
    /// Another port.
    pub port: Option<u16>,
    /// Ends that go.
    pub removed: Vec<TunnelKey>,
    /// Ends that come, or are set anew.
    pub put: BTreeMap<TunnelKey, Peer>,
}

/// What leads from `seen` to the wish; none when all is right. `before`: the wish before this one, which was carried out.
#[must_use]
pub fn change(wish: &Wish, seen: &Seen, before: Option<&Wish>) -> Option<Change> {
    let stays = |key: &TunnelKey, peer: &Peer| {
        let Some(is) = seen.peers.get(key) else {
            return false;
        };
        // One that was heard from elsewhere is answered there: that is WireGuard's to follow.
        let told = before.and_then(|before| before.peers.get(key));
        let endpoint = SocketAddr::V4(peer.endpoint);
        let there = told.is_some_and(|told| told.endpoint == peer.endpoint) || is.endpoint == Some(endpoint);
        there && is.allowed == [(IpAddr::V4(peer.address), 32)]
    };
    let put = wish.peers.iter().filter(|(key, peer)| !stays(key, peer));
    let removed = seen.peers.keys().filter(|key| !wish.peers.contains_key(*key));
    let change = Change {
        key: (seen.key != Some(wish.key.public())).then(|| wish.key.clone()),
        port: (seen.port != wish.port).then_some(wish.port),
        removed: removed.copied().collect(),
        put: put.map(|(key, peer)| (*key, *peer)).collect(),
    };
    (change != Change::default()).then_some(change)
}

#[cfg(test)]
pub(in crate::network) mod tests {
    use std::net::{IpAddr, SocketAddr, SocketAddrV4};

    use shoal_proto::tunnel_key::TunnelKey;

    use super::{Change, Seen, SeenPeer, change};
    use crate::network::model::Interface;
    use crate::network::wireguard::{Peer, PrivateKey, Wish};

    pub(in crate::network) fn key(n: u8) -> TunnelKey {
        TunnelKey::from_bytes([n; 32]).expect("not zero")
    }

    pub(in crate::network) fn wish(peers: &[u8]) -> Wish {
        let peer = |n: u8| Peer {
            endpoint: SocketAddrV4::new([192, 0, 2, n].into(), 4_787),
            address: [10, 255, 128, n].into(),
        };
        Wish {
            key: PrivateKey::from_bytes([9; 32]),
            host: [192, 0, 2, 9].into(),
            address: Interface {
                address: [10, 255, 128, 9].into(),
                length: 17,
            },
            port: 4_787,
            peers: peers.iter().map(|n| (key(*n), peer(*n))).collect(),
        }
    }

    /// As it is when the wish was carried out.
    pub(in crate::network) fn seen(wish: &Wish) -> Seen {
        let peers = wish.peers.iter().map(|(key, peer)| {
            let seen = SeenPeer {
                endpoint: Some(SocketAddr::V4(peer.endpoint)),
                allowed: vec![(IpAddr::V4(peer.address), 32)],
            };
            (*key, seen)
        });
        Seen {
            key: Some(wish.key.public()),
            port: wish.port,
            peers: peers.collect(),
        }
    }

    #[test]
    fn all_is_said_to_a_new_device_and_nothing_to_one_that_is_right() {
        let wish = wish(&[1, 2]);
        let all = change(&wish, &Seen::default(), None).expect("all of it");
        assert_eq!((all.port, all.put.len(), all.removed.len()), (Some(4_787), 2, 0));
        assert!(all.key.is_some());
        assert_eq!(change(&wish, &seen(&wish), None), None);
    }

    #[test]
    fn one_that_lost_its_place_goes_and_the_others_are_left_alone() {
        let change = change(&wish(&[1]), &seen(&wish(&[1, 2])), None).expect("one goes");
        let only = Change {
            removed: vec![key(2)],
            ..Change::default()
        };
        assert_eq!(change, only);
    }

    #[test]
    fn one_that_was_heard_from_elsewhere_is_left_alone_until_the_cluster_says_otherwise() {
        let before = wish(&[1]);
        let mut roamed = seen(&before);
        let peer = roamed.peers.get_mut(&key(1)).expect("it is there");
        peer.endpoint = Some("198.51.100.7:99".parse().expect("an address"));
        assert_eq!(change(&before, &roamed, Some(&before)), None);
        assert!(
            change(&before, &roamed, None).is_some(),
            "nobody knows what was said"
        );
        let mut moved = before.clone();
        let peer = moved.peers.get_mut(&key(1)).expect("it is there");
        peer.endpoint = SocketAddrV4::new([192, 0, 2, 77].into(), 4_787);
        let told = change(&moved, &roamed, Some(&before)).expect("it moved");
        assert!(told.put.contains_key(&key(1)));
    }

    #[test]
    fn one_that_may_send_more_than_its_own_address_is_set_anew() {
        let wish = wish(&[1]);
        let mut wide = seen(&wish);
        let peer = wide.peers.get_mut(&key(1)).expect("it is there");
        peer.allowed = vec![([0, 0, 0, 0].into(), 0)];
        assert!(change(&wish, &wide, Some(&wish)).is_some());
    }
}
