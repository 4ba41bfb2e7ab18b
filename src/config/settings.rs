//! Every setting as a flag and an environment variable, with its default and its help.
//!
//! A flag that is hidden because its value is a secret is for the environment alone: the command line
//! refuses it. The values are texts here, so that [`Config::from_args`](super::Config::from_args) can tell all
//! that is wrong at once. An empty text counts as not set.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use secrecy::SecretString;

/// A path that, unlike clap's own, may be empty: not set.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Everything that `linkbroker serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub quotas: QuotaArgs,
    #[command(flatten)]
    pub upstreams: UpstreamArgs,
    #[command(flatten)]
    pub workers: WorkerArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

/// Where the server is reached and what it does.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address and port to listen on.
    #[arg(long, env = "LINKBROKER_LISTEN", default_value = super::LISTEN)]
    pub listen: String,

    /// Address at which Netlify reaches this server for build notifications, e.g. https://links.example.com. Without it builds are polled.
    #[arg(long, env = "LINKBROKER_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,

    /// Origins of web pages that may call from a browser, e.g. https://portal.example.com; separated by commas. None when not set.
    #[arg(long, env = "LINKBROKER_CORS_ORIGINS", value_name = "ORIGINS")]
    pub cors_origins: Option<String>,

    /// Which parts run in this process: `api`, `worker` or `all`.
    #[arg(long, env = "LINKBROKER_ROLE", default_value = "all")]
    pub role: String,

    /// Developer mode: loopback only, own token issuer and key ring; `linkbroker token` mints a token for it. A flag only, so that no environment switches it on by accident.
    #[arg(long)]
    pub dev: bool,
}

/// Where the links are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// Postgres to use, e.g. postgres://user:password@host/linkbroker. Without it the server starts a Postgres of its own in the data folder.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<SecretString>,

    /// Folder with the programs `initdb` and `postgres`, for the server's own Postgres; looked for when not set.
    #[arg(long, env = "LINKBROKER_PG_BIN", value_name = "DIR", value_parser = path())]
    pub pg_bin: Option<PathBuf>,
}

/// The database, for commands that work on it beside the server.
#[derive(Debug, Clone, Args)]
pub struct StoreArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub data: DataArgs,
}

/// Where the server keeps what is not in a database.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Folder of the server's own Postgres and of the developer mode's keys. Not set: `.linkbroker` here when it exists or this is linkbroker's source, else `linkbroker` in the user's data folder.
    #[arg(long, env = "LINKBROKER_DATA_DIR", value_name = "DIR", value_parser = path())]
    pub data_dir: Option<PathBuf>,
}

/// Who may call, and how secrets are kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub struct TrustArgs {
    /// TOML file of the issuers whose tokens are accepted: [[issuer]] with issuer, audience, jwks_url or jwks_file (neither: OpenID Connect discovery), algorithms, tenant_claim, scope_claim.
    #[arg(long, env = "LINKBROKER_ISSUERS", value_name = "FILE", value_parser = path())]
    pub issuers: Option<PathBuf>,

    /// Accept API keys, which `linkbroker api-keys` makes: `on` or `off`. With it, LINKBROKER_ISSUERS may be left out.
    #[arg(
        long,
        env = "LINKBROKER_API_KEYS",
        value_name = "SWITCH",
        default_value = "off"
    )]
    pub api_keys: String,

    /// TOML file of what tenants may do with credentials that are not their own: [[grant]] with tenant, installation_id, repositories, team. Without it nobody may link by an installation of Netlify's GitHub App.
    #[arg(long, env = "LINKBROKER_GRANTS", value_name = "FILE", value_parser = path())]
    pub grants: Option<PathBuf>,

    #[command(flatten)]
    pub keys: KeyRingArgs,
}

/// The master keys, for the server and for the commands that work with them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Trust")]
pub struct KeyRingArgs {
    /// Master keys that protect stored credentials, `id:base64` separated by commas; the first one is used for new secrets. `linkbroker keys new` makes one.
    #[arg(
        long,
        env = "LINKBROKER_KEYRING",
        value_name = "KEYS",
        hide_env_values = true
    )]
    pub keyring: Option<SecretString>,

    /// File that holds the master keys instead, one in a line.
    #[arg(long, env = "LINKBROKER_KEYRING_FILE", value_name = "FILE", value_parser = path())]
    pub keyring_file: Option<PathBuf>,
}

/// How much one tenant may do. 0: as much as it likes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Quotas")]
pub struct QuotaArgs {
    /// Requests a minute of one tenant, by each server process on its own; 0 for no limit.
    #[arg(long, env = "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", value_name = "COUNT", default_value_t = super::QUOTA_REQUESTS_PER_MINUTE.to_string())]
    pub quota_requests_per_minute: String,

    /// Links and preflights that one tenant may ask for in a minute, by each server process on its own; 0 for no limit.
    #[arg(long, env = "LINKBROKER_QUOTA_LINKS_PER_MINUTE", value_name = "COUNT", default_value_t = super::QUOTA_LINKS_PER_MINUTE.to_string())]
    pub quota_links_per_minute: String,

    /// Links of one tenant that may be set up, built or taken back at the same time, over all processes; 0 for no limit.
    #[arg(long, env = "LINKBROKER_QUOTA_LINKS_IN_FLIGHT", value_name = "COUNT", default_value_t = super::QUOTA_LINKS_IN_FLIGHT.to_string())]
    pub quota_links_in_flight: String,

    /// Requests and streams of one tenant that may wait for news at the same time, by each server process on its own; 0 for no limit.
    #[arg(long, env = "LINKBROKER_QUOTA_WAITING_READERS", value_name = "COUNT", default_value_t = super::QUOTA_WAITING_READERS.to_string())]
    pub quota_waiting_readers: String,
}

/// Which upstreams there are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Upstreams")]
pub struct UpstreamArgs {
    /// Netlify's API; `/api/v1` is added to an address without a path.
    #[arg(long, env = "LINKBROKER_NETLIFY_URL", value_name = "URL", default_value = super::instance::BUILT_IN[0].api)]
    pub netlify_url: String,

    /// API of github.com.
    #[arg(long, env = "LINKBROKER_GITHUB_URL", value_name = "URL", default_value = super::instance::BUILT_IN[1].api)]
    pub github_url: String,

    /// API of gitlab.com.
    #[arg(long, env = "LINKBROKER_GITLAB_URL", value_name = "URL", default_value = super::instance::BUILT_IN[2].api)]
    pub gitlab_url: String,

    /// API of bitbucket.org.
    #[arg(long, env = "LINKBROKER_BITBUCKET_URL", value_name = "URL", default_value = super::instance::BUILT_IN[3].api)]
    pub bitbucket_url: String,

    /// API of dev.azure.com.
    #[arg(long, env = "LINKBROKER_AZURE_DEVOPS_URL", value_name = "URL", default_value = super::instance::BUILT_IN[4].api)]
    pub azure_devops_url: String,

    /// Whether SSH keys are placed at Azure DevOps by calls that Microsoft does not describe and may change: `on` or `off`. The credential has to be a full-scope token of the account that gets the keys. With `off` a person places each key, unless a standing key is granted.
    #[arg(
        long,
        env = "LINKBROKER_AZURE_DEVOPS_PLACE_KEYS",
        value_name = "SWITCH",
        default_value = "off"
    )]
    pub azure_devops_place_keys: String,

    /// TOML file of more git providers: [[provider]] with kind (github, gitlab, gitea, manual), host, api, ssh_host, private_network, ca_file. Also of keys that stand on service accounts at Azure DevOps: [[standing_key]] with organisation, deploy_key_id (Netlify's), expires_at, tenants.
    #[arg(long, env = "LINKBROKER_PROVIDERS", value_name = "FILE", value_parser = path())]
    pub providers: Option<PathBuf>,
}

/// How the workers work.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workers")]
pub struct WorkerArgs {
    /// Links worked on at once by this process (1 to 10000).
    #[arg(long, env = "LINKBROKER_WORKERS_IN_FLIGHT", value_name = "COUNT", default_value_t = super::WORKERS_IN_FLIGHT.to_string())]
    pub workers_in_flight: String,

    /// Seconds after which the links of a worker that died are taken over (3 to 600).
    #[arg(long, env = "LINKBROKER_LEASE_SECONDS", value_name = "SECONDS", default_value_t = super::LEASE_SECONDS.to_string())]
    pub lease_seconds: String,

    /// First pause between two looks at a running build, in milliseconds (10 to 600000).
    #[arg(long, env = "LINKBROKER_WATCH_MIN_MS", value_name = "MS", default_value_t = super::WATCH_MIN_MS.to_string())]
    pub watch_min_ms: String,

    /// Longest pause between two looks at a running build, in milliseconds (10 to 600000).
    #[arg(long, env = "LINKBROKER_WATCH_MAX_MS", value_name = "MS", default_value_t = super::WATCH_MAX_MS.to_string())]
    pub watch_max_ms: String,

    /// How the first build starts: `attach` (Netlify starts it when the repository is attached).
    #[arg(
        long,
        env = "LINKBROKER_FIRST_BUILD",
        value_name = "HOW",
        default_value = "attach"
    )]
    pub first_build: String,

    /// Seconds that a push may take to start a build (1 to 3600): a replayed one, or with an installation of Netlify's GitHub App somebody's.
    #[arg(long, env = "LINKBROKER_PROOF_SECONDS", value_name = "SECONDS", default_value_t = super::PROOF_SECONDS.to_string())]
    pub proof_seconds: String,

    /// Seconds that running work may take to end when the server is told to stop (0 to 600).
    #[arg(long, env = "LINKBROKER_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = super::DRAIN_SECONDS.to_string())]
    pub drain_seconds: String,

    /// Seconds that a call to an upstream may take, from connecting to the last byte (1 to 120).
    #[arg(long, env = "LINKBROKER_CALL_TIMEOUT_SECONDS", value_name = "SECONDS", default_value_t = super::CALL_TIMEOUT_SECONDS.to_string())]
    pub call_timeout_seconds: String,

    /// First pause before a failed step is tried again, in milliseconds (10 to 60000); it doubles each time.
    #[arg(long, env = "LINKBROKER_RETRY_BASE_MS", value_name = "MS", default_value_t = super::RETRY_BASE_MS.to_string())]
    pub retry_base_ms: String,

    /// Longest pause before a failed step is tried again, in seconds (1 to 86400).
    #[arg(long, env = "LINKBROKER_RETRY_MAX_SECONDS", value_name = "SECONDS", default_value_t = super::RETRY_MAX_SECONDS.to_string())]
    pub retry_max_seconds: String,

    /// Times that a step is tried before its link fails (1 to 100).
    #[arg(long, env = "LINKBROKER_RETRY_ATTEMPTS", value_name = "COUNT", default_value_t = super::RETRY_ATTEMPTS.to_string())]
    pub retry_attempts: String,
}

/// How the log looks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace) or filter, e.g. info,linkbroker::worker=debug.
    #[arg(long, env = "LINKBROKER_LOG", value_name = "FILTER", default_value = super::LOG)]
    pub log: String,

    /// `human` or `json`. Not set: human on a terminal, else json.
    #[arg(long, env = "LINKBROKER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// How the commands for people reach a service.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Service")]
pub struct ClientArgs {
    /// Address of the service that the commands for people talk to.
    #[arg(long, env = "LINKBROKER_URL", value_name = "URL", default_value = super::SERVICE_URL)]
    pub url: String,

    /// Access token for the service; read from the environment only, because shells keep what is typed.
    #[arg(
        long,
        env = "LINKBROKER_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub token: Option<SecretString>,

    /// File that holds the access token, in place of LINKBROKER_TOKEN. With neither, a service on this machine and the data folder of its developer mode, a token is made on the spot.
    #[arg(long, env = "LINKBROKER_TOKEN_FILE", value_name = "FILE", value_parser = path())]
    pub access_token_file: Option<PathBuf>,
}

/// The token that `linkbroker connect netlify` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct NetlifyTokenArgs {
    /// Token that `linkbroker connect netlify` hands to the service; read from the environment only.
    #[arg(
        long,
        env = "NETLIFY_AUTH_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub netlify_auth_token: Option<SecretString>,
}

/// The token that `linkbroker connect github` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct GithubTokenArgs {
    /// Token that `linkbroker connect github` hands to the service; read from the environment only.
    #[arg(
        long,
        env = "GITHUB_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub github_token: Option<SecretString>,
}

/// The token that `linkbroker connect gitlab` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct GitlabTokenArgs {
    /// Token that `linkbroker connect gitlab` hands to the service; read from the environment only.
    #[arg(
        long,
        env = "GITLAB_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub gitlab_token: Option<SecretString>,
}

/// The token that `linkbroker connect gitea` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct GiteaTokenArgs {
    /// Token that `linkbroker connect gitea` hands to the service; read from the environment only.
    #[arg(
        long,
        env = "GITEA_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub gitea_token: Option<SecretString>,
}

/// The token that `linkbroker connect bitbucket` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct BitbucketTokenArgs {
    /// Token that `linkbroker connect bitbucket` hands to the service; read from the environment only.
    #[arg(
        long,
        env = "BITBUCKET_TOKEN",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub bitbucket_token: Option<SecretString>,
}

/// The token that `linkbroker connect azure-devops` takes from the environment.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connect")]
pub struct AzureDevopsTokenArgs {
    /// Token that `linkbroker connect azure-devops` hands to the service; read from the environment only. The Azure command line uses the same variable.
    #[arg(
        long,
        env = "AZURE_DEVOPS_EXT_PAT",
        hide = true,
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    pub azure_devops_ext_pat: Option<SecretString>,
}
