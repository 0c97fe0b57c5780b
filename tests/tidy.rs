//! The rules a machine can check.
