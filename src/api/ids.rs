//! Ids as callers see them: a prefix that says what it is, and the UUID's 32 hexadecimal digits.

use uuid::Uuid;

use super::problem::{Problem, ProblemCode};

/// What an id belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `lnk_`
    Link,
    /// `con_`
    Connection,
    /// `pfl_`
    Preflight,
}

impl Prefix {
    /// Every prefix.
    pub const ALL: &[Self] = &[Self::Link, Self::Connection, Self::Preflight];

    /// The prefix itself.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Link => "lnk_",
            Self::Connection => "con_",
            Self::Preflight => "pfl_",
        }
    }

    /// Where such things are, the first part of their path.
    pub const fn collection(self) -> &'static str {
        match self {
            Self::Link => "links",
            Self::Connection => "connections",
            Self::Preflight => "preflights",
        }
    }

    /// What [`parse`] accepts, as a regular expression.
    pub fn pattern(self) -> String {
        format!("^{}[0-9a-f]{{32}}$", self.as_str())
    }
}

/// The id as callers see it.
pub fn show(prefix: Prefix, id: Uuid) -> String {
    format!("{}{}", prefix.as_str(), id.simple())
}

/// The id that a caller named. One that cannot exist is simply not found.
///
/// # Errors
/// [`ProblemCode::NotFound`].
pub fn parse(prefix: Prefix, text: &str) -> Result<Uuid, Problem> {
    let digits = text
        .strip_prefix(prefix.as_str())
        .filter(|digits| digits.len() == 32 && !digits.contains(|c: char| c.is_ascii_uppercase()));
    digits
        .and_then(|digits| Uuid::try_parse(digits).ok())
        .ok_or_else(|| Problem::new(ProblemCode::NotFound))
}
