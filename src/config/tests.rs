//! Every refusal of a configuration, and that the good ones mean what they say.

use clap::Parser;

use super::*;
use crate::upstream::{AccountKeys, UpstreamKind};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    serve: ServeArgs,
}

/// The setting flags as given, with nothing taken from the environment of the test.
fn parse(flags: &[&str]) -> Result<Config, ConfigError> {
    use clap::{CommandFactory, FromArgMatches};
    let command = Line::command().mut_args(|arg| arg.env(None));
    let matches = command.get_matches_from(std::iter::once(&"linkbroker").chain(flags));
    Config::from_args(Line::from_arg_matches(&matches).unwrap().serve)
}

fn dev(flags: &[&str]) -> Result<Config, ConfigError> {
    parse(&[&["--dev"], flags].concat())
}

/// The settings complained about.
fn refused(result: Result<Config, ConfigError>) -> Vec<String> {
    let problems = result.unwrap_err().problems;
    problems
        .into_iter()
        .map(|problem| problem.setting)
        .collect()
}

fn file(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn production_needs_issuers_and_a_key_ring_and_says_so() {
    let error = parse(&[]).unwrap_err();
    let settings: Vec<_> = error.problems.iter().map(|p| p.setting.as_str()).collect();
    assert_eq!(settings, ["LINKBROKER_ISSUERS", "LINKBROKER_KEYRING"]);
    assert!(error.to_string().contains("linkbroker keys new"));
}

#[test]
fn developer_mode_needs_nothing() {
    let config = dev(&[]).unwrap();
    assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(matches!(
        config.database,
        Database::Embedded { pg_bin: None }
    ));
    let apis: Vec<_> = config.instances.iter().map(|i| i.api.as_str()).collect();
    assert_eq!(
        apis,
        [
            "https://api.netlify.com/api/v1",
            "https://api.github.com/",
            "https://gitlab.com/api/v4",
            "https://api.bitbucket.org/2.0",
            "https://dev.azure.com/",
        ]
    );
}

#[test]
fn empty_texts_count_as_not_set() {
    let config = dev(&[
        "--role=",
        "--listen=",
        "--public-url=",
        "--database-url=",
        "--keyring=",
        "--issuers=",
        "--keyring-file=",
        "--pg-bin=",
        "--data-dir=",
        "--providers=",
        "--netlify-url=",
        "--lease-seconds=",
        "--first-build=",
        "--log=",
        "--log-format=",
    ]);
    assert_eq!(config.unwrap().workers.lease, Duration::from_secs(15));
}

#[test]
fn all_problems_are_told_at_once() {
    let settings = refused(dev(&[
        "--role=king",
        "--listen=0.0.0.0:80",
        "--public-url=http://links.example.com",
        "--database-url=mysql://root:hunter2@db/x",
        "--keyring=nonsense",
        "--netlify-url=ftp://netlify",
        "--github-url=https://token@api.github.com",
        "--lease-seconds=0",
        "--workers-in-flight=many",
        "--watch-min-ms=20000",
        "--retry-base-ms=60000",
        "--retry-max-seconds=1",
        "--first-build=later",
        "--log=a=b=c",
        "--log-format=xml",
    ]));
    assert_eq!(
        settings,
        [
            "LINKBROKER_ROLE",
            "LINKBROKER_LISTEN",
            "LINKBROKER_PUBLIC_URL",
            "DATABASE_URL",
            "LINKBROKER_KEYRING",
            "LINKBROKER_NETLIFY_URL",
            "LINKBROKER_GITHUB_URL",
            "LINKBROKER_LEASE_SECONDS",
            "LINKBROKER_WATCH_MIN_MS",
            "LINKBROKER_WORKERS_IN_FLIGHT",
            "LINKBROKER_FIRST_BUILD",
            "LINKBROKER_RETRY_BASE_MS",
            "LINKBROKER_LOG",
            "LINKBROKER_LOG_FORMAT",
        ]
    );
}

#[test]
fn problems_and_debug_output_hold_no_secret() {
    let error = dev(&[
        "--database-url=mysql://u:hunter2@db/x",
        "--keyring=k:hunter2",
    ])
    .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let config = dev(&["--database-url=postgres://u:hunter2@db/x"]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn built_in_apis_can_be_moved_to_a_sandbox() {
    let config = dev(&[
        "--netlify-url=http://127.0.0.1:9999",
        "--github-url=http://localhost:9999/github/",
    ])
    .unwrap();
    let [netlify, github, gitlab, ..] = config.instances.as_slice() else {
        panic!("built-ins are missing");
    };
    assert_eq!(netlify.api.as_str(), "http://127.0.0.1:9999/api/v1");
    assert_eq!(github.api.as_str(), "http://localhost:9999/github");
    assert_eq!(github.host, "github.com");
    assert!(netlify.private_network && github.private_network && !gitlab.private_network);
}

#[test]
fn the_operators_providers_are_added() {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "ca.pem", "");
    let providers = file(
        &folder,
        "providers.toml",
        r#"
        [[provider]]
        kind = "github"
        host = "Git.Example.com"
        ca_file = "ca.pem"
        private_network = true
        [[provider]]
        kind = "gitlab"
        host = "code.example.com:8443"
        api = "https://code.example.com:8443/gitlab/api/v4/"
        ssh_host = "ssh.example.com"
        [[provider]]
        kind = "manual"
        host = "forge.example.com"
        "#,
    );
    let config = dev(&["--providers", &providers]).unwrap();
    let [ghes, gitlab, manual] = &config.instances[5..] else {
        panic!("providers are missing");
    };
    assert_eq!(
        (ghes.host.as_str(), ghes.api.as_str()),
        ("git.example.com", "https://git.example.com/api/v3")
    );
    assert_eq!(ghes.ca_file, Some(folder.path().join("ca.pem")));
    assert!(ghes.private_network && !gitlab.private_network);
    assert_eq!(
        gitlab.api.as_str(),
        "https://code.example.com:8443/gitlab/api/v4"
    );
    assert_eq!(
        (gitlab.host.as_str(), gitlab.ssh_host.as_str()),
        ("code.example.com:8443", "ssh.example.com")
    );
    assert_eq!(manual.kind, UpstreamKind::Manual);
}

#[test]
fn bad_providers_are_each_refused() {
    let folder = tempfile::tempdir().unwrap();
    let providers = file(
        &folder,
        "providers.toml",
        r#"
        provider = [
          { kind = "github", host = "github.com" },
          { kind = "netlify", host = "netlify.example.com" },
          { kind = "bitbucket", host = "bitbucket.example.com" },
          { kind = "gitlab", host = "https://code.example.com/" },
          { kind = "gitlab", host = "me@code.example.com" },
          { kind = "gitlab", host = "" },
          { kind = "gitlab", host = "code.example.com", api = "http://code.example.com/api/v4" },
          { kind = "gitlab", host = "code.example.com", ca_file = "absent.pem" },
        ]
        "#,
    );
    let problems = dev(&["--providers", &providers]).unwrap_err().problems;
    assert_eq!(problems.len(), 8, "{problems:#?}");
    assert!(problems[0].remedy.contains("LINKBROKER_GITHUB_URL"));
}

#[test]
fn standing_keys_are_for_azure_devops_and_the_tenants_that_they_are_granted_to() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        [[standing_key]]
        organisation = "acme"
        deploy_key_id = "0123456789abcdef01234567"
        expires_at = "2027-10-01T00:00:00Z"
        tenants = ["web"]
        "#;
    let providers = file(&folder, "p.toml", text);
    let config = dev(&["--providers", &providers]).unwrap();
    let (azure, others): (Vec<_>, Vec<_>) = config
        .instances
        .iter()
        .partition(|known| known.kind == UpstreamKind::AzureDevops);
    assert!(
        others
            .iter()
            .all(|known| known.account_keys == AccountKeys::default())
    );
    let keys = &azure[0].account_keys;
    assert!(!keys.by_internal_api);
    let key = keys.standing_for("web", "Acme/Web Team/docs").unwrap();
    assert_eq!(key.deploy_key_id, "0123456789abcdef01234567");
    assert!(key.expires_at.is_some());
    for (tenant, path) in [
        ("other", "acme/a/b"),
        ("web", "umbrella/a/b"),
        ("", "acme/a/b"),
    ] {
        assert_eq!(keys.standing_for(tenant, path), None, "{tenant} {path}");
    }
}

#[test]
fn bad_standing_keys_are_each_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        standing_key = [
          { organisation = "a/b", deploy_key_id = "0123456789abcdef01234567", tenants = ["web"] },
          { organisation = "acme", deploy_key_id = "id_rsa", tenants = ["web"] },
          { organisation = "acme", deploy_key_id = "0123456789abcdef01234567" },
        ]
        "#;
    let providers = file(&folder, "p.toml", text);
    let problems = dev(&["--providers", &providers]).unwrap_err().problems;
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert_eq!(
        refused(dev(&["--azure-devops-place-keys=perhaps"])),
        ["LINKBROKER_AZURE_DEVOPS_PLACE_KEYS"]
    );
}

#[test]
fn a_misspelt_file_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[provider]]\nkind = \"github\"\nhosst = \"git.example.com\"\n";
    let problems = dev(&["--providers", &file(&folder, "p.toml", text)])
        .unwrap_err()
        .problems;
    assert!(problems[0].problem.contains("line 3"), "{problems:?}");
    assert!(problems[0].problem.contains("hosst"));
    assert_eq!(
        refused(dev(&["--providers=/absent/p.toml"])),
        ["LINKBROKER_PROVIDERS"]
    );
}

/// A production configuration with `issuers` as its file of issuers.
fn with_issuers(issuers: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    file(&folder, "jwks.json", "{}");
    let issuers = file(&folder, "issuers.toml", issuers);
    let key = crate::vault::new_master_key("k1").unwrap();
    parse(&["--issuers", &issuers, "--keyring", &key])
}

#[test]
fn issuers_have_defaults_and_three_sources_of_keys() {
    let config = with_issuers(
        r#"
        [[issuer]]
        issuer = "https://id.example.com/realm/"
        audience = "linkbroker"
        [[issuer]]
        issuer = "ci"
        audience = "linkbroker"
        jwks_file = "jwks.json"
        algorithms = ["ES256"]
        tenant_claim = "team"
        [[issuer]]
        issuer = "portal"
        audience = "linkbroker"
        jwks_url = "https://portal.example.com/keys?v=2"
        "#,
    )
    .unwrap();
    let [discovered, ci, portal] = config.issuers.as_slice() else {
        panic!("issuers are missing");
    };
    let KeySource::Discovery(url) = &discovered.keys else {
        panic!("{discovered:?}");
    };
    assert_eq!(
        url.as_str(),
        "https://id.example.com/realm/.well-known/openid-configuration"
    );
    assert_eq!(discovered.issuer, "https://id.example.com/realm/");
    assert_eq!(discovered.algorithms.len(), 3);
    assert_eq!(
        (ci.tenant_claim.as_str(), ci.scope_claim.as_str()),
        ("team", "scope")
    );
    assert!(matches!(&ci.keys, KeySource::File(path) if path.ends_with("jwks.json")));
    assert!(matches!(&portal.keys, KeySource::Url(url) if url.query() == Some("v=2")));
}

#[test]
fn bad_issuers_are_each_refused() {
    let entry = |rest: &str| format!("[[issuer]]\nissuer = \"x\"\naudience = \"y\"\n{rest}\n");
    for (text, expected) in [
        ("".to_owned(), "names no issuer"),
        (entry(""), "looked up at the issuer"),
        (
            entry("jwks_url = \"http://keys.example.com/\""),
            "unencrypted",
        ),
        (entry("jwks_file = \"absent.json\""), "cannot be read"),
        (
            entry("jwks_file = \"jwks.json\"\njwks_url = \"https://a/\""),
            "both",
        ),
        (
            entry("jwks_file = \"jwks.json\"\nalgorithms = [\"HS256\"]"),
            "HS256",
        ),
        (
            entry("jwks_file = \"jwks.json\"\nalgorithms = [\"none\"]"),
            "none",
        ),
        (entry("jwks_file = \"jwks.json\"\nalgorithms = []"), "empty"),
        (
            entry("jwks_file = \"jwks.json\"\ntenant_claim = \"\""),
            "empty",
        ),
        (entry("jwks_file = \"jwks.json\"").repeat(2), "twice"),
        (entry("secret = \"x\""), "unknown field"),
    ] {
        let error = with_issuers(&text).unwrap_err();
        assert_eq!(error.problems.len(), 1, "{text}: {error}");
        assert!(
            error.problems[0].problem.contains(expected),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_worker_needs_no_issuer_but_the_key_ring() {
    assert_eq!(refused(parse(&["--role=worker"])), ["LINKBROKER_KEYRING"]);
}

#[test]
fn developer_mode_takes_no_issuers() {
    assert_eq!(refused(dev(&["--issuers=x.toml"])), ["LINKBROKER_ISSUERS"]);
}

#[test]
fn the_key_ring_comes_from_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let key = crate::vault::new_master_key("k1").unwrap();
    let keys = file(&folder, "keys", &format!("# made today\n{}\n", *key));
    assert!(dev(&["--keyring-file", &keys]).unwrap().key_ring.is_some());
    assert_eq!(
        refused(dev(&["--keyring-file", &keys, "--keyring", &key])),
        ["LINKBROKER_KEYRING_FILE"]
    );
    assert_eq!(
        refused(dev(&["--keyring-file=/absent"])),
        ["LINKBROKER_KEYRING_FILE"]
    );
}

#[test]
fn every_setting_is_in_the_example_with_its_default() {
    let example = include_str!("../../.env.example");
    let reason = "run `linkbroker config show > .env.example`";
    assert_eq!(env_file(&reference()), example, "{reason}");
}

#[test]
fn every_setting_is_told_and_no_other() {
    let told = dev(&[]).unwrap().effective();
    let told: Vec<_> = told.iter().map(|(name, _)| *name).collect();
    let settings = reference::serve_reference();
    let known: Vec<_> = settings
        .iter()
        .map(|setting| setting.name.as_str())
        .collect();
    assert_eq!(told, known);
}

#[test]
fn secrets_are_told_as_set() {
    let key = crate::vault::new_master_key("k1").unwrap();
    let secret = key.split_once(':').unwrap().1;
    let config = dev(&[
        "--database-url=postgres://u:hunter2@db/x",
        "--keyring",
        &key,
    ])
    .unwrap();
    let told = format!("{:?}", config.effective());
    assert!(
        !told.contains("hunter2") && !told.contains(secret),
        "{told}"
    );
    assert!(
        told.contains(r#"("DATABASE_URL", "set")"#) && told.contains("set: k1"),
        "{told}"
    );
}

#[test]
fn api_keys_stand_in_for_issuers_only_when_it_is_said() {
    let keys = crate::vault::new_master_key("k").unwrap();
    let ring = format!("--keyring={}", *keys);
    assert_eq!(refused(parse(&[&ring])), ["LINKBROKER_ISSUERS"]);
    assert_eq!(
        refused(parse(&[&ring, "--api-keys=off"])),
        ["LINKBROKER_ISSUERS"]
    );
    let config = parse(&[&ring, "--api-keys=on"]).unwrap();
    assert!(config.api_keys && config.issuers.is_empty());
    assert!(!dev(&[]).unwrap().api_keys);
    assert_eq!(refused(dev(&["--api-keys=maybe"])), ["LINKBROKER_API_KEYS"]);
}
