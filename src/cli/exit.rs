//! The exit codes of every command, and what they mean: written down here, told everywhere else.

use std::fmt::Write;
use std::process::ExitCode;

use super::client::ClientError;
use crate::api::problem::ProblemCode;
use crate::link::status::LinkStatus;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done or accepted.
    Done = 0,
    /// Not done, and no other code says why.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The link failed, or its build did.
    Failed = 3,
    /// A person must change something outside.
    ActionRequired = 4,
    /// The site is up, but the link is not as it should be.
    Degraded = 5,
    /// `--timeout` is over.
    TimedOut = 6,
    /// No access token, or one that is not good enough.
    NotAuthorised = 7,
    /// There is no such thing.
    NotFound = 8,
    /// The service does not answer.
    Unreachable = 9,
    /// Stopped by Ctrl-C while waiting.
    Interrupted = 130,
}

/// A command line that is wrong in a way that the definitions of its flags cannot tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl Exit {
    /// Every code, ascending.
    pub const ALL: &[Self] = &[
        Self::Done,
        Self::Error,
        Self::Usage,
        Self::Failed,
        Self::ActionRequired,
        Self::Degraded,
        Self::TimedOut,
        Self::NotAuthorised,
        Self::NotFound,
        Self::Unreachable,
        Self::Interrupted,
    ];

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => {
                "done: live, unlinked or accepted; `status` also while a link is under way"
            }
            Self::Error => "not done; standard error says why",
            Self::Usage => {
                "the command line is wrong, or the service refused one of its values as invalid"
            }
            Self::Failed => "the link is `failed` or `build_failed`; `check`: it would be",
            Self::ActionRequired => {
                "the link is `action_required`: somebody must change something outside; `check`: it would be"
            }
            Self::Degraded => "the link is `degraded`: the site is up, but something is not right",
            Self::TimedOut => "--timeout is over while waiting; the link goes on",
            Self::NotAuthorised => "no access token, or one that the service does not accept",
            Self::NotFound => "there is no such link or connection, or it is not yours",
            Self::Unreachable => "the service cannot be reached, or something else answers there",
            Self::Interrupted => "stopped by Ctrl-C while waiting; the link goes on",
        }
    }

    /// The code that tells where a link stands.
    pub const fn of_link(status: LinkStatus) -> Self {
        match status {
            LinkStatus::Failed | LinkStatus::BuildFailed => Self::Failed,
            LinkStatus::ActionRequired => Self::ActionRequired,
            LinkStatus::Degraded => Self::Degraded,
            LinkStatus::Queued
            | LinkStatus::Linking
            | LinkStatus::Building
            | LinkStatus::Live
            | LinkStatus::Canceling
            | LinkStatus::Canceled
            | LinkStatus::Unlinking
            | LinkStatus::Unlinked => Self::Done,
        }
    }

    /// The code that tells why a command was not done.
    pub fn of_error(error: &anyhow::Error) -> Self {
        if error.is::<UsageError>() {
            return Self::Usage;
        }
        match error.downcast_ref::<ClientError>() {
            Some(ClientError::NoToken { .. }) => Self::NotAuthorised,
            Some(ClientError::Unreachable { .. } | ClientError::Foreign { .. }) => {
                Self::Unreachable
            }
            Some(ClientError::NoSuch { .. }) => Self::NotFound,
            Some(ClientError::Refused { problem, .. }) => Self::of_problem(problem.code),
            None => Self::Error,
        }
    }

    const fn of_problem(code: ProblemCode) -> Self {
        match code {
            ProblemCode::InvalidRequest | ProblemCode::InvalidQuery => Self::Usage,
            ProblemCode::Unauthorized | ProblemCode::Forbidden => Self::NotAuthorised,
            ProblemCode::NotFound => Self::NotFound,
            ProblemCode::Unavailable => Self::Unreachable,
            _ => Self::Error,
        }
    }

    /// All codes and their meaning, for `--help`.
    pub fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::ALL {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {:>3}  {}", *exit as u8, exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_the_command_line_tells_every_code() {
        let page = include_str!("../../docs/cli.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", *exit as u8, exit.meaning());
            assert!(page.contains(&row), "docs/cli.md lacks: {row}");
        }
    }

    #[test]
    fn every_standstill_but_the_good_ones_has_a_code() {
        for status in LinkStatus::ALL {
            let good = !status.may_retry();
            assert_eq!(Exit::of_link(*status) == Exit::Done, good, "{status}");
        }
    }
}
