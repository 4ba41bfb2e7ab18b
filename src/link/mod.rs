//! The domain: what a link is, what it wants, what it knows and how it fails. No I/O, no async.

pub mod access;
pub mod action;
pub mod builds;
pub mod capabilities;
pub mod conditions;
pub mod difference;
pub mod drift;
pub mod environment;
pub mod facts;
pub mod failure;
pub mod grant;
pub mod installation;
pub mod plan;
pub mod preflight;
pub mod preview;
pub mod repository_ref;
pub mod request;
pub mod resource;
pub mod status;
pub mod step_run;
pub mod words;
