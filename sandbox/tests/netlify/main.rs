//! Netlify as a client sees it: everything goes through HTTP.

mod broken_answers;
mod builds;
mod client;
mod contracts;
mod doors;
mod environment;
mod faults;
mod keys_and_sites;
mod notifications;
mod pushes;
