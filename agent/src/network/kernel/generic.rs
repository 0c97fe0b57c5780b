//! WireGuard in the kernel, set and asked over generic netlink. Messages are pure; [`Generic`] alone speaks, and blocks.

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_generic::GenlMessage;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use rtnetlink::sys::protocols::NETLINK_GENERIC;
use rtnetlink::sys::{Socket, SocketAddr as Address};
use shoal_proto::tunnel_key::TunnelKey;

use crate::network::ours::WIREGUARD_DEVICE;
use crate::network::wireguard::{Change, Peer, Seen, SeenPeer};

/// The kernel's WireGuard.
pub(super) struct Generic {
    socket: Socket,
    family: u16,
}

impl Generic {
    /// Finds it.
    ///
    /// # Errors
    /// When the kernel has none, or does not answer.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&Address::new(0, 0))?;
        let mut found = Self { socket, family: 0 };
        let question = GenlCtrl {
            cmd: GenlCtrlCmd::GetFamily,
            nlas: vec![GenlCtrlAttrs::FamilyName("wireguard".to_owned())],
        };
        let answers = found.ask(GenlMessage::from_payload(question), NLM_F_ACK)?;
        let mut told = answers.into_iter().flat_map(|answer| answer.payload.nlas);
        let family = told.find_map(|told| match told {
            GenlCtrlAttrs::FamilyId(id) => Some(id),
            _ => None,
        });
        found.family = family.ok_or(io::ErrorKind::NotFound)?;
        Ok(found)
    }

    /// How our device is set.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn look(&self) -> io::Result<Seen> {
        let answers = self.ask(self.message(WireguardCmd::GetDevice, Vec::new()), NLM_F_DUMP)?;
        let mut seen = Seen::default();
        // A long list of peers comes in several messages.
        answers
            .iter()
            .for_each(|answer| read(&mut seen, &answer.payload.attributes));
        Ok(seen)
    }

    /// Says a change to our device.
    ///
    /// # Errors
    /// When it refuses.
    pub(super) fn set(&self, change: &Change) -> io::Result<()> {
        let message = self.message(WireguardCmd::SetDevice, attributes(change));
        self.ask(message, NLM_F_ACK).map(drop)
    }

    fn message(&self, cmd: WireguardCmd, more: Vec<WireguardAttribute>) -> GenlMessage<WireguardMessage> {
        let mut attributes = vec![WireguardAttribute::IfName(WIREGUARD_DEVICE.to_owned())];
        attributes.extend(more);
        let mut message = GenlMessage::from_payload(WireguardMessage { cmd, attributes });
        message.set_resolved_family_id(self.family);
        message
    }

    fn ask<T>(&self, message: T, flags: u16) -> io::Result<Vec<T>>
    where
        T: NetlinkSerializable + NetlinkDeserializable,
        NetlinkPayload<T>: From<T>,
    {
        let mut request = NetlinkMessage::new(Default::default(), NetlinkPayload::from(message));
        request.header.flags = NLM_F_REQUEST | flags;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let answer = NetlinkMessage::<T>::deserialize(rest).map_err(io::Error::other)?;
                let length = usize::try_from(answer.header.length).unwrap_or(rest.len());
                rest = rest.get(length.div_ceil(4) * 4..).unwrap_or_default();
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
            }
        }
    }
}

fn attributes(change: &Change) -> Vec<WireguardAttribute> {
    let key = change.key.as_ref();
    let key = key.map(|key| WireguardAttribute::PrivateKey(*key.secret_bytes()));
    let port = change.port.map(WireguardAttribute::ListenPort);
    let removed = change.removed.iter().map(|key| {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(*key.as_bytes()),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe),
        ])
    });
    let put = change.put.iter().map(|(key, peer)| put(*key, peer));
    let peers: Vec<_> = removed.chain(put).collect();
    let peers = (!peers.is_empty()).then_some(WireguardAttribute::Peers(peers));
    key.into_iter().chain(port).chain(peers).collect()
}

fn put(key: TunnelKey, peer: &Peer) -> WireguardPeer {
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey(*key.as_bytes()),
        WireguardPeerAttribute::Flags(WireguardPeerFlags::ReplaceAllowedIps),
        WireguardPeerAttribute::Endpoint(SocketAddr::V4(peer.endpoint)),
        WireguardPeerAttribute::AllowedIps(vec![WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(WireguardAddressFamily::Ipv4),
            WireguardAllowedIpAttr::IpAddr(IpAddr::V4(peer.address)),
            WireguardAllowedIpAttr::Cidr(32),
        ])]),
    ])
}

fn read(seen: &mut Seen, attributes: &[WireguardAttribute]) {
    for attribute in attributes {
        match attribute {
            WireguardAttribute::PublicKey(bytes) => seen.key = TunnelKey::from_bytes(*bytes),
            WireguardAttribute::ListenPort(port) => seen.port = *port,
            WireguardAttribute::Peers(peers) => peers.iter().for_each(|peer| read_peer(seen, &peer.0)),
            _ => {}
        }
    }
}

fn read_peer(seen: &mut Seen, attributes: &[WireguardPeerAttribute]) {
    let mut key = None;
    let mut peer = SeenPeer::default();
    for attribute in attributes {
        match attribute {
            WireguardPeerAttribute::PublicKey(bytes) => key = TunnelKey::from_bytes(*bytes),
            WireguardPeerAttribute::Endpoint(endpoint) => peer.endpoint = Some(*endpoint),
            WireguardPeerAttribute::AllowedIps(allowed) => {
                peer.allowed
                    .extend(allowed.iter().filter_map(|of| allowed_ip(&of.0)));
            }
            _ => {}
        }
    }
    let Some(key) = key else {
        return;
    };
    let known = seen.peers.entry(key).or_default();
    known.endpoint = peer.endpoint.or(known.endpoint);
    known.allowed.extend(peer.allowed);
}

fn allowed_ip(attributes: &[WireguardAllowedIpAttr]) -> Option<(IpAddr, u8)> {
    let mut address = None;
    let mut length = None;
    for attribute in attributes {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(is) => address = Some(*is),
            WireguardAllowedIpAttr::Cidr(is) => length = Some(*is),
            _ => {}
        }
    }
    Some((address?, length?))
}

#[cfg(test)]
mod tests {
    use netlink_packet_wireguard::{WireguardAttribute, WireguardPeerAttribute, WireguardPeerFlags};

    use super::{attributes, read};
    use crate::network::wireguard::change;
    use crate::network::wireguard::settings::tests::{key, seen, wish};
    use crate::network::wireguard::{Change, Seen};

    #[test]
    fn what_is_said_to_the_kernel_is_what_it_says_of_itself_afterwards() {
        let wish = wish(&[1, 2]);
        let said = change(&wish, &Seen::default(), None).expect("all of it");
        let mut told = attributes(&said);
        // It tells the public key where it was given the private one.
        told.push(WireguardAttribute::PublicKey(*wish.key.public().as_bytes()));
        let mut is = Seen::default();
        read(&mut is, &told);
        assert_eq!(is, seen(&wish));
    }

    #[test]
    fn one_that_goes_is_named_with_the_flag_that_removes_it() {
        let change = Change {
            removed: vec![key(3)],
            ..Change::default()
        };
        let [WireguardAttribute::Peers(peers)] = &attributes(&change)[..] else {
            panic!("peers alone");
        };
        let flag = WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe);
        assert!(peers[0].0.contains(&flag));
    }
}
