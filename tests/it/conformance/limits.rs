//! The fewest calls and rounds that the vendors allow: until the site hears pushes and its first deploy is known.

use linkbroker_sandbox::recorder::rounds;
use serde_json::json;

use crate::world::{Setup, Way, text};

/// Most calls and rounds of a way (limits.md, P1 and P2).
fn limits(way: &Way) -> (usize, u64) {
    match way.name {
        "github" => (7, 4),
        // Where the app is installed, and a token of its installation.
        "github_app" => (9, 6),
        // Neither key nor webhook.
        "installation" => (4, 4),
        // Doubles are allowed there: the webhooks are looked at before.
        "gitlab" | "bitbucket" | "bitbucket_access_token" | "gitea" => (8, 4),
        // One subscription for each event.
        "azure_standing" => (10, 4),
        // A retry reads the repository once more, and only then looks for the key: nothing goes on beside that reading.
        "azure_by_hand" => (12, 6),
        // Undescribed: whose account, the key, and whether it is there.
        "azure_by_api" => (13, 6),
        "manual" => (4, 4),
        // Unlike at a plain host it can be read, and is once more after the retry.
        "public" => (6, 5),
        other => panic!("{other} has no limit"),
    }
}

/// With a latency, calls that are sent together overlap.
pub async fn armed_within_its_calls_and_rounds(way: &Way) {
    let setup = Setup {
        switches: json!({"latency_ms": 60}),
        ..Setup::default()
    };
    let world = way.world_with(setup).await;
    world.sandbox.warm_up().await;
    let before = way.calls(&world).len();
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");

    let calls = way.calls(&world).split_off(before);
    let deploy = text(&link["build"]["deploy_id"]);
    let known = calls.iter().position(|call| call.path.contains(&deploy));
    let armed = &calls[..=known.expect("a call about the deploy")];
    let lines: Vec<_> = armed
        .iter()
        .map(|call| {
            format!(
                "{:.0}-{:.0} {} {}",
                call.started_ms, call.ended_ms, call.method, call.path
            )
        })
        .collect();
    let (most_calls, most_rounds) = limits(way);
    assert!(armed.len() <= most_calls, "{}: {lines:#?}", way.name);
    assert!(rounds(armed) <= most_rounds, "{}: {lines:#?}", way.name);
}
