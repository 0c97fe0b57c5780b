//! WireGuard's text over a socket, by which programs that seal are set and asked (the cross-platform interface of
//! wireguard.com). Texts are pure; `ask` alone speaks.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use data_encoding::HEXLOWER;
use shoal_proto::tunnel_key::TunnelKey;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Change, PrivateKey, Seen, SeenPeer};

/// Asks for everything.
const GET: &str = "get=1\n\n";
/// Longest wait for an answer.
const LIMIT_MS: u64 = 2_000;
/// Largest answer, bytes: some 20,000 peers.
const ANSWER_MAX: u64 = 8 << 20;

/// Why a program did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum UapiError {
    /// Nobody listens, or the talk ended early.
    #[error("the program that seals does not answer")]
    Io(#[from] std::io::Error),
    /// It takes too long.
    #[error("the program that seals did not answer within {LIMIT_MS} ms")]
    Slow,
    /// It said no.
    #[error("the program that seals refused: error {0}")]
    Refused(String),
    /// Nobody understands that.
    #[error("the program that seals answered what is no answer: {0:?}")]
    Unclear(String),
}

/// How the program behind a socket is set; says the change first, if there is one.
///
/// # Errors
/// When it does not answer, or refuses.
pub async fn ask(socket: &Path, change: Option<&Change>) -> Result<Seen, UapiError> {
    if let Some(change) = change {
        read(&talk(socket, &set(change)).await?)?;
    }
    read(&talk(socket, GET).await?)
}

async fn talk(socket: &Path, words: &str) -> Result<String, UapiError> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(words.as_bytes()).await?;
        // It answers and then sees that there is no more to come.
        stream.shutdown().await?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    let limit = Duration::from_millis(LIMIT_MS);
    tokio::time::timeout(limit, talk)
        .await
        .map_err(|_| UapiError::Slow)?
}

fn set(change: &Change) -> String {
    let mut lines = vec!["set=1".to_owned()];
    let key = change.key.as_ref();
    lines.extend(key.map(|key| format!("private_key={}", HEXLOWER.encode(key.secret_bytes()))));
    lines.extend(change.port.map(|port| format!("listen_port={port}")));
    for key in &change.removed {
        lines.push(format!("public_key={}", HEXLOWER.encode(key.as_bytes())));
        lines.push("remove=true".to_owned());
    }
    for (key, peer) in &change.put {
        lines.push(format!("public_key={}", HEXLOWER.encode(key.as_bytes())));
        lines.push(format!("endpoint={}", peer.endpoint));
        lines.push("replace_allowed_ips=true".to_owned());
        lines.push(format!("allowed_ip={}/32", peer.address));
    }
    lines.join("\n") + "\n\n"
}

fn read(answer: &str) -> Result<Seen, UapiError> {
    let mut seen = Seen::default();
    let mut errno = None;
    let mut last = None;
    for line in answer.lines().filter(|line| !line.is_empty()) {
        let unclear = || UapiError::Unclear(line.split('=').next().unwrap_or_default().to_owned());
        let (name, value) = line.split_once('=').ok_or_else(unclear)?;
        match name {
            "errno" => errno = Some(value.to_owned()),
            "private_key" => {
                seen.key = Some(PrivateKey::from_bytes(bytes(value).ok_or_else(unclear)?).public())
            }
            "listen_port" => seen.port = value.parse().map_err(|_| unclear())?,
            "public_key" => {
                let key = bytes(value).and_then(TunnelKey::from_bytes).ok_or_else(unclear)?;
                last = Some(key);
                seen.peers.insert(key, SeenPeer::default());
            }
            "endpoint" | "allowed_ip" => {
                let peer = last
                    .and_then(|key| seen.peers.get_mut(&key))
                    .ok_or_else(unclear)?;
                about(peer, name, value).ok_or_else(unclear)?;
            }
            // More is said than we ask for.
            _ => {}
        }
    }
    match errno.as_deref() {
        Some("0") => Ok(seen),
        Some(other) => Err(UapiError::Refused(other.to_owned())),
        None => Err(UapiError::Unclear("no errno".to_owned())),
    }
}

fn about(peer: &mut SeenPeer, name: &str, value: &str) -> Option<()> {
    if name == "endpoint" {
        peer.endpoint = Some(value.parse::<SocketAddr>().ok()?);
        return Some(());
    }
    let (address, length) = value.split_once('/')?;
    peer.allowed.push((address.parse().ok()?, length.parse().ok()?));
    Some(())
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{UapiError, read, set};
    use crate::network::wireguard::change;
    use crate::network::wireguard::settings::tests::{key, seen, wish};
    use crate::network::wireguard::{Change, Seen};

    #[test]
    fn what_is_said_names_each_key_once_and_ends_with_an_empty_line() {
        let wish = wish(&[1, 2]);
        let mut said = change(&wish, &Seen::default(), None).expect("all of it");
        said.removed = vec![key(3)];
        let text = set(&said);
        assert!(text.starts_with("set=1\nprivate_key=") && text.ends_with("allowed_ip=10.255.128.2/32\n\n"));
        assert_eq!(text.matches("public_key=").count(), 3);
        let gone = format!("public_key={}\nremove=true\n", "03".repeat(32));
        let come = format!(
            "public_key={}\nendpoint=192.0.2.1:4787\nreplace_allowed_ips=true\nallowed_ip=10.255.128.1/32\n",
            "01".repeat(32)
        );
        assert!(text.contains(&gone) && text.contains(&come), "{text}");
        assert_eq!(set(&Change::default()), "set=1\n\n");
    }

    #[test]
    fn an_answer_is_read_as_the_settings_that_it_is() {
        let wish = wish(&[1]);
        let private = data_encoding::HEXLOWER.encode(wish.key.secret_bytes());
        let answer = format!(
            "private_key={private}\nlisten_port=4787\npublic_key={}\nendpoint=192.0.2.1:4787\nallowed_ip=10.255.128.1/32\n\
             last_handshake_time_sec=5\nrx_bytes=1\nprotocol_version=1\nerrno=0\n\n",
            "01".repeat(32)
        );
        assert_eq!(read(&answer).expect("an answer"), seen(&wish));
    }

    #[test]
    fn refusals_and_nonsense_are_errors_that_show_no_key() {
        assert!(matches!(read("errno=22\n\n"), Err(UapiError::Refused(number)) if number == "22"));
        for text in [
            "",
            "listen_port=4787\n",
            "allowed_ip=10.0.0.0/8\nerrno=0\n",
            "private_key=zz\nerrno=0\n",
        ] {
            let error = read(text).expect_err(text);
            assert!(!error.to_string().contains("zz"), "{error}");
        }
    }
}
