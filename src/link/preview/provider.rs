//! The calls of each step at the git providers, in the words of their own API descriptions.

use super::{PreviewCall, call};
use crate::link::plan::StepName;

const OTHER_BRANCH: &str = "the branch is not the default one";
/// Undescribed, like the call that places one.
const AZURE_KEYS: &str = "/{organization}/_apis/Token/SessionTokens";
const ELSEWHERE: &str = "Netlify wants pushes at another address than the usual one";
const SEEN_BEFORE: &str = "a webhook was there a moment ago";

/// What a step calls at the provider; nothing where a person does it.
pub(super) fn calls(provider: &str, step: StepName) -> Vec<PreviewCall> {
    match provider {
        "github" => github(step),
        "gitlab" => gitlab(step),
        "gitea" => gitea(step),
        "bitbucket" => bitbucket(step),
        "azure_devops" => azure_devops(step),
        _ => Vec::new(),
    }
}

/// What a step calls at the provider where a person does its part.
pub(super) fn calls_by_hand(provider: &str, step: StepName) -> Vec<PreviewCall> {
    match (provider, step) {
        ("azure_devops", StepName::InstallDeployKey) => {
            let look = call(provider, "GET", AZURE_KEYS);
            vec![look.only("a retry says that the key is there")]
        }
        _ => Vec::new(),
    }
}

fn github(step: StepName) -> Vec<PreviewCall> {
    let github = |method, path| call("github", method, path);
    match step {
        StepName::ResolveRepository => vec![
            github("GET", "/repos/{owner}/{repo}"),
            github("GET", "/repos/{owner}/{repo}/git/ref/{ref}")
                .only("the branch is not the default one, or the repository looks empty"),
        ],
        StepName::InstallDeployKey => vec![github("POST", "/repos/{owner}/{repo}/keys")],
        StepName::InstallWebhook => vec![github("POST", "/repos/{owner}/{repo}/hooks")],
        StepName::AlignWebhook => vec![
            github("GET", "/repos/{owner}/{repo}/hooks").only(ELSEWHERE),
            github("PATCH", "/repos/{owner}/{repo}/hooks/{hook_id}").only(ELSEWHERE),
        ],
        StepName::ReplayPush => vec![github(
            "POST",
            "/repos/{owner}/{repo}/hooks/{hook_id}/tests",
        )],
        _ => Vec::new(),
    }
}

fn gitlab(step: StepName) -> Vec<PreviewCall> {
    let gitlab = |method, path| call("gitlab", method, path);
    match step {
        StepName::ResolveRepository => vec![
            gitlab("GET", "/projects/{id}"),
            gitlab("GET", "/projects/{id}/hooks"),
            gitlab("GET", "/projects/{id}/deploy_keys")
                .only("the project does not say that the credential's role suffices"),
            gitlab("GET", "/projects/{id}/repository/branches/{branch}").only(OTHER_BRANCH),
        ],
        StepName::InstallDeployKey => vec![gitlab("POST", "/projects/{id}/deploy_keys")],
        StepName::InstallWebhook => vec![
            gitlab("GET", "/projects/{id}/hooks").only(SEEN_BEFORE),
            gitlab("POST", "/projects/{id}/hooks").only("there is none to Netlify"),
        ],
        StepName::AlignWebhook => vec![
            gitlab("GET", "/projects/{id}/hooks").only(ELSEWHERE),
            gitlab("PUT", "/projects/{id}/hooks/{hook_id}").only(ELSEWHERE),
        ],
        StepName::ReplayPush => vec![
            gitlab("GET", "/projects/{id}"),
            gitlab("POST", "/projects/{id}/hooks/{hook_id}/test/{trigger}"),
        ],
        _ => Vec::new(),
    }
}

fn gitea(step: StepName) -> Vec<PreviewCall> {
    let gitea = |method, path| call("gitea", method, path);
    match step {
        StepName::ResolveRepository => vec![
            gitea("GET", "/repos/{owner}/{repo}"),
            gitea("GET", "/repos/{owner}/{repo}/branches/{branch}").only(OTHER_BRANCH),
        ],
        StepName::InstallDeployKey => vec![gitea("POST", "/repos/{owner}/{repo}/keys")],
        StepName::InstallWebhook => vec![
            gitea("GET", "/repos/{owner}/{repo}/hooks"),
            gitea("POST", "/repos/{owner}/{repo}/hooks").only("there is none to Netlify"),
        ],
        StepName::ReplayPush => vec![gitea("POST", "/repos/{owner}/{repo}/hooks/{id}/tests")],
        _ => Vec::new(),
    }
}

fn bitbucket(step: StepName) -> Vec<PreviewCall> {
    let bitbucket = |method, path| call("bitbucket", method, path);
    let hooks = "/repositories/{workspace}/{repo_slug}/hooks";
    match step {
        StepName::ResolveRepository => vec![
            bitbucket("GET", "/repositories/{workspace}/{repo_slug}"),
            bitbucket("GET", hooks),
            bitbucket("GET", "/user/permissions/repositories")
                .only("the webhooks are not shown to the person whose API token it is"),
            bitbucket(
                "GET",
                "/repositories/{workspace}/{repo_slug}/refs/branches/{name}",
            )
            .only(OTHER_BRANCH),
        ],
        StepName::InstallDeployKey => vec![bitbucket(
            "POST",
            "/repositories/{workspace}/{repo_slug}/deploy-keys",
        )],
        StepName::InstallWebhook => vec![
            bitbucket("GET", hooks).only(SEEN_BEFORE),
            bitbucket("POST", hooks).only("there is none to Netlify"),
        ],
        StepName::AlignWebhook => vec![
            bitbucket("GET", hooks).only(ELSEWHERE),
            bitbucket("PUT", "/repositories/{workspace}/{repo_slug}/hooks/{uid}").only(ELSEWHERE),
        ],
        _ => Vec::new(),
    }
}

fn azure_devops(step: StepName) -> Vec<PreviewCall> {
    let azure = |method, path| call("azure_devops", method, path);
    let repository = "/{organization}/{project}/_apis/git/repositories/{repositoryId}";
    let subscriptions = "/{organization}/_apis/hooks/subscriptions";
    match step {
        StepName::ResolveRepository => vec![
            azure("GET", repository),
            azure("GET", subscriptions),
            azure(
                "GET",
                "/{organization}/{project}/_apis/git/repositories/{repositoryId}/refs",
            )
            .only(OTHER_BRANCH),
        ],
        StepName::InstallWebhook => vec![
            azure("GET", subscriptions).only(SEEN_BEFORE),
            azure("POST", subscriptions)
                .repeated()
                .only("an event has no subscription to Netlify"),
        ],
        StepName::InstallDeployKey => vec![
            azure("GET", "/{organization}/_apis/connectionData"),
            azure("POST", "/{organization}/_apis/Contribution/HierarchyQuery"),
            azure("GET", AZURE_KEYS),
        ],
        StepName::AlignWebhook => vec![
            azure("GET", subscriptions).only(ELSEWHERE),
            azure(
                "PUT",
                "/{organization}/_apis/hooks/subscriptions/{subscriptionId}",
            )
            .repeated()
            .only(ELSEWHERE),
        ],
        StepName::ReplayPush => vec![azure(
            "POST",
            "/{organization}/_apis/hooks/testnotifications",
        )],
        _ => Vec::new(),
    }
}
