//! Everything goes wrong: each writing call of a way in turn or all of them, and there is exactly one of everything at the end.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::counts::{assert_lawful, assert_leaves_nothing, assert_one_of_each, own_kinds};
use super::straight::assert_live;
use crate::world::{By, Setup, Way, World, text, until};

/// The writing calls of a way: upstream, method, and the end of the path.
fn writes(way: &Way) -> Vec<(&'static str, &'static str, &'static str)> {
    let key = match way.kind {
        "github" | "gitea" => ("POST", "/keys$"),
        "gitlab" => ("POST", "/deploy_keys$"),
        "bitbucket" => ("POST", "/deploy-keys$"),
        _ => ("POST", "/HierarchyQuery"),
    };
    let webhook = match way.kind {
        "azure_devops" => ("POST", "/hooks/subscriptions\\?"),
        _ => ("POST", "/hooks$"),
    };
    let push = match way.kind {
        "azure_devops" => ("POST", "/testnotifications"),
        "gitlab" => ("POST", "/test/push_events$"),
        _ => ("POST", "/tests(\\?|$)"),
    };
    let at_provider = [(way.key, key), (way.webhook, webhook), (way.push, push)];
    let mut writes = vec![
        ("netlify", "POST", "/sites$"),
        ("netlify", "PATCH", "/sites/"),
    ];
    if !matches!(way.key, By::Operator | By::Netlify) {
        writes.insert(0, ("netlify", "POST", "/deploy_keys$"));
    }
    for (by, (method, path)) in at_provider {
        if by == By::Linkbroker {
            writes.push((way.kind, method, path));
        }
    }
    if way.push == By::Linkbroker {
        writes.push(("netlify", "POST", "/cancel$"));
    }
    writes
}

/// Sets a fault on the `nth` call of each kind.
fn disturb(way: &Way, world: &World, nth: u64, fault: &Value) {
    for (upstream, method, path) in writes(way) {
        world.fault(json!({"upstream": upstream, "method": method, "path": path, "nth": nth, "fault": fault}));
    }
}

fn struck(world: &World) -> usize {
    let calls = world.sandbox.calls();
    calls.iter().filter(|call| call.fault.is_some()).count()
}

/// Each writing call has its effect, and its answer gets lost.
pub async fn lost_answers_make_nothing_twice(way: &Way) {
    let world = way.world().await;
    disturb(way, &world, 1, &json!("lost_answer"));
    let link = way.link(&world).await;
    assert_live(way, &link);
    assert_eq!(struck(&world), writes(way).len(), "each fault has struck");
    assert_one_of_each(way, &world);
    assert_leaves_nothing(way, &world, &link).await;
}

/// Each writing call is swallowed once: it has no effect, and no answer ever comes.
pub async fn answers_that_never_come_are_not_waited_for(way: &Way) {
    let patience = ("LINKBROKER_CALL_TIMEOUT_SECONDS", "2".to_owned());
    let setup = Setup {
        settings: vec![patience],
        ..Setup::default()
    };
    let world = way.world_with(setup).await;
    // A double build that is canceled too late is built, and no harm.
    for (upstream, method, path) in writes(way).into_iter().filter(|it| it.2 != "/cancel$") {
        world.fault(json!({"upstream": upstream, "method": method, "path": path, "fault": {"delay_ms": 600_000}}));
    }
    let link = way.link(&world).await;
    assert_live(way, &link);
    assert_one_of_each(way, &world);
    assert_leaves_nothing(way, &world, &link).await;
}

/// Each writing call meets a broken connection first and an error of the upstream then.
pub async fn resets_and_errors_that_pass_are_outlived(way: &Way) {
    let world = way.world().await;
    disturb(way, &world, 1, &json!("reset"));
    disturb(
        way,
        &world,
        2,
        &json!({"status": 500, "body": {"message": "Internal error"}}),
    );
    let link = way.link(&world).await;
    assert_live(way, &link);
    assert_eq!(
        struck(&world),
        2 * writes(way).len(),
        "each fault has struck"
    );
    assert_one_of_each(way, &world);
    assert_leaves_nothing(way, &world, &link).await;
}

/// Each writing call in turn is refused for good: the link says why, and unlinking leaves nothing.
pub async fn a_refusal_is_named_and_leaves_nothing(way: &Way) {
    let world = way.world().await;
    // A double build that cannot be canceled is no failure of the link.
    for (upstream, method, path) in writes(way).into_iter().filter(|it| it.2 != "/cancel$") {
        let fault = json!({"status": 400, "body": {"message": "It is not to be"}});
        world.fault(json!({"upstream": upstream, "method": method, "path": path, "times": 99, "fault": fault}));
        let link = way.link(&world).await;
        assert_ne!(link["status"], "live", "{path}: {link:#}");
        let code = text(&link["diagnosis"]["code"]);
        assert!(
            !matches!(code.as_str(), "" | "internal"),
            "{path}: {link:#}"
        );
        world.sandbox.world().faults.clear();

        let ended = world.client.unlink(&text(&link["id"]), "").await;
        let over = ["canceled", "unlinked"].map(Value::from);
        assert!(over.contains(&ended["status"]), "{path}: {ended:#}");
        for kind in own_kinds(way) {
            assert_eq!(world.count(kind).1, 0, "{}: {path}: {kind}", way.name);
        }
    }
    assert_lawful(&world);
}

/// A limit as its vendor tells it; whether it says how long to wait.
fn limit(way: &Way) -> (Value, bool) {
    let reset = (OffsetDateTime::now_utc().unix_timestamp() + 5).to_string();
    match way.kind {
        "github" => (
            json!({"status": 403, "body": {"message": "API rate limit exceeded for user sandbox"},
                "headers": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}}),
            true,
        ),
        "gitlab" => (
            json!({"status": 429, "body": "Retry later", "headers": {"retry-after": "4",
                "ratelimit-remaining": "0", "ratelimit-reset": reset}}),
            true,
        ),
        "azure_devops" => (
            json!({"status": 429, "headers": {"retry-after": "4"}, "body": {"$id": "1",
                "message": "TF400733: The request has been canceled.", "typeKey": "RequestBlockedException"}}),
            true,
        ),
        "bitbucket" => (
            json!({"status": 429, "body": {"type": "error",
                "error": {"message": "Rate limit for this resource has been exceeded"}}}),
            false,
        ),
        "gitea" => (
            json!({"status": 429, "headers": {"retry-after": "4"}}),
            true,
        ),
        // Nobody but Netlify is called.
        _ => (
            json!({"status": 429, "body": {"code": 429, "message": "Too many requests"},
                "headers": {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}}),
            true,
        ),
    }
}

/// The upstream says "later": that is no failed attempt, and the link goes on by itself.
pub async fn a_rate_limit_is_waited_for(way: &Way) {
    let world = way.world().await;
    let upstream = match way.kind {
        "manual" => "netlify",
        kind => kind,
    };
    let (fault, says_when) = limit(way);
    let limited = world.fault(json!({"upstream": upstream, "path": ".", "fault": fault}));
    let id = world.client.link(way.request(&world)).await;
    if says_when {
        let link = way.go_on(&world, &id).await;
        assert_live(way, &link);
        assert_eq!(limited.count(), 1);
        let mut steps = link["steps"].as_array().expect("steps").iter();
        let tried = steps.find(|step| step["attempts"] != 0);
        assert_eq!(tried, None);
        assert_one_of_each(way, &world);
        assert_leaves_nothing(way, &world, &link).await;
        return;
    }
    // Bitbucket does not say when: a minute, which a caller does not have to sit out to cancel.
    let waiting = until("a step to wait for its limit", async || {
        let link = world.client.read(&id).await;
        let mut steps = link["steps"].as_array().expect("steps").iter();
        let limited = steps.find(|step| {
            step["state"] == "waiting" && text(&step["reason"]).contains("rate limit")
        });
        limited.cloned()
    })
    .await;
    assert_eq!(waiting["attempts"], 0, "{waiting:#}");
    assert_ne!(waiting["next_attempt_at"], Value::Null);
    let ended = world.client.unlink(&id, "").await;
    assert_eq!(ended["status"], "canceled", "{ended:#}");
    assert_lawful(&world);
}
