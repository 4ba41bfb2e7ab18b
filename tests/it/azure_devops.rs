//! Repositories at Azure DevOps, here with blanks in their names: keys belong to people, subscriptions take the place of
//! webhooks, and somebody who is not signed in gets a page.

use linkbroker_sandbox::forge;
use linkbroker_sandbox::recorder::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, Way, World, place_account_key, receipts, text, until};

const WAY: Way = Way::AZURE_BY_HAND;

fn subscriptions(world: &World) -> Vec<Value> {
    let state = world.state();
    let hooks = state["azure_devops"]["repositories"][0]["hooks"].as_array();
    hooks.expect("subscriptions").clone()
}

#[tokio::test]
async fn a_person_is_told_the_key_the_page_and_the_account_and_retry_goes_on() {
    let world = WAY.world().await;
    let link = world.client.link_settled(WAY.request(&world)).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "key_to_be_placed");
    let action = &link["diagnosis"]["action"];
    assert_eq!(
        action["page"],
        "https://dev.azure.com/acme/_usersSettings/keys"
    );
    assert!(text(&action["account"]).contains("service account"));
    assert!(text(&action["what"]["public_key"]).starts_with("ssh-rsa "));
    assert_eq!(action["then"], "by_retry");

    place_account_key(&world, &text(&action["what"]["public_key"]));
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["repository"]["path"], WAY.path);
    assert_eq!(
        link["repository"]["web_url"],
        "https://dev.azure.com/acme/Web%20Team/_git/Our%20docs"
    );
    assert_eq!(subscriptions(&world).len(), 4);
    WAY.push(&world, "second words").await;

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    let kept = ("installed_key".to_owned(), "kept_foreign".to_owned());
    assert!(receipts(&unlinked).contains(&kept), "{unlinked:#}");
    assert_eq!(subscriptions(&world), [] as [Value; 0]);
}

#[tokio::test]
async fn a_key_that_was_placed_wrongly_is_asked_for_again_after_the_clone_failed() {
    let world = WAY.world().await;
    let link = world.client.link_settled(WAY.request(&world)).await;
    let id = text(&link["id"]);
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "build_failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "clone_denied", "{link:#}");
    let link = world.client.retry(&id).await;
    let action = &link["diagnosis"]["action"];
    assert_eq!(action["what"]["kind"], "place_deploy_key", "{link:#}");
    place_account_key(&world, &text(&action["what"]["public_key"]));
    let link = world.client.retry(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
}

#[tokio::test]
async fn the_operator_may_let_keys_be_placed_and_their_end_is_known() {
    let way = Way::AZURE_BY_API;
    let world = way.world().await;
    let link = world.client.link_settled(way.request(&world)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let keys = world.state()["azure_devops"]["person_keys"].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(1), "{keys:#}");
    assert_eq!(keys[0]["login"], linkbroker_sandbox::LOGIN);
    assert!(keys[0]["expires_at"].is_string() || keys[0]["expires_at"].is_number());

    world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(world.count("installed_keys"), (1, 0));
}

#[tokio::test]
async fn a_standing_key_needs_nobody_and_stays() {
    let way = Way::AZURE_STANDING;
    let world = way.world().await;
    let link = world.client.link_settled(way.request(&world)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));

    let mut second = way.request(&world);
    second["site"]["name"] = json!("acme-docs-2");
    let second = world.client.link_settled(second).await;
    assert_eq!(second["status"], "live", "{second:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));
    assert_eq!(world.count("webhooks"), (4, 4));

    for link in [link, second] {
        let unlinked = world.client.unlink(&text(&link["id"]), "").await;
        assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    }
    assert_eq!(world.count("deploy_keys"), (1, 1));
    assert_eq!(world.count("webhooks"), (4, 0));
}

#[tokio::test]
async fn a_page_to_sign_in_is_a_refused_credential_however_it_comes() {
    for switches in [
        json!({"suppress_honoured": true}),
        json!({"suppress_honoured": false}),
        json!({"suppress_honoured": false, "sign_in_redirects": true}),
    ] {
        let setup = Setup {
            switches: json!({"azure_devops": switches}),
            ..Setup::default()
        };
        let world = WAY.world_with(setup).await;
        let token = linkbroker_sandbox::AZURE_DEVOPS_TOKEN;
        forge::revoke_token(WAY.forge(&world), token).expect("the token");
        let link = world.client.link_settled(WAY.request(&world)).await;
        assert_eq!(
            link["diagnosis"]["code"], "credential_refused",
            "{switches}: {link:#}"
        );
        assert_eq!(world.count("sites"), (0, 0));
    }
}

/// Where somebody's own CI listens.
const CI: &str = "http://127.0.0.1:9/ci";

fn netlify(world: &World) -> String {
    let origin = world.sandbox.world().origin();
    format!("{origin}/netlify/hooks/azure_devops")
}

/// A call of Azure's, as people make it with its pages.
async fn azure(world: &World, method: Method, path: &str, body: Option<Value>) -> Value {
    let url = format!("{}/acme{path}", world.sandbox.azure_devops_url());
    let call = reqwest::Client::new().request(method, url);
    let call = call.query(&[("api-version", "7.1")]);
    let mut call = call.basic_auth("", Some(linkbroker_sandbox::AZURE_DEVOPS_TOKEN));
    if let Some(body) = &body {
        call = call.json(body);
    }
    let answer = call.send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("JSON")
}

/// Subscribes an address to the pushes to a branch, or to all of them, as somebody else would.
async fn subscribe_to_pushes(world: &World, branch: &str, url: &str) -> Value {
    let path = "/Web%20Team/_apis/git/repositories/Our%20docs";
    let repository = azure(world, Method::GET, path, None).await;
    let subscription = json!({
        "publisherId": "tfs", "eventType": "git.push", "resourceVersion": "1.0",
        "consumerId": "webHooks", "consumerActionId": "httpRequest",
        "publisherInputs": {"projectId": repository["project"]["id"], "repository": repository["id"], "branch": branch},
        "consumerInputs": {"url": url},
    });
    let path = "/_apis/hooks/subscriptions";
    azure(world, Method::POST, path, Some(subscription)).await
}

/// The subscriptions that are left, by where they send.
async fn addresses_left(world: &World) -> Vec<(String, String)> {
    let left = azure(world, Method::GET, "/_apis/hooks/subscriptions", None).await;
    let left = left["value"].as_array().expect("subscriptions").iter();
    left.map(|it| (text(&it["id"]), text(&it["consumerInputs"]["url"])))
        .collect()
}

#[tokio::test]
async fn a_missing_subscription_is_made_and_what_others_made_stays() {
    let way = Way::AZURE_BY_API;
    let world = way.world().await;
    subscribe_to_pushes(&world, "", &netlify(&world)).await;
    let link = world.client.link_settled(way.request(&world)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (4, 4));
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    let kept = ("webhook".to_owned(), "kept_foreign".to_owned());
    assert!(receipts(&unlinked).contains(&kept), "{unlinked:#}");
}

#[tokio::test]
async fn a_subscription_of_somebody_for_another_branch_stays_when_the_link_goes() {
    let way = Way::AZURE_BY_API;
    let world = way.world().await;
    let theirs = subscribe_to_pushes(&world, "dev", &netlify(&world)).await;
    let link = world.client.link_settled(way.request(&world)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("webhooks"), (5, 5));
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    let deleted = ("webhook".to_owned(), "deleted".to_owned());
    assert!(receipts(&unlinked).contains(&deleted), "{unlinked:#}");
    let kept = (text(&theirs["id"]), netlify(&world));
    assert_eq!(addresses_left(&world).await, [kept]);
}

#[tokio::test]
async fn what_somebody_sends_to_where_ours_was_pointed_stays_when_the_link_goes() {
    let way = Way::AZURE_BY_API;
    let world = way.world().await;
    let theirs = subscribe_to_pushes(&world, "", CI).await;
    let link = world.client.link_settled(way.request(&world)).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let resources = link["resources"].as_array().expect("resources").iter();
    let ours = resources.clone().find(|it| it["kind"] == "webhook");
    let path = text(&ours.expect("a webhook")["id"]);
    let path = format!("/_apis/hooks/subscriptions/{path}");
    let mut moved = azure(&world, Method::GET, &path, None).await;
    moved["consumerInputs"]["url"] = json!(CI);
    azure(&world, Method::PUT, &path, Some(moved)).await;
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    let kept = (text(&theirs["id"]), CI.to_owned());
    assert_eq!(addresses_left(&world).await, [kept]);
}

#[tokio::test]
async fn the_old_address_of_an_organisation_names_the_same_repository() {
    let way = Way::AZURE_BY_API;
    let world = way.world().await;
    let mut request = way.request(&world);
    request["repository"] = json!("https://acme.visualstudio.com/Web%20Team/_git/Our%20docs");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["repository"]["path"], way.path);
}

#[tokio::test]
async fn a_check_tells_whose_the_token_is() {
    let world = WAY.world().await;
    let list = world.client.get("/connections?limit=100").await.expect(200);
    let list = list.body["connections"].as_array().cloned();
    let mut list = list.expect("connections").into_iter();
    let connection = list.find(|it| it["kind"] == "azure_devops");
    let path = format!("/connections/{}", text(&connection.expect("one")["id"]));
    let check = format!("{path}/check");
    let asked = world.client.send(Method::POST, &check, |request| request);
    asked.await.expect(202);
    let check = until("the check to be over", async || {
        let check = world.client.get(&path).await.expect(200).body["check"].clone();
        check.get("poll_after_ms").is_none().then_some(check)
    })
    .await;
    assert_eq!(check["state"], "passed", "{check:#}");
    assert_eq!(check["identity"], "sandbox@example.com");
}

/// Azure answers 200 and advises to wait: nothing has failed, and nobody presses on.
#[tokio::test]
async fn advice_to_wait_is_heeded_and_nothing_fails_for_it() {
    let way = &Way::AZURE_BY_API;
    let slow = json!({"azure_devops": {"delayed_above": 0, "retry_after_seconds": 2}});
    let setup = Setup {
        switches: slow,
        ..Setup::default()
    };
    let world = way.world_with(setup).await;
    let link = way.link(&world).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let steps = link["steps"].as_array().expect("steps").iter();
    let attempts: Vec<_> = steps.map(|step| step["attempts"].clone()).collect();
    assert!(attempts.iter().all(|it| *it == 0), "{link:#}");
    assert_eq!(world.count("webhooks"), (4, 4));
    assert_not_pressed(&world);

    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("webhooks"), (4, 0));
    assert_not_pressed(&world);
}

/// No call began within the two seconds after the end of another. Those that were on their way at that moment are no
/// pressing: they may take a while to get there.
fn assert_not_pressed(world: &World) {
    let mut calls = world.sandbox.calls();
    calls.retain(|call| call.upstream == Upstream::AzureDevops);
    for call in &calls {
        let soon = call.ended_ms + 800.0..call.ended_ms + 1900.0;
        let pressed = calls.iter().find(|other| soon.contains(&other.started_ms));
        assert!(pressed.is_none(), "{pressed:?} after {call:?}");
    }
}
