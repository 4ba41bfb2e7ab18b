//! What a link will do, before it does it: the plan's rounds with the calls and objects of each step.
//!
//! The calls are those of the straight way, when no answer is lost and nothing has to be looked for.

mod provider;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    plan::{PLAN, StepName, Way},
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

/// The rounds of a link on this way at a provider, with a key of its own or with the operator's standing one.
pub fn preview(way: &Way<'_>, provider: &str, standing_key: bool) -> Vec<PreviewRound> {
    let mut rounds: Vec<PreviewRound> = Vec::new();
    for planned in PLAN.iter().filter(|planned| !way.skips(planned.name)) {
        let round = round_of(way, planned.name);
        rounds.resize_with(rounds.len().max(round), || PreviewRound {
            steps: Vec::new(),
        });
        let step = match standing_key {
            true => with_standing_key(planned.name),
            false => None,
        };
        let straight = || PreviewStep {
            name: planned.name,
            calls: calls(planned.name, way, provider),
            makes: planned.name.makes().filter(|made| {
                let is_there = *made == ResourceKind::Site && way.spec.site.id.is_some();
                !is_there && !is_by_hand(planned.name, way)
            }),
        };
        rounds[round - 1].steps.push(step.unwrap_or_else(straight));
    }
    rounds
}

/// The steps that are others when an operator's key stands at the provider already.
fn with_standing_key(name: StepName) -> Option<PreviewStep> {
    let calls = match name {
        StepName::ReserveDeployKey => vec![call("netlify", "GET", "/deploy_keys/{key_id}")],
        StepName::InstallDeployKey => Vec::new(),
        _ => return None,
    };
    let makes = None;
    Some(PreviewStep { name, calls, makes })
}

/// Counted from 1: one more than the latest of the steps that it needs. A step that is skipped takes no round.
fn round_of(way: &Way<'_>, step: StepName) -> usize {
    let needs = way.needs(step).iter();
    let earlier = needs.map(|need| round_of(way, *need)).max().unwrap_or(0);
    earlier + usize::from(!way.skips(step))
}

impl StepName {
    /// The object that the step makes.
    pub const fn makes(self) -> Option<ResourceKind> {
        match self {
            Self::ReserveDeployKey => Some(ResourceKind::DeployKey),
            Self::InstallDeployKey => Some(ResourceKind::InstalledKey),
            Self::InstallWebhook => Some(ResourceKind::Webhook),
            Self::CreateSite => Some(ResourceKind::Site),
            Self::SetEnvironment => Some(ResourceKind::EnvVariable),
            Self::SubscribeNotifications => Some(ResourceKind::Notification),
            Self::ResolveRepository
            | Self::AttachRepository
            | Self::AlignWebhook
            | Self::OpenGate
            | Self::FindBuild
            | Self::WatchDeploy
            | Self::ReplayPush
            | Self::ProvePush
            | Self::RetireKey => None,
        }
    }
}

/// Whether a person does the provider's part of a step.
fn is_by_hand(step: StepName, way: &Way<'_>) -> bool {
    match step {
        StepName::InstallDeployKey => !way.provider.installs_keys,
        StepName::InstallWebhook | StepName::AlignWebhook => !way.provider.installs_webhooks,
        _ => false,
    }
}

/// The calls of a step: Netlify's, and the provider's where no person takes its part.
fn calls(step: StepName, way: &Way<'_>, provider: &str) -> Vec<PreviewCall> {
    let mut calls = netlify_calls(step, way);
    calls.append(&mut match is_by_hand(step, way) {
        true => provider::calls_by_hand(provider, step),
        false => provider::calls(provider, step),
    });
    if step == StepName::ProvePush && way.spec.access.installation_id().is_some() {
        // Nothing tells what the app was told of: whether somebody has pushed shows at the branch.
        let head = call(provider, "GET", "/repos/{owner}/{repo}/git/ref/{ref}");
        calls.push(head.repeated());
    }
    calls
}

fn netlify_calls(step: StepName, way: &Way<'_>) -> Vec<PreviewCall> {
    let spec = way.spec;
    let netlify = |method, path| call("netlify", method, path);
    match step {
        StepName::ResolveRepository if spec.site.id.is_some() => {
            vec![netlify("GET", "/sites/{site_id}")]
        }
        StepName::ReserveDeployKey => {
            vec![netlify("POST", "/deploy_keys").only("no unused key is in stock")]
        }
        StepName::CreateSite if spec.site.id.is_some() => {
            let mut reads = vec![
                netlify("GET", "/sites/{site_id}"),
                netlify("GET", "/sites/{site_id}/builds"),
            ];
            if !spec.env.is_empty() {
                reads.push(netlify("GET", "/accounts/{account_id}/env"));
            }
            reads
        }
        StepName::SetEnvironment if spec.site.id.is_some() => vec![
            netlify("PUT", "/accounts/{account_id}/env/{key}")
                .only("the site has a variable of that name"),
            netlify("POST", "/accounts/{account_id}/env")
                .only("the site lacks a variable of that name"),
        ],
        StepName::SetEnvironment => vec![netlify("POST", "/accounts/{account_id}/env")],
        StepName::CreateSite => match spec.site.team {
            Some(_) => vec![netlify("POST", "/{account_slug}/sites")],
            None => vec![netlify("POST", "/sites")],
        },
        StepName::AttachRepository if spec.site.relink => {
            let elsewhere = "another repository is attached to the site";
            vec![
                netlify("GET", "/sites/{site_id}").only(elsewhere),
                netlify("PUT", "/sites/{site_id}/unlink_repo").only(elsewhere),
                netlify("PATCH", "/sites/{site_id}"),
            ]
        }
        StepName::AttachRepository => vec![netlify("PATCH", "/sites/{site_id}")],
        StepName::OpenGate => vec![netlify("PATCH", "/sites/{site_id}")],
        StepName::SubscribeNotifications => {
            vec![
                netlify("GET", "/hooks"),
                netlify("POST", "/hooks").repeated(),
            ]
        }
        StepName::FindBuild if way.is_gated() => {
            vec![netlify("GET", "/sites/{site_id}/builds").repeated()]
        }
        StepName::FindBuild => vec![netlify("GET", "/deploys/{deploy_id}")],
        StepName::WatchDeploy => vec![
            netlify("GET", "/accounts/{account_id}/builds/status").repeated(),
            netlify("GET", "/deploys/{deploy_id}"),
        ],
        StepName::ReplayPush => vec![netlify("GET", "/sites/{site_id}/builds")],
        StepName::ProvePush => vec![
            netlify("GET", "/sites/{site_id}/builds").repeated(),
            netlify("POST", "/deploys/{deploy_id}/cancel").only("the build doubles the first one"),
        ],
        StepName::ResolveRepository
        | StepName::InstallDeployKey
        | StepName::InstallWebhook
        | StepName::AlignWebhook
        | StepName::RetireKey => Vec::new(),
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
