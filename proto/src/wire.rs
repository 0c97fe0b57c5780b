//! The generated messages and services of `shoal/v1/*.proto`.
//!
//! Named only at the doors: here, in the gRPC handlers and in the two gRPC clients.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines, clippy::allow_attributes_without_reason, reason = "generated code")]

tonic::include_proto!("shoal.v1");
