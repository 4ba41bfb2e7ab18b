//! Causes that the state of the world shows.

use super::live::{
    Attached, BranchRule, ClonesBy, DeliveryState, InstallationState, KeyState, LiveState,
    RepositoryState, SiteState, TeamState, WebhookFlaw, WebhookState,
};
use crate::link::failure::{Certainty, Evidence, Failure, FailureCode};

/// A cause, and how sure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cause {
    pub code: FailureCode,
    pub certainty: Certainty,
    /// One sentence for people.
    pub detail: String,
}

impl Cause {
    pub fn certain(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            certainty: Certainty::Certain,
            detail: detail.into(),
        }
    }

    /// The same, less sure.
    pub fn likely(self) -> Self {
        Self {
            certainty: Certainty::Likely,
            ..self
        }
    }

    pub fn failure(self, evidence: Vec<Evidence>) -> Failure {
        Failure {
            certainty: self.certainty,
            evidence,
            ..Failure::new(self.code, self.detail)
        }
    }

    /// The repository is not the one that was linked.
    pub fn identity(live: &LiveState) -> Option<Self> {
        Some(match live.repository.said()? {
            RepositoryState::Replaced => Self::certain(
                FailureCode::RepositoryReplaced,
                "The repository that was linked is gone, and another one has its name.",
            ),
            RepositoryState::NotFound => Self::certain(
                FailureCode::RepositoryNotFoundOrNoAccess,
                "The provider does not show the repository any more.",
            ),
            _ => return None,
        })
    }

    pub fn branch() -> Self {
        let detail = "The branch that the site is built from does not exist.";
        Self::certain(FailureCode::RefMissing, detail)
    }

    pub fn key(state: KeyState) -> Option<Self> {
        let (code, detail) = match state {
            KeyState::Installed => return None,
            KeyState::Missing => (
                FailureCode::KeyMissing,
                "The deploy key is missing on the repository, so Netlify could not clone.",
            ),
            KeyState::InProfile => (
                FailureCode::KeyInProfileNotProject,
                "The deploy key is in the profile of the credential's user, not on the repository.",
            ),
            KeyState::Disabled => (
                FailureCode::DeployKeysDisabled,
                "The deploy key is on the repository, and the provider has switched it off.",
            ),
            KeyState::Expired => (
                FailureCode::KeyExpired,
                "The deploy key is on the repository, and its time is over.",
            ),
        };
        Some(Self::certain(code, detail))
    }

    pub fn installation(state: InstallationState) -> Option<Self> {
        let detail = match state {
            InstallationState::There | InstallationState::Hidden => return None,
            InstallationState::Suspended => "The installation of Netlify's app is suspended.",
            InstallationState::Absent => "The owner has no such installation of Netlify's app.",
        };
        Some(Self::certain(FailureCode::InstallationNotUsable, detail))
    }

    /// What the site is built from, where that is not the link's repository as the link knows it.
    pub fn attachment(site: &SiteState, by_installation: bool) -> Option<Self> {
        let (code, detail) = match (site.attached, site.clones_by) {
            _ if site.is_gone => (FailureCode::SiteGone, "The site does not exist any more."),
            (Attached::Nothing, _) => (
                FailureCode::SiteDetached,
                "Somebody has taken the repository off the site.",
            ),
            (Attached::Another, _) => (
                FailureCode::SiteLinkedElsewhere,
                "Another repository is attached to the site.",
            ),
            (_, ClonesBy::Nothing) => (
                FailureCode::LinkDeaf,
                "The site has neither the deploy key nor an app's installation: it hears no push.",
            ),
            (_, ClonesBy::Installation) if !by_installation => (
                FailureCode::AccessMixed,
                "The site goes by Netlify's GitHub App: Netlify answers the webhook and builds nothing.",
            ),
            (_, ClonesBy::Key | ClonesBy::OtherKey | ClonesBy::Installation) => return None,
        };
        Some(Self::certain(code, detail))
    }

    pub fn stopped(site: &SiteState) -> Option<Self> {
        let detail = "Builds are stopped in the site's settings.";
        let stopped = Self::certain(FailureCode::BuildsStopped, detail);
        site.builds_are_stopped.then_some(stopped)
    }

    pub fn not_allowed(site: &SiteState) -> Option<Self> {
        let neither = "The branch is neither the site's production branch nor among the branches that it builds.";
        let unlisted = "The site's list of allowed branches lacks the branch.";
        let cause = |detail| Self::certain(FailureCode::BranchNotAllowed, detail);
        match site.branch {
            BranchRule::Built => None,
            BranchRule::Unlisted => Some(cause(unlisted).likely()),
            BranchRule::NotBuilt => Some(cause(neither)),
        }
    }

    /// Whether site and team may build at all.
    pub fn account(live: &LiveState) -> Option<Self> {
        let disabled = live.site.said().is_some_and(|site| site.is_disabled);
        let detail = "Netlify has disabled the site.";
        let disabled = disabled.then(|| Self::certain(FailureCode::AccountCannotBuild, detail));
        disabled.or_else(|| live.team.said().and_then(allowance))
    }

    pub fn webhook(state: &WebhookState) -> Option<Self> {
        let flaws = match state {
            WebhookState::Missing => {
                let detail = "No webhook of the repository points to Netlify.";
                return Some(Self::certain(FailureCode::WebhookMissing, detail));
            }
            WebhookState::Elsewhere(address) => {
                let detail = format!(
                    "The webhook points to {address}, where Netlify does not listen for this site."
                );
                return Some(Self::certain(FailureCode::WebhookUrlMismatch, detail));
            }
            WebhookState::Found(flaws) => flaws,
        };
        let has = |flaw| flaws.contains(&flaw);
        let said = |flaw: WebhookFlaw| format!("The webhook {}.", flaw.words());
        if has(WebhookFlaw::Off) {
            return Some(Self::certain(
                FailureCode::WebhookDisabled,
                said(WebhookFlaw::Off),
            ));
        }
        let fatal = [WebhookFlaw::NotJson, WebhookFlaw::MissesPushes];
        let misconfigured = |flaw| Self::certain(FailureCode::WebhookMisconfigured, said(flaw));
        let fatal = fatal.into_iter().find(|flaw| has(*flaw)).map(misconfigured);
        // Which branches it tells of is not read: the link's may be among them.
        fatal.or_else(|| {
            let hides = has(WebhookFlaw::HidesBranches);
            hides.then(|| misconfigured(WebhookFlaw::HidesBranches).likely())
        })
    }

    pub fn delivery(state: DeliveryState) -> Option<Self> {
        let (code, detail) = match state {
            DeliveryState::Answered(200..=299) => return None,
            DeliveryState::None => {
                let detail = "The provider reports no delivery of a push through the webhook.";
                return Some(Self::certain(FailureCode::WebhookNotDelivered, detail).likely());
            }
            DeliveryState::Unanswered => {
                let detail = "The provider sent the push, and got no answer of Netlify's.";
                return Some(Self::certain(FailureCode::WebhookNotDelivered, detail));
            }
            DeliveryState::Answered(404) => (
                FailureCode::WebhookUrlMismatch,
                "Netlify does not know the address that the webhook points to.",
            ),
            DeliveryState::Answered(422) => (
                FailureCode::WebhookMisconfigured,
                "Netlify did not understand what the webhook sent.",
            ),
            DeliveryState::Answered(status) => {
                let detail = format!("Netlify answered the provider's delivery with {status}.");
                return Some(Self::certain(FailureCode::WebhookNotDelivered, detail));
            }
        };
        Some(Self::certain(code, detail).likely())
    }
}

/// Used-up credits and minutes stop builds; of other allowances that is not known.
fn allowance(team: &TeamState) -> Option<Cause> {
    let account = |detail: String| Cause::certain(FailureCode::AccountCannotBuild, detail);
    if team.minutes_are_used_up {
        return Some(account("The team's build minutes are used up.".to_owned()));
    }
    let stops = |limit: &&String| limit.contains("credit") || limit.contains("build");
    let said = |limit: &String| account(format!("The team has used up its {limit}."));
    let exceeded = team.exceeded.iter();
    let sure = exceeded.clone().find(stops).map(said);
    sure.or_else(|| team.exceeded.first().map(said).map(Cause::likely))
}
