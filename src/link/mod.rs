//! The domain: what a link is, what it wants, what it knows and how it fails. No I/O, no async.

pub mod facts;
pub mod failure;
