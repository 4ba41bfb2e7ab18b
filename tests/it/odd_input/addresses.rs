//! Repository addresses.

use linkbroker::link::repository_ref::RepositoryRef;
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
fn no_address_is_too_odd_and_what_is_understood_stays_the_same() {
    for_all(&odd_address(), |address| {
        let Ok(understood) = RepositoryRef::parse(&address) else {
            return;
        };
        assert_eq!(understood.host, understood.host.to_ascii_lowercase());
        assert!(!understood.path.is_empty() && !understood.path.starts_with('/'));
        let Ok(name) = understood.owner_and_name() else {
            return;
        };
        let again = RepositoryRef::parse(&format!("https://{}/{name}", understood.host));
        if let Ok(again) = again {
            assert_eq!(again.owner_and_name(), Ok(name));
            assert_eq!(again.host, understood.host);
        }
    });
}

#[test]
fn every_documented_form_names_the_same_repository() {
    let part = "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,30}";
    let form = select(
        [
            "https://github.com/NAME",
            "https://github.com/NAME.git",
            "http://github.com/NAME/",
            "https://github.com/NAME/tree/feature/x",
            "https://github.com/NAME/pull/12",
            "https://github.com/NAME?tab=readme",
            "https://ann@github.com/NAME",
            "ssh://git@github.com/NAME.git",
            "ssh://git@github.com:22/NAME",
            "git@github.com:NAME.git",
            "github.com:NAME",
            "git+https://github.com/NAME.git",
            "git+ssh://git@github.com/NAME.git",
            " \tGITHUB.com:NAME\n",
        ]
        .as_slice(),
    );
    for_all(&(part, part, form), |(owner, name, form)| {
        let name = format!("{owner}/{name}");
        let understood = RepositoryRef::parse(&form.replace("NAME", &name)).expect(form);
        assert_eq!(understood.host, "github.com");
        assert_eq!(understood.owner_and_name(), Ok(name));
    });
}
