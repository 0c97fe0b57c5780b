//! Limits of single values and messages, by name. What is above is refused with the limit named, never cut.

/// Longest name of a service, in bytes: it becomes a DNS label.
pub const SERVICE_NAME_MAX: usize = 63;
/// Longest name of a secret, config, network or stack, in bytes.
pub const NAME_MAX: usize = 128;
/// Longest hostname, in bytes.
pub const HOSTNAME_MAX: usize = 253;
/// Entries of one map: labels, options, sysctls.
pub const MAP_ENTRIES_MAX: usize = 512;
/// Longest key of a map, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Longest value of a map, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Entries of one list: env, mounts, ports, secrets, tasks of a report, ….
pub const LIST_ENTRIES_MAX: usize = 10_000;
/// Entries of one kind in what a node is told about networks: nodes, networks, services, or tasks.
pub const VIEW_ENTRIES_MAX: usize = 1_000_000;
/// Longest single text, in bytes: one env entry, one argument.
pub const TEXT_BYTES_MAX: usize = 128 * 1024;
/// Longest message for people that an agent may report, in bytes; agents cut theirs to it.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Most tasks one service may ask for.
pub const REPLICAS_MAX: u64 = 100_000;
/// Longest wait or window a spec may ask for: ten years in milliseconds.
pub const DURATION_MS_MAX: u64 = 10 * 365 * 24 * 3_600 * 1_000;
/// How long a one-use join token may be good, milliseconds.
pub const ONE_USE_TOKEN_MS: std::ops::RangeInclusive<u64> = 1_000..=30 * 24 * 3_600 * 1_000;
/// Objects one transaction may write.
pub const TRANSACTION_OBJECTS_MAX: usize = 1_000;
/// Largest gRPC message, in bytes.
pub const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Largest message of an agent's session, in bytes: a complete set of assignments, or a full report. About 200,000 tasks
/// fit into what a node is told of networks.
pub const SESSION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest log entry, in bytes.
pub const ENTRY_BYTES_MAX: usize = 1024 * 1024;
