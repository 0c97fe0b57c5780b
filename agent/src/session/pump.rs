//! One session with one manager: a hello, then words down and reports up until it ends. Both ways move on their own, so
//! that neither end waits for the other while the other waits for it.

use std::time::Duration;

use shoal_daemon::kind::Kind;
use shoal_daemon::local_client::{DaemonClient, JoinWish};
use shoal_proto::limits::SESSION_BYTES_MAX;
use shoal_proto::wire::dispatcher_client::DispatcherClient;
use shoal_proto::wire::{self, session_down::Message as Down, session_up::Message as Up};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::heartbeat::{Beat, Beats};
use super::{Link, Over, bulk, convert, describe};
use crate::agent::Word;
use crate::clock;

/// Messages on their way up.
const UP_MAX: usize = 8;
/// Longest wait for the manager's first word.
const WELCOME_TIMEOUT_MS: u64 = 10_000;

/// Speaks to a manager. A complete set may be larger than other answers.
fn client(channel: Channel) -> DispatcherClient<Channel> {
    DispatcherClient::new(channel).max_decoding_message_size(SESSION_BYTES_MAX)
}

pub(super) struct Pump<'a> {
    link: &'a Link,
    beats: &'a Beats,
    address: &'a str,
    channel: Channel,
    described: describe::Described,
    epoch: u64,
    welcomed: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        link: &'a Link,
        beats: &'a Beats,
        address: &'a str,
        channel: Channel,
        described: describe::Described,
    ) -> Self {
        Self {
            link,
            beats,
            address,
            channel,
            described,
            epoch: 0,
            welcomed: false,
        }
    }

    /// Whether the manager took the session.
    pub(super) fn welcomed(&self) -> bool {
        self.welcomed
    }

    pub(super) async fn run(&mut self) -> Over {
        let described = describe::newest(self.link, &mut self.described).await;
        let (up, up_stream) = mpsc::channel(UP_MAX);
        let hello = self.hello((&described).into());
        if up
            .send(wire::SessionUp {
                message: Some(Up::Hello(hello)),
            })
            .await
            .is_err()
        {
            return Over::Lost("session could not begin".to_owned());
        }
        let mut client = client(self.channel.clone());
        let opened = client.session(ReceiverStream::new(up_stream));
        let first = tokio::time::timeout(Duration::from_millis(WELCOME_TIMEOUT_MS), async {
            let mut down = opened.await?.into_inner();
            let first = down.message().await?;
            Ok::<_, tonic::Status>((first, down))
        });
        match first.await {
            Err(_) => Over::Lost(format!(
                "{}: no word within {WELCOME_TIMEOUT_MS} ms",
                self.address
            )),
            Ok(Err(status)) => Over::Refused(Box::new(status)),
            Ok(Ok((first, down))) => match first.and_then(|down| down.message) {
                Some(first) => match self.take(first) {
                    Some(over) => over,
                    None => self.serve(up, down).await,
                },
                None => Over::Lost(format!("{}: session ended without a word", self.address)),
            },
        }
    }

    fn hello(&self, description: wire::NodeDescription) -> wire::Hello {
        let seen = self.link.agent.progress.borrow().seen;
        let account = self.link.agent.outbox.reporter().open();
        wire::Hello {
            description: Some(description),
            boot_id: self.link.facts.boot.clone(),
            incarnation: seen.incarnation,
            index: seen.index,
            reports: Some(convert::reports(account, self.link.facts.epoch)),
            clock_ms: clock::wall().as_ms(),
            advertise: self.link.advertise.clone(),
        }
    }

    async fn serve(
        &mut self,
        up: mpsc::Sender<wire::SessionUp>,
        mut down: Streaming<wire::SessionDown>,
    ) -> Over {
        let mut described = self.described.clone();
        let outbox = self.link.agent.outbox.clone();
        let mut lost = self.beats.lost();
        // Whether there may be something to send.
        let mut full = true;
        loop {
            tokio::select! {
                message = down.message() => match message {
                    Ok(Some(wire::SessionDown { message: Some(message) })) => {
                        if let Some(over) = self.take(message) {
                            return over;
                        }
                    }
                    Ok(Some(_)) => return Over::Lost(format!("{} said something unknown", self.address)),
                    Ok(None) => return Over::Lost(format!("{} ended the session", self.address)),
                    Err(status) => return Over::Refused(Box::new(status)),
                },
                place = up.reserve(), if full => {
                    let Ok(place) = place else {
                        return Over::Lost(format!("{} hears no more", self.address));
                    };
                    let report = outbox.reporter().take_next();
                    match report {
                        Some(report) => place.send(convert::up(report, self.epoch)),
                        None => full = false,
                    }
                },
                () = outbox.bell.notified() => full = true,
                words = lost.recv() => {
                    return Over::Lost(words.unwrap_or_else(|| "heartbeats ended".to_owned()));
                }
                changed = described.changed() => {
                    if changed.is_err() {
                        return Over::Lost("this agent is stopping".to_owned());
                    }
                    let now = described.borrow_and_update().as_ref().map(Into::into);
                    if let Some(now) = now {
                        // A full queue means that the manager is slow; the next session says it.
                        up.try_send(wire::SessionUp { message: Some(Up::Description(now)) }).ok();
                    }
                }
            }
        }
    }

    /// Passes on what the manager said. Answers an end, where it is one.
    fn take(&mut self, message: Down) -> Option<Over> {
        match message {
            Down::Redirect(redirect) => return Some(Over::Redirect(redirect.leader)),
            Down::Removed(removed) => return Some(Over::Removed(removed.message)),
            Down::Welcome(welcome) => self.welcome(welcome),
            Down::Managers(list) => self.link.keep_managers(list.managers),
            Down::Assignments(set) => match convert::update(set) {
                Ok(update) => self.link.agent.say(Word::Update(Box::new(update))),
                Err(error) => {
                    let words = format!(
                        "{} sent a set this agent does not understand: {error}",
                        self.address
                    );
                    return Some(Over::Lost(words));
                }
            },
            Down::Verdicts(verdicts) => {
                for verdict in verdicts.verdicts {
                    let Ok(task) = verdict.task_id.parse() else {
                        return Some(Over::Lost(format!(
                            "verdict on {:?}, which is no task",
                            verdict.task_id
                        )));
                    };
                    self.link.agent.say(if verdict.remove {
                        Word::Remove(task)
                    } else {
                        Word::Keep(task)
                    });
                }
            }
            Down::OpenBulk(open) => {
                tokio::spawn(bulk::run(
                    self.link.clone(),
                    self.address.to_owned(),
                    open.bulk_id,
                ));
            }
            Down::Promote(promote) => {
                tokio::spawn(hand_on(self.link.manager_socket.clone(), promote));
            }
        }
        None
    }

    fn welcome(&mut self, welcome: wire::Welcome) {
        self.welcomed = true;
        self.epoch = welcome.epoch;
        self.link.agent.say(Word::Session(welcome.epoch));
        self.link.contents.set(Some(self.channel.clone()));
        tracing::info!(address = self.address, epoch = welcome.epoch, "session begins");
        for warning in &welcome.warnings {
            tracing::warn!("{warning}");
        }
        self.beats.beat(Beat {
            address: self.address.to_owned(),
            session: welcome.session_id,
            epoch: welcome.epoch,
            period: Duration::from_millis(welcome.heartbeat_period_ms.max(100)),
        });
        self.link.show(|shown| {
            self.address.clone_into(&mut shown.manager);
            shown.message = welcome.warnings.join("; ");
            shown.epoch = welcome.epoch;
        });
    }
}

/// Hands a one-use token to the manager that waits on this host.
async fn hand_on(socket: std::path::PathBuf, promote: wire::Promote) {
    let joined = async {
        let mut manager = DaemonClient::connect(Kind::Manager, &socket)
            .await
            .map_err(|error| format!("no shoal-manager waits here: {error}"))?;
        let mut last = "no manager to join through".to_owned();
        for address in promote.managers {
            let wish = JoinWish {
                address,
                token: promote.token.clone(),
                ..JoinWish::default()
            };
            match manager.join(wish).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error.to_string(),
            }
        }
        Err(last)
    };
    match joined.await {
        Ok(()) => tracing::info!("the manager on this host has joined"),
        Err(words) => tracing::error!(words, "promotion failed"),
    }
}

#[cfg(test)]
#[path = "pump_test.rs"]
mod tests;
