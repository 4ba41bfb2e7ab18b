//! Repository addresses.

use linkbroker::link::repository_ref::{Address, RepositoryPath};
use proptest::{prelude::*, sample::select};

use super::{for_all, json::odd_string};

fn odd_address() -> impl Strategy<Value = String> {
    let scheme = select(
        [
            "",
            "https://",
            "ssh://",
            "git+ssh://",
            "HTTPS://",
            "://",
            "file:///",
            "git@",
        ]
        .as_slice(),
    );
    let host = select(
        [
            "github.com",
            "GitHub.COM.",
            "[::1]",
            "127.0.0.1:99999",
            "ann:pw@github.com",
            "xn--",
            "",
        ]
        .as_slice(),
    );
    let between = select(["/", ":", "//", "/../", ":22/", "?", "#", "\\"].as_slice());
    let made = (scheme, host, between, odd_string(), odd_string());
    let made = made.prop_map(|(scheme, host, between, owner, name)| {
        format!("{scheme}{host}{between}{owner}/{name}")
    });
    prop_oneof![1 => odd_string(), 3 => made]
}

#[test]
fn no_address_is_too_odd_and_what_is_understood_is_a_plain_path() {
    for_all(&odd_address(), |address| {
        let Ok(understood) = Address::parse(&address) else {
            return;
        };
        assert_eq!(understood.host, understood.host.to_ascii_lowercase());
        let read = [
            understood.github(),
            understood.gitlab(""),
            understood.bitbucket(),
            understood.azure_devops(),
            understood.gitea("git"),
            understood.manual(),
        ];
        for RepositoryPath { path, .. } in read.into_iter().flatten() {
            let parts: Vec<_> = path.split('/').collect();
            assert!(
                !parts.iter().any(|part| ["", ".", ".."].contains(part)),
                "{path}"
            );
            assert!(!path.contains(char::is_control), "{path:?}");
        }
    });
}
