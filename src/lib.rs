//! linkbroker links git repositories to Netlify sites for other programs.
pub mod config;
pub mod link;
pub mod vault;
