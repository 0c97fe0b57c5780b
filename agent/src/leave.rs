//! The end of a membership: how long it waits until nothing of the cluster is on this host, and what it says of the rest.
//! Removes nothing itself.

use std::time::Duration;

use shoal_proto::id::ClusterId;
use tokio::sync::watch;

use crate::agent::Progress;
use crate::engine::LABEL_CLUSTER;

/// Whether anything of the cluster is left on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleared {
    /// Nothing.
    Yes,
    /// Something, as far as it is known.
    No,
}

/// How long the end of a membership waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For containers, networks and files to go; a stop has its own grace.
    all_ms: u64,
    /// While the Engine does not answer.
    silence_ms: u64,
}

/// Where the host stays a member rather than leave something behind.
pub const ORDERLY: Patience = Patience {
    all_ms: 120_000,
    silence_ms: 15_000,
};
/// Where it leaves in any case.
pub const FORCED: Patience = Patience {
    all_ms: 10_000,
    silence_ms: 3_000,
};

impl Patience {
    /// Waits until nothing is left, at most so long.
    pub async fn wait(self, mut progress: watch::Receiver<Progress>) -> Cleared {
        let gone = async {
            loop {
                let (answers, cleared) = {
                    let now = progress.borrow_and_update();
                    (now.engine_answers, now.cleared)
                };
                if answers && cleared {
                    return Cleared::Yes;
                }
                let max_ms = if answers { self.all_ms } else { self.silence_ms };
                let changed = tokio::time::timeout(Duration::from_millis(max_ms), progress.changed());
                if !matches!(changed.await, Ok(Ok(()))) {
                    return Cleared::No;
                }
            }
        };
        let gone = tokio::time::timeout(Duration::from_millis(self.all_ms), gone);
        gone.await.unwrap_or(Cleared::No)
    }
}

/// What is left, and how it is removed by hand.
#[must_use]
pub fn left(progress: &Progress, cluster: ClusterId) -> String {
    let what = match (progress.engine_answers, progress.containers) {
        (false, _) => {
            "the Engine does not answer, so containers and networks of the cluster may be left".to_owned()
        }
        (true, 0) => "networks or files of the cluster are left".to_owned(),
        (true, containers) => format!("{containers} containers of the cluster are left, with their networks"),
    };
    let filter = format!("--filter label={LABEL_CLUSTER}={cluster}");
    format!(
        "{what}: `docker rm -f $(docker ps -aq {filter})` and `docker network rm $(docker network ls -q {filter})` remove \
         them"
    )
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio::time::Instant;

    use super::{Cleared, ORDERLY, Patience, left};
    use crate::agent::Progress;
    use crate::testing::facts;

    fn progress(engine_answers: bool, containers: usize) -> Progress {
        Progress {
            engine_answers,
            containers,
            ..Progress::default()
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_silent_ends_the_wait_long_before_one_that_is_slow() {
        let begun = Instant::now();
        let silence = Patience {
            all_ms: 600_000,
            silence_ms: 50,
        };
        let (_silent, seen) = watch::channel(progress(false, 3));
        assert_eq!(silence.wait(seen).await, Cleared::No);
        assert!(begun.elapsed().as_secs() < 300);
        let slow = Patience {
            all_ms: 50,
            silence_ms: 600_000,
        };
        let (_slow, seen) = watch::channel(progress(true, 3));
        assert_eq!(slow.wait(seen).await, Cleared::No);
        assert!(begun.elapsed().as_secs() < 300);
    }

    #[tokio::test]
    async fn the_wait_ends_when_nothing_is_left_and_the_engine_says_so() {
        let (progress_to, seen) = watch::channel(progress(true, 1));
        let wait = tokio::spawn(ORDERLY.wait(seen));
        tokio::task::yield_now().await;
        progress_to.send_modify(|progress| progress.cleared = true);
        assert_eq!(wait.await.unwrap(), Cleared::Yes);
    }

    #[test]
    fn what_is_left_is_told_with_the_commands_that_remove_it() {
        let cluster = facts().cluster;
        let silent = left(&progress(false, 0), cluster);
        assert!(silent.contains("the Engine does not answer"), "{silent}");
        let some = left(&progress(true, 2), cluster);
        let command = format!("docker rm -f $(docker ps -aq --filter label=io.shoal.cluster={cluster})");
        assert!(
            some.starts_with("2 containers") && some.contains(&command),
            "{some}"
        );
    }
}
