//! Compose files in, one checked model out, and from that what the cluster is asked for. Knows files and never the
//! cluster: all of it can be said offline, in one run, before anything is touched. The way of a file: `parse` (text →
//! tree with places) → `interpolate` (variables) → `normal` (one shape per key) → `merge` (several files → one) → `check`
//! (every key, by the table in `keys`) → `read` (tree → `model`) → `check` (what spans keys) → `convert` (model → specs).

pub mod check;
pub mod convert;
pub mod dotenv;
pub mod emit;
pub mod finding;
pub mod fragment;
pub mod interpolate;
pub mod keys;
pub mod load;
pub mod merge;
pub mod model;
pub mod normal;
pub mod parse;
pub mod path;
pub mod read;
pub mod short;
pub mod source;
pub mod tree;
pub mod yaml_help;

pub use convert::{Blob, Converted, convert};
pub use finding::{Finding, Findings, Level};
pub use load::{Input, Loaded, Options, Report, default_files, load};
