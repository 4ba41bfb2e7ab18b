//! What is over is forgotten after a while, and nothing else.

use serde_json::json;

use crate::world::{World, docs, until};

#[tokio::test]
async fn links_that_are_over_and_old_events_go_and_the_audit_stays() {
    let mut world = World::usual().await;
    let gone = world.client.link_settled(docs()).await;
    let gone = gone["id"].as_str().expect("an id").to_owned();
    world.client.unlink(&gone, "").await;
    let mut other = docs();
    other["site"]["name"] = json!("acme-other");
    let kept = world.client.link_settled(other).await;
    let kept = kept["id"].as_str().expect("an id").to_owned();

    let mut db = world.database.connection().await;
    for age in [
        "update links set updated_at = now() - interval '91 days'",
        "update events set at = now() - interval '91 days' where type <> 'deploy.state_changed'",
    ] {
        sqlx::query(age).execute(&mut db).await.expect("older rows");
    }
    // It looks at its start, then now and then.
    world.crash().await;
    until("the link to be forgotten", async || {
        (world.client.get(&format!("/links/{gone}")).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(world.client.read(&kept).await["status"], "live");
    let events = world
        .client
        .get(&format!("/links/{kept}/events"))
        .await
        .expect(200)
        .body;
    let events = events["events"].as_array().expect("events");
    assert!(!events.is_empty(), "young events stay");
    let old = events
        .iter()
        .filter(|event| event["type"] != "deploy.state_changed");
    assert_eq!(old.count(), 0, "{events:#?}");
    let audit = world
        .client
        .get(&format!("/audit?link={gone}"))
        .await
        .expect(200)
        .body;
    let entries = audit["entries"].as_array().expect("entries");
    assert!(!entries.is_empty(), "the audit stays");
}
