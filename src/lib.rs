//! linkbroker links git repositories to Netlify sites for other programs.
//!
//! The way of a request, and so of a reader through the code:
//! [`api`] takes a link and answers at once; [`link`] says what a link is and what it wants;
//! [`store`] keeps it; [`worker`] leases it and runs its [`steps`], which call [`providers`] and
//! [`netlify`] through [`upstream`], the only door to the network; [`diagnosis`] says why a build
//! failed. [`config`] holds every setting, [`vault`] seals credentials.
pub mod api;
pub mod cli;
pub mod config;
pub mod diagnosis;
pub mod issuer;
mod json_object;
pub mod link;
pub mod netlify;
pub mod providers;
pub mod redact;
pub mod serve;
pub mod steps;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod vault;
pub mod worker;
