//! Utilities that know nothing of logs: arenas, hashes, threads, pools, and the escaping of untrusted text.

pub mod arena;
pub mod corrupt;
pub mod escape;
pub mod hash;
pub mod pool;
pub mod threads;
