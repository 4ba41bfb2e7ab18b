//! What reads say of the world at the time of a diagnosis.

use serde::Deserialize;

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
