//! What a link will do, before it does it: the plan's rounds with the calls and objects of each step.
//!
//! The calls are those of the straight way, when no answer is lost and nothing has to be looked for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    plan::{PLAN, PlannedStep, StepName},
    request::LinkSpec,
    resource::ResourceKind,
};

/// Steps that run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewRound {
    /// The steps.
    pub steps: Vec<PreviewStep>,
}

/// A step that the link will take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewStep {
    /// Which.
    pub name: StepName,
    /// The calls that it makes.
    pub calls: Vec<PreviewCall>,
    /// The object that it makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub makes: Option<ResourceKind>,
}

/// A call of an upstream's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewCall {
    /// Whom: `netlify`, `github`, …
    pub upstream: String,
    /// HTTP method.
    #[schema(example = "POST")]
    pub method: String,
    /// The operation's path in the upstream's own API description.
    #[schema(example = "/repos/{owner}/{repo}/keys")]
    pub path: String,
    /// Whether the call is repeated until what it looks for is there.
    #[serde(default)]
    pub repeated: bool,
    /// When the call is made, if not always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// The rounds of a link with this request at a provider.
pub fn preview(spec: &LinkSpec, provider: &str) -> Vec<PreviewRound> {
    let mut rounds: Vec<PreviewRound> = Vec::new();
    for planned in PLAN.iter().filter(|planned| !(planned.skip)(spec)) {
        let round = round_of(planned, spec);
        rounds.resize_with(rounds.len().max(round), || PreviewRound {
            steps: Vec::new(),
        });
        rounds[round - 1].steps.push(PreviewStep {
            name: planned.name,
            calls: calls(planned.name, spec, provider),
            makes: planned.name.makes(),
        });
    }
    rounds
}

/// Counted from 1: one more than the latest of the steps that it needs. A step that is skipped takes no round.
fn round_of(planned: &PlannedStep, spec: &LinkSpec) -> usize {
    let needs = planned.needs.iter();
    let before = needs.map(|need| round_of(need.planned(), spec)).max();
    before.unwrap_or(0) + usize::from(!(planned.skip)(spec))
}

impl StepName {
    /// The object that the step makes.
    pub const fn makes(self) -> Option<ResourceKind> {
        match self {
            Self::ReserveDeployKey => Some(ResourceKind::DeployKey),
            Self::InstallDeployKey => Some(ResourceKind::InstalledKey),
            Self::InstallWebhook => Some(ResourceKind::Webhook),
            Self::CreateSite => Some(ResourceKind::Site),
            Self::ResolveRepository
            | Self::AttachRepository
            | Self::AlignWebhook
            | Self::FindBuild
            | Self::WatchDeploy
            | Self::ReplayPush
            | Self::ProvePush => None,
        }
    }
}

/// GitHub is the only provider that can be linked so far; the next one brings its own paths.
fn calls(step: StepName, spec: &LinkSpec, provider: &str) -> Vec<PreviewCall> {
    let netlify = |method, path| call("netlify", method, path);
    let github = |method, path| call(provider, method, path);
    match step {
        StepName::ResolveRepository => {
            let branch = github("GET", "/repos/{owner}/{repo}/git/ref/{ref}");
            let branch =
                branch.only("the branch is not the default one, or the repository looks empty");
            let mut calls = vec![github("GET", "/repos/{owner}/{repo}"), branch];
            if spec.access.installation_id().is_some() {
                calls.push(github("GET", "/orgs/{org}/installations"));
            }
            calls
        }
        StepName::ReserveDeployKey => {
            vec![netlify("POST", "/deploy_keys").only("no unused key is in stock")]
        }
        StepName::InstallDeployKey => vec![github("POST", "/repos/{owner}/{repo}/keys")],
        StepName::InstallWebhook => vec![github("POST", "/repos/{owner}/{repo}/hooks")],
        StepName::CreateSite => match spec.site.team {
            Some(_) => vec![netlify("POST", "/{account_slug}/sites")],
            None => vec![netlify("POST", "/sites")],
        },
        StepName::AttachRepository => vec![netlify("PATCH", "/sites/{site_id}")],
        StepName::AlignWebhook => {
            let elsewhere = "Netlify wants pushes at another address than the usual one";
            vec![
                github("GET", "/repos/{owner}/{repo}/hooks").only(elsewhere),
                github("PATCH", "/repos/{owner}/{repo}/hooks/{hook_id}").only(elsewhere),
            ]
        }
        StepName::FindBuild => vec![netlify("GET", "/deploys/{deploy_id}")],
        StepName::WatchDeploy => vec![netlify("GET", "/deploys/{deploy_id}").repeated()],
        StepName::ReplayPush if spec.access.installation_id().is_some() => {
            vec![netlify("GET", "/sites/{site_id}/builds")]
        }
        StepName::ProvePush if spec.access.installation_id().is_some() => vec![
            netlify("GET", "/sites/{site_id}/builds").repeated(),
            github("GET", "/repos/{owner}/{repo}/git/ref/{ref}").repeated(),
            netlify("GET", "/deploys/{deploy_id}"),
        ],
        StepName::ReplayPush => vec![
            netlify("GET", "/sites/{site_id}/builds"),
            github("POST", "/repos/{owner}/{repo}/hooks/{hook_id}/tests"),
        ],
        StepName::ProvePush => vec![
            netlify("GET", "/sites/{site_id}/builds").repeated(),
            netlify("POST", "/deploys/{deploy_id}/cancel").only("the build doubles the first one"),
        ],
    }
}

fn call(upstream: &str, method: &str, path: &str) -> PreviewCall {
    PreviewCall {
        upstream: upstream.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        repeated: false,
        when: None,
    }
}

impl PreviewCall {
    fn only(self, when: &str) -> Self {
        let when = Some(when.to_owned());
        Self { when, ..self }
    }

    fn repeated(self) -> Self {
        let repeated = true;
        Self { repeated, ..self }
    }
}
