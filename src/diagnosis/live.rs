//! What reads say of the world at the time of a diagnosis, and the lines of proof that they make.

use serde::Deserialize;

use crate::link::failure::Evidence;

/// What a read said of one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reading<T> {
    /// Nobody asked, or nobody can be asked.
    #[default]
    NotAsked,
    /// It could not be read, and why.
    Failed(String),
    /// This is how it stands.
    Said(T),
}

impl<T> Reading<T> {
    /// How it stands, where that is known.
    pub fn said(&self) -> Option<&T> {
        match self {
            Self::Said(it) => Some(it),
            Self::NotAsked | Self::Failed(_) => None,
        }
    }
}

/// How things stand at the provider and at Netlify.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveState {
    /// The repository and its branch.
    pub repository: Reading<RepositoryState>,
    /// The deploy key at the provider.
    pub key: Reading<KeyState>,
    /// The installation of Netlify's app, of links that go by one.
    pub installation: Reading<InstallationState>,
    /// The webhook at the provider.
    pub webhook: Reading<WebhookState>,
    /// How the last push was delivered.
    pub delivery: Reading<DeliveryState>,
    /// The site.
    pub site: Reading<SiteState>,
    /// The team of the site.
    pub team: Reading<TeamState>,
}

/// How the repository stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepositoryState {
    /// It is there, and so is the branch.
    There,
    /// It is there under another name.
    Moved,
    /// Another repository has its name.
    Replaced,
    /// It may only be read.
    Archived,
    /// It has no commits.
    Empty,
    /// The branch is not there.
    BranchMissing,
    /// It is gone, or hidden from the credential.
    NotFound,
}

/// How the deploy key stands at the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// It is on the repository and works.
    Installed,
    /// It is on the repository, and the organisation has switched deploy keys off.
    Disabled,
    /// It is on the repository, and its time is over.
    Expired,
    /// It is in the profile of the credential's person instead.
    InProfile,
    /// The repository does not have it.
    Missing,
}

/// How the installation of Netlify's app stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallationState {
    /// It is there; which repositories it covers, nobody may read.
    There,
    /// Whether it is there, the credential may not read.
    Hidden,
    /// It is suspended.
    Suspended,
    /// The owner of the repository has none of that number.
    Absent,
}

/// How the webhook stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookState {
    /// It is there and points to Netlify.
    Found(Vec<WebhookFlaw>),
    /// It is there and points to another address, which is this one.
    Elsewhere(String),
    /// There is none.
    Missing,
}

/// What keeps a webhook from telling Netlify of pushes, or only looks odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFlaw {
    /// It is switched off.
    Off,
    /// It sends forms, which Netlify accepts and ignores.
    NotJson,
    /// It does not hear of pushes.
    MissesPushes,
    /// It tells of some branches only.
    HidesBranches,
    /// It does not hear of other things; pushes are told.
    MissesOthers,
    /// It does not check certificates.
    InsecureTls,
}

/// How the provider delivered the last push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It reports none.
    None,
    /// It got no answer.
    Unanswered,
    /// It was answered with this status.
    Answered(u16),
}

/// How the site stands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SiteState {
    /// It does not exist any more.
    pub is_gone: bool,
    /// Netlify keeps it from building and serving.
    pub is_disabled: bool,
    /// What is attached to it.
    pub attached: Attached,
    /// How it gets at the repository.
    pub clones_by: ClonesBy,
    /// Nothing is built, whatever is pushed.
    pub builds_are_stopped: bool,
    /// Whether it builds pushes to the link's branch.
    pub branch: BranchRule,
}

impl Default for SiteState {
    fn default() -> Self {
        Self {
            is_gone: false,
            is_disabled: false,
            attached: Attached::Links,
            clones_by: ClonesBy::Key,
            builds_are_stopped: false,
            branch: BranchRule::Built,
        }
    }
}

/// Whether a site builds pushes to a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BranchRule {
    /// It is the production branch or listed, or every branch is built.
    Built,
    /// It is the production branch, and missing in the list of allowed branches: reports say that pushes do nothing then.
    Unlisted,
    /// It is neither.
    NotBuilt,
}

/// The repository that a site is built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attached {
    /// The link's.
    Links,
    /// Another one.
    Another,
    /// None.
    Nothing,
}

/// How a site gets at its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClonesBy {
    /// The link's deploy key.
    Key,
    /// Another deploy key.
    OtherKey,
    /// An installation of Netlify's app.
    Installation,
    /// Nothing.
    Nothing,
}

/// How the site's team stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TeamState {
    /// The allowances that are used up, in Netlify's words.
    pub exceeded: Vec<String>,
    /// Whether the plan's build minutes are used up.
    pub minutes_are_used_up: bool,
    /// Whether the plan builds private repositories of organisations; `None`: Netlify does not say.
    pub builds_private_organisations: Option<bool>,
}

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
