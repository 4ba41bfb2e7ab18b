//! linkbroker links git repositories to Netlify sites for other programs.
pub mod api;
pub mod cli;
pub mod config;
pub mod issuer;
pub mod link;
pub mod store;
pub mod telemetry;
pub mod vault;
