//! Messages that carry secrets never show them in a log: their `Debug` is written here, not generated.

use std::fmt;

use crate::wire;

macro_rules! redacted {
    ($($message:ident { $($shown:ident),* })+) => {$(
        impl fmt::Debug for wire::$message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        }
    )+};
}

// The list in `build.rs` names the same messages.
redacted! {
    RegistryCredential { host, username }
    JoinToken { managers }
    Promote { managers }
    BlobChunk {}
    ContentChunk {}
    IssueCertificateRequest { hostname, labels, advertise, clock_ms }
    JoinRequest { address, labels, reset }
}

#[cfg(test)]
mod tests {
    use crate::wire;

    #[test]
    fn a_password_and_a_token_never_show() {
        let credential = wire::RegistryCredential {
            host: "docker.io".to_owned(),
            username: "me".to_owned(),
            password: "hunter2".to_owned(),
        };
        let request = wire::LoginRegistryRequest {
            request_id: String::new(),
            credential: Some(credential),
        };
        let shown = format!("{request:?}");
        assert!(
            shown.contains("docker.io") && !shown.contains("hunter2"),
            "{shown}"
        );
        let promote = wire::Promote {
            token: "SHOAL-1-x".to_owned(),
            managers: vec![],
        };
        assert!(!format!("{promote:?}").contains("SHOAL"));
    }
}
