//! What becomes of a link when something goes wrong with one of its calls, in classes: the words of the table in the docs.

use std::fmt;

use super::call::Kind;

/// How it ends. What does not end well ends well after a retry, once the cause is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

use Class::{Asks, Degrades, Fails, GoesOn, Retries, Waits};

/// How a cell ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub class: Class,
    /// Of the diagnosis; empty when all is well.
    pub code: String,
}

/// What is expected of a call to which something happens, by what the call does.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub reads: &'static [Class],
    pub writes: &'static [Class],
    pub removes: &'static [Class],
}

impl Class {
    const ALL: [Self; 6] = [GoesOn, Retries, Waits, Asks, Fails, Degrades];

    /// Nobody has to do anything.
    pub const fn is_well(self) -> bool {
        matches!(self, GoesOn | Retries | Waits)
    }

    /// In the tables.
    pub const fn letter(self) -> char {
        match self {
            GoesOn => '·',
            Retries => 'r',
            Waits => 'w',
            Asks => 'A',
            Fails => 'F',
            Degrades => 'D',
        }
    }

    pub fn of_letter(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.letter() == letter)
    }
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

impl End {
    /// Whether it is one of these, and has a name if it is not well.
    pub fn is_in(&self, ends: &[Class]) -> bool {
        let is_named = !matches!(self.code.as_str(), "" | "internal");
        ends.contains(&self.class) && (self.class.is_well() || is_named)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GoesOn => "goes on",
            Retries => "tries again",
            Waits => "waits",
            Asks => "`action_required`",
            Fails => "`failed`",
            Degrades => "`degraded`",
        })
    }
}

/// Classes as text.
pub fn told(classes: &[Class]) -> String {
    let words: Vec<_> = classes.iter().map(Class::to_string).collect();
    words.join(" or ")
}
