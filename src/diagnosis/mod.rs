//! Why a build failed, from evidence that the steps collected. Pure: the same evidence gives the same diagnosis.

mod signatures;

use crate::{
    link::{
        facts::Deploy,
        failure::{Evidence, Failure, FailureCode},
    },
    redact,
};
use signatures::{SIGNATURES, Signature, Strength};

/// Most lines of a build log that a diagnosis keeps.
const LOG_LINES: usize = 40;

/// The source of evidence that is a line of the build's log.
pub const BUILD_LOG: &str = "netlify.deploy.log";

/// What the provider says at the time of the diagnosis; `None`: nobody asked, or it could not be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LiveState {
    /// Whether the repository has the deploy key, switched on.
    pub key_installed: Option<bool>,
    /// Whether the branch exists.
    pub branch_exists: Option<bool>,
}

/// Names the reason why a deploy ended without a new version of the site.
///
/// `log_tail` are the last lines of the build's log, oldest first; it may be empty.
pub fn diagnose_build(deploy: &Deploy, log_tail: &[String], live: &LiveState) -> Failure {
    let verdict = by_flags(deploy).unwrap_or_else(|| by_words(deploy, log_tail));
    let verdict = verdict.checked_against(live);
    Failure {
        evidence: evidence(deploy, log_tail, live, verdict.line),
        ..Failure::new(verdict.code, verdict.detail)
    }
}

/// What was found: the reason, and the line of the log that shows it.
struct Finding<'l> {
    code: FailureCode,
    detail: &'static str,
    line: Option<&'l str>,
}

impl Finding<'_> {
    /// Git's words for "no key" and "no branch" are often the same; the provider knows which it is.
    fn checked_against(self, live: &LiveState) -> Self {
        use FailureCode::{CloneDenied, RefMissing};
        let (code, detail) = match (live.key_installed, live.branch_exists) {
            _ if !is_about_access(self.code) => return self,
            (Some(false), _) => (
                CloneDenied,
                "The deploy key is missing at the provider, so Netlify could not clone.",
            ),
            (_, Some(false)) => (
                RefMissing,
                "The branch that Netlify tried to build does not exist.",
            ),
            _ => return self,
        };
        Self {
            code,
            detail,
            ..self
        }
    }
}

/// What Netlify says by other means than words.
fn by_flags(deploy: &Deploy) -> Option<Finding<'static>> {
    let (code, detail) = match deploy.state.as_str() {
        "rejected" => (
            FailureCode::BuildInReview,
            "Somebody rejected the build on Netlify.",
        ),
        "pending_review" => (
            FailureCode::BuildInReview,
            "The build waits for approval on Netlify.",
        ),
        _ if deploy.unknown_contributor => (
            FailureCode::BuildBlocked,
            "Netlify does not know the person who pushed.",
        ),
        _ => return None,
    };
    Some(Finding {
        code,
        detail,
        line: None,
    })
}

/// A specific signature in the error text, then in the log, then a general one in either.
fn by_words<'l>(deploy: &Deploy, log: &'l [String]) -> Finding<'l> {
    let message = deploy.error_message.as_deref().unwrap_or_default();
    [Strength::Specific, Strength::General]
        .into_iter()
        .find_map(|strength| {
            in_message(message, strength).or_else(|| in_log(log, strength, was_cloned(message)))
        })
        .or_else(|| skipped(deploy))
        .unwrap_or(Finding {
            code: FailureCode::BuildFailedUnknown,
            detail: "The build failed for a reason that linkbroker does not know.",
            line: None,
        })
}

fn in_message(message: &str, strength: Strength) -> Option<Finding<'static>> {
    let message = message.to_lowercase();
    of(strength)
        .find(|signature| signature.matches(&message))
        .map(|signature| signature.finding(None))
}

/// The table's order decides, not the log's: a failed clone is followed by many lines of consequences.
///
/// Once the repository was cloned, git's complaints are about something that the build itself fetches.
fn in_log(log: &[String], strength: Strength, cloned: bool) -> Option<Finding<'_>> {
    let lower: Vec<String> = log.iter().map(|line| line.to_lowercase()).collect();
    of(strength)
        .filter(|signature| signature.counts_in_log && !(cloned && is_about_access(signature.code)))
        .find_map(|signature| {
            let at = lower.iter().rposition(|line| signature.matches(line))?;
            Some(signature.finding(Some(&log[at])))
        })
}

/// Whether the error text says that the build went on after the clone.
fn was_cloned(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("stage 'building site'") || message.contains("build script returned")
}

/// Whether the reason is that Netlify cannot read the repository or the branch.
fn is_about_access(code: FailureCode) -> bool {
    use FailureCode::{CloneDenied, HostKeyFailed, RefMissing};
    matches!(code, CloneDenied | HostKeyFailed | RefMissing)
}

fn of(strength: Strength) -> impl Iterator<Item = &'static Signature> {
    SIGNATURES
        .iter()
        .filter(move |signature| signature.strength == strength)
}

impl Signature {
    fn finding<'l>(&self, line: Option<&'l str>) -> Finding<'l> {
        Finding {
            code: self.code,
            detail: self.detail,
            line,
        }
    }
}

fn skipped(deploy: &Deploy) -> Option<Finding<'static>> {
    deploy.skipped.then_some(Finding {
        code: FailureCode::BuildSkipped,
        detail: "Netlify skipped the build and gave no reason.",
        line: None,
    })
}

/// Netlify's text, what the provider says, the line that decided, and the end of the log.
fn evidence(
    deploy: &Deploy,
    log: &[String],
    live: &LiveState,
    line: Option<&str>,
) -> Vec<Evidence> {
    let tail = &log[log.len().saturating_sub(LOG_LINES)..];
    let earlier = line.filter(|line| !tail.iter().any(|kept| kept == line));
    let message = deploy
        .error_message
        .as_deref()
        .map(|text| ("netlify.deploy.error_message", text));
    let key = live.key_installed.map(|there| match there {
        true => ("provider.deploy_keys", "the deploy key is installed"),
        false => ("provider.deploy_keys", "the deploy key is not installed"),
    });
    let branch = live.branch_exists.map(|there| match there {
        true => ("provider.branches", "the branch exists"),
        false => ("provider.branches", "the branch does not exist"),
    });
    let log = earlier.into_iter().chain(tail.iter().map(String::as_str));
    [message, key, branch]
        .into_iter()
        .flatten()
        .chain(log.map(|line| (BUILD_LOG, line)))
        .map(|(source, text)| Evidence {
            source: source.to_owned(),
            text: redact::excerpt(text),
        })
        .filter(|evidence| !evidence.text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests;
