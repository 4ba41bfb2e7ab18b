//! Why a push started no build, although the provider was to tell Netlify of it.

use super::{
    Question,
    cause::Cause,
    live::{LiveState, RepositoryState},
};
use crate::link::failure::{Certainty, Failure, FailureCode};

/// A push that started no build.
#[derive(Debug, Clone, Copy)]
pub struct UnbuiltPush<'p> {
    /// What was waited for, in one sentence.
    pub detail: &'p str,
    /// Netlify finds the site by the repository's name, where providers have no lasting number for it.
    pub is_known_by_name: bool,
}

/// What is looked at; what does not concern the link is left out.
pub const QUESTIONS: &[Question] = &[
    Question::Repository,
    Question::Installation,
    Question::Site,
    Question::Team,
    Question::Webhook,
    Question::Delivery,
];

/// The diagnosis, in the order in which one thing stands in the way of the next: the repository's identity, how the site
/// gets at it, its branch, stopped builds, the team's means, the webhook, the delivery. The first sure cause is named,
/// else the first one; the rest is in the evidence.
pub fn of_push(push: UnbuiltPush<'_>, live: &LiveState) -> Failure {
    let by_installation = live.installation.said().is_some();
    let site = live.site.said();
    let causes = [
        repository(push, live),
        live.installation
            .said()
            .and_then(|it| Cause::installation(*it)),
        site.and_then(|site| Cause::attachment(site, by_installation)),
        site.and_then(Cause::not_allowed),
        site.and_then(Cause::stopped),
        Cause::account(live),
        live.webhook.said().and_then(Cause::webhook),
        live.delivery.said().and_then(|it| Cause::delivery(*it)),
    ];
    let (mut sure, mut likely): (Vec<_>, Vec<_>) = causes
        .into_iter()
        .flatten()
        .partition(|cause| cause.certainty == Certainty::Certain);
    sure.append(&mut likely);
    let first = sure.into_iter().next();
    first
        .unwrap_or_else(|| unexplained(push, by_installation))
        .failure(live.evidence())
}

/// What is surely wrong with the webhook.
pub fn of_webhook(live: &LiveState) -> Option<Failure> {
    let cause = live.webhook.said().and_then(Cause::webhook);
    let cause = cause.filter(|cause| cause.certainty == Certainty::Certain);
    cause.map(|cause| cause.failure(live.evidence()))
}

fn repository(push: UnbuiltPush<'_>, live: &LiveState) -> Option<Cause> {
    let state = live.repository.said()?;
    let cause = match state {
        RepositoryState::Moved if push.is_known_by_name => Cause::certain(
            FailureCode::RepositoryMoved,
            "The repository was renamed or transferred, and Netlify knows it by its former name.",
        ),
        RepositoryState::Archived => Cause::certain(
            FailureCode::RepositoryArchived,
            "The repository is archived: nobody can push to it.",
        ),
        RepositoryState::Empty => Cause::certain(
            FailureCode::RepositoryEmpty,
            "The repository has no commits.",
        ),
        RepositoryState::BranchMissing => Cause::branch(),
        _ => return Cause::identity(live),
    };
    Some(cause)
}

fn unexplained(push: UnbuiltPush<'_>, by_installation: bool) -> Cause {
    match by_installation {
        true => Cause::certain(FailureCode::InstallationNotDelivering, push.detail).likely(),
        false => Cause {
            certainty: Certainty::Unknown,
            ..Cause::certain(FailureCode::PushUnverified, push.detail)
        },
    }
}
