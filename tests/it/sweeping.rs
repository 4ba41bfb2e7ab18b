//! What nobody needs any more is found and removed, and nothing else.

use serde_json::{Value, json};
use sqlx::Connection;

use crate::world::{World, docs, until};

/// What `linkbroker sweep` tells.
async fn sweep(world: &World, arguments: &[&str]) -> Vec<Value> {
    let arguments = [&["sweep", "--unused-seconds", "0"], arguments].concat();
    let told = world.run(&arguments).await.expect(0).json();
    told["swept"].as_array().expect("a list").clone()
}

fn told(swept: &[Value]) -> Vec<(String, String)> {
    let text = |swept: &Value, field: &str| swept[field].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<_> = swept
        .iter()
        .map(|it| (text(it, "kind"), text(it, "outcome")))
        .collect();
    told.sort();
    told
}

fn pair(kind: &str, outcome: &str) -> (String, String) {
    (kind.to_owned(), outcome.to_owned())
}

#[tokio::test]
async fn a_webhook_that_two_links_left_to_each_other_goes_and_one_in_use_stays() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = link["id"].as_str().expect("an id");
    assert_eq!(
        sweep(&world, &["--stock-days", "0"]).await,
        Vec::<Value>::new()
    );
    let made = world.count("webhooks");
    // As if another link had needed the webhook in that moment.
    let mut db = world.database.connection().await;
    world.client.unlink(id, "").await;
    let webhook = world.github(reqwest::Method::POST, "/repos/acme/docs/hooks", Some(json!({
        "name": "web", "events": ["push"], "active": true, "config": {"url": "https://example.com/hook", "content_type": "json"}}))).await;
    let left = "update resources set state = 'present', external_id = $1 where kind = 'webhook'";
    let number = webhook["id"].to_string();
    sqlx::query(left)
        .bind(&number)
        .execute(&mut db)
        .await
        .expect("a row");
    let shared = "update resource_uses set receipt = 'kept_shared'
        where resource_id in (select id from resources where kind = 'webhook')";
    sqlx::query(shared).execute(&mut db).await.expect("a row");
    assert_eq!(world.count("webhooks"), (made.0 + 1, 1));

    let found = sweep(&world, &["--dry-run"]).await;
    assert_eq!(told(&found), [pair("webhook", "found")]);
    assert_eq!(world.count("webhooks").1, 1, "a dry run changes nothing");
    assert_eq!(
        told(&sweep(&world, &[]).await),
        [pair("webhook", "removed")]
    );
    assert_eq!(world.count("webhooks").1, 0);
    assert_eq!(sweep(&world, &[]).await, Vec::<Value>::new());
    let audit = world.client.get("/audit").await.expect(200).body;
    let entries = audit["entries"].as_array().expect("entries");
    let swept = entries.iter().filter(|entry| entry["step"] == "sweep");
    assert_eq!(swept.count(), 1, "{entries:#?}");
}

#[tokio::test]
async fn old_stock_goes_and_young_stock_stays() {
    let world = World::usual().await;
    // A link that fails before its key was sent leaves the key in stock.
    let mut request = docs();
    request["branch"] = json!("nowhere");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["diagnosis"]["code"], "branch_missing", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));
    assert_eq!(sweep(&world, &[]).await, Vec::<Value>::new());
    assert_eq!(
        told(&sweep(&world, &["--stock-days", "0"]).await),
        [pair("deploy_key", "removed")]
    );
    assert_eq!(world.count("deploy_keys"), (1, 0));
    // The next link makes one of its own.
    let mut request = docs();
    request["site"]["name"] = json!("acme-other");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (2, 1));
}

#[tokio::test]
async fn a_key_that_a_link_takes_from_stock_in_the_same_moment_stays() {
    let world = World::usual().await;
    let mut request = docs();
    request["branch"] = json!("nowhere");
    let failed = world.client.link_settled(request).await;
    assert_eq!(failed["diagnosis"]["code"], "branch_missing", "{failed:#}");
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table resource_uses in share mode");
    hold.execute(&mut *held).await.expect("no new uses");
    let mut request = docs();
    request["site"]["name"] = json!("acme-other");
    let link = world.client.link(request).await;
    let both_wait = async {
        until("link and sweep to wait", async || {
            (world.database.waiting("%resource%").await == 2).then_some(())
        })
        .await;
        held.rollback().await.expect("uses again");
    };
    until("the link to take the key", async || {
        let waiting = world.database.waiting("%into resource_uses%").await;
        (waiting == 1).then_some(())
    })
    .await;
    let (swept, ()) = tokio::join!(sweep(&world, &["--stock-days", "0"]), both_wait);
    assert_eq!(told(&swept), [pair("deploy_key", "needed")]);
    let link = world.client.settled(&link).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));
}

#[tokio::test]
async fn a_key_whose_call_was_interrupted_and_that_nobody_uses_goes_after_a_day() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": "lost_answer"}));
    // The list does not show it in time.
    world.fault(json!({"upstream": "netlify", "method": "GET", "path": "/deploy_keys", "times": 999, "fault": {"status": 200, "body": []}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (2, 2));
    world.sandbox.world().faults.clear();
    assert_eq!(sweep(&world, &[]).await, Vec::<Value>::new());
    let swept = sweep(&world, &["--suspect-hours", "0"]).await;
    assert_eq!(told(&swept), [pair("deploy_key", "removed")]);
    assert_eq!(world.count("deploy_keys"), (2, 1));
    // The link's own key is still there.
    assert_eq!(
        world.client.read(link["id"].as_str().expect("an id")).await["status"],
        "live"
    );
    assert_eq!(world.count("installed_keys"), (1, 1));
    assert_eq!(
        sweep(&world, &["--suspect-hours", "0"]).await,
        Vec::<Value>::new()
    );
}
