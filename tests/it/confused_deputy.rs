//! One tenant tries to have the service work on another's things by what the service holds: refused by name, before any effect.
//!
//! The cases of the threat "confused deputy": another tenant's connection to Netlify and to the provider; its installation of
//! Netlify's app, also for another repository, another team and after a rename; its repository, by a credential that cannot see it
//! and by one that may only read; its site, by name; its deploy key in stock; a repository that was made anew under the name; and
//! what its link leans on when ours is taken back.

use linkbroker::api::caller::Scope;
use linkbroker_sandbox::NETLIFY_TOKEN;
use linkbroker_sandbox::recorder::Call;
use serde_json::{Value, json};

use crate::existing_sites::{bare_site, to};
use crate::world::{Client, Setup, World, docs, file_setting, receipts, text};

/// What the other tenant may do.
const GRANTS: &str = r#"
[[grant]]
tenant = "umbrella"
installation_id = 4711
repositories = ["github.com/acme/secrets"]
team = "sandbox"

[[grant]]
tenant = "acme"
installation_id = 12
repositories = ["github.com/acme/docs"]
team = "sandbox"
"#;

fn writes(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.method != "GET").collect()
}

/// A token at GitHub that may only see `acme/docs`, as an administrator.
fn own_token(world: &World) -> &'static str {
    world.github_token(
        "ghp_of_acme_alone",
        json!({"acme/docs": "admin", "acme/secrets": "none"}),
    );
    "ghp_of_acme_alone"
}

/// Acme with a token of its own, and umbrella, whose token may do everything.
async fn two_tenants(setup: Setup) -> (World, Client) {
    let world = World::empty(setup).await;
    world.repository("docs").await;
    world.repository("secrets").await;
    let token = own_token(&world);
    world
        .connect_with(&world.client, NETLIFY_TOKEN, token)
        .await;
    let other = world.client_of("umbrella", Scope::ALL);
    for (name, kind, token) in [
        ("umbrella-netlify", "netlify", NETLIFY_TOKEN),
        (
            "umbrella-github",
            "github",
            linkbroker_sandbox::GITHUB_TOKEN,
        ),
    ] {
        world.connect_as(&other, name, kind, token).await;
    }
    (world, other)
}

fn secrets(site: &str) -> Value {
    let mut request = docs();
    request["repository"] = json!("https://github.com/acme/secrets");
    request["site"]["name"] = json!(site);
    request
}

#[tokio::test]
async fn connections_of_another_tenant_cannot_be_named() {
    let (world, _) = two_tenants(Setup::default()).await;
    for (which, name) in [
        ("netlify", "umbrella-netlify"),
        ("provider", "umbrella-github"),
    ] {
        let mut request = secrets("stolen");
        request["connections"] = json!({which: name});
        let problem = world.client.post("/links", request).await.expect(422).body;
        assert_eq!(
            problem["errors"][0]["pointer"],
            format!("/connections/{which}")
        );
    }
    assert_eq!(world.sandbox.calls().len(), 0);
}

#[tokio::test]
async fn an_installation_is_refused_unless_granted_for_tenant_repository_and_team() {
    let (_folder, setting) = file_setting("LINKBROKER_GRANTS", GRANTS);
    let settings = vec![setting];
    let (world, _) = two_tenants(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    let asking = |repository: &str, id: u64, team: &str| {
        let mut request = docs();
        request["repository"] = json!(format!("https://github.com/acme/{repository}"));
        request["access"] = json!({"installation_id": id});
        request["site"]["team"] = json!(team);
        request
    };
    for (request, what) in [
        (
            asking("secrets", 4711, "sandbox"),
            "another tenant's installation and repository",
        ),
        (
            asking("docs", 4711, "sandbox"),
            "another tenant's installation",
        ),
        (
            asking("secrets", 12, "sandbox"),
            "another repository than granted",
        ),
        (
            asking("docs", 12, "other-team"),
            "another team than granted",
        ),
        (asking("docs", 13, "sandbox"), "nobody's installation"),
    ] {
        let posted = world.client.post("/links", request.clone()).await;
        assert_eq!(
            (posted.status, posted.code()),
            (403, "installation_not_granted"),
            "{what}"
        );
        let planned = world
            .client
            .post("/links?validate_only=true", request.clone())
            .await;
        assert_eq!(
            (planned.status, planned.code()),
            (403, "installation_not_granted"),
            "{what}"
        );
        let put = world
            .client
            .send(reqwest::Method::PUT, "/links/by-ref/x", |sent| {
                sent.json(&request)
            });
        assert_eq!(
            put.await.expect(403).code(),
            "installation_not_granted",
            "{what}"
        );
    }
    assert_eq!(world.sandbox.calls().len(), 0);
    let links = world.client.get("/links").await.expect(200).body;
    assert_eq!(links["links"], json!([]));
}

#[tokio::test]
async fn without_a_file_of_grants_nobody_may_name_an_installation() {
    let (world, _) = two_tenants(Setup::default()).await;
    let mut request = docs();
    request["access"] = json!({"installation_id": 12});
    let problem = world.client.post("/links", request).await.expect(403);
    assert_eq!(problem.code(), "installation_not_granted");
    assert_eq!(world.sandbox.calls().len(), 0);
}

/// A grant for the old name does not go along with a repository that moved.
#[tokio::test]
async fn a_grant_does_not_follow_a_repository_to_another_name() {
    let (_folder, setting) = file_setting("LINKBROKER_GRANTS", GRANTS);
    let settings = vec![setting];
    let (world, _) = two_tenants(Setup {
        settings,
        ..Setup::default()
    })
    .await;
    linkbroker_sandbox::github::rename(world.sandbox.world(), "acme/docs", "acme/handbook")
        .expect("a rename");
    world.github_token("ghp_of_acme_alone", json!({"acme/handbook": "admin"}));
    let mut request = docs();
    request["access"] = json!({"installation_id": 12});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "installation_not_granted");
    assert_eq!(writes(&world.sandbox.calls()).len(), 0);
}

#[tokio::test]
async fn a_repository_that_the_tenants_own_credential_cannot_see_is_not_touched() {
    let (world, _) = two_tenants(Setup::default()).await;
    let link = world.client.link_settled(secrets("stolen")).await;
    assert_eq!(
        link["diagnosis"]["code"], "repository_not_found_or_no_access",
        "{link:#}"
    );
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
}

#[tokio::test]
async fn a_repository_that_the_tenant_may_only_read_is_not_touched() {
    let (world, _) = two_tenants(Setup::default()).await;
    world.github_token("ghp_of_acme_alone", json!({"acme/secrets": "read"}));
    let link = world.client.link_settled(secrets("stolen")).await;
    assert_eq!(link["diagnosis"]["code"], "admin_required", "{link:#}");
    for kind in ["installed_keys", "webhooks", "sites"] {
        assert_eq!(world.count(kind), (0, 0), "{kind}");
    }
}

/// Also when both tenants' tokens belong to one Netlify team, so that Netlify itself would allow it.
#[tokio::test]
async fn a_site_of_another_tenants_link_is_not_taken_over_by_its_name() {
    let (world, other) = two_tenants(Setup::default()).await;
    let theirs = other
        .link_settled(with_connections(secrets("umbrella-site")))
        .await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    let before = world.state()["netlify"]["sites"].clone();
    let mut request = docs();
    request["site"]["name"] = json!("umbrella-site");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "site_name_taken");
    let unlinked = world.client.unlink(&text(&link["id"]), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.state()["netlify"]["sites"], before);
}

/// Netlify shows a credential all sites of its teams, and tenants may share a team.
#[tokio::test]
async fn a_site_that_another_tenants_link_leans_on_is_not_taken_by_its_id() {
    let (world, other) = two_tenants(Setup::default()).await;
    let theirs = other
        .link_settled(with_connections(secrets("umbrella-site")))
        .await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    let before = world.state()["netlify"]["sites"].clone();
    let mut request = docs();
    request["site"] = json!({"id": theirs["site"]["id"], "relink": true});
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "site_in_use", "{link:#}");
    assert_eq!(world.state()["netlify"]["sites"], before);

    // Once that link is over the site is nobody's.
    let over = other.unlink(&text(&theirs["id"]), "?keep_site=true").await;
    assert_eq!(over["status"], "unlinked", "{over:#}");
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(link["site"]["id"], theirs["site"]["id"]);
}

/// Each has looked before the other could note that it leans on the site.
#[tokio::test]
async fn of_two_links_that_take_a_site_at_the_same_moment_none_is_attached_over_the_other() {
    let (world, other) = two_tenants(Setup::default()).await;
    let site = bare_site(&world).await;
    world.fault(json!({"upstream": "netlify", "method": "GET", "path": "/sites/[^/]+$", "times": 2, "fault": {"late_ms": 2000}}));
    let mut theirs = with_connections(secrets("unused"));
    theirs["site"] = json!({"id": site});
    let (mine, theirs) = tokio::join!(
        world.client.link_settled(to(&site)),
        other.link_settled(theirs)
    );
    let is_live = |link: &Value| link["status"] == "live";
    let refused: Vec<_> = [&mine, &theirs]
        .into_iter()
        .filter(|link| !is_live(link))
        .collect();
    assert!(!refused.is_empty(), "{mine:#} {theirs:#}");
    for link in refused {
        assert_eq!(link["diagnosis"]["code"], "site_in_use", "{link:#}");
    }
    let attached = world
        .sandbox
        .calls()
        .into_iter()
        .filter(|call| call.method == "PATCH");
    assert!(attached.count() <= 1);
    // When both have stopped one has to give way.
    other.unlink(&text(&theirs["id"]), "").await;
    let mine = match is_live(&mine) {
        true => mine,
        false => world.client.retry(&text(&mine["id"])).await,
    };
    assert_eq!(mine["status"], "live", "{mine:#}");
}

/// Netlify's answer to a new site is lost, and until the look for it somebody else's link has a bare site of that name.
#[tokio::test]
async fn a_new_site_of_another_tenants_link_is_not_adopted_after_a_lost_answer() {
    let (world, other) = two_tenants(Setup::default()).await;
    // Theirs stops before anything is attached: a bare site, younger than a minute.
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"status": 403}}));
    let theirs = other
        .link_settled(with_connections(secrets("wanted-by-two")))
        .await;
    assert_eq!(theirs["status"], "action_required", "{theirs:#}");
    let before = world.state()["netlify"]["sites"].clone();
    world.fault(
        json!({"upstream": "netlify", "method": "POST", "path": "/sites$", "fault": "lost_answer"}),
    );
    let mut request = docs();
    request["site"]["name"] = json!("wanted-by-two");
    let link = world.client.link_settled(request).await;
    assert_eq!(link["status"], "failed", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "site_name_taken", "{link:#}");
    assert_eq!(world.state()["netlify"]["sites"], before);
}

fn with_connections(mut request: Value) -> Value {
    request["connections"] = json!({"netlify": "umbrella-netlify", "provider": "umbrella-github"});
    request
}

/// Also when both tenants use the same token, so that Netlify itself would not mind.
#[tokio::test]
async fn another_tenants_unused_deploy_key_is_not_taken_from_stock() {
    let (world, other) = two_tenants(Setup::default()).await;
    let mut gone = with_connections(secrets("umbrella-absent"));
    gone["repository"] = json!("https://github.com/acme/absent");
    let failed = other.link_settled(gone).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (2, 2));
    let theirs = other
        .link_settled(with_connections(secrets("umbrella-site")))
        .await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    assert_eq!(world.count("deploy_keys"), (2, 2));
}

#[tokio::test]
async fn a_repository_that_was_made_anew_under_the_name_is_another_one() {
    let world = World::usual().await;
    world.fault(json!({"upstream": "netlify", "method": "PATCH", "path": "/sites/", "fault": {"status": 403}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    linkbroker_sandbox::github::rename(world.sandbox.world(), "acme/docs", "acme/docs-before")
        .expect("a rename");
    world.repository("docs").await;
    let before = writes(&world.sandbox.calls()).len();
    let link = world.client.retry(&text(&link["id"])).await;
    assert_eq!(link["status"], "action_required", "{link:#}");
    assert_eq!(link["diagnosis"]["code"], "repository_replaced");
    assert_eq!(writes(&world.sandbox.calls()).len(), before);
    let anew = world
        .github(reqwest::Method::GET, "/repos/acme/docs/keys", None)
        .await;
    assert_eq!(anew, json!([]));
}

#[tokio::test]
async fn unlinking_leaves_what_another_tenants_link_leans_on() {
    let (world, other) = two_tenants(Setup::default()).await;
    let mut same = with_connections(docs());
    same["site"]["name"] = json!("umbrella-docs");
    let theirs = other.link_settled(same).await;
    assert_eq!(theirs["status"], "live", "{theirs:#}");
    let ours = world.client.link_settled(docs()).await;
    assert_eq!(ours["status"], "live", "{ours:#}");
    let unlinked = world.client.unlink(&text(&ours["id"]), "").await;
    let webhook = receipts(&unlinked)
        .into_iter()
        .find(|(kind, _)| kind == "webhook");
    // The second link met a webhook that was there already.
    let kept = webhook.expect("a webhook").1;
    assert!(
        ["kept_shared", "kept_foreign"].contains(&kept.as_str()),
        "{kept}"
    );
    assert_eq!(world.count("webhooks"), (1, 1));
    assert_eq!(world.count("sites"), (2, 1));
    world.push("docs", "after the unlink").await;
    world.made("builds").await;
    assert_eq!(other.read(&text(&theirs["id"])).await["status"], "live");
}
