//! The failure catalogue: every way a link can fail, whose fault it is, and what to do about it.
//!
//! A [`Failure`] is stored with the step that met it and shown to callers, so it must never hold
//! an upstream's body or a secret; `detail` is one sentence that we wrote.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::action::Action;

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
}

impl Fault {
    /// The text form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Provider => "provider",
            Self::Netlify => "netlify",
            Self::Broker => "broker",
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
    /// A failure that no upstream call stands behind.
    pub fn new(code: FailureCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
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
        "Unlink; if the new repository is the one that you mean, make a new link for it.";
    RepositoryArchived "repository_archived" Caller Permanent
        "The repository is archived and therefore read-only"
        "Unarchive the repository at the provider, then retry the link.";
    RepositoryEmpty "repository_empty" Caller Permanent
        "The repository has no commits"
        "Push a first commit, then retry the link.";
    BranchMissing "branch_missing" Caller Permanent
        "The branch does not exist in the repository"
        "Create the branch or make a new link that names an existing one.";
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
        "Replace the credential of the connection named in the detail, then retry the link.";
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
        "Deploy keys are disabled for the repository"
        "Allow deploy keys in the organisation's or repository's settings, then retry the link.";
    KeyInUseElsewhere "key_in_use_elsewhere" Provider Permanent
        "The provider says that the deploy key is in use elsewhere, also after a fresh one was made"
        "Remove the key from the other repository or profile, then retry the link.";
    KeyInProfileNotProject "key_in_profile_not_project" Caller NeedsAction
        "The deploy key is in a person's profile instead of on the repository"
        "Remove the key from the profile's SSH keys, then retry the link: linkbroker puts it on the repository.";
    KeyRefused "key_refused" Provider Permanent
        "The provider does not accept the deploy key"
        "Check the provider's rules on key types and lengths: Netlify makes RSA keys of 2048 bits.";
    StandingKeyUnusable "standing_key_unusable" Broker NeedsAction
        "The standing key that the operator configured cannot be used"
        "Ask the operator: the key must exist at Netlify and belong to the user of the link's Netlify connection.";
    WebhookLimitReached "webhook_limit_reached" Provider NeedsAction
        "The repository has no room for another webhook"
        "Remove a webhook that is no longer needed, then retry the link.";
    WebhookRefused "webhook_refused" Provider Permanent
        "The provider does not accept the webhook"
        "The detail says what the provider objects to.";
    SiteLinkedElsewhere "site_linked_elsewhere" Caller Permanent
        "Another repository is attached to the site"
        "Name another site; or ask for `site.relink`, which takes it from that repository: Netlify deletes the site's deploy key, build hooks and notifications then.";
    SiteInUse "site_in_use" Caller NeedsAction
        "Another link leans on the site"
        "Unlink that one with `keep_site`, then retry this link; or make a link to another site.";
    SiteNameTaken "site_name_taken" Caller Permanent
        "The site name is taken by somebody else on Netlify"
        "Make a new link with another site name.";
    TeamNotFound "team_not_found" Caller Permanent
        "The Netlify team does not exist, or the credential is not a member of it"
        "Name a team that the Netlify credential belongs to.";
    NetlifyForbidden "netlify_forbidden" Netlify NeedsAction
        "Netlify does not allow this for the team or its plan"
        "The detail carries Netlify's reason: change the plan or the role, then retry the link.";
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
        "Netlify accepted the site but did not keep the repository's key or identity"
        "Retry the link; if it stays so, report the request id to Netlify.";
    BuildNotStarted "build_not_started" Netlify NeedsAction
        "Netlify started no build for the linked repository"
        "Check that builds are not stopped and that the team can build, then retry the link.";
    AccountCannotBuild "account_cannot_build" Netlify NeedsAction
        "The Netlify team cannot build: credits are used up or the account is disabled"
        "Add credits or enable the account, then retry the link.";
    CloneDenied "clone_denied" Provider NeedsAction
        "Netlify could not clone: the repository does not know the deploy key"
        "Retry the link: linkbroker puts the key back and builds again.";
    HostKeyFailed "host_key_failed" Provider NeedsAction
        "Netlify could not clone: the site has no deploy key"
        "Retry the link: linkbroker sets the key again and builds.";
    RefMissing "ref_missing" Caller NeedsAction
        "The branch that Netlify tried to build does not exist or cannot be read"
        "Push the branch, then retry the link.";
    SubmoduleDenied "submodule_denied" Caller NeedsAction
        "A submodule could not be checked out"
        "Give the deploy key access to the submodule or vendor it, then push.";
    DependencyInstallFailed "dependency_install_failed" Caller NeedsAction
        "Installing the dependencies failed"
        "Mend the lock file or the versions, then push.";
    BuildCommandFailed "build_command_failed" Caller NeedsAction
        "The build command failed"
        "Mend the build (the log's end is in the diagnosis), then push.";
    BuildPluginFailed "build_plugin_failed" Caller NeedsAction
        "A build plugin or extension failed"
        "Pin, mend or remove the plugin that the log names, then push.";
    FunctionsInvalid "functions_invalid" Caller NeedsAction
        "The site's functions cannot be bundled"
        "Mend the functions or `build.functions`, then push.";
    PublishDirMissing "publish_dir_missing" Caller NeedsAction
        "The publish directory does not exist after the build"
        "Set `build.publish` to the folder that the build writes, or mend `netlify.toml`.";
    BaseDirMissing "base_dir_missing" Caller NeedsAction
        "The base directory does not exist in the repository"
        "Set `build.base` to a folder of the repository.";
    BuildConfigInvalid "build_config_invalid" Caller NeedsAction
        "Netlify cannot read the build configuration"
        "Mend `netlify.toml`, then push.";
    SecretsDetected "secrets_detected" Caller NeedsAction
        "Netlify found secret values in the build's output"
        "Remove and rotate the secret, then push.";
    BuildTimeout "build_timeout" Caller NeedsAction
        "The build ran longer than the team's limit"
        "Make the build faster or raise the limit.";
    BuildCanceled "build_canceled" Caller NeedsAction
        "Somebody canceled the build"
        "Retry the link to build again.";
    BuildSkipped "build_skipped" Caller NeedsAction
        "Netlify skipped the build"
        "The detail says why: push a commit without a skip mark, then retry the link.";
    BuildBlocked "build_blocked" Netlify NeedsAction
        "Netlify blocks builds by contributors that it does not know"
        "Link the pusher's git account to a member of the Netlify team, or change the plan, then retry the link.";
    BuildInReview "build_in_review" Netlify NeedsAction
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
        "A replayed push did not start a build"
        "The evidence says how the provider's delivery ended; check the webhook, then retry the link.";
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

impl std::fmt::Display for FailureCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
