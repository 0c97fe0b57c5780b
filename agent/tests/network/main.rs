//! A real kernel's network for this crate's tests, in network namespaces of each test's own. They need root, `ip`,
//! `nft`, `unshare`, `curl`, `tcpdump` and `busybox`.

mod alone;
mod beside;
mod dual;
mod dual_beside;
mod dual_sealed;
mod keep;
mod mend;
mod names;
mod packets;
mod sample;
mod sealed;
mod sealed_life;
mod size;
