//! Why a build failed: what its words suggest, and what the state of the world makes of that.

use super::{
    Question,
    cause::Cause,
    evidence,
    live::{ClonesBy, LiveState, RepositoryState},
    log::{Heading, Log, Stage},
    signatures::{GENERAL, Place, SPECIFIC, Signature},
};
use crate::link::{
    facts::Deploy,
    failure::{Certainty, Failure, FailureCode},
};

/// A build that ended without a new version of the site, and what its words suggest.
pub struct Suspicion<'b> {
    deploy: &'b Deploy,
    log: &'b [String],
    cause: Cause,
    /// The line of the log that says so.
    line: Option<&'b str>,
    stage: Option<Stage>,
}

/// What the words of a build suggest; `log` are the last lines of its log, oldest first, and may be empty.
pub fn suspect<'b>(deploy: &'b Deploy, log: &'b [String]) -> Suspicion<'b> {
    let message = deploy
        .error_message
        .as_deref()
        .unwrap_or_default()
        .to_lowercase();
    let read = Log::new(log);
    let stage = read.stage(&message);
    let (cause, line) = by_flags(deploy)
        .map(|cause| (cause, None))
        .or_else(|| by_message(SPECIFIC, &message, stage))
        .or_else(|| by_heading(&read))
        .or_else(|| by_line(SPECIFIC, &read, stage))
        .or_else(|| by_message(GENERAL, &message, stage).map(unsure))
        .or_else(|| by_line(GENERAL, &read, stage).map(unsure))
        .unwrap_or_else(|| (unnamed(deploy), None));
    Suspicion {
        deploy,
        log,
        cause,
        line,
        stage,
    }
}

type Found<'l> = (Cause, Option<&'l str>);

/// What Netlify says by other means than words.
fn by_flags(deploy: &Deploy) -> Option<Cause> {
    use FailureCode::{BuildBlocked, BuildInReview};
    Some(match deploy.state.as_str() {
        "rejected" => Cause::certain(BuildInReview, "Somebody rejected the build on Netlify."),
        "pending_review" => {
            Cause::certain(BuildInReview, "The build waits for approval on Netlify.")
        }
        _ if deploy.unknown_contributor => {
            Cause::certain(BuildBlocked, "Netlify does not know the person who pushed.")
        }
        _ => return None,
    })
}

fn by_message<'l>(table: &[Signature], message: &str, stage: Option<Stage>) -> Option<Found<'l>> {
    let mut table = table.iter();
    let signature = table.find(|it| it.fits(stage) && it.matches(message))?;
    Some((signature.cause(stage), None))
}

/// The build system's own heading above the reason; later ones come of it.
fn by_heading<'l>(log: &Log<'l>) -> Option<Found<'l>> {
    log.headings().find_map(|heading| {
        let mut headings = SPECIFIC.iter().filter(|it| it.place == Place::Heading);
        let signature = headings.find(|it| it.matches(heading.text))?;
        let cause = Cause::certain(signature.code, signature.detail);
        Some((refined(cause, &heading), Some(heading.line)))
    })
}

/// What follows a heading may say more: a shell tells by its exit code that it found no program, and a missing folder is
/// told below more than one heading.
fn refined(cause: Cause, heading: &Heading<'_, '_>) -> Cause {
    let below = |signature: &&Signature| heading.below.iter().any(|line| signature.matches(line));
    if cause.code == FailureCode::BuildCommandFailed {
        let missing = heading
            .below
            .iter()
            .any(|line| line.contains("failed with exit code 127:"));
        let detail = "The build command, or a program that it calls, is not there.";
        return match missing {
            true => Cause::certain(FailureCode::CommandMissing, detail),
            false => cause,
        };
    }
    let mut lines = SPECIFIC
        .iter()
        .filter(|it| it.place == Place::Line && it.is_own(Some(Stage::Build)));
    lines
        .find(below)
        .map_or(cause, |it| Cause::certain(it.code, it.detail))
}

/// The table's order decides, not the log's: a failed clone is followed by many lines of consequences.
fn by_line<'l>(table: &[Signature], log: &Log<'l>, stage: Option<Stage>) -> Option<Found<'l>> {
    let lines = table
        .iter()
        .filter(|it| it.place == Place::Line && it.fits(stage));
    lines.into_iter().find_map(|signature| {
        let line = log.last(|line| signature.matches(line))?;
        Some((signature.cause(stage), Some(line)))
    })
}

fn unsure((cause, line): Found<'_>) -> Found<'_> {
    (cause.likely(), line)
}

impl Signature {
    fn cause(&self, stage: Option<Stage>) -> Cause {
        match self.is_own(stage) {
            true => Cause::certain(self.code, self.detail),
            false => Cause::certain(self.code, self.detail).likely(),
        }
    }
}

fn unnamed(deploy: &Deploy) -> Cause {
    match deploy.skipped {
        true => Cause::certain(
            FailureCode::BuildSkipped,
            "Netlify skipped the build and gave no reason.",
        ),
        false => Cause {
            certainty: Certainty::Unknown,
            ..Cause::certain(
                FailureCode::BuildFailedUnknown,
                "The build failed for a reason that linkbroker does not know.",
            )
        },
    }
}

impl Suspicion<'_> {
    /// What has to be known of the world to settle it.
    pub fn questions(&self) -> &'static [Question] {
        use Question::{Installation, Key, Repository, Site, Team};
        match self.cause.code {
            _ if self.is_about_access() => &[Repository, Key, Installation, Site],
            FailureCode::BuildSkipped | FailureCode::BuildFailedUnknown => &[Site, Team],
            FailureCode::BuildBlocked if self.cause.certainty == Certainty::Likely => &[Team],
            FailureCode::PlanRequired => &[Team],
            _ => &[],
        }
    }

    /// The diagnosis: what the words suggest, settled by the state of the world.
    pub fn settle(self, live: &LiveState) -> Failure {
        let cause = match self.cause.code {
            _ if self.is_about_access() => access(live).unwrap_or_else(|| self.by_words(live)),
            FailureCode::BuildSkipped => skipped(live).unwrap_or_else(|| self.why_skipped()),
            FailureCode::BuildFailedUnknown if self.is_silent() => {
                Cause::account(live).map_or_else(|| self.cause.clone(), Cause::likely)
            }
            FailureCode::BuildBlocked | FailureCode::PlanRequired => self.plan(live),
            _ => self.cause.clone(),
        };
        let evidence = evidence(self.deploy, self.log, live, self.line);
        cause.failure(evidence)
    }

    /// Netlify cannot read the repository or the branch; words for these are often the same, and are missing at times.
    fn is_about_access(&self) -> bool {
        use FailureCode::{BuildFailedUnknown, CloneDenied, HostKeyFailed, RefMissing};
        let in_the_dark =
            self.cause.code == BuildFailedUnknown && self.stage == Some(Stage::Prepare);
        matches!(self.cause.code, CloneDenied | HostKeyFailed | RefMissing) || in_the_dark
    }

    /// The world shows nothing wrong, or could not be read.
    fn by_words(&self, live: &LiveState) -> Cause {
        let cause = match self.cause.code {
            FailureCode::BuildFailedUnknown => return self.cause.clone(),
            _ => self.cause.clone().likely(),
        };
        let by_installation = live.installation.said().is_some();
        match by_installation && cause.code != FailureCode::RefMissing {
            true => Cause {
                code: FailureCode::InstallationNotDelivering,
                detail: "Netlify could not clone by the installation.".to_owned(),
                ..cause
            },
            false => cause,
        }
    }

    fn is_silent(&self) -> bool {
        self.deploy.error_message.is_none()
    }

    fn why_skipped(&self) -> Cause {
        let title = self.deploy.title.as_deref().unwrap_or_default();
        match ["[skip ci]", "[skip netlify]"]
            .iter()
            .any(|mark| title.contains(mark))
        {
            true => Cause::certain(
                FailureCode::BuildSkipped,
                "The message of the commit asks Netlify to skip it.",
            ),
            false => Cause {
                certainty: Certainty::Certain,
                ..self.cause.clone()
            },
        }
    }

    /// Whether the plan is what blocks.
    fn plan(&self, live: &LiveState) -> Cause {
        use FailureCode::{BuildBlocked, PlanRequired};
        let team = live.team.said();
        let excludes = team.and_then(|team| team.builds_private_organisations) == Some(false);
        let detail = "The team's plan does not build private repositories of organisations.";
        match (self.cause.code, self.cause.certainty) {
            (PlanRequired, _) if excludes => Cause::certain(PlanRequired, detail),
            (PlanRequired, _) => self.cause.clone().likely(),
            (BuildBlocked, Certainty::Likely) if excludes => {
                Cause::certain(PlanRequired, detail).likely()
            }
            _ => self.cause.clone(),
        }
    }
}

/// What keeps Netlify from reading the repository, as far as the world shows it.
fn access(live: &LiveState) -> Option<Cause> {
    let key = || live.key.said().and_then(|key| Cause::key(*key));
    let installation = || {
        live.installation
            .said()
            .and_then(|it| Cause::installation(*it))
    };
    let branch = || match live.repository.said()? {
        RepositoryState::BranchMissing => Some(Cause::branch()),
        RepositoryState::Empty => Some(Cause::certain(
            FailureCode::RepositoryEmpty,
            "The repository has no commits that Netlify could build.",
        )),
        _ => None,
    };
    Cause::identity(live)
        .or_else(key)
        .or_else(installation)
        .or_else(|| site(live))
        .or_else(branch)
}

/// How the site gets at the repository.
fn site(live: &LiveState) -> Option<Cause> {
    if live.installation.said().is_some() {
        return None;
    }
    match live.site.said()?.clones_by {
        ClonesBy::Nothing => Some(Cause::certain(
            FailureCode::HostKeyFailed,
            "The site has no deploy key any more, so Netlify has nothing to clone with.",
        )),
        ClonesBy::OtherKey => Some(Cause::certain(
            FailureCode::LinkDeaf,
            "The site clones with another deploy key than the one on the repository.",
        )),
        ClonesBy::Key | ClonesBy::Installation => None,
    }
}

fn skipped(live: &LiveState) -> Option<Cause> {
    let stopped = live.site.said().and_then(Cause::stopped);
    stopped.or_else(|| Cause::account(live).filter(|cause| cause.certainty == Certainty::Certain))
}
