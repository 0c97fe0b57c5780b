//! Several addresses, tried in turn: the next one starts when the one before has failed, or has said nothing for a moment.
//! The first that answers wins. Knows nothing of what an answer is.

use std::fmt::Display;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

/// A host that has no power answers nothing at all; the next one is not kept waiting for it.
pub(super) const NEXT_AFTER: Duration = Duration::from_millis(600);
/// For somebody who cannot wait: all of seven managers are asked within a fifth of a second.
pub(super) const NEXT_AT_ONCE_AFTER: Duration = Duration::from_millis(30);

/// Nobody answered: each address with its reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Nobody(pub(super) Vec<String>);

/// The first address that answers, and its answer.
pub(super) async fn first<T, E, F>(
    addresses: Vec<String>,
    next_after: Duration,
    dial: impl Fn(String) -> F,
) -> Result<(String, T), Nobody>
where
    T: Send + 'static,
    E: Display,
    F: Future<Output = Result<T, E>> + Send + 'static,
{
    let mut tries = JoinSet::new();
    let mut left = addresses.into_iter();
    let mut failed = Vec::new();
    loop {
        if let Some(address) = left.next() {
            let answer = dial(address.clone());
            tries.spawn(async move {
                match answer.await {
                    Ok(found) => Ok((address, found)),
                    Err(error) => Err(error.to_string()),
                }
            });
        }
        match timeout(next_after, tries.join_next()).await {
            Ok(Some(tried)) => match tried.expect("a try is not cancelled and does not panic") {
                Ok(found) => return Ok(found),
                Err(reason) => failed.push(reason),
            },
            Ok(None) => return Err(Nobody(failed)),
            Err(_elapsed) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::{NEXT_AFTER, Nobody, first};

    fn addresses(all: &[&str]) -> Vec<String> {
        all.iter().map(|address| (*address).to_owned()).collect()
    }

    /// What a manager does whose address is its character.
    async fn play(address: String) -> Result<u32, String> {
        match address.as_str() {
            "silent" => sleep(Duration::from_secs(3)).await,
            "slow" => sleep(Duration::from_secs(1)).await,
            _ => {}
        }
        match address.as_str() {
            "good" | "slow" => Ok(7),
            _ => Err(format!("{address} is not reached")),
        }
    }

    #[tokio::test]
    async fn managers_that_are_gone_cost_no_more_than_a_moment() {
        let begin = Instant::now();
        let found = first(
            addresses(&["silent", "refusing", "silent", "good"]),
            NEXT_AFTER,
            play,
        )
        .await;
        assert_eq!(found, Ok(("good".to_owned(), 7)));
        assert!(
            begin.elapsed() < Duration::from_millis(2_500),
            "{:?}",
            begin.elapsed()
        );
    }

    #[tokio::test]
    async fn a_slow_answer_still_counts() {
        let found = first(addresses(&["slow", "refusing"]), NEXT_AFTER, play).await;
        assert_eq!(found, Ok(("slow".to_owned(), 7)));
    }

    #[tokio::test]
    async fn when_nobody_answers_each_is_named_with_its_reason() {
        let found = first(addresses(&["refusing", "silent"]), NEXT_AFTER, play).await;
        let reasons = ["refusing is not reached", "silent is not reached"];
        assert_eq!(found, Err(Nobody(addresses(&reasons))));
        assert_eq!(first(Vec::new(), NEXT_AFTER, play).await, Err(Nobody(Vec::new())));
    }
}
