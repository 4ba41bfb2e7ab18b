//! The failure catalogue: every way a link can fail, whose fault it is, and what to do about it.
//!
//! A [`Failure`] is stored with the step that met it and shown to callers, so it must never hold
//! an upstream's body or a secret; `detail` is one sentence that we wrote.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{action::Action, words::text_enum};

/// Who has to act for a failure to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The program or person that asked for the link, or who owns the repository's content.
    Caller,
    /// The git provider, or how the repository is set up there.
    Provider,
    /// Netlify, or how the team is set up there.
    Netlify,
    /// linkbroker itself, or its operator.
    Broker,
    /// Whoever decides for the Netlify team: its plan, its credits, its members, its approvals.
    Owner,
}

impl Fault {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Netlify => "netlify",
            Self::Broker => "broker",
            Self::Owner => "owner",
        }
    }
}

/// What a failure means for the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Goes away by itself: try again with backoff.
    Transient,
    /// A person must change something outside; the link waits in `action_required`.
    NeedsAction,
    /// This request cannot succeed as it stands; the link becomes `failed`.
    Permanent,
}

text_enum! {
    /// How sure it is that the named cause is the cause.
    Certainty {
        /// The state of the world says so, or words that mean nothing else.
        Certain "certain",
        /// Words say so that could mean something else too.
        Likely "likely",
        /// Nothing that was seen names a cause.
        Unknown "unknown",
    }
}

impl Certainty {
    /// Of failures from before it was recorded.
    const fn unrecorded() -> Self {
        Self::Likely
    }
}

/// One line of proof for a failure: where it was seen and what it said, redacted and shortened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// Where it was seen, e.g. `netlify.deploy.error_message`.
    pub source: String,
    /// What it said.
    pub text: String,
}

/// The upstream call behind a failure, so that people can ask the vendor about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UpstreamTrace {
    /// `netlify`, `github`, …
    pub upstream: String,
    /// HTTP status of the answer; absent when there was no answer.
    pub status: Option<u16>,
    /// The vendor's own id of the request.
    pub request_id: Option<String>,
}

/// A named failure with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Failure {
    /// The entry of the catalogue.
    pub code: FailureCode,
    /// What happened in this case, in one sentence.
    pub detail: String,
    /// How sure that is.
    #[serde(default = "Certainty::unrecorded")]
    pub certainty: Certainty,
    /// The upstream call that showed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Box<UpstreamTrace>>,
    /// What the verdict rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// What a person is asked to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Box<Action>>,
}

impl Failure {
    /// A failure that no upstream call stands behind, met and not deduced.
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            certainty: match code {
                FailureCode::BuildFailedUnknown | FailureCode::PushUnverified => Certainty::Unknown,
                _ => Certainty::Certain,
            },
            upstream: None,
            evidence: Vec::new(),
            action: None,
        }
    }

    /// Adds one line of proof.
    #[must_use]
    pub fn with_evidence(mut self, source: impl Into<String>, text: impl Into<String>) -> Self {
        self.evidence.push(Evidence {
            source: source.into(),
            text: text.into(),
        });
        self
    }
}

macro_rules! catalogue {
    ($($variant:ident $code:tt $fault:ident $severity:ident $title:literal $remedy:literal;)*) => {
        /// Stable name of a failure; the text form is part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum FailureCode {
            $(#[doc = $title] #[serde(rename = $code)] $variant,)*
        }

        impl FailureCode {
            /// Every entry, in catalogue order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text form.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $code,)* } }
            /// Who has to act.
            pub const fn fault(self) -> Fault { match self { $(Self::$variant => Fault::$fault,)* } }
            /// What it means for the link.
            pub const fn severity(self) -> Severity { match self { $(Self::$variant => Severity::$severity,)* } }
            /// What is wrong, for people.
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }
            /// What to do about it, for people.
            pub const fn remedy(self) -> &'static str { match self { $(Self::$variant => $remedy,)* } }
        }
    };
}

catalogue! {
    RepositoryNotFoundOrNoAccess "repository_not_found_or_no_access" Caller Permanent
        "The repository does not exist, or the connection's credential cannot see it"
        "Check the spelling, then give the credential access to the repository and retry the link.";
    RepositoryReplaced "repository_replaced" Caller NeedsAction
        "Another repository has the name by now"
        "Give the repository its name back and retry the link. If the new repository is the one that you mean, unlink and make a new link for it; the evidence then says what the unlink has to leave on the former one.";
    RepositoryMoved "repository_moved" Caller NeedsAction
        "The repository has another name by now, and Netlify knows it by the old one"
        "Check the link: linkbroker finds the new name and makes the site know it, unless its policy is to report.";
    RepositoryArchived "repository_archived" Caller Permanent
        "The repository is archived and therefore read-only"
        "Unarchive the repository at the provider, then retry the link.";
    RepositoryEmpty "repository_empty" Caller Permanent
        "The repository has no commits"
        "Push a first commit, then retry the link.";
    BranchMissing "branch_missing" Caller Permanent
        "The branch does not exist in the repository"
        "Create the branch, then retry the link; or make a new link that names another one.";
    AdminRequired "admin_required" Caller NeedsAction
        "The credential may not manage deploy keys and webhooks of the repository"
        "Use a credential with admin rights on the repository (GitHub: Administration and Webhooks write; GitLab: role Maintainer), then retry the link.";
    ScopeMissing "scope_missing" Caller NeedsAction
        "The credential lacks a scope that linking needs"
        "Give the credential the scope named in the detail, then retry the link.";
    SsoRequired "sso_required" Caller NeedsAction
        "The organisation wants the credential authorised for single sign-on"
        "Authorise the credential for the organisation, then retry the link.";
    CredentialRefused "credential_refused" Caller NeedsAction
        "The upstream refused the connection's credential"
        "Replace the credential of the connection (`PUT /connections/{id}/credential`): its links go on by themselves. Until then none of them calls with it.";
    AppNotInstalled "app_not_installed" Caller NeedsAction
        "The connection's GitHub App is not installed where the repository is"
        "Install the app on the repository's owner, with this repository among those that it may see, then retry the link.";
    AppSuspended "app_suspended" Caller NeedsAction
        "The installation of the connection's GitHub App is suspended"
        "Have an owner of the account lift the suspension in its settings, then retry the link.";
    ConnectionUnusable "connection_unusable" Broker NeedsAction
        "A connection of the link cannot be used any more"
        "The detail says why: bring the connection, its instance or the key ring back, then retry the link.";
    ProviderRefused "provider_refused" Provider Permanent
        "The provider refuses access to the repository"
        "Ask the provider's support about the repository; the detail carries its request id.";
    DeployKeysDisabled "deploy_keys_disabled" Provider NeedsAction
        "Deploy keys are switched off for the repository"
        "Allow deploy keys in the organisation's or repository's settings, then retry the link.";
    KeyInUseElsewhere "key_in_use_elsewhere" Provider Permanent
        "The provider says that the deploy key is in use elsewhere, also after a fresh one was made"
        "Remove the key from the other repository or profile, then retry the link.";
    KeyInProfileNotProject "key_in_profile_not_project" Caller NeedsAction
        "The deploy key is in a person's profile instead of on the repository"
        "Remove the key from the profile's SSH keys, then retry the link: linkbroker puts it on the repository.";
    KeyMissing "key_missing" Provider NeedsAction
        "The deploy key is no longer on the repository"
        "Retry the link: linkbroker puts the key back and builds again. If it vanishes again: GitHub deletes deploy keys together with the token that made them.";
    KeyExpired "key_expired" Provider NeedsAction
        "The deploy key has expired at the provider"
        "Put the key in place again with a later end, then retry the link.";
    KeyRefused "key_refused" Provider Permanent
        "The provider does not accept the deploy key"
        "Have the provider's rules allow RSA keys of 2048 bits, which is what Netlify makes; then retry the link.";
    StandingKeyUnusable "standing_key_unusable" Broker NeedsAction
        "The standing key that the operator configured cannot be used"
        "Ask the operator: the key must exist at Netlify and belong to the user of the link's Netlify connection.";
    WebhookLimitReached "webhook_limit_reached" Provider NeedsAction
        "The repository has no room for another webhook"
        "Remove a webhook that is no longer needed, then retry the link.";
    WebhookRefused "webhook_refused" Provider Permanent
        "The provider does not accept the webhook"
        "The detail says what the provider objects to: mend that, then retry the link.";
    WebhookMissing "webhook_missing" Provider NeedsAction
        "The repository has no webhook to Netlify any more"
        "Retry the link: linkbroker makes the webhook again.";
    WebhookDisabled "webhook_disabled" Provider NeedsAction
        "The webhook is switched off at the provider"
        "Retry the link: linkbroker switches it on again. Providers switch webhooks off after many failed deliveries.";
    WebhookUrlMismatch "webhook_url_mismatch" Provider NeedsAction
        "The webhook points to another address than the one where Netlify listens for this site"
        "Retry the link: linkbroker makes a webhook with the right address.";
    WebhookMisconfigured "webhook_misconfigured" Provider NeedsAction
        "The webhook does not tell Netlify of pushes in a way that Netlify understands"
        "Retry the link: linkbroker sets the webhook right.";
    WebhookNotDelivered "webhook_not_delivered" Provider NeedsAction
        "The provider could not deliver the push to Netlify"
        "The evidence says how the delivery ended. When the provider's and Netlify's status pages say that all is well, retry the link.";
    SiteLinkedElsewhere "site_linked_elsewhere" Caller Permanent
        "Another repository is attached to the site"
        "Make a new link to another site; or one with `site.relink`, which takes the site from that repository: Netlify deletes its deploy key, build hooks and notifications then.";
    SiteInUse "site_in_use" Caller NeedsAction
        "Another link leans on the site"
        "Unlink that one with `keep_site`, then retry this link; or make a link to another site.";
    SiteNameTaken "site_name_taken" Caller Permanent
        "The site name is taken by somebody else on Netlify"
        "Make a new link with another site name.";
    TeamNotFound "team_not_found" Caller Permanent
        "The Netlify team does not exist, or the credential is not a member of it"
        "Add the credential's person to the team, then retry the link; or make a new link that names another team.";
    NetlifyForbidden "netlify_forbidden" Owner NeedsAction
        "Netlify does not allow this for the team or its plan"
        "The detail carries Netlify's reason: change the plan or the role, then retry the link.";
    PlanRequired "plan_required" Owner NeedsAction
        "The Netlify team's plan does not build this repository"
        "Change the plan or make the repository public, then retry the link. Plans below Pro do not build private repositories of organisations.";
    EnvironmentRefused "environment_refused" Netlify NeedsAction
        "Netlify does not take the environment variables: the team's plan, the member's role or a rule of Netlify's forbids it"
        "The detail carries Netlify's reason: change the plan, the role or the credential, then retry the link; or make a new link with other variables.";
    EnvVariableExists "env_variable_exists" Netlify NeedsAction
        "Netlify says that the site has an environment variable already, and does not list it"
        "Remove the variable from the site on Netlify, then retry the link.";
    SiteGone "site_gone" Caller Permanent
        "The site no longer exists on Netlify"
        "Unlink, then make a new link.";
    LinkDeaf "link_deaf" Netlify Permanent
        "The site does not clone by the link's key, or not from its repository"
        "Retry the link; one that was live, check: linkbroker sets the key again, unless its policy is to report. If it stays so, report the request id to Netlify.";
    SiteDetached "site_detached" Caller NeedsAction
        "No repository is attached to the site any more"
        "If that was a mistake, check the link, then heal it: linkbroker attaches the repository again. Else unlink.";
    AccessMixed "access_mixed" Caller NeedsAction
        "The site reads the repository by Netlify's GitHub App instead of the link's deploy key, and Netlify ignores the webhook then"
        "Unlink, and make a new link: with `access.installation_id` to keep the app, or without `access` to use a deploy key and a webhook.";
    BranchNotAllowed "branch_not_allowed" Caller NeedsAction
        "The site does not build pushes to the link's branch"
        "Allow the branch in the site's settings on Netlify (branches and deploy contexts), or check the link and heal it; then retry the link.";
    BuildsStopped "builds_stopped" Caller NeedsAction
        "Builds are stopped for the site on Netlify"
        "Activate builds in the site's settings on Netlify, or check the link and heal it; then retry the link.";
    BuildNotStarted "build_not_started" Netlify NeedsAction
        "Netlify started no build for the linked repository"
        "Check that builds are not stopped and that the team can build, then retry the link.";
    AccountCannotBuild "account_cannot_build" Owner NeedsAction
        "The Netlify team cannot build: its credits or build minutes are used up, or the account or site is disabled"
        "Add credits, wait for the next period or have the account enabled, then retry the link.";
    CloneDenied "clone_denied" Provider NeedsAction
        "Netlify could not clone: the repository did not accept the deploy key"
        "The evidence says what was seen of the key, the repository and the branch. Retry the link: linkbroker looks at the key, puts it back where it is missing and builds again.";
    HostKeyFailed "host_key_failed" Provider NeedsAction
        "Netlify could not clone: the site has no deploy key"
        "Retry the link: linkbroker sets the key again and builds.";
    RefMissing "ref_missing" Caller NeedsAction
        "The branch that Netlify tried to build does not exist or cannot be read"
        "Push the branch, then retry the link; or make a new link that names another one.";
    SubmoduleDenied "submodule_denied" Caller NeedsAction
        "Netlify may not read a submodule of the repository"
        "Give the site's deploy key access to the submodule's repository and name it by its SSH address in `.gitmodules`, or bring its files into the repository; then push.";
    SubmoduleBroken "submodule_broken" Caller NeedsAction
        "A submodule of the repository cannot be checked out: its address or its commit does not exist"
        "Mend `.gitmodules` or the recorded commit (`git submodule status` shows both), then push.";
    GitHostUnreachable "git_host_unreachable" Provider NeedsAction
        "Netlify could not reach the git host"
        "Retry the link once. If it stays so, see whether the host can be reached from the internet: Netlify clones from outside.";
    DependencyInstallFailed "dependency_install_failed" Caller NeedsAction
        "Installing the dependencies failed"
        "Mend the lock file or the versions, then push.";
    BuildCommandFailed "build_command_failed" Caller NeedsAction
        "The build command failed"
        "Mend the build (the log's end is in the diagnosis), then push.";
    CommandMissing "command_missing" Caller NeedsAction
        "The build calls a program that is not there"
        "Add the program to the dependencies, or mend the build command; then push.";
    BuildPluginFailed "build_plugin_failed" Caller NeedsAction
        "A build plugin or extension failed"
        "Pin, mend or remove the plugin that the log names, then push.";
    FunctionsInvalid "functions_invalid" Caller NeedsAction
        "The site's functions cannot be bundled"
        "Mend the functions, or their folder in `netlify.toml`, then push.";
    PublishDirMissing "publish_dir_missing" Caller NeedsAction
        "The publish directory does not exist after the build"
        "Have the build write there, or set `publish` in `netlify.toml`, which wins over the link; then push. Or make a new link with another `build.publish`.";
    BaseDirMissing "base_dir_missing" Caller NeedsAction
        "The base directory does not exist in the repository"
        "Add the folder, or mend `base` in `netlify.toml`, then push. Or make a new link with another `build.base`.";
    BuildConfigInvalid "build_config_invalid" Caller NeedsAction
        "Netlify cannot read the build configuration"
        "Mend `netlify.toml`, then push.";
    SecretsDetected "secrets_detected" Caller NeedsAction
        "Netlify found secret values in the build's output"
        "Remove and rotate the secret, then push.";
    BuildTimeout "build_timeout" Caller NeedsAction
        "The build ran longer than the team's limit"
        "Make the build faster, or have the limit raised at Netlify; then push.";
    BuildStuck "build_stuck" Owner NeedsAction
        "The build waited too long for a free slot"
        "Wait for the team's other builds, or have the plan's number of concurrent builds raised; then retry the link.";
    BuildCanceled "build_canceled" Caller NeedsAction
        "Somebody canceled the build"
        "Retry the link to build again.";
    BuildCanceledByPlugin "build_canceled_by_plugin" Caller NeedsAction
        "A build plugin canceled the build"
        "Mend or remove the plugin that the log names, then push.";
    BuildSkipped "build_skipped" Caller NeedsAction
        "Netlify skipped the build"
        "The detail says why: push a commit without a skip mark, then retry the link.";
    BuildBlocked "build_blocked" Owner NeedsAction
        "Netlify blocks builds by contributors that it does not know"
        "Link the pusher's git account to a member of the Netlify team, or change the plan, then retry the link.";
    BuildInReview "build_in_review" Owner NeedsAction
        "The build waits for somebody's approval on Netlify, or was rejected there"
        "Approve the deploy request on Netlify, then retry the link.";
    BuildSystemFailed "build_system_failed" Netlify Transient
        "Netlify's build system failed"
        "Retry the link; if it stays so, ask Netlify's support.";
    BuildFailedUnknown "build_failed_unknown" Caller NeedsAction
        "The build failed for a reason that is not in the catalogue"
        "Read the evidence, mend the cause, then push or retry the link.";
    KeyToBePlaced "key_to_be_placed" Caller NeedsAction
        "A person must put the deploy key in place"
        "Do what `action` says; where linkbroker cannot see it done, retry the link then.";
    WebhookToBePlaced "webhook_to_be_placed" Caller NeedsAction
        "A person must put the webhook in place"
        "Do what `action` says, then push a commit: the build that it starts shows that the webhook works. Or retry the link.";
    PushAwaited "push_awaited" Caller NeedsAction
        "The site is up; only a push can show that pushes build it"
        "Push a commit to the branch: the link goes on when it sees the build. Links made with `verify: build` do not wait for it.";
    InstallationNotGranted "installation_not_granted" Broker NeedsAction
        "The operator has not granted the tenant this installation of Netlify's GitHub App"
        "Ask the operator for a grant of the installation for this repository and team, or make a new link with `access` left out.";
    InstallationNotUsable "installation_not_usable" Caller NeedsAction
        "The installation is none of Netlify's GitHub App on the repository's owner, or it is suspended"
        "Use the number that ends the address of the app's settings page at the owner, and lift a suspension; then retry the link.";
    InstallationNotDelivering "installation_not_delivering" Netlify NeedsAction
        "Netlify accepted the installation, and builds nothing by it"
        "Add the repository to the Netlify app in the owner's settings (the evidence has the address) and retry the link; or unlink, and make a new link with `access` left out: a deploy key and a webhook.";
    PushUnverified "push_unverified" Provider NeedsAction
        "A push did not start a build, and nothing that can be seen explains why"
        "The evidence says what was looked at. Push a commit; if no build comes of it, retry the link and then ask Netlify with the site and the time of the push.";
    Drifted "drifted" Caller NeedsAction
        "Something is other than the link left it"
        "See `drift`: `POST /links/{id}/heal` puts back what can be put back; what cannot is yours to mend. The link is live again when nothing differs any more.";
    RateLimited "rate_limited" Broker Transient
        "The upstream's rate limit is used up"
        "Nothing: the link goes on when the limit is reset.";
    UpstreamUnavailable "upstream_unavailable" Broker Transient
        "The upstream did not answer, or answered with an error of its own"
        "Nothing at first: linkbroker tries again. If it lasts, see the upstream's status page and retry the link.";
    UpstreamContractChanged "upstream_contract_changed" Broker Permanent
        "The upstream's answer does not look as its API description says"
        "Report it with the request id: linkbroker needs an update.";
    RequestRefused "request_refused" Broker Permanent
        "The upstream refused a request as invalid"
        "The detail says what it objects to; report it if the link's fields are right.";
    WorkerDied "worker_died" Broker Permanent
        "The worker died several times while it worked on this link"
        "Look for a crash in the service's log, then retry the link.";
    Internal "internal" Broker Permanent
        "linkbroker met a state that it does not know how to go on from"
        "Report it with the link's id.";
}

impl FailureCode {
    /// Whether a retry can help once the cause is mended. Otherwise another link, or another linkbroker, is what is needed.
    pub const fn is_retryable(self) -> bool {
        !matches!(
            self,
            Self::SiteNameTaken
                | Self::SiteLinkedElsewhere
                | Self::SiteGone
                | Self::AccessMixed
                | Self::UpstreamContractChanged
                | Self::RequestRefused
                | Self::Internal
        )
    }

    /// Whether linkbroker can mend it by itself, without changing what a person may have wanted so.
    pub const fn is_healable(self) -> bool {
        matches!(
            self,
            Self::RepositoryMoved
                | Self::KeyMissing
                | Self::HostKeyFailed
                | Self::LinkDeaf
                | Self::WebhookMissing
                | Self::WebhookDisabled
                | Self::WebhookUrlMismatch
                | Self::WebhookMisconfigured
        )
    }
}

impl std::fmt::Display for FailureCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
