//! What becomes of a link when something goes wrong with one of its calls, in classes: the words of the table in the docs.

use std::fmt;

use super::call::Kind;
use super::table::Cell;

/// How it ends. A retry mends what does not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// As if nothing had been.
    GoesOn,
    /// A step is tried again, and it ends well.
    Retries,
    /// A step waits until the upstream may be asked again, without an attempt, and it ends well.
    Waits,
    /// `action_required`: a person has to act.
    Asks,
    /// `failed`.
    Fails,
    /// `degraded`: the site is up, and the proof of a push failed.
    Degrades,
}

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub class: Class,
    /// Of the diagnosis; empty when all is well.
    pub code: String,
}

/// What is expected of a call to which this happens, by what the call does.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub reads: &'static [Class],
    pub writes: &'static [Class],
    pub removes: &'static [Class],
}

impl Ends {
    /// The same for all calls.
    pub const fn all(ends: &'static [Class]) -> Self {
        Self {
            reads: ends,
            writes: ends,
            removes: ends,
        }
    }

    /// What is expected of a kind.
    pub const fn of(&self, kind: Kind) -> &'static [Class] {
        match kind {
            Kind::Reads => self.reads,
            Kind::Writes => self.writes,
            Kind::Removes => self.removes,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GoesOn => "goes on",
            Self::Retries => "tries again",
            Self::Waits => "waits",
            Self::Asks => "`action_required`",
            Self::Fails => "`failed`",
            Self::Degrades => "`degraded`",
        })
    }
}

/// Whether a cell ended as expected: in a class of its row, and with a name for what is not well.
pub fn admits(cell: &Cell, seen: &End) -> bool {
    let ends = cell.wrong.ends.of(cell.call.kind());
    let is_well = matches!(seen.class, Class::GoesOn | Class::Retries | Class::Waits);
    ends.contains(&seen.class) && (is_well || !matches!(seen.code.as_str(), "" | "internal"))
}

/// Classes as text.
pub fn told(classes: &[Class]) -> String {
    let words: Vec<_> = classes.iter().map(Class::to_string).collect();
    words.join(" or ")
}
