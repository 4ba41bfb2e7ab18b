//! How much of everything a way makes and leaves.

use linkbroker_sandbox::Provider;
use serde_json::Value;

use crate::world::{By, Way, World, text};

/// How many of a kind are made for one link, and how many of them stay when it goes: what people and operators have
/// made is theirs.
pub fn expected(way: &Way) -> [(&'static str, u64, u64); 4] {
    let azure = way.provider == Provider::AzureDevops;
    let of = |by: By, made: u64| match by {
        By::Linkbroker => (made, 0),
        By::Person | By::Operator => (made, made),
        By::Netlify => (0, 0),
    };
    // People's account keys stand on no repository.
    let (keys, keys_left) = match azure && way.key != By::Linkbroker {
        true => (0, 0),
        false => of(way.key, 1),
    };
    let (webhooks, webhooks_left) = of(way.webhook, if azure { 4 } else { 1 });
    let pairs_left = u64::from(way.key == By::Operator);
    let pairs = u64::from(way.key != By::Netlify);
    [
        ("deploy_keys", pairs, pairs_left),
        ("installed_keys", keys, keys_left),
        ("webhooks", webhooks, webhooks_left),
        ("sites", 1, 0),
    ]
}

/// Exactly one of each, and no commit was built twice to the end.
pub fn assert_one_of_each(way: &Way, world: &World) {
    for (kind, made, _) in expected(way) {
        assert_eq!(world.count(kind), (made, made), "{}: {kind}", way.name);
    }
    let state = world.state();
    let deploys = state["netlify"]["deploys"].as_array().expect("deploys");
    let ready = deploys.iter().filter(|deploy| deploy["state"] == "ready");
    let mut commits: Vec<_> = ready.map(|deploy| text(&deploy["commit_ref"])).collect();
    let all = commits.len();
    commits.sort();
    commits.dedup();
    assert!(all > 0 && commits.len() == all, "{deploys:#?}");
}

/// Unlinks: what the link made is gone, what others made stays, and nothing was sent that a vendor's description forbids.
pub async fn assert_leaves_nothing(way: &Way, world: &World, link: &Value) {
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for (kind, made, left) in expected(way) {
        assert_eq!(world.count(kind), (made, left), "{}: {kind}", way.name);
    }
    assert_lawful(world);
}

/// Kinds of which a link that came to nothing leaves none: those that linkbroker makes.
pub fn own_kinds(way: &Way) -> impl Iterator<Item = &'static str> {
    let expected = expected(way).into_iter();
    let own =
        expected.filter(|(kind, made, left)| *kind != "deploy_keys" && *made > 0 && *left == 0);
    own.map(|(kind, ..)| kind)
}

/// Nothing was sent that a vendor's description forbids.
pub fn assert_lawful(world: &World) {
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}
