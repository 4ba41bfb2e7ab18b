//! Every address form, as a table; and a property: what is written in any form is read back.

use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::*;
use crate::upstream::AccountKeys;

/// An instance as the operator's file would name it; the API at its usual place below `base`.
fn instance(kind: UpstreamKind, host: &str, ssh_host: &str, api: &str) -> Arc<Instance> {
    Arc::new(Instance {
        kind,
        host: host.into(),
        api: api.parse().unwrap(),
        ssh_host: ssh_host.into(),
        private_network: false,
        ca_file: None,
        account_keys: AccountKeys::default(),
    })
}

fn instances() -> Vec<Arc<Instance>> {
    use UpstreamKind::{AzureDevops, Bitbucket, Gitea, Github, Gitlab, Manual, Netlify};
    [
        (
            Netlify,
            "netlify.com",
            "netlify.com",
            "https://api.netlify.com/api/v1",
        ),
        (Github, "github.com", "github.com", "https://api.github.com"),
        (
            Gitlab,
            "gitlab.com",
            "gitlab.com",
            "https://gitlab.com/api/v4",
        ),
        (
            Bitbucket,
            "bitbucket.org",
            "bitbucket.org",
            "https://api.bitbucket.org/2.0",
        ),
        (
            AzureDevops,
            "dev.azure.com",
            "ssh.dev.azure.com",
            "https://dev.azure.com",
        ),
        (
            Github,
            "github.example.com",
            "github.example.com",
            "https://github.example.com/api/v3",
        ),
        (
            Github,
            "acme.ghe.com",
            "acme.ghe.com",
            "https://api.acme.ghe.com",
        ),
        (
            Gitlab,
            "gitlab.example.com:8443",
            "gitlab.example.com:8443",
            "https://gitlab.example.com:8443/api/v4",
        ),
        (
            Gitlab,
            "shared.example.com",
            "shared.example.com",
            "https://shared.example.com/gitlab/api/v4",
        ),
        (
            Gitea,
            "code.example.com",
            "code.example.com:2222",
            "https://code.example.com/git/api/v1",
        ),
        (
            Manual,
            "stash.example.com",
            "stash.example.com:7999",
            "https://stash.example.com",
        ),
    ]
    .map(|(kind, host, ssh_host, api)| instance(kind, host, ssh_host, api))
    .into()
}

/// Host and path, then the hint, as the table writes them.
fn found(instances: &[Arc<Instance>], text: &str) -> Result<(String, String), RefError> {
    let address = Address::parse(text)?;
    let instance = find(instances, &address)?;
    let path = read(&address, &instance)?;
    let shown = format!("{} {}", instance.host, path.path);
    Ok((shown, path.branch_hint.unwrap_or_default()))
}

#[test]
fn every_address_is_read_or_refused_as_the_table_says() {
    let instances = instances();
    let rows = include_str!("addresses.txt").lines();
    let rows = rows.filter(|row| !row.is_empty() && !row.starts_with('#'));
    let mut wrong = Vec::new();
    let mut count = 0;
    for row in rows {
        let (address, expected) = row.split_once(" | ").expect(row);
        let said = match found(&instances, address) {
            Ok((shown, hint)) => {
                let spaced = format!("  {address}\t");
                assert_eq!(
                    found(&instances, &spaced),
                    Ok((shown.clone(), hint.clone()))
                );
                format!("{shown} | {hint}")
            }
            Err(error) => {
                assert!(!format!("{error} {error:?}").contains("hunter2"), "{row}");
                format!("! {error}")
            }
        };
        let is_right = match expected.strip_prefix("! ") {
            Some(words) => said.starts_with('!') && said.contains(words),
            None => said.trim_end() == expected.trim_end(),
        };
        if !is_right {
            wrong.push(format!("{row}\n    but: {said}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= 120, "{count}");
}

#[test]
fn what_is_too_long_or_empty_is_refused() {
    let instances = instances();
    let long = format!("https://github.com/acme/{}", "x".repeat(2048));
    for (address, expected) in [
        ("", RefError::Empty),
        (" \t\n", RefError::Empty),
        (long.as_str(), RefError::TooLong),
        ("https://github.com/acme/\ndocs", RefError::ControlCharacter),
    ] {
        assert_eq!(found(&instances, address), Err(expected), "{address:?}");
    }
}

/// A repository, and every way in which it is written.
#[derive(Debug, Clone)]
struct Written {
    shown: String,
    forms: Vec<String>,
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The forms that hosts have in common, for a path that is the same over SSH and on the web.
fn common(host: &str, ssh_host: &str, base: &str, path: &str) -> Vec<String> {
    vec![
        format!("https://{host}{base}/{path}"),
        format!("http://{host}{base}/{path}.git"),
        format!("https://ann@{host}{base}/{path}.git/"),
        format!("git+https://{host}{base}/{path}.git#v1"),
        format!("git@{ssh_host}:{path}.git"),
        format!("{ssh_host}:{path}"),
        format!("ssh://git@{ssh_host}/{path}.git"),
        format!("ssh://git@{ssh_host}:2222/{path}"),
        format!("git+ssh://git@{ssh_host}:{path}.git"),
    ]
}

/// Not a number at the front: in `ssh://git@host:12/docs` nobody can tell it from a port.
fn part() -> impl Strategy<Value = String> {
    let name = "[A-Za-z_]([A-Za-z0-9._-]{0,18}[A-Za-z0-9_])?";
    name.prop_filter("a suffix", |name| !name.ends_with(".git"))
}

fn github() -> impl Strategy<Value = Written> {
    (part(), part()).prop_map(|(owner, name)| {
        let path = format!("{owner}/{name}");
        let mut forms = common("github.com", "github.com", "", &path);
        forms.push(format!("https://api.github.com/repos/{path}"));
        forms.push(format!("https://www.github.com/{path}/tree/a/b"));
        forms.push(format!("ssh://git@ssh.github.com:443/{path}.git"));
        Written {
            shown: format!("github.com {path}"),
            forms,
        }
    })
}

fn gitlab() -> impl Strategy<Value = Written> {
    proptest::collection::vec("g[a-z0-9]{1,8}", 2..=21).prop_map(|parts| {
        let path = parts.join("/");
        let mut forms = common("shared.example.com", "shared.example.com", "/gitlab", &path);
        forms.push(format!("https://shared.example.com/gitlab/{path}/-/tree/x"));
        Written {
            shown: format!("shared.example.com {path}"),
            forms,
        }
    })
}

fn bitbucket() -> impl Strategy<Value = Written> {
    let uuid = any::<u128>().prop_map(|bits| format!("{{{}}}", uuid::Uuid::from_u128(bits)));
    (part(), prop_oneof![part(), uuid]).prop_map(|(workspace, slug)| {
        let shown = format!("bitbucket.org {workspace}/{slug}");
        let slug = encoded(&slug);
        let mut forms = common(
            "bitbucket.org",
            "bitbucket.org",
            "",
            &format!("{workspace}/{slug}"),
        );
        forms.push(format!(
            "https://bitbucket.org/{workspace}/{slug}/src/main/"
        ));
        Written { shown, forms }
    })
}

fn azure_devops() -> impl Strategy<Value = Written> {
    let name = || {
        "[A-Za-zÀ-ž][A-Za-z0-9À-ž ._()-]{0,18}[A-Za-z0-9À-ž]"
            .prop_filter("a suffix", |name| !name.ends_with(".git"))
    };
    ("[a-z][a-z0-9-]{0,20}[a-z0-9]", name(), name()).prop_map(|(organisation, project, name)| {
        let shown = format!("dev.azure.com {organisation}/{project}/{name}");
        let (project, name) = (encoded(&project), encoded(&name));
        let below = format!("{project}/_git/{name}");
        let forms = vec![
            format!("https://dev.azure.com/{organisation}/{below}"),
            format!("https://{organisation}@dev.azure.com/{organisation}/{below}?version=GBmain"),
            format!("https://{organisation}.visualstudio.com/DefaultCollection/{below}"),
            format!("https://{organisation}.visualstudio.com/{project}/_git/_full/{name}"),
            format!("git@ssh.dev.azure.com:v3/{organisation}/{project}/{name}"),
            format!("{organisation}@vs-ssh.visualstudio.com:v3/{organisation}/{project}/{name}"),
            format!("ssh://{organisation}@vs-ssh.visualstudio.com:22/{project}/_ssh/{name}"),
        ];
        Written { shown, forms }
    })
}

fn runner() -> TestRunner {
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

#[test]
fn what_is_written_in_any_form_is_read_back() {
    let instances = instances();
    let written = prop_oneof![github(), gitlab(), bitbucket(), azure_devops()];
    let result = runner().run(&written, |Written { shown, forms }| {
        for form in forms {
            let read = found(&instances, &form).map(|(shown, _)| shown);
            prop_assert_eq!(read.as_deref(), Ok(shown.as_str()), "{}", form);
        }
        Ok(())
    });
    result.unwrap();
}

#[test]
fn no_text_makes_the_reader_fall_over_or_repeat_a_password() {
    let instances = instances();
    let secret = "[a-z]{0,6}(://)?[a-z]{0,3}:CANARY7[@/:][a-z.@:/%\\[\\]?#]{0,12}(github\\.com)?[:/]acme/docs";
    let text = prop_oneof![any::<String>(), secret.prop_map(|text| text)];
    let result = runner().run(&text, |text| {
        if let Err(error) = Address::parse(&text).and_then(|address| find(&instances, &address)) {
            prop_assert!(!error.to_string().contains("CANARY7"));
        }
        Ok(())
    });
    result.unwrap();
}
