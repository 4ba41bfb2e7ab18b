//! The lines of proof that the state of the world makes: one for each thing that was asked.

use super::live::{
    Attached, BranchRule, ClonesBy, DeliveryState, InstallationState, KeyState, LiveState, Reading,
    RepositoryState, SiteState, TeamState, WebhookFlaw, WebhookState,
};
use crate::link::failure::Evidence;

impl LiveState {
    /// One line for each thing that was asked.
    pub(super) fn evidence(&self) -> Vec<Evidence> {
        [
            line("provider.repository", &self.repository, repository),
            line("provider.deploy_keys", &self.key, key),
            line("provider.installations", &self.installation, installation),
            line("provider.webhooks", &self.webhook, webhook),
            line("provider.webhook.deliveries", &self.delivery, delivery),
            line("netlify.site", &self.site, site),
            line("netlify.team", &self.team, team),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn line<T>(source: &str, reading: &Reading<T>, say: fn(&T) -> String) -> Option<Evidence> {
    let text = match reading {
        Reading::NotAsked => return None,
        Reading::Failed(why) => format!("could not be read: {why}"),
        Reading::Said(it) => say(it),
    };
    Some(super::seen(source, &text))
}

fn repository(state: &RepositoryState) -> String {
    match state {
        RepositoryState::There => "the repository and the branch are there",
        RepositoryState::Moved => "the repository has another name by now",
        RepositoryState::Replaced => "another repository has the name by now",
        RepositoryState::Archived => "the repository is archived",
        RepositoryState::Empty => "the repository has no commits",
        RepositoryState::BranchMissing => "the repository is there, the branch is not",
        RepositoryState::NotFound => "the credential sees no such repository",
    }
    .to_owned()
}

fn key(state: &KeyState) -> String {
    match state {
        KeyState::Installed => "the deploy key is installed",
        KeyState::Disabled => "the deploy key is installed and switched off",
        KeyState::Expired => "the deploy key is installed and has expired",
        KeyState::InProfile => "the deploy key is in a person's profile and not on the repository",
        KeyState::Missing => "the deploy key is not installed",
    }
    .to_owned()
}

fn installation(state: &InstallationState) -> String {
    match state {
        InstallationState::There => {
            "the app is installed; only its owner can see whether it covers the repository"
        }
        InstallationState::Hidden => "the credential may not see the owner's installations",
        InstallationState::Suspended => "the installation is suspended",
        InstallationState::Absent => "the owner has no such installation",
    }
    .to_owned()
}

fn webhook(state: &WebhookState) -> String {
    match state {
        WebhookState::Missing => "no webhook points to Netlify".to_owned(),
        WebhookState::Elsewhere(address) => format!("the webhook points to {address}"),
        WebhookState::Found(flaws) if flaws.is_empty() => {
            "the webhook is on and points to Netlify".to_owned()
        }
        WebhookState::Found(flaws) => {
            let flaws: Vec<_> = flaws.iter().map(|flaw| flaw.words()).collect();
            format!("the webhook {}", flaws.join(" and "))
        }
    }
}

impl WebhookFlaw {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Off => "is switched off",
            Self::NotJson => "sends forms instead of JSON",
            Self::MissesPushes => "does not hear of pushes",
            Self::HidesBranches => "tells of some branches only",
            Self::MissesOthers => "hears of pushes, and not of all the rest",
            Self::InsecureTls => "does not check Netlify's certificate",
        }
    }
}

fn delivery(state: &DeliveryState) -> String {
    match state {
        DeliveryState::None => "the provider reports no delivery of a push".to_owned(),
        DeliveryState::Unanswered => "the push was sent, and Netlify did not answer".to_owned(),
        DeliveryState::Answered(status) => {
            format!("the push was delivered, and Netlify answered {status}")
        }
    }
}

fn site(state: &SiteState) -> String {
    if state.is_gone {
        return "the site does not exist any more".to_owned();
    }
    let attached = match state.attached {
        Attached::Links => "the link's repository is attached",
        Attached::Another => "another repository is attached",
        Attached::Nothing => "no repository is attached",
    };
    let clones_by = match state.clones_by {
        ClonesBy::Key => "read by the link's deploy key",
        ClonesBy::OtherKey => "read by another deploy key",
        ClonesBy::Installation => "read by Netlify's GitHub App",
        ClonesBy::Nothing => "without a key or an app to read it",
    };
    let rest = [
        state.is_disabled.then_some("; the site is disabled"),
        state.builds_are_stopped.then_some("; builds are stopped"),
        match state.branch {
            BranchRule::Built => None,
            BranchRule::Unlisted => Some("; the branch is not among the allowed ones"),
            BranchRule::NotBuilt => Some("; the branch is not built"),
        },
    ];
    let rest: String = rest.into_iter().flatten().collect();
    format!("{attached}, {clones_by}{rest}")
}

fn team(state: &TeamState) -> String {
    let minutes = state.minutes_are_used_up.then_some("build minutes");
    let exceeded = state.exceeded.iter().map(String::as_str).chain(minutes);
    let exceeded: Vec<_> = exceeded.collect();
    match exceeded.is_empty() {
        false => format!("the team has used up its {}", exceeded.join(", ")),
        true if state.builds_private_organisations == Some(false) => {
            "the plan does not build private repositories of organisations".to_owned()
        }
        true => "no allowance of the team is used up".to_owned(),
    }
}
