//! `DELETE /links/{id}` takes back what the link made, and only that.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::world::{Setup, World, docs, receipts, until};

#[tokio::test]
async fn nothing_is_left_behind() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let unlinked = world.client.unlink(&id(&link), "").await;

    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}");
    }
    let kinds = ["deploy_key", "installed_key", "site", "webhook"];
    assert_eq!(
        receipts(&unlinked),
        kinds.map(|kind| (kind.to_owned(), "deleted".to_owned()))
    );
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn a_site_that_is_to_be_kept_stays_up_without_its_repository() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let unlinked = world.client.unlink(&id(&link), "?keep_site=true").await;

    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("sites"), (1, 1));
    for kind in ["deploy_keys", "installed_keys", "webhooks"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}");
    }
    assert!(receipts(&unlinked).contains(&("site".to_owned(), "kept".to_owned())));
    assert_is_bare(&world);
    let page = world.page("acme-docs").await;
    assert!(page.contains("Hello from the first commit"), "{page}");
}

fn assert_is_bare(world: &World) {
    let site = &world.state()["netlify"]["sites"][0];
    assert_eq!(site["build_settings"]["repo_path"], Value::Null, "{site:#}");
}

#[tokio::test]
async fn the_same_link_can_be_made_again() {
    let world = World::usual().await;
    let first = world.client.link_settled(docs()).await;
    world.client.unlink(&id(&first), "").await;
    let second = world.client.link_settled(docs()).await;

    assert_eq!(second["status"], "live", "{second:#}");
    assert_ne!(first["id"], second["id"]);
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (2, 1), "{kind}");
    }
}

#[tokio::test]
async fn asking_twice_is_asking_once() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let path = format!("/links/{}", id(&link));
    world.client.delete(&path).await.expect(202);
    world.client.delete(&path).await.expect(202);
    let unlinked = world.client.settled(&id(&link)).await;
    assert_eq!(unlinked["status"], "unlinked");
    let again = world.client.delete(&path).await.expect(202);
    assert_eq!(again.body["status"], "unlinked");
    assert_eq!(again.body["version"], unlinked["version"]);
}

#[tokio::test]
async fn a_link_that_is_unlinked_while_it_is_set_up_is_canceled_and_leaves_nothing() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"delay_ms": 700}}));
    let link = world.client.link(docs()).await;
    world.made("sites").await;
    let canceled = world.client.unlink(&link, "").await;

    assert_eq!(canceled["status"], "canceled", "{canceled:#}");
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_link_that_is_unlinked_right_after_it_was_accepted_is_canceled() {
    let world = World::usual().await;
    let link = world.client.link(docs()).await;
    let canceled = world.client.unlink(&link, "").await;

    assert_eq!(canceled["status"], "canceled", "{canceled:#}");
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind).1, 0, "{kind}");
    }
    // A key that nobody was given is no waste: it serves the next link.
    let next = world.client.link_settled(docs()).await;
    assert_eq!(next["status"], "live", "{next:#}");
    assert_eq!(world.count("deploy_keys").1, 1);
}

/// Asks for something and takes the link back before anybody has begun with it: everything goes, with a receipt.
async fn assert_nothing_is_left_of(request: Value, status: &str, verb: &str) {
    let world = World::usual().await;
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], status, "{link:#}");
    let id = id(&link);
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table workers in exclusive mode");
    hold.execute(&mut *held).await.expect("no claims");
    let asked = format!("/links/{id}/{verb}");
    let asked = world.client.send(Method::POST, &asked, |it| it).await;
    asked.expect(202);
    let path = format!("/links/{id}");
    world.client.delete(&path).await.expect(202);
    held.rollback().await.expect("claims again");

    let over = world.client.settled(&id).await;
    for kind in ["deploy_keys", "installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (1, 0), "{kind}: {over:#}");
    }
    let kinds = ["deploy_key", "installed_key", "site", "webhook"];
    let receipts = receipts(&over);
    assert_eq!(
        receipts,
        kinds.map(|kind| (kind.to_owned(), "deleted".to_owned()))
    );
}

#[tokio::test]
async fn a_link_that_is_unlinked_right_after_a_retry_leaves_nothing() {
    let mut fails = docs();
    fails["build"]["command"] = json!("exit 3");
    assert_nothing_is_left_of(fails, "build_failed", "retry").await;
}

#[tokio::test]
async fn a_link_that_is_unlinked_right_after_it_was_to_exchange_its_key_leaves_nothing() {
    assert_nothing_is_left_of(docs(), "live", "rotate-key").await;
}

/// A site that Netlify does not let us delete.
fn site_is_undeletable(world: &World) {
    let forbidden = json!({"status": 403, "body": {"code": 403, "message": "Forbidden"}});
    world.fault(json!({"upstream": "netlify", "method": "DELETE", "path": "/sites/", "times": 999, "fault": forbidden}));
}

#[tokio::test]
async fn a_site_that_cannot_be_deleted_may_stay_while_the_rest_is_still_being_taken_back() {
    let settings = vec![
        ("LINKBROKER_RETRY_BASE_MS", "3000".to_owned()),
        ("LINKBROKER_RETRY_MAX_SECONDS", "10".to_owned()),
    ];
    let world = World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    site_is_undeletable(&world);
    let tries = world.fault(json!({"upstream": "github", "method": "DELETE", "path": "/hooks/", "times": 999, "fault": {"status": 503}}));
    let id = id(&link);
    let path = format!("/links/{id}");
    world.client.delete(&path).await.expect(202);
    until("the site to be given up", async || {
        let link = world.client.read(&id).await;
        assert_eq!(link["status"], "unlinking", "{link:#}");
        let steps = link["steps"].as_array().expect("steps");
        let site = steps.iter().find(|step| step["name"] == "create_site");
        (site.expect("a step")["state"] == "undo_failed").then_some(())
    })
    .await;
    let before = tries.count();
    world
        .client
        .delete(&format!("{path}?keep_site=true"))
        .await
        .expect(202);
    // The other wish ends the pause.
    until("the wish to be heeded", async || {
        (tries.count() > before).then_some(())
    })
    .await;
    world.sandbox.world().faults.clear();
    let unlinked = world.client.settled(&id).await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert!(receipts(&unlinked).contains(&("site".to_owned(), "kept".to_owned())));
    assert_eq!(world.count("webhooks"), (1, 0));
    assert_is_bare(&world);
}

#[tokio::test]
async fn an_undo_that_stands_still_begins_again_also_when_it_is_asked_for_while_a_worker_looks() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    site_is_undeletable(&world);
    let id = id(&link);
    let stands_still = world.client.unlink(&id, "").await;
    assert_eq!(stands_still["status"], "action_required");
    world.sandbox.world().faults.clear();

    // No upstream can be opened; the link is due, as after news of a build.
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table data_keys in access exclusive mode");
    hold.execute(&mut *held).await.expect("a lock");
    let mut db = world.database.connection().await;
    let due = sqlx::query("update links set next_run_at = now()");
    due.execute(&mut db).await.expect("a row");
    until("a worker to look", async || {
        let held = sqlx::query_scalar("select lease_owner is not null from links");
        let held: bool = held.fetch_one(&mut db).await.expect("the link");
        held.then_some(())
    })
    .await;
    world
        .client
        .delete(&format!("/links/{id}"))
        .await
        .expect(202);
    held.rollback().await.expect("upstreams again");
    let unlinked = world.client.settled(&id).await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("sites"), (1, 0));
}

#[tokio::test]
async fn what_others_removed_already_is_no_obstacle() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let state = world.state();
    let repository = &state["github"]["repositories"][0];
    for (kind, object) in [
        ("keys", &repository["keys"][0]),
        ("hooks", &repository["hooks"][0]),
    ] {
        let path = format!("/repos/acme/docs/{kind}/{}", object["id"]);
        world.github(Method::DELETE, &path, None).await;
    }
    let unlinked = world.client.unlink(&id(&link), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    let receipts = receipts(&unlinked);
    for kind in ["installed_key", "webhook"] {
        assert!(
            receipts.contains(&(kind.to_owned(), "already_gone".to_owned())),
            "{receipts:?}"
        );
    }
}

fn id(link: &Value) -> String {
    crate::world::text(&link["id"])
}
