//! The generated messages and services of `shoal/v1/*.proto`, and their way from and to the domain types.
//!
//! Named only at the doors: here, in the gRPC handlers and in the two gRPC clients. What comes in is checked once, in
//! the `TryFrom` of its message: formats and limits of single values. What concerns the state is checked elsewhere.

mod convert;
mod redact;

pub use convert::Invalid;
pub use generated::*;

mod generated {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::allow_attributes_without_reason,
        reason = "generated code"
    )]
    #![allow(
        clippy::excessive_nesting,
        clippy::too_many_lines,
        clippy::wildcard_imports,
        reason = "generated code"
    )]
    #![allow(rustdoc::all, reason = "generated from comments of the schema")]
    tonic::include_proto!("shoal.v1");
}
