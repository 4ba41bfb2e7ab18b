//! linkbroker links git repositories to Netlify sites for other programs.
pub mod link;
pub mod store;
