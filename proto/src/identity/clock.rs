//! The one place of this module that reads the system's time: certificates are judged by it.

use rustls::pki_types::UnixTime;

use crate::time::Timestamp;

/// The host's time.
pub(super) fn now() -> Timestamp {
    from_unix(UnixTime::now())
}

pub(super) fn from_unix(time: UnixTime) -> Timestamp {
    Timestamp::from_ms(time.as_secs().saturating_mul(1_000))
}
