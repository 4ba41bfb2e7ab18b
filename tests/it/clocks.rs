//! Clocks that are wrong, and lists that lag: what an interrupted try has made is found all the same, and is taken for our own.

use linkbroker_sandbox::NETLIFY_TOKEN;
use serde_json::{Value, json};
use time::Duration;

use crate::conformance::counts;
use crate::lost_answers::assert_one_of_each;
use crate::world::{Setup, Way, World, docs, receipts, text};

/// The calls whose effect a link has to find again.
const MAKING: [(&str, &str, &str); 5] = [
    ("netlify", "POST", "/deploy_keys$"),
    ("netlify", "POST", "/sites$"),
    ("github", "POST", "/keys$"),
    ("github", "POST", "/hooks$"),
    ("netlify", "PATCH", "/sites/"),
];

/// Every answer is lost once, while the vendors' clocks are wrong.
async fn lost_answers_are_found_with_clocks_wrong_by(by: Duration) {
    let world = World::usual().await;
    world.sandbox.world().clock.set_wrong_by(by);
    for (upstream, method, path) in MAKING {
        world.fault(
            json!({"upstream": upstream, "method": method, "path": path, "fault": "lost_answer"}),
        );
    }
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_one_of_each(&world);
    let gone = world.client.unlink(&text(&link["id"]), "").await;
    for kind in ["deploy_key", "installed_key", "webhook", "site"] {
        let deleted = (kind.to_owned(), "deleted".to_owned());
        assert!(receipts(&gone).contains(&deleted), "{gone:#}");
    }
}

#[tokio::test]
async fn vendors_that_are_an_hour_ahead() {
    lost_answers_are_found_with_clocks_wrong_by(Duration::HOUR).await;
}

#[tokio::test]
async fn vendors_that_are_an_hour_behind() {
    lost_answers_are_found_with_clocks_wrong_by(-Duration::HOUR).await;
}

/// The answers with what has no natural key are lost, and lists show nothing before five seconds.
async fn lists_that_lag(way: &Way, making: [(&str, &str, &str); 2]) {
    // A double can only be canceled while it runs, so builds take longer than lists lag.
    let netlify = json!({"list_lag_seconds": 5, "times": {"building_ms": 9000}});
    let setup = Setup {
        settings: vec![("LINKBROKER_SETTLE_SECONDS", "6".to_owned())],
        switches: json!({"list_lag_seconds": 5, "netlify": netlify}),
        ..Setup::default()
    };
    let world = way.world_with(setup).await;
    for (upstream, method, path) in making {
        world.fault(
            json!({"upstream": upstream, "method": method, "path": path, "fault": "lost_answer"}),
        );
    }
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");
    counts::assert_one_of_each(way, &world);
    counts::assert_leaves_nothing(way, &world, &link).await;
}

#[tokio::test]
async fn lists_of_github_that_lag_five_seconds() {
    let making = [MAKING[0], MAKING[3]];
    lists_that_lag(&Way::GITHUB, making).await;
}

#[tokio::test]
async fn lists_of_gitlab_that_lag_five_seconds() {
    let making = [MAKING[0], ("gitlab", "POST", "/hooks$")];
    lists_that_lag(&Way::GITLAB, making).await;
}

/// A key that somebody has made a while ago is not taken for the one whose answer was lost, whatever the vendor's clock says.
#[tokio::test]
async fn what_others_made_before_is_not_ours_by_a_clock_that_is_ahead() {
    let world = World::usual().await;
    world.sandbox.world().clock.set_wrong_by(Duration::HOUR);
    let theirs = key(&world).await;
    world
        .sandbox
        .world()
        .clock
        .advance(std::time::Duration::from_secs(600));
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": "reset"}),
    );
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let resources = link["resources"].as_array().expect("resources");
    let is_theirs = |resource: &&Value| text(&resource["id"]) == theirs;
    assert_eq!(resources.iter().find(is_theirs), None);
    assert_eq!(world.count("deploy_keys"), (2, 2));
}

async fn key(world: &World) -> String {
    let url = format!("{}/deploy_keys", world.sandbox.netlify_url());
    let made = reqwest::Client::new().post(url).bearer_auth(NETLIFY_TOKEN);
    let made = made.send().await.expect("an answer").json::<Value>().await;
    text(&made.expect("a key")["id"])
}
