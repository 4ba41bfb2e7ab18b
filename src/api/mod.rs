//! HTTP in, JSON out; never calls an upstream.

pub mod caller;
pub mod extract;
pub mod problem;
