//! The second connection, opened when a manager asks for it: output of containers and answers of registries. It never
//! stands in the way of reports and heartbeats, and everything on it has a limit.

use std::collections::BTreeMap;

use futures::StreamExt;
use shoal_proto::id::TaskId;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use shoal_proto::wire::{self, bulk_down, bulk_up::Message as Up};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use super::{Link, convert};
use crate::clock;
use crate::engine::{LogChunk, LogQuery};
use crate::network::wireguard::Means;

/// Pieces of answers on their way up; whoever has more waits.
const UP_MAX: usize = 64;
/// Requests answered at once.
const REQUESTS_MAX: usize = 64;
/// Longest line that is passed on in one piece.
const LINE_MAX: usize = 64 * 1_024;

type Out = mpsc::Sender<wire::BulkUp>;

pub(super) async fn run(link: Link, address: String, bulk_id: u64) {
    if let Err(words) = serve(&link, &address, bulk_id).await {
        tracing::warn!(address, words, "second connection ended");
    }
}

async fn serve(link: &Link, address: &str, bulk_id: u64) -> Result<(), String> {
    let channel = link.dial(address).await?;
    let (out, up) = mpsc::channel(UP_MAX);
    send(&out, Up::Attach(bulk_id)).await?;
    let said = |status: tonic::Status| status.message().to_owned();
    let mut down = DispatcherClient::new(channel)
        .bulk(ReceiverStream::new(up))
        .await
        .map_err(said)?
        .into_inner();
    let mut running: BTreeMap<u64, JoinHandle<()>> = BTreeMap::new();
    while let Some(asked) = down.message().await.map_err(said)? {
        running.retain(|_, job| !job.is_finished());
        let request = asked.request;
        match asked.message {
            Some(bulk_down::Message::Cancel(_)) | None => {
                if let Some(job) = running.remove(&request) {
                    job.abort();
                }
            }
            Some(_) if running.len() >= REQUESTS_MAX => {
                let error = format!("this node answers {REQUESTS_MAX} requests already");
                send(&out, Up::End(wire::BulkEnd { request, error })).await?;
            }
            Some(what) => {
                let (link, out) = (link.clone(), out.clone());
                running.insert(request, tokio::spawn(answer(link, out, request, what)));
            }
        }
    }
    running.into_values().for_each(|job| job.abort());
    Ok(())
}

async fn send(out: &Out, message: Up) -> Result<(), String> {
    let piece = wire::BulkUp {
        message: Some(message),
    };
    out.send(piece)
        .await
        .map_err(|_| "second connection is closed".to_owned())
}

async fn answer(link: Link, out: Out, request: u64, what: bulk_down::Message) {
    let answered = match what {
        bulk_down::Message::Logs(asked) => logs(&link, &out, request, asked).await,
        bulk_down::Message::Resolve(asked) => resolve(&link, &out, request, asked).await,
        bulk_down::Message::LookAtNetwork(_) => network(&link, &out, request).await,
        bulk_down::Message::Cancel(_) => Ok(()),
    };
    let error = answered.err().unwrap_or_default();
    // Nobody is left to be told when even this fails.
    send(&out, Up::End(wire::BulkEnd { request, error })).await.ok();
}

async fn resolve(
    link: &Link,
    out: &Out,
    request: u64,
    asked: wire::ResolveImageOnNode,
) -> Result<(), String> {
    let credentials = asked.credential.map(convert::credentials);
    let found = link
        .engine
        .resolve(&asked.image, credentials.as_ref())
        .await
        .map_err(|error| error.to_string())?;
    let platforms = found.platforms.iter().map(Into::into).collect();
    send(
        out,
        Up::Image(wire::ImageResolved {
            request,
            digest: found.digest,
            platforms,
        }),
    )
    .await
}

/// What this node knows of the cluster's network.
async fn network(link: &Link, out: &Out, request: u64) -> Result<(), String> {
    let progress = link.agent.progress.borrow().clone();
    let probes = &link.agent.probes;
    let seen = wire::NetworkReport {
        request,
        reaches: probes.reaches().iter().map(Into::into).collect(),
        problems: progress.network.problems,
        kept: progress.network.in_firewalls,
        tunnel_mtu: probes.tunnel_mtu(),
        applied_index: progress.applied,
        sealed_by: progress
            .network
            .sealed_by
            .map(Means::name)
            .unwrap_or_default()
            .to_owned(),
    };
    send(out, Up::Network(seen)).await
}

async fn logs(link: &Link, out: &Out, request: u64, asked: wire::ReadLogs) -> Result<(), String> {
    let task: TaskId = asked.task_id.parse().map_err(|error| format!("{error}"))?;
    let options = asked.options.unwrap_or_default();
    let listed = link
        .engine
        .list(link.facts.cluster)
        .await
        .map_err(|error| error.to_string())?;
    let container = listed.into_iter().find(|one| one.task == task);
    let container = container.ok_or_else(|| format!("task {task} has no container on this node any more"))?;
    let query = LogQuery {
        follow: options.follow,
        tail: options.tail,
        since_s: options.since_ns / 1_000_000_000,
        stdout: true,
        stderr: true,
    };
    let mut chunks = link
        .engine
        .logs(&container.id, query)
        .await
        .map_err(|error| error.to_string())?;
    let message = |(stderr, time_ns, line): Line| {
        Up::Log(wire::LogLine {
            request,
            task_id: task.to_string(),
            stderr,
            time_ns,
            line,
        })
    };
    let mut lines = Lines::default();
    while let Some(chunk) = chunks.next().await {
        for (stderr, time_ns, line) in lines.take(chunk.map_err(|error| error.to_string())?) {
            if options.until_ns > 0 && time_ns > options.until_ns {
                return Ok(());
            }
            if time_ns >= options.since_ns {
                send(out, message((stderr, time_ns, line))).await?;
            }
        }
    }
    for line in lines.rest() {
        send(out, message(line)).await?;
    }
    Ok(())
}

/// Puts pieces of output together to lines, for each of the two streams.
#[derive(Default)]
struct Lines {
    open: BTreeMap<bool, (u64, Vec<u8>)>,
}

type Line = (bool, u64, Vec<u8>);

impl Lines {
    fn take(&mut self, chunk: LogChunk) -> Vec<Line> {
        let time_ns = clock::parse_rfc3339_ns(&chunk.time).unwrap_or(0);
        let (since, open) = self.open.entry(chunk.stderr).or_default();
        if open.is_empty() {
            *since = time_ns;
        }
        let mut out = Vec::new();
        for byte in chunk.bytes {
            if byte == b'\n' || open.len() >= LINE_MAX {
                out.push((chunk.stderr, *since, std::mem::take(open)));
                *since = time_ns;
            }
            if byte != b'\n' {
                open.push(byte);
            }
        }
        out
    }

    /// What ended without a line's end.
    fn rest(self) -> Vec<Line> {
        let left = self.open.into_iter().filter(|(_, (_, line))| !line.is_empty());
        left.map(|(stderr, (time_ns, line))| (stderr, time_ns, line))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use crate::engine::LogChunk;

    fn chunk(stderr: bool, text: &str) -> LogChunk {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        LogChunk {
            stderr,
            time: "1970-01-01T00:00:01Z".to_owned(),
            bytes,
        }
    }

    #[test]
    fn pieces_become_lines_per_stream() {
        let mut lines = Lines::default();
        assert!(lines.take(chunk(false, "he")).is_empty());
        assert_eq!(
            lines.take(chunk(true, "err\n")),
            vec![(true, 1_000_000_000, b"err".to_vec())]
        );
        assert_eq!(
            lines.take(chunk(false, "llo\nrest")),
            vec![(false, 1_000_000_000, b"hello".to_vec())]
        );
        assert_eq!(lines.rest(), vec![(false, 1_000_000_000, b"rest".to_vec())]);
    }
}
