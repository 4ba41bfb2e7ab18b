//! How a call to an upstream fails, in the two ways that matter: what to tell people, and how to go on.

use time::OffsetDateTime;

use crate::link::failure::{Failure, FailureCode, UpstreamTrace};

/// How to go on after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Surely without effect, or a read: try again later.
    Transient,
    /// A write whose fate is unknown, because the answer was lost or useless: look before trying again.
    Uncertain,
    /// Surely without effect; every call with this credential fails until then, by our clock.
    RateLimited {
        /// When the credential may be used again.
        until: OffsetDateTime,
    },
    /// The upstream says that the object does not exist (or is not ours to see).
    NotFound,
    /// The upstream understood and said no: trying again changes nothing.
    Refused,
}

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct UpstreamError {
    /// What to tell people.
    pub code: FailureCode,
    /// How to go on.
    pub class: Class,
    /// One sentence of ours; words of the upstream in it are redacted and cut.
    pub detail: String,
    /// The call, for the vendor's support.
    pub trace: UpstreamTrace,
}

impl UpstreamError {
    /// Gives "not found" the meaning that it has at this call; other failures stay.
    #[must_use]
    pub fn if_missing(mut self, code: FailureCode, detail: impl Into<String>) -> Self {
        if self.class == Class::NotFound {
            self.code = code;
            self.detail = detail.into();
        }
        self
    }

    /// Whether the upstream said that the object does not exist.
    pub fn is_missing(&self) -> bool {
        self.class == Class::NotFound
    }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        Self {
            upstream: Some(Box::new(error.trace)),
            ..Self::new(error.code, error.detail)
        }
    }
}
