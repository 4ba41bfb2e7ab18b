//! Upstreams that say "later": the link waits as long as they ask, costs no attempt, and goes on.

use linkbroker_sandbox::recorder::Upstream;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::world::{Setup, World, docs, until};

#[tokio::test]
async fn netlifys_limit_is_waited_for_until_its_reset() {
    let world = World::usual().await;
    // The vendor's clock has whole seconds: at least one passes until then.
    let reset = OffsetDateTime::now_utc().unix_timestamp() + 3;
    let headers = json!({"x-ratelimit-limit": "500", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset.to_string()});
    let fault = json!({"status": 429, "body": {"code": 429, "message": "Too many requests"}, "headers": headers});
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": fault}),
    );
    waits_and_goes_on(&world, Upstream::Netlify, "reserve_deploy_key").await;
}

#[tokio::test]
async fn githubs_limit_is_waited_for_until_its_reset() {
    let world = World::usual().await;
    let reset = OffsetDateTime::now_utc().unix_timestamp() + 3;
    let headers = json!({"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset.to_string()});
    let fault = json!({"status": 403, "body": {"message": "API rate limit exceeded for user sandbox"}, "headers": headers});
    world.fault(
        json!({"upstream": "github", "method": "GET", "path": "/repos/acme/docs$", "fault": fault}),
    );
    waits_and_goes_on(&world, Upstream::Github, "resolve_repository").await;
}

#[tokio::test]
async fn githubs_secondary_limit_is_waited_for() {
    let world = World::usual().await;
    let message = "You have exceeded a secondary rate limit and have been temporarily blocked from content creation.";
    let fault =
        json!({"status": 403, "body": {"message": message}, "headers": {"retry-after": "2"}});
    world.fault(json!({"upstream": "github", "method": "POST", "path": "/keys$", "fault": fault}));
    waits_and_goes_on(&world, Upstream::Github, "install_deploy_key").await;
}

/// The link says that the step waits, then becomes live; the upstream is left alone meanwhile.
async fn waits_and_goes_on(world: &World, upstream: Upstream, step: &str) {
    let id = world.client.link(docs()).await;
    let waiting = until("the step to wait", async || {
        let link = world.client.read(&id).await;
        let steps = link["steps"].as_array().expect("steps");
        let step = steps.iter().find(|known| known["name"] == step).cloned();
        step.filter(|step| step["state"] == "waiting")
    })
    .await;
    // By now every call that was sent together with the refused one has ended.
    let seen = unix_ms();
    assert_eq!(waiting["attempts"], 0, "{waiting:#}");
    assert_ne!(waiting["next_attempt_at"], Value::Null);
    let reason = waiting["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("rate limit"), "{reason}");

    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let calls = world.sandbox.calls();
    let refused = calls
        .iter()
        .find(|call| call.fault.is_some())
        .expect("the refused call");
    let asked = refused.ended_ms + 900.0;
    let early = calls
        .iter()
        .find(|call| call.upstream == upstream && (seen..asked).contains(&call.started_ms));
    assert!(early.is_none(), "{early:?} after {refused:?}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 1), "{kind}");
    }
}

#[tokio::test]
async fn what_one_server_is_told_all_servers_heed() {
    let world = World::usual().await;
    let mut second = world.replica().await;
    let reset = OffsetDateTime::now_utc().unix_timestamp() + 8;
    let headers = json!({"x-ratelimit-limit": "500", "x-ratelimit-remaining": "0", "x-ratelimit-reset": reset.to_string()});
    let fault = json!({"status": 429, "body": {"code": 429, "message": "Too many requests"}, "headers": headers});
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": fault}),
    );
    let first = world.client.link(docs()).await;
    let refused = until("a refusal", async || {
        let calls = world.sandbox.calls();
        calls.into_iter().find(|call| call.fault.is_some())
    })
    .await;
    // Whoever was told has told the others by then.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let begun = unix_ms();
    let mut links = vec![first];
    for number in 0..8 {
        let mut request = docs();
        request["site"]["name"] = json!(format!("site-{number}"));
        links.push(world.client.link(request).await);
    }
    for id in &links {
        let link = world.client.settled(id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    let calls = world.sandbox.calls();
    let early = calls.iter().find(|call| {
        let asked_for = (reset as f64 - 1.0) * 1e3;
        call.upstream == Upstream::Netlify && (begun..asked_for).contains(&call.started_ms)
    });
    assert!(early.is_none(), "{early:?} after {refused:?}");
    assert!(second.stop().await.success());
}

#[tokio::test]
async fn github_is_never_asked_to_make_more_than_it_allows() {
    let settings = vec![("LINKBROKER_GITHUB_WRITES_PER_MINUTE", "6".to_owned())];
    let switches = json!({"github": {"limits": {"content_per_minute": 6}}});
    let world = World::with(Setup {
        settings,
        switches,
        ..Setup::default()
    })
    .await;
    let mut second = world.replica().await;
    let begun = unix_ms();
    let mut links = Vec::new();
    for number in 0..4 {
        let mut request = docs();
        request["site"]["name"] = json!(format!("site-{number}"));
        request["verify"] = json!("build");
        world.repository(&format!("docs-{number}")).await;
        request["repository"] = json!(format!("https://github.com/acme/docs-{number}"));
        links.push(world.client.link(request).await);
    }
    // Eight things in all: two of them in the next minute.
    while unix_ms() - begun < 100_000.0
        && world.count("webhooks").0 + world.count("installed_keys").0 < 8
    {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let took = (unix_ms() - begun) / 1e3;
    println!("eight things at six a minute took {took:.0} s");
    assert!(took > 55.0, "{took}");
    for id in &links {
        let link = world.client.settled(id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    let calls = world.sandbox.calls();
    let refused = calls
        .iter()
        .find(|call| [Some(403), Some(429)].contains(&call.status));
    assert!(refused.is_none(), "{refused:?}");
    assert!(second.stop().await.success());
}

/// Now, as the sandbox's calls are timed.
fn unix_ms() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e6
}
