//! The only place of the command line that reads the time.

use shoal_proto::time::Timestamp;

/// This workstation's clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the time")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_ms(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A new request id: unique without asking anybody.
#[must_use]
pub(crate) fn request_id() -> String {
    shoal_proto::id::RequestId::new(now(), rand::random()).to_string()
}
