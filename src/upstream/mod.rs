//! The only door to the network: every call to a vendor goes through an [`Access`].
//!
//! It keeps the time and size limits, refuses private addresses, follows redirects only within an
//! origin, holds a credential back while its rate limit is used up, and turns every failure into an
//! [`UpstreamError`]. What a status code means is the vendor's business: see [`Dialect`].

mod access;
mod answer;
mod budget;
mod call;
mod credential;
mod error;
mod github_app;
mod guard;
mod http;
mod instance;
mod journal;
mod memory;
mod minted;
mod rate;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use access::{Access, Dialect, Page};
pub use answer::Answer;
pub use budget::{Budgets, CallClass, Grant, NoBudget, WritePace};
pub use call::Call;
pub use credential::Credential;
pub use error::{Class, UpstreamError};
pub use github_app::GithubApp;
pub use http::Http;
pub use instance::{AccountKeys, Instance, StandingKey, UpstreamKind, instance_of};
pub use journal::{Journal, SentWrite};
pub use memory::{Looked, Memory, Tags};
pub use minted::{Minted, Slot};
pub use rate::RateState;
