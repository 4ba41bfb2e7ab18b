//! What can be turned about Netlify; defaults follow the best-attested behaviour at instant speed.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Attaching a repository with `stop_builds: true` starts no build. Unproven against the vendor; `false` is the other world.
    pub stop_builds_honoured: bool,
    /// A site attached without the provider's repository id ignores webhooks (open-api #143). `false`: matched by path.
    pub deaf_without_id: bool,
    /// Pushes to the production branch are ignored when the list of allowed branches lacks it. A hypothesis.
    pub allowed_branches_bind_production: bool,
    /// Attaching starts two builds, as when the repository is PATCHed twice or a ping counts as a push.
    pub second_build_on_attach: bool,
    /// Attaching with an `installation_id` that covers the repository sets everything up. Off: it is accepted, and nothing happens.
    pub installations_set_up: bool,
    /// GitHub's app tells Netlify about pushes. Off: the first build works, pushes do nothing.
    pub installations_deliver: bool,
    /// PATCHing only `build_settings` also starts a build. Nobody reports that it does.
    pub build_on_settings_patch: bool,
    /// A newer push marks builds of the same branch that still wait as `Skipped`.
    pub skip_superseded: bool,
    /// Cancelling answers 201 (older description) instead of 200 (newer one).
    pub cancel_answers_201: bool,
    /// A cancelled deploy shows `prepared` with `Canceled build`, as was seen, instead of `error`.
    pub canceled_shown_as_prepared: bool,
    /// 401 is text/plain instead of JSON.
    pub text_401: bool,
    /// The newest so many seconds (of the sandbox's clock) are missing in lists of sites, keys, builds, deploys and hooks.
    pub list_lag_seconds: u64,
    /// How long a build hides its deploy id after an attach.
    pub deploy_id_delay_ms: u64,
    /// Requests a minute and token before 429.
    pub rate_limit_per_minute: u32,
    /// The account's credits are gone: build starts answer 404, builds that start by themselves are skipped, and the account
    /// names the limit.
    pub credits_exhausted: bool,
    /// Pushes to private repositories are refused as coming from an unrecognised contributor.
    pub unrecognized_contributor: bool,
    /// Notification URLs on loopback or private addresses are refused, as the vendor does. Off, because a sandbox runs there.
    pub refuse_private_notification_urls: bool,
    /// Consecutive failed deliveries after which a notification is disabled.
    pub notification_failures_allowed: u32,
    /// Builds of one account that run at the same time; read when the account's first build starts.
    pub concurrent_builds: usize,
    /// Builds look whether they could clone and run nothing: they take their times and publish a page that says so. For a great
    /// many of them.
    pub pretend_builds: bool,
    /// Deploy keys are chance and no pairs, at no cost. With pretended builds, which clone nothing with them.
    pub pretend_keys: bool,
    /// Deploy keys made ahead; RSA generation takes long.
    pub key_stock: usize,
    /// What `GET /user` and `GET /accounts` say of everybody. Nothing else heeds it.
    pub shown: Shown,
    /// The plan allows no environment variables: writing them is 403.
    pub env_refused: bool,
    /// The plan allows variables that a team's sites share.
    pub env_shared_allowed: bool,
    /// The plan allows choosing scopes.
    pub env_scopes_allowed: bool,
    /// A list of new variables of which one exists already: the others are made before the 409. Unproven; else all or none.
    pub env_create_is_partial: bool,
    pub times: BuildTimes,
}

/// What Netlify says of people and teams.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shown {
    /// Name of every team's plan (`type_name`; in lower case `type_slug`).
    pub plan: String,
    /// What everybody is in every team.
    pub role: String,
    /// `capabilities.private_corp_repos.in_compliance`.
    pub private_organisations: bool,
    /// Providers of which everybody has connected an account.
    pub connected: Vec<String>,
    /// Build minutes of this period that are used, of 300.
    pub minutes: u32,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            plan: "Pro".to_owned(),
            role: "Owner".to_owned(),
            private_organisations: true,
            connected: vec!["github".to_owned()],
            minutes: 0,
        }
    }
}

/// How long a build stays in its states, on top of real work.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildTimes {
    /// In `new` before `enqueued`.
    pub new_ms: u64,
    /// At least so long in `building`.
    pub building_ms: u64,
    /// In each of `uploading`, `uploaded`, `prepared` and `processing`.
    pub publishing_ms: u64,
    /// Limit for the build command.
    pub command_limit_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            stop_builds_honoured: true,
            deaf_without_id: true,
            allowed_branches_bind_production: false,
            second_build_on_attach: false,
            installations_set_up: true,
            installations_deliver: true,
            build_on_settings_patch: false,
            skip_superseded: false,
            cancel_answers_201: false,
            canceled_shown_as_prepared: false,
            text_401: false,
            list_lag_seconds: 0,
            deploy_id_delay_ms: 100,
            rate_limit_per_minute: 500,
            credits_exhausted: false,
            unrecognized_contributor: false,
            refuse_private_notification_urls: false,
            notification_failures_allowed: 6,
            concurrent_builds: 1,
            pretend_builds: false,
            pretend_keys: false,
            key_stock: 2,
            shown: Shown::default(),
            env_refused: false,
            env_shared_allowed: true,
            env_scopes_allowed: false,
            env_create_is_partial: false,
            times: BuildTimes::default(),
        }
    }
}

impl Default for BuildTimes {
    fn default() -> Self {
        Self {
            new_ms: 20,
            building_ms: 100,
            publishing_ms: 20,
            command_limit_ms: 60_000,
        }
    }
}
