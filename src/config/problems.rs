//! What can be wrong with a configuration: every problem at once, each with its remedy.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigProblem {
    /// The setting by its environment name, with the place in its file where there is one.
    pub setting: String,
    /// What is wrong with it.
    pub problem: String,
    /// How to mend it.
    pub remedy: String,
}

impl Display for ConfigProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            setting,
            problem,
            remedy,
        } = self;
        write!(f, "{setting}: {problem}\n    {remedy}")
    }
}

/// Everything that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem(s)\n{}", problems.len(), listed(problems))]
pub struct ConfigError {
    /// Never empty, in the order of the settings.
    pub problems: Vec<ConfigProblem>,
}

fn listed(problems: &[ConfigProblem]) -> String {
    let lines: Vec<_> = problems.iter().map(|p| format!("  {p}")).collect();
    lines.join("\n")
}

/// A problem whose setting is not yet known.
#[derive(Debug)]
pub(super) struct Complaint {
    pub problem: String,
    pub remedy: String,
}

impl Complaint {
    pub fn new(problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Collects problems, so that one look shows all of them.
#[derive(Default)]
pub(super) struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub fn add(
        &mut self,
        setting: impl Into<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(ConfigProblem {
            setting: setting.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// The value, or `None` with the complaint noted.
    pub fn keep<T>(&mut self, setting: &str, result: Result<T, Complaint>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.add(setting, complaint.problem, complaint.remedy);
                None
            }
        }
    }

    /// A whole number within `limits`; an empty text means `default`.
    pub fn number<T>(
        &mut self,
        setting: &str,
        text: &str,
        default: T,
        limits: RangeInclusive<T>,
    ) -> T
    where
        T: std::str::FromStr + PartialOrd + Display + Copy,
    {
        if text.trim().is_empty() {
            return default;
        }
        match text.trim().parse() {
            Ok(number) if limits.contains(&number) => number,
            _ => {
                let (least, most) = (limits.start(), limits.end());
                self.add(
                    setting,
                    format!("`{text}` is not a whole number from {least} to {most}"),
                    format!("Use a number from {least} to {most}, or leave it out for {default}."),
                );
                default
            }
        }
    }

    /// The contents of a TOML file; unreadable and misspelt ones are noted.
    pub fn toml_file<T: DeserializeOwned>(&mut self, setting: &str, path: &Path) -> Option<T> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(why) => {
                let problem = format!("{} cannot be read: {why}", path.display());
                self.add(setting, problem, "Correct the path or the file's rights.");
                return None;
            }
        };
        match toml::from_str(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let place = match why.span() {
                    Some(span) => format!(" line {}", line_of(&text, span.start)),
                    None => String::new(),
                };
                let problem = format!("{}{place}: {}", path.display(), why.message().trim());
                self.add(setting, problem, "Mend the file at that place.");
                None
            }
        }
    }

    /// `Ok` when nothing was noted.
    pub fn finish<T>(self, value: T) -> Result<T, ConfigError> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(ConfigError { problems: self.0 })
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or(text);
    before.matches('\n').count() + 1
}
