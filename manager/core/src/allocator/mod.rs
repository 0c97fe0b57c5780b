//! What services need of the cluster as a whole. Derived from live services every time, so that it cannot leak.

pub mod port;
