//! The cluster's certificate authority: who is admitted, under which name, for how long.
//!
//! Decides from a state and signs; it proposes nothing itself and sees no connection. Only the public key of a request is
//! ever used: the subject is made here.

mod admit;
mod authority;
mod limit;
mod members;
mod request;
mod token;

pub use admit::{Admission, Application, NODES_MAX, Refusal, admit, renew};
pub use authority::{Authority, AuthorityError, ROOT_LIFETIME_MS};
pub use limit::{Limited, RateLimit};
pub use members::{StateMembers, standing};
pub use request::{CSR_MAX_BYTES, CsrError, PublicKey};
pub use token::{
    Admitted, TokenRefused, TooManyTokens, check_token, kept, one_use_token, open_token, requested_token,
    reusable_token, rotate_token,
};

#[cfg(test)]
#[path = "ca_test.rs"]
mod tests;
