//! Every setting, its default and its limits; nothing else reads the environment.

mod grants;
mod instance;
mod issuer;
mod problems;
mod reference;
mod settings;
mod standing_keys;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::PgConnectOptions;
use tracing_subscriber::EnvFilter;
use url::Url;

pub use instance::{is_loopback, is_trustworthy};
pub use issuer::{Issuer, KeySource};
pub use problems::{ConfigError, ConfigProblem};
pub use reference::{SettingDoc, env_file, reference};
pub use settings::{
    AzureDevopsTokenArgs, BitbucketTokenArgs, ClientArgs, DataArgs, DatabaseArgs, GiteaTokenArgs,
    GithubTokenArgs, GitlabTokenArgs, KeyRingArgs, LogArgs, NetlifyTokenArgs, QuotaArgs, ServeArgs,
    ServerArgs, StoreArgs, TrustArgs, UpstreamArgs, WorkerArgs, path,
};

use grants::read_grants;
use instance::{BUILT_IN, PLACE_KEYS, api_address, read_providers};
use issuer::{ISSUERS, read_issuers};
use problems::{Complaint, Problems};

use crate::link::grant::Grants;
use crate::upstream::{Instance, UpstreamKind};
use crate::vault::KeyRing;

/// Where the commands for people look for the service: where it listens by default.
pub const SERVICE_URL: &str = "http://127.0.0.1:8080";
const LISTEN: &str = "127.0.0.1:8080";
const LOG: &str = "info";
const QUOTA_REQUESTS_PER_MINUTE: u32 = 12_000;
const QUOTA_LINKS_PER_MINUTE: u32 = 1_000;
const QUOTA_LINKS_IN_FLIGHT: u32 = 5_000;
const QUOTA_WAITING_READERS: u32 = 10_000;
const WORKERS_IN_FLIGHT: usize = 64;
const LEASE_SECONDS: u64 = 15;
const WATCH_MIN_MS: u64 = 2_000;
const WATCH_MAX_MS: u64 = 15_000;
const PROOF_SECONDS: u64 = 60;
const DRAIN_SECONDS: u64 = 10;
const CALL_TIMEOUT_SECONDS: u64 = 20;
const RETRY_BASE_MS: u64 = 1_000;
const RETRY_MAX_SECONDS: u64 = 300;
const RETRY_ATTEMPTS: u32 = 8;

/// A configuration that has been checked as a whole.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which parts this process runs.
    pub role: Role,
    /// Developer mode: loopback only, own issuer and key ring (see [`crate::issuer`]).
    pub dev: bool,
    /// Where the API listens.
    pub listen: SocketAddr,
    /// Where Netlify reaches us, without a slash at the end of its path.
    pub public_url: Option<Url>,
    /// Web pages that may call from a browser, by their exact origin.
    pub cors_origins: Vec<String>,
    /// Which Postgres is used.
    pub database: Database,
    /// Folder for the server's own Postgres and the developer mode's keys; may not exist yet.
    pub data_dir: PathBuf,
    /// Whose tokens are accepted; empty in developer mode, in a process without the API, and when API keys are enough.
    pub issuers: Vec<Issuer>,
    /// Whether API keys are accepted.
    pub api_keys: bool,
    /// Protects stored credentials; `None` only in developer mode: see [`Config::key_ring`].
    pub key_ring: Option<KeyRing>,
    /// The file that the key ring was read from, if it was.
    pub key_ring_file: Option<PathBuf>,
    /// What tenants may do with credentials that are not their own.
    pub grants: Grants,
    /// How much one tenant may do.
    pub quotas: QuotaLimits,
    /// Netlify first, then the git providers. Hosts are unique.
    pub instances: Vec<Instance>,
    /// How the workers work.
    pub workers: Workers,
    /// How the log looks.
    pub log: Log,
}

/// Which parts of the service a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The HTTP API alone.
    Api,
    /// The workers alone.
    Worker,
    /// Both.
    All,
}

/// Which Postgres is used.
#[derive(Debug, Clone)]
pub enum Database {
    /// The operator's, by its address.
    Url(SecretString),
    /// One that the server starts itself, with programs from `pg_bin` when it is given.
    Embedded {
        /// Folder of `initdb` and `postgres`.
        pg_bin: Option<PathBuf>,
    },
}

/// How much one tenant may do; `None`: as much as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLimits {
    /// Requests a minute, per process.
    pub requests_per_minute: Option<NonZeroU32>,
    /// New links a minute, per process.
    pub links_per_minute: Option<NonZeroU32>,
    /// Links under way at the same time, over all processes.
    pub links_in_flight: Option<NonZeroU32>,
    /// Readers that wait at the same time, per process.
    pub waiting_readers: Option<NonZeroU32>,
}

/// How the workers work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workers {
    /// Links worked on at once by this process.
    pub in_flight: usize,
    /// How long a claimed link stays claimed without a sign of life.
    pub lease: Duration,
    /// First pause between two looks at a running build.
    pub watch_min: Duration,
    /// Longest pause between two looks at a running build.
    pub watch_max: Duration,
    /// How the first build starts.
    pub first_build: FirstBuild,
    /// How long a push may take to start a build.
    pub proof: Duration,
    /// How long running work may take to end at shutdown.
    pub drain: Duration,
    /// How long a call to an upstream may take.
    pub call_timeout: Duration,
    /// When a failed step is tried again.
    pub retry: Retry,
}

/// How the first build starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstBuild {
    /// Netlify starts it by itself when the repository is attached.
    Attach,
}

/// When a failed step is tried again: pauses double from `base` up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The first pause.
    pub base: Duration,
    /// The longest pause.
    pub max: Duration,
    /// Tries in all before the step has failed.
    pub attempts: u32,
}

/// How the log looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A valid filter in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// How a line is written.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For eyes.
    Human,
    /// One JSON object in a line.
    Json,
}

impl Config {
    /// Checks the settings as a whole and reads the files that they name.
    ///
    /// # Errors
    /// All problems at once.
    pub fn from_args(args: ServeArgs) -> Result<Self, ConfigError> {
        let mut problems = Problems::default();
        let dev = args.server.dev;
        let role = role(&args.server.role, &mut problems);
        let config = Self {
            role,
            dev,
            listen: listen(&args.server, &mut problems),
            public_url: public_url(&args.server, &mut problems),
            cors_origins: cors_origins(&args.server, &mut problems),
            database: database(args.database, &mut problems),
            data_dir: data_dir(&args.data),
            issuers: issuers(&args.trust, dev, role, &mut problems),
            api_keys: switch("LINKBROKER_API_KEYS", &args.trust.api_keys, &mut problems),
            key_ring: key_ring(&args.trust.keys, dev, &mut problems),
            key_ring_file: non_empty(args.trust.keys.keyring_file.as_deref()).map(Path::to_owned),
            grants: read_grants(non_empty(args.trust.grants.as_deref()), &mut problems),
            quotas: quotas(&args.quotas, &mut problems),
            instances: instances(&args.upstreams, &mut problems),
            workers: workers(&args.workers, &mut problems),
            log: log(&args.log, &mut problems),
        };
        problems.finish(config)
    }

    /// The key ring; in developer mode one that is made on first use and kept in the data folder.
    ///
    /// # Errors
    /// When the developer mode's key ring can be neither read nor made.
    pub fn key_ring(&self) -> anyhow::Result<KeyRing> {
        match &self.key_ring {
            Some(ring) => Ok(ring.clone()),
            None => KeyRing::load_or_create(&dev_key_ring(&self.data_dir)),
        }
    }
}

/// The file of the developer mode's key ring.
fn dev_key_ring(data_dir: &Path) -> PathBuf {
    data_dir.join("dev-keyring")
}

/// The database that a command is to work on, and the data folder.
///
/// # Errors
/// When the address is none.
pub fn store(args: StoreArgs) -> Result<(Database, PathBuf), ConfigError> {
    let mut problems = Problems::default();
    let database = database(args.database, &mut problems);
    problems.finish((database, data_dir(&args.data)))
}

/// The key ring that a command is to work with, and the file that it is in, if it is in one: the settings', else the
/// developer mode's in the data folder when there is one.
///
/// # Errors
/// When there is none, or it cannot be read.
pub fn stored_key_ring(
    args: &KeyRingArgs,
    data_dir: &Path,
) -> anyhow::Result<(KeyRing, Option<PathBuf>)> {
    let dev = dev_key_ring(data_dir);
    let mut problems = Problems::default();
    let ring = key_ring(args, dev.is_file(), &mut problems);
    match problems.finish(ring)? {
        Some(ring) => Ok((ring, args.keyring_file.clone())),
        None => Ok((KeyRing::load(&dev)?, Some(dev))),
    }
}

/// The folder for what is not in a database; `/var/lib/linkbroker` for a user without a home.
pub fn data_dir(args: &DataArgs) -> PathBuf {
    if let Some(dir) = non_empty(args.data_dir.as_deref()) {
        return dir.to_owned();
    }
    let here = Path::new(".linkbroker");
    if here.is_dir() || is_own_source() {
        return here.to_owned();
    }
    let from_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let user_data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let user_data = user_data.filter(|dir| dir.is_absolute()).or_else(from_home);
    user_data
        .unwrap_or_else(|| "/var/lib".into())
        .join("linkbroker")
}

/// A variable of this process's own environment that a person has named.
pub fn own_variable(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().map(Into::into)
}

fn is_own_source() -> bool {
    std::fs::read_to_string("Cargo.toml")
        .is_ok_and(|text| text.contains("\nname = \"linkbroker\"\n"))
}

fn role(text: &str, problems: &mut Problems) -> Role {
    match text {
        "api" => Role::Api,
        "worker" => Role::Worker,
        "" | "all" => Role::All,
        _ => {
            let problem = format!("`{text}` is not a role");
            problems.add("LINKBROKER_ROLE", problem, "Use `api`, `worker` or `all`.");
            Role::All
        }
    }
}

fn listen(args: &ServerArgs, problems: &mut Problems) -> SocketAddr {
    const SETTING: &str = "LINKBROKER_LISTEN";
    let text = if args.listen.is_empty() {
        LISTEN
    } else {
        &args.listen
    };
    let parsed = text.parse::<SocketAddr>().map_err(|_| {
        Complaint::new(
            format!("`{text}` is not an address with a port"),
            format!("Write it as {LISTEN} or [::1]:8080."),
        )
    });
    let address = problems.keep(SETTING, parsed);
    if args.dev && address.is_some_and(|address| !address.ip().is_loopback()) {
        problems.add(
            SETTING,
            format!("--dev serves this machine alone, and {text} can be reached by others"),
            format!("Listen on {LISTEN}, or set LINKBROKER_ISSUERS and LINKBROKER_KEYRING and leave out --dev."),
        );
    }
    address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)))
}

fn public_url(args: &ServerArgs, problems: &mut Problems) -> Option<Url> {
    let text = non_empty(args.public_url.as_deref())?;
    problems.keep("LINKBROKER_PUBLIC_URL", api_address(text))
}

fn cors_origins(args: &ServerArgs, problems: &mut Problems) -> Vec<String> {
    let listed = args.cors_origins.as_deref().unwrap_or_default().split(',');
    let listed = listed.map(str::trim).filter(|origin| !origin.is_empty());
    let checked = listed.filter_map(|text| {
        let origin = origin(text).ok_or_else(|| {
            Complaint::new(
                format!("`{text}` is not an origin"),
                "Write scheme, host and port alone, as browsers send it, e.g. https://portal.example.com. There is no wildcard.",
            )
        });
        problems.keep("LINKBROKER_CORS_ORIGINS", origin)
    });
    checked.collect()
}

/// The origin, if the text is nothing else.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    let origin = url.origin().ascii_serialization();
    (is_web && origin == text).then_some(origin)
}

fn database(args: DatabaseArgs, problems: &mut Problems) -> Database {
    match args.database_url {
        Some(url) if !url.expose_secret().is_empty() => {
            if !is_postgres_address(url.expose_secret()) {
                problems.add(
                    "DATABASE_URL",
                    "it is not a Postgres address",
                    "Write it as postgres://user:password@host:5432/database, or leave it out for a Postgres that the server starts itself.",
                );
            }
            Database::Url(url)
        }
        _ => Database::Embedded {
            pg_bin: args.pg_bin.filter(|dir| !dir.as_os_str().is_empty()),
        },
    }
}

/// Without the reason why not: the parser's own text may quote the address, password and all.
fn is_postgres_address(text: &str) -> bool {
    let has_scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
    has_scheme && text.parse::<PgConnectOptions>().is_ok()
}

fn issuers(args: &TrustArgs, dev: bool, role: Role, problems: &mut Problems) -> Vec<Issuer> {
    match non_empty(args.issuers.as_deref()) {
        Some(_) if dev => {
            problems.add(
                ISSUERS,
                "--dev has an issuer of its own",
                "Leave out --dev or LINKBROKER_ISSUERS.",
            );
            Vec::new()
        }
        Some(path) => read_issuers(path, problems),
        None if dev || role == Role::Worker || is_on(&args.api_keys) == Some(true) => Vec::new(),
        None => {
            problems.add(
                ISSUERS,
                "not set, so nobody could call the API",
                "Set it to a TOML file with an [[issuer]] section (issuer = \"https://…\", audience = \"linkbroker\"), or LINKBROKER_API_KEYS to `on` and make keys with `linkbroker api-keys`, or try things out with --dev.",
            );
            Vec::new()
        }
    }
}

fn is_on(text: &str) -> Option<bool> {
    match text {
        "on" | "1" | "true" | "yes" => Some(true),
        "" | "off" | "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

fn switch(setting: &str, text: &str, problems: &mut Problems) -> bool {
    is_on(text).unwrap_or_else(|| {
        let problem = format!("`{text}` is neither on nor off");
        problems.add(setting, problem, "Use `on` or `off`.");
        false
    })
}

fn key_ring(args: &KeyRingArgs, dev: bool, problems: &mut Problems) -> Option<KeyRing> {
    let keys = args.keyring.as_ref().map(|keys| keys.expose_secret());
    let remedy = "Run `linkbroker keys new` and set LINKBROKER_KEYRING to what it prints.";
    match (
        keys.filter(|keys| !keys.is_empty()),
        non_empty(args.keyring_file.as_deref()),
    ) {
        (Some(_), Some(_)) => {
            let problem = "LINKBROKER_KEYRING is set as well";
            problems.add("LINKBROKER_KEYRING_FILE", problem, "Keep one of them.");
            None
        }
        (Some(keys), None) => {
            let ring = KeyRing::parse(keys).map_err(|why| Complaint::new(why.to_string(), remedy));
            problems.keep("LINKBROKER_KEYRING", ring)
        }
        (None, Some(file)) => {
            let ring =
                KeyRing::load(file).map_err(|why| Complaint::new(format!("{why:#}"), remedy));
            problems.keep("LINKBROKER_KEYRING_FILE", ring)
        }
        (None, None) => {
            if !dev {
                let problem = "not set, so credentials could not be stored";
                problems.add("LINKBROKER_KEYRING", problem, remedy);
            }
            None
        }
    }
}

fn instances(args: &UpstreamArgs, problems: &mut Problems) -> Vec<Instance> {
    let addresses = [
        &args.netlify_url,
        &args.github_url,
        &args.gitlab_url,
        &args.bitbucket_url,
        &args.azure_devops_url,
    ];
    let mut instances = Vec::new();
    for (built_in, address) in BUILT_IN.iter().zip(addresses) {
        let address = if address.is_empty() {
            built_in.api
        } else {
            address
        };
        instances.extend(problems.keep(built_in.setting, built_in.at(address)));
    }
    if let Some(path) = non_empty(args.providers.as_deref()) {
        read_providers(path, &mut instances, problems);
    }
    let place_keys = switch(PLACE_KEYS, &args.azure_devops_place_keys, problems);
    for instance in &mut instances {
        instance.account_keys.by_internal_api =
            place_keys && instance.kind == UpstreamKind::AzureDevops;
    }
    instances
}

fn quotas(args: &QuotaArgs, problems: &mut Problems) -> QuotaLimits {
    let mut limit = |setting: &str, text: &str, default: u32| {
        NonZeroU32::new(problems.number(setting, text, default, 0..=10_000_000))
    };
    QuotaLimits {
        requests_per_minute: limit(
            "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
            &args.quota_requests_per_minute,
            QUOTA_REQUESTS_PER_MINUTE,
        ),
        links_per_minute: limit(
            "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
            &args.quota_links_per_minute,
            QUOTA_LINKS_PER_MINUTE,
        ),
        links_in_flight: limit(
            "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
            &args.quota_links_in_flight,
            QUOTA_LINKS_IN_FLIGHT,
        ),
        waiting_readers: limit(
            "LINKBROKER_QUOTA_WAITING_READERS",
            &args.quota_waiting_readers,
            QUOTA_WAITING_READERS,
        ),
    }
}

fn workers(args: &WorkerArgs, problems: &mut Problems) -> Workers {
    let mut number = |setting: &str, text: &str, default, limits| {
        problems.number(setting, text, default, limits)
    };
    let lease = number(
        "LINKBROKER_LEASE_SECONDS",
        &args.lease_seconds,
        LEASE_SECONDS,
        3..=600,
    );
    let watch_min = number(
        "LINKBROKER_WATCH_MIN_MS",
        &args.watch_min_ms,
        WATCH_MIN_MS,
        10..=600_000,
    );
    let watch_max = number(
        "LINKBROKER_WATCH_MAX_MS",
        &args.watch_max_ms,
        WATCH_MAX_MS,
        10..=600_000,
    );
    let proof = number(
        "LINKBROKER_PROOF_SECONDS",
        &args.proof_seconds,
        PROOF_SECONDS,
        1..=3_600,
    );
    let drain = number(
        "LINKBROKER_DRAIN_SECONDS",
        &args.drain_seconds,
        DRAIN_SECONDS,
        0..=600,
    );
    let call_timeout = number(
        "LINKBROKER_CALL_TIMEOUT_SECONDS",
        &args.call_timeout_seconds,
        CALL_TIMEOUT_SECONDS,
        1..=120,
    );
    if watch_min > watch_max {
        problems.add(
            "LINKBROKER_WATCH_MIN_MS",
            format!("the first pause ({watch_min} ms) is longer than the longest ({watch_max} ms)"),
            "Lower it, or raise LINKBROKER_WATCH_MAX_MS.",
        );
    }
    Workers {
        in_flight: problems.number(
            "LINKBROKER_WORKERS_IN_FLIGHT",
            &args.workers_in_flight,
            WORKERS_IN_FLIGHT,
            1..=10_000,
        ),
        lease: Duration::from_secs(lease),
        watch_min: Duration::from_millis(watch_min),
        watch_max: Duration::from_millis(watch_max),
        first_build: first_build(&args.first_build, problems),
        proof: Duration::from_secs(proof),
        drain: Duration::from_secs(drain),
        call_timeout: Duration::from_secs(call_timeout),
        retry: retry(args, problems),
    }
}

fn first_build(text: &str, problems: &mut Problems) -> FirstBuild {
    const SETTING: &str = "LINKBROKER_FIRST_BUILD";
    match text {
        "" | "attach" => {}
        "gate" => problems.add(
            SETTING,
            "`gate` (a push starts the first build) is not implemented yet",
            "Use `attach`, or leave it out.",
        ),
        _ => problems.add(
            SETTING,
            format!("`{text}` is not a way to start the first build"),
            "Use `attach`, or leave it out.",
        ),
    }
    FirstBuild::Attach
}

fn retry(args: &WorkerArgs, problems: &mut Problems) -> Retry {
    let base = problems.number(
        "LINKBROKER_RETRY_BASE_MS",
        &args.retry_base_ms,
        RETRY_BASE_MS,
        10..=60_000,
    );
    let max = problems.number(
        "LINKBROKER_RETRY_MAX_SECONDS",
        &args.retry_max_seconds,
        RETRY_MAX_SECONDS,
        1..=86_400,
    );
    let (base, max) = (Duration::from_millis(base), Duration::from_secs(max));
    if base > max {
        problems.add(
            "LINKBROKER_RETRY_BASE_MS",
            format!("the first pause ({base:?}) is longer than the longest ({max:?})"),
            "Lower it, or raise LINKBROKER_RETRY_MAX_SECONDS.",
        );
    }
    Retry {
        base,
        max,
        attempts: problems.number(
            "LINKBROKER_RETRY_ATTEMPTS",
            &args.retry_attempts,
            RETRY_ATTEMPTS,
            1..=100,
        ),
    }
}

fn log(args: &LogArgs, problems: &mut Problems) -> Log {
    let filter = if args.log.is_empty() { LOG } else { &args.log };
    if let Err(why) = EnvFilter::try_new(filter) {
        let problem = format!("`{filter}` is not a log filter: {why}");
        problems.add(
            "LINKBROKER_LOG",
            problem,
            "Use a level such as info, or target=level pairs.",
        );
    }
    Log {
        filter: filter.to_owned(),
        format: log_format(args.log_format.as_deref().unwrap_or_default(), problems),
    }
}

fn log_format(text: &str, problems: &mut Problems) -> LogFormat {
    match text {
        "human" => LogFormat::Human,
        "json" => LogFormat::Json,
        "" if std::io::stderr().is_terminal() => LogFormat::Human,
        "" => LogFormat::Json,
        _ => {
            let problem = format!("`{text}` is not a log format");
            problems.add("LINKBROKER_LOG_FORMAT", problem, "Use `human` or `json`.");
            LogFormat::Json
        }
    }
}

fn non_empty<T: AsRef<std::ffi::OsStr> + ?Sized>(value: Option<&T>) -> Option<&T> {
    value.filter(|value| !value.as_ref().is_empty())
}

#[cfg(test)]
mod tests;
