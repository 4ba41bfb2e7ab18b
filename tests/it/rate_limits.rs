//! Upstreams that say "later": the link waits as long as they ask, costs no attempt, and goes on.

use linkbroker_sandbox::recorder::Upstream;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::world::{World, docs, until};

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

/// Now, as the sandbox's calls are timed.
fn unix_ms() -> f64 {
    OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e6
}
