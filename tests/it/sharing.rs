//! What several links lean on, and what was there before us.

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Client, World, docs, receipts, text, until};

#[tokio::test]
async fn two_sites_of_one_repository_share_the_webhook() {
    let world = World::usual().await;
    let first = world.client.link_settled(docs()).await;
    let second = world.client.link_settled(docs_as("acme-docs-2")).await;
    assert_eq!(second["status"], "live", "{second:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    assert_eq!(world.count("installed_keys"), (2, 2));

    let unlinked = world.client.unlink(&text(&first["id"]), "").await;
    assert_eq!(receipt_of_webhook(&unlinked), "kept_shared");
    assert_eq!(world.count("webhooks"), (1, 1));
    assert_eq!(world.count("sites"), (2, 1));

    let unlinked = world.client.unlink(&text(&second["id"]), "").await;
    assert_eq!(receipt_of_webhook(&unlinked), "deleted");
    assert_eq!(world.count("webhooks"), (1, 0));
}

#[tokio::test]
async fn two_tenants_with_one_repository_share_the_webhook() {
    let world = World::usual().await;
    let other = world.client_of("umbrella", linkbroker::api::caller::Scope::ALL);
    world.connect(&other).await;
    let ours = world.client.link_settled(docs()).await;
    let theirs = other.link_settled(docs_as("umbrella-docs")).await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    assert_eq!(world.count("webhooks"), (1, 1));

    let unlinked = world.client.unlink(&text(&ours["id"]), "").await;
    assert_eq!(receipt_of_webhook(&unlinked), "kept_shared");
    let unlinked = other.unlink(&text(&theirs["id"]), "").await;
    assert_eq!(receipt_of_webhook(&unlinked), "deleted");
    assert_eq!(world.count("webhooks"), (1, 0));
}

#[tokio::test]
async fn a_webhook_that_was_there_is_adopted_and_survives() {
    let world = World::usual().await;
    let url = format!("{}/netlify/hooks/github", world.sandbox.world().origin());
    let config = json!({"url": url, "content_type": "json", "insecure_ssl": "0"});
    let hook = json!({"name": "web", "events": ["push"], "config": config});
    world
        .github(Method::POST, "/repos/acme/docs/hooks", Some(hook))
        .await;

    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    let resources = link["resources"].as_array().expect("resources");
    let webhook = resources
        .iter()
        .find(|resource| resource["kind"] == "webhook");
    assert_eq!(webhook.expect("a webhook")["origin"], "found");

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(receipt_of_webhook(&unlinked), "kept_foreign");
    assert_eq!(world.count("webhooks"), (1, 1));
}

#[tokio::test]
async fn a_webhook_that_was_there_but_switched_off_is_mended() {
    let world = World::usual().await;
    let url = format!("{}/netlify/hooks/github", world.sandbox.world().origin());
    let config = json!({"url": url, "content_type": "json", "insecure_ssl": "0"});
    let hook = json!({"name": "web", "events": ["push"], "active": false, "config": config});
    world
        .github(Method::POST, "/repos/acme/docs/hooks", Some(hook))
        .await;

    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (1, 1));
    let hook = &world.state()["github"]["repositories"][0]["hooks"][0];
    assert_eq!(hook["active"], true);
}

/// Another tenant with the same user at Netlify, and a link of it whose deploy key is asked for and not made.
async fn link_without_its_key(world: &World) -> (Client, String) {
    let other = world.client_of("umbrella", linkbroker::api::caller::Scope::ALL);
    world.connect(&other).await;
    let asked = world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": "hold_request"}));
    let theirs = other.link(docs_as("umbrella-docs")).await;
    until("their key to be asked for", async || {
        (asked.count() > 0).then_some(())
    })
    .await;
    assert_eq!(world.count("deploy_keys"), (0, 0));
    (other, theirs)
}

#[tokio::test]
async fn a_key_in_another_tenants_stock_is_not_taken_for_one_whose_answer_was_lost() {
    let world = World::usual().await;
    let (other, theirs) = link_without_its_key(&world).await;
    let mut request = docs();
    request["branch"] = json!("nowhere");
    let ours = world.client.link_settled(request).await;
    assert_eq!(ours["diagnosis"]["code"], "branch_missing", "{ours:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));
    world.sandbox.world().faults.clear();
    let theirs = other.settled(&theirs).await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    assert_eq!(world.count("deploy_keys"), (2, 2));
}

#[tokio::test]
async fn two_tenants_who_find_one_key_after_lost_answers_do_not_share_it() {
    let world = World::usual().await;
    let (other, theirs) = link_without_its_key(&world).await;
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/deploy_keys$", "fault": "hold_answer"}));
    let ours = world.client.link(docs()).await;
    world.made("deploy_keys").await;
    world.sandbox.world().faults.clear();
    for (client, id) in [(&world.client, ours), (&other, theirs)] {
        let link = client.settled(&id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    assert_eq!(world.count("deploy_keys"), (2, 2));
    assert_eq!(world.count("installed_keys"), (2, 2));
}

fn docs_as(site: &str) -> Value {
    let mut request = docs();
    request["site"]["name"] = json!(site);
    request
}

fn receipt_of_webhook(link: &Value) -> String {
    assert_eq!(link["status"], "unlinked", "{link:#}");
    let receipts = receipts(link);
    let webhook = receipts.into_iter().find(|(kind, _)| kind == "webhook");
    webhook.expect("a webhook").1
}
