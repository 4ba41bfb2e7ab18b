//! Links of one repository that begin in the same instant: of several tenants, in several processes.

use futures_util::future::join_all;
use linkbroker::api::caller::Scope;
use serde_json::{Value, json};

use crate::world::{Client, Setup, Way, World, text, until};

/// Calls take this long, so that those of several links overlap.
const LATENCY_MS: u64 = 120;

fn slow() -> Setup {
    Setup {
        switches: json!({"latency_ms": LATENCY_MS}),
        ..Setup::default()
    }
}

/// The request for a link of the repository to another site.
fn to_site(way: &Way, world: &World, site: &str) -> Value {
    let mut request = way.request(world);
    request["site"]["name"] = json!(site);
    request
}

/// Asks at the same time for links of the repository to these sites; each with its caller.
async fn ask<'c>(
    way: &Way,
    world: &World,
    sites: &[(&'c Client, &str)],
) -> Vec<(&'c Client, String)> {
    let asked = sites.iter().map(async |(client, site)| {
        let id = client.link(to_site(way, world, site)).await;
        (*client, id)
    });
    join_all(asked).await
}

async fn assert_all_live(way: &Way, world: &World, links: &[(&Client, String)]) {
    for (client, id) in links {
        let link = way.go_on_as(world, client, id).await;
        assert_eq!(link["status"], "live", "{}: {link:#}", way.name);
    }
}

/// Four links of two tenants, asked of two processes: `webhooks` are made, and `webhooks` are there.
async fn share_the_webhook(way: &Way, webhooks: u64) {
    let world = way.world_with(slow()).await;
    let replica = world.replica().await;
    let theirs = world.client_of("umbrella", Scope::ALL);
    way.connect(&world, &theirs).await;
    let ours = world
        .client
        .with_token(&replica.address, world.client.token());
    let sites = [
        (&world.client, "acme-docs"),
        (&ours, "acme-docs-2"),
        (&theirs, "umbrella-docs"),
        (&theirs, "umbrella-docs-2"),
    ];
    let links = ask(way, &world, &sites).await;
    assert_all_live(way, &world, &links).await;
    assert_eq!(world.count("webhooks"), (webhooks, webhooks));
    assert_eq!(world.count("sites"), (4, 4));

    let (last, others) = links.split_last().expect("links");
    let gone = others
        .iter()
        .map(async |(client, id)| client.unlink(id, "").await);
    for link in join_all(gone).await {
        assert_eq!(link["status"], "unlinked", "{link:#}");
    }
    let left = world.count("webhooks").1;
    assert!(left > 0, "{}: the last link needs it", way.name);
    last.0.unlink(&last.1, "").await;
    assert_eq!(world.count("webhooks"), (webhooks, 0));
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn of_github_share_one_webhook() {
    share_the_webhook(&Way::GITHUB, 1).await;
}

#[tokio::test]
async fn of_gitlab_share_one_webhook() {
    share_the_webhook(&Way::GITLAB, 1).await;
}

#[tokio::test]
async fn of_bitbucket_share_one_webhook() {
    share_the_webhook(&Way::BITBUCKET, 1).await;
}

/// A subscription for each event.
#[tokio::test]
async fn of_azure_devops_share_one_set_of_subscriptions() {
    share_the_webhook(&Way::AZURE_BY_API, 4).await;
}

/// Netlify wants Gitea's pushes at an address of each site's own.
#[tokio::test]
async fn of_gitea_have_a_webhook_for_each_site() {
    share_the_webhook(&Way::GITEA, 4).await;
}

/// A webhook that is about to be removed is not leaned on.
#[tokio::test]
async fn a_link_that_comes_while_another_goes_has_a_webhook() {
    let way = &Way::GITLAB;
    let world = way.world_with(slow()).await;
    let first = way.link(&world).await;
    assert_eq!(first["status"], "live", "{first:#}");
    world.fault(json!({"upstream": "gitlab", "method": "DELETE", "path": "/hooks/", "fault": {"delay_ms": 3000}}));
    let path = format!("/links/{}", text(&first["id"]));
    world.client.delete(&path).await.expect(202);
    until("the first to be half gone", async || {
        (world.count("sites").1 == 0).then_some(())
    })
    .await;
    let links = ask(way, &world, &[(&world.client, "acme-docs-2")]).await;
    assert_all_live(way, &world, &links).await;
    assert_eq!(world.count("webhooks").1, 1);
}

/// A process that dies over the webhook holds up the others for no longer than its lease.
#[tokio::test]
async fn a_crash_over_the_webhook_holds_nobody_up() {
    let way = &Way::GITLAB;
    // The effect comes after the server has died.
    let settings = vec![("LINKBROKER_SETTLE_SECONDS", "4".to_owned())];
    let mut world = way.world_with(Setup { settings, ..slow() }).await;
    world.fault(json!({"upstream": "gitlab", "method": "POST", "path": "/hooks$", "fault": {"delay_ms": 1500}}));
    let first = world.client.link(way.request(&world)).await;
    until("the first to be at the webhook", async || {
        let link = world.client.read(&first).await;
        let steps = link["steps"].as_array().expect("steps");
        let mut running = steps.iter().filter(|step| step["state"] == "running");
        running
            .any(|step| step["name"] == "install_webhook")
            .then_some(())
    })
    .await;
    let second = to_site(way, &world, "acme-docs-2");
    let second = world.client.link(second).await;
    world.crash().await;
    for id in [first, second] {
        let link = way.go_on(&world, &id).await;
        assert_eq!(link["status"], "live", "{link:#}");
    }
    assert_eq!(world.count("webhooks"), (1, 1));
}
