//! linkbroker links git repositories to Netlify sites for other programs.
pub mod diagnosis;
pub mod link;
pub mod netlify;
pub mod providers;
pub mod redact;
pub mod upstream;
