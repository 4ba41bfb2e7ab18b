//! Reading a build's log as the build system writes it: stages, and headings above the reason for a failure.

use crate::redact;

/// A part of a build that can fail on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Getting the repository.
    Prepare,
    /// Reading the settings.
    Configure,
    /// Installing what the build needs.
    Install,
    /// The build command, plugins and functions.
    Build,
    /// Uploading and publishing.
    Deploy,
}

/// Words by which a build tells the stage that failed; the first are those of the deploy's error text.
const STAGES: &[(&str, Stage)] = &[
    ("stage 'preparing repo'", Stage::Prepare),
    (
        "stage 'reading and parsing configuration files'",
        Stage::Configure,
    ),
    ("stage 'install dependencies'", Stage::Install),
    ("stage 'installing dependencies'", Stage::Install),
    ("stage 'building site'", Stage::Build),
    ("stage 'deploying site'", Stage::Deploy),
    ("failing build: failed to prepare repo", Stage::Prepare),
    (
        "failing build: failed to parse configuration",
        Stage::Configure,
    ),
    (
        "failing build: failed to install dependencies",
        Stage::Install,
    ),
    ("failing build: failed to build site", Stage::Build),
    ("failing build: failed to deploy site", Stage::Deploy),
    ("build script returned non-zero exit code", Stage::Build),
];

/// The stage that a text in lower case names as the failed one.
fn named_stage(text: &str) -> Option<Stage> {
    let named = STAGES.iter().find(|(words, _)| text.contains(words));
    named.map(|(_, stage)| *stage)
}

/// A log, made ready for comparison.
pub(super) struct Log<'l> {
    /// As they came.
    lines: &'l [String],
    lower: Vec<String>,
}

impl<'l> Log<'l> {
    pub fn new(lines: &'l [String]) -> Self {
        let plain = |line: &String| without_time(&redact::line(line)).to_lowercase();
        Self {
            lines,
            lower: lines.iter().map(plain).collect(),
        }
    }

    /// The failed stage: what the error text says, else the log's last word on it.
    pub fn stage(&self, message: &str) -> Option<Stage> {
        named_stage(message).or_else(|| self.lower.iter().rev().find_map(|line| named_stage(line)))
    }

    /// The last line that fits.
    pub fn last(&self, fits: impl Fn(&str) -> bool) -> Option<&'l str> {
        let at = self.lower.iter().rposition(|line| fits(line))?;
        Some(&self.lines[at])
    }

    /// Headings in the log's order: the first one is the reason, later ones come of it.
    pub fn headings(&self) -> impl Iterator<Item = Heading<'_, 'l>> {
        let headings = (0..self.lower.len()).filter(|at| self.is_heading(*at));
        headings.map(|at| Heading {
            text: &self.lower[at],
            line: &self.lines[at],
            below: &self.lower[at + 1..(at + 1 + BELOW).min(self.lower.len())],
        })
    }

    fn is_heading(&self, at: usize) -> bool {
        let line = &self.lower[at];
        let next = self.lower.get(at + 1);
        !line.is_empty() && !is_ruler(line) && next.is_some_and(|next| is_ruler(next))
    }
}

/// Lines below a heading that belong to it.
const BELOW: usize = 8;

/// What the build system writes above the reason for a failure.
pub(super) struct Heading<'h, 'l> {
    /// In lower case.
    pub text: &'h str,
    /// As it came.
    pub line: &'l str,
    /// What follows, in lower case.
    pub below: &'h [String],
}

fn is_ruler(line: &str) -> bool {
    let drawn = |c: char| matches!(c, '─' | '└' | '┘' | '┌' | '┐');
    line.chars().count() >= 8 && line.chars().all(drawn)
}

/// Copied logs have the time before each line: `11:48:54 AM: text`.
fn without_time(line: &str) -> &str {
    let Some((time, rest)) = line.split_once("M: ") else {
        return match line.ends_with("M:") && line.len() < 13 {
            true => "",
            false => line,
        };
    };
    let is_time = time.len() < 12
        && time.ends_with(['A', 'P'])
        && time.starts_with(|c: char| c.is_ascii_digit());
    match is_time {
        true => rest,
        false => line,
    }
}
