//! Tells the settings to people: what there is, and what a configuration came to.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::time::Duration;

use clap::{Args, Command};
use serde::Serialize;

use super::instance::{BUILT_IN, PLACE_KEYS, PROVIDERS};
use super::{
    AzureDevopsTokenArgs, BitbucketTokenArgs, ClientArgs, Config, Database, FirstBuild,
    GiteaTokenArgs, GithubTokenArgs, GitlabTokenArgs, LogFormat, NetlifyTokenArgs, Role, ServeArgs,
};
use crate::upstream::{Instance, WritePace};

/// A setting, as `--help` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingDoc {
    /// Its name in the environment.
    pub name: String,
    /// Its flag, with the dashes; absent for secrets that only the environment may hold.
    pub flag: Option<String>,
    /// The group that it is in.
    pub group: String,
    /// What it does.
    pub help: String,
    /// What it is when it is not set.
    pub default: Option<String>,
    /// Whether its value must not be shown.
    pub secret: bool,
}

/// Every setting that the environment can hold, from the definitions of the flags: first those of
/// the service.
pub fn reference() -> Vec<SettingDoc> {
    let mut settings = serve_reference();
    settings.extend(described_all::<ClientArgs>());
    settings.extend(described_all::<NetlifyTokenArgs>());
    settings.extend(described_all::<GithubTokenArgs>());
    settings.extend(described_all::<GitlabTokenArgs>());
    settings.extend(described_all::<GiteaTokenArgs>());
    settings.extend(described_all::<BitbucketTokenArgs>());
    settings.extend(described_all::<AzureDevopsTokenArgs>());
    settings
}

/// The settings of the service.
pub(super) fn serve_reference() -> Vec<SettingDoc> {
    described_all::<ServeArgs>()
}

fn described_all<A: Args>() -> Vec<SettingDoc> {
    let command = A::augment_args(Command::new("linkbroker"));
    command.get_arguments().filter_map(described).collect()
}

fn described(arg: &clap::Arg) -> Option<SettingDoc> {
    let default = arg.get_default_values().first();
    Some(SettingDoc {
        name: arg.get_env()?.to_str()?.to_owned(),
        flag: arg
            .get_long()
            .filter(|_| !arg.is_hide_set())
            .map(|flag| format!("--{flag}")),
        group: arg.get_help_heading().unwrap_or_default().to_owned(),
        help: sentence(arg),
        default: default.map(|value| value.to_string_lossy().into_owned()),
        secret: arg.is_hide_env_values_set(),
    })
}

/// The help of a flag, with the full stop that clap takes away.
fn sentence(arg: &clap::Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    format!("{}.", help.trim_end_matches('.'))
}

/// The reference as a file for the environment, every setting commented out.
pub fn env_file(settings: &[SettingDoc]) -> String {
    let mut text = String::from(
        "# Every setting of linkbroker with its default. Uncomment what you change.\n\
         # Written by `linkbroker config show`. Each setting is also a flag: those of `linkbroker serve` come first, then\n\
         # those of the commands for people (their tokens are no flags, because shells keep what is typed).\n\
         # The developer mode is a flag alone: `--dev`.\n",
    );
    let mut group = "";
    for setting in settings {
        if setting.group != group {
            group = &setting.group;
            text += &format!("\n# ---- {group} ----\n");
        }
        let default = setting.default.as_deref().unwrap_or_default();
        text += &format!("\n# {}\n#{}={default}\n", setting.help, setting.name);
    }
    text
}

impl Config {
    /// What each setting came to, by its name in the environment and in the order of `serve_reference`.
    /// Of secrets only whether they are set.
    pub fn effective(&self) -> Vec<(&'static str, String)> {
        let mut settings = vec![
            ("LINKBROKER_LISTEN", self.listen.to_string()),
            (
                "LINKBROKER_PUBLIC_URL",
                or_not_set(self.workers.public_url.as_ref()),
            ),
            ("LINKBROKER_CORS_ORIGINS", {
                let origins = self.cors_origins.join(",");
                or_not_set((!origins.is_empty()).then_some(origins))
            }),
            ("LINKBROKER_ROLE", role(self.role).to_owned()),
        ];
        settings.extend(self.kept());
        settings.extend(self.trusted());
        settings.extend(self.rationed());
        settings.extend(self.upstreams());
        settings.extend(self.worked());
        let format = match self.log.format {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        };
        settings.push(("LINKBROKER_LOG", self.log.filter.clone()));
        settings.push(("LINKBROKER_LOG_FORMAT", format.to_owned()));
        settings
    }

    fn kept(&self) -> [(&'static str, String); 6] {
        let (url, pg_bin) = match &self.database {
            Database::Url(_) => ("set", NOT_SET.to_owned()),
            Database::Embedded { pg_bin } => {
                let pg_bin = or_not_set(pg_bin.as_ref().map(|bin| bin.display()));
                ("not set: a Postgres of our own", pg_bin)
            }
        };
        [
            ("DATABASE_URL", url.to_owned()),
            ("LINKBROKER_PG_BIN", pg_bin),
            (
                "LINKBROKER_DATABASE_CONNECTIONS",
                self.connections.to_string(),
            ),
            ("LINKBROKER_KEEP_LINKS_DAYS", days(self.retention.links)),
            ("LINKBROKER_KEEP_EVENTS_DAYS", days(self.retention.events)),
            ("LINKBROKER_DATA_DIR", self.data_dir.display().to_string()),
        ]
    }

    fn trusted(&self) -> [(&'static str, String); 5] {
        let issuers: Vec<_> = self
            .issuers
            .iter()
            .map(|issuer| issuer.issuer.as_str())
            .collect();
        let issuers = match self.dev {
            true => "the developer mode's own".to_owned(),
            false => or_not_set((!issuers.is_empty()).then(|| issuers.join(", "))),
        };
        let key_ring = match &self.key_ring {
            Some(ring) => format!("set: {}", ring.key_ids().collect::<Vec<_>>().join(", ")),
            None => "the developer mode's own".to_owned(),
        };
        let file = or_not_set(self.key_ring_file.as_ref().map(|file| file.display()));
        [
            ("LINKBROKER_ISSUERS", issuers),
            ("LINKBROKER_API_KEYS", switch(self.api_keys).to_owned()),
            (
                "LINKBROKER_GRANTS",
                format!("{} grants", self.grants.0.len()),
            ),
            ("LINKBROKER_KEYRING", key_ring),
            ("LINKBROKER_KEYRING_FILE", file),
        ]
    }

    fn rationed(&self) -> [(&'static str, String); 4] {
        let shown = |limit: Option<NonZeroU32>| limit.map_or(0, NonZeroU32::get).to_string();
        let quotas = &self.quotas;
        [
            (
                "LINKBROKER_QUOTA_REQUESTS_PER_MINUTE",
                shown(quotas.requests_per_minute),
            ),
            (
                "LINKBROKER_QUOTA_LINKS_PER_MINUTE",
                shown(quotas.links_per_minute),
            ),
            (
                "LINKBROKER_QUOTA_LINKS_IN_FLIGHT",
                shown(quotas.links_in_flight),
            ),
            (
                "LINKBROKER_QUOTA_WAITING_READERS",
                shown(quotas.waiting_readers),
            ),
        ]
    }

    fn upstreams(&self) -> Vec<(&'static str, String)> {
        let (built_in, more) = self
            .instances
            .split_at(BUILT_IN.len().min(self.instances.len()));
        let mut settings: Vec<_> = BUILT_IN
            .iter()
            .zip(built_in)
            .map(|(known, instance)| (known.setting, instance.api.to_string()))
            .collect();
        // Beside GitHub's address.
        settings.splice(2..2, self.paced());
        let places_keys = built_in
            .iter()
            .any(|instance| instance.account_keys.by_internal_api);
        settings.push((PLACE_KEYS, switch(places_keys).to_owned()));
        let told = |provider: &Instance| format!("{} ({})", provider.host, provider.kind);
        let standing = built_in
            .iter()
            .flat_map(|known| &known.account_keys.standing);
        let standing = standing.map(|key| format!("standing key of {}", key.organisation));
        let more: Vec<_> = more.iter().map(told).chain(standing).collect();
        let more = or_not_set((!more.is_empty()).then(|| more.join(", ")));
        settings.push((PROVIDERS, more));
        settings
    }

    fn paced(&self) -> [(&'static str, String); 2] {
        let shown = |limit: fn(&WritePace) -> u32| {
            let limit = self.github_pace.as_ref().map_or(0, limit);
            // No limit of its own beside the other one.
            if limit == u32::MAX { 0 } else { limit }.to_string()
        };
        [
            (
                "LINKBROKER_GITHUB_WRITES_PER_MINUTE",
                shown(|pace| pace.per_minute),
            ),
            (
                "LINKBROKER_GITHUB_WRITES_PER_HOUR",
                shown(|pace| pace.per_hour),
            ),
        ]
    }

    fn worked(&self) -> [(&'static str, String); 17] {
        let workers = &self.workers;
        let first_build = match workers.first_build {
            FirstBuild::Attach => "attach",
            FirstBuild::Gate => "gate",
        };
        [
            (
                "LINKBROKER_WORKERS_IN_FLIGHT",
                workers.in_flight.to_string(),
            ),
            ("LINKBROKER_LEASE_SECONDS", seconds(workers.lease)),
            ("LINKBROKER_SETTLE_SECONDS", seconds(workers.settle)),
            ("LINKBROKER_WATCH_MIN_MS", milliseconds(workers.watch_min)),
            ("LINKBROKER_WATCH_MAX_MS", milliseconds(workers.watch_max)),
            ("LINKBROKER_STOCK_DAYS", days(workers.stock)),
            ("LINKBROKER_FIRST_BUILD", first_build.to_owned()),
            ("LINKBROKER_PROOF_SECONDS", seconds(workers.proof)),
            (
                "LINKBROKER_PATROL_IDLE_SECONDS",
                seconds(workers.patrol_idle),
            ),
            ("LINKBROKER_QUEUE_SECONDS", seconds(workers.queue)),
            ("LINKBROKER_DRAIN_SECONDS", seconds(workers.drain)),
            (
                "LINKBROKER_CALL_TIMEOUT_SECONDS",
                seconds(workers.call_timeout),
            ),
            ("LINKBROKER_RETRY_BASE_MS", milliseconds(workers.retry.base)),
            ("LINKBROKER_RETRY_MAX_SECONDS", seconds(workers.retry.max)),
            (
                "LINKBROKER_RETRY_ATTEMPTS",
                workers.retry.attempts.to_string(),
            ),
            (
                "LINKBROKER_INSPECT_SECONDS",
                seconds(workers.inspections.every),
            ),
            ("LINKBROKER_EXPIRY_WARNING_DAYS", {
                let days = workers.inspections.warn_days.iter();
                days.map(u16::to_string).collect::<Vec<_>>().join(",")
            }),
        ]
    }
}

fn days(kept: Option<Duration>) -> String {
    (kept.unwrap_or_default().as_secs() / 86_400).to_string()
}

const NOT_SET: &str = "not set";

fn or_not_set(value: Option<impl Display>) -> String {
    value.map_or(NOT_SET.to_owned(), |value| value.to_string())
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Api => "api",
        Role::Worker => "worker",
        Role::All => "all",
    }
}

fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}

fn milliseconds(duration: Duration) -> String {
    duration.as_millis().to_string()
}
