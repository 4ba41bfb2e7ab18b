//! What Netlify tells us of deploys: taken as a hint, and never as the truth.

use aws_lc_rs::{digest, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use linkbroker_sandbox::recorder::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, docs, receipts, text, until};

/// A server with an address that Netlify is given.
fn notified() -> Setup {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    Setup {
        settings: vec![
            ("LINKBROKER_LISTEN", address.to_string()),
            ("LINKBROKER_PUBLIC_URL", format!("http://{address}")),
        ],
        ..Setup::default()
    }
}

/// What Netlify knows of one notification.
struct Hook {
    url: String,
    event: String,
    secret: String,
}

fn hooks(world: &World) -> Vec<Hook> {
    let netlify = world.sandbox.world().netlify.lock();
    let hooks = netlify.notifications.values().map(|hook| Hook {
        url: text(&hook.data["url"]),
        event: hook.event.clone(),
        secret: text(&hook.data["signature_secret"]),
    });
    hooks.collect()
}

fn hook<'a>(hooks: &'a [Hook], event: &str) -> &'a Hook {
    let hook = hooks.iter().find(|hook| hook.event == event);
    hook.expect("a hook for the event")
}

fn sign(header: &Value, claims: &Value, secret: &str) -> String {
    let encode = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        signed.as_bytes(),
    );
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
}

fn hash(body: &str) -> String {
    let hash = digest::digest(&digest::SHA256, body.as_bytes());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn claims(body: &str) -> Value {
    json!({"iss": "netlify", "sha256": hash(body)})
}

fn header() -> Value {
    json!({"typ": "JWT", "alg": "HS256"})
}

async fn deliver(url: &str, signature: Option<&str>, body: &str) -> u16 {
    let mut request = reqwest::Client::new().post(url).body(body.to_owned());
    request = request.header("content-type", "application/json");
    if let Some(signature) = signature {
        request = request.header("x-webhook-signature", signature);
    }
    request.send().await.expect("an answer").status().as_u16()
}

/// Pushes and waits until the build is known to be over.
async fn push(world: &World, link: &Value, words: &str) -> Value {
    world.push("docs", words).await;
    let head = world.state()["github"]["repositories"][0]["head"].clone();
    let path = format!("/links/{}/builds", text(&link["id"]));
    until("the build to be known", async || {
        let page = world.client.get(&path).await.expect(200).body;
        let builds = page["builds"].as_array().expect("builds").clone();
        let mut over = builds.into_iter().filter(|it| it["outcome"] != "running");
        over.find(|it| it["commit_ref"] == head)
    })
    .await
}

fn reads(world: &World, since: usize) -> Vec<String> {
    let calls = world.sandbox.calls().split_off(since);
    let reads = calls
        .into_iter()
        .filter(|call| call.upstream == Upstream::Netlify && call.method == "GET");
    reads.map(|call| call.path).collect()
}

#[tokio::test]
async fn a_push_is_known_by_notification_and_costs_one_read() {
    let world = World::with(notified()).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("notifications"), (3, 3));
    let before = world.sandbox.calls().len();
    let build = push(&world, &link, "the second words").await;
    assert_eq!(build["outcome"], "ready");
    assert_eq!(build["cause"], "push");
    let reads = reads(&world, before);
    let of_build = reads
        .iter()
        .filter(|path| path.contains(&text(&build["deploy_id"])));
    assert_eq!(of_build.count(), 1, "{reads:#?}");
    // A patrol may have come by, the first of which reads the site's list.
    assert!(reads.len() <= 3, "{reads:#?}");
    let violations = world.sandbox.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}

#[tokio::test]
async fn fifteen_forged_or_replayed_notifications_change_nothing_and_cost_no_read() {
    let world = World::with(notified()).await;
    let link = world.client.link_settled(docs()).await;
    let build = push(&world, &link, "the second words").await;
    let id = text(&link["id"]);
    let settled = until("the proof", async || {
        let link = world.client.read(&id).await;
        (link["verification"]["level"] == 3).then_some(link)
    })
    .await;

    let hooks = hooks(&world);
    let created = hook(&hooks, "deploy_created");
    let deploys = world.state()["netlify"]["deploys"].clone();
    let deploys = deploys.as_array().expect("deploys").clone();
    let told = deploys
        .into_iter()
        .find(|it| it["id"] == build["deploy_id"]);
    let told = told.expect("the deploy").to_string();
    let failed = told.replace("\"ready\"", "\"error\"");
    let good = sign(&header(), &claims(&told), &created.secret);
    let other = |header: Value, claims: Value| sign(&header, &claims, &created.secret);
    let stranger = sign(&header(), &claims(&told), "another link's secret");
    let before = world.sandbox.calls().len();

    let forged = [
        (None, &told),
        (Some(String::new()), &told),
        (Some("a.b.c".to_owned()), &told),
        (Some(stranger), &told),
        (Some(other(json!({"alg": "none"}), claims(&told))), &told),
        (Some(other(json!({"alg": "RS256"}), claims(&told))), &told),
        (Some(other(header(), json!({"sha256": hash(&told)}))), &told),
        (Some(other(header(), json!({"iss": "netlify"}))), &told),
        (
            Some(other(header(), json!({"iss": "me", "sha256": hash(&told)}))),
            &told,
        ),
        (Some(good.clone()), &failed),
        (Some(good[..good.len() - 2].to_owned()), &told),
    ];
    for (signature, body) in forged {
        let status = deliver(&created.url, signature.as_deref(), body).await;
        assert_eq!(status, 401, "{signature:?}");
    }
    let unknown = format!("{}{}", &created.url[..created.url.len() - 4], "0000");
    assert_eq!(deliver(&unknown, Some(&good), &told).await, 404);
    for event in ["deploy_created", "deploy_failed", "deploy_building"] {
        let url = &hook(&hooks, event).url;
        assert_eq!(deliver(url, Some(&good), &told).await, 204, "{event}");
    }

    // The next push shows that the workers have gone on.
    let after = world.client.read(&id).await;
    assert_eq!(after["version"], settled["version"]);
    push(&world, &link, "the third words").await;
    let again = reads(&world, before);
    let again = again
        .iter()
        .filter(|path| path.contains(&text(&build["deploy_id"])));
    assert_eq!(again.count(), 0);
}

#[tokio::test]
async fn a_site_that_stays_tells_us_nothing_any_more() {
    let world = World::with(notified()).await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(world.count("notifications"), (3, 3));
    let unlinked = world
        .client
        .unlink(&text(&link["id"]), "?keep_site=true")
        .await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("notifications"), (3, 0));
    let told = receipts(&unlinked);
    let gone = told
        .iter()
        .filter(|it| **it == ("notification".to_owned(), "deleted".to_owned()));
    assert_eq!(gone.count(), 3, "{told:?}");
}

#[tokio::test]
async fn a_refused_notification_is_no_failure_of_the_link() {
    let world = World::with(Setup {
        switches: json!({"netlify": {"refuse_private_notification_urls": true}}),
        ..notified()
    })
    .await;
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("notifications"), (0, 0));
}

#[tokio::test]
async fn lost_answers_make_no_notification_twice() {
    let world = World::with(notified()).await;
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/hooks\\?", "nth": 2, "fault": "lost_answer"}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("notifications"), (3, 3));
}

async fn checked(world: &World, id: &str) -> Value {
    let path = format!("/links/{id}/check");
    let asked = world.client.send(Method::POST, &path, |it| it).await;
    asked.expect(202);
    world.client.settled(id).await
}

fn drift(link: &Value) -> Vec<String> {
    let drift = link["drift"].as_array().cloned().unwrap_or_default();
    drift.iter().map(|it| text(&it["kind"])).collect()
}

/// As Netlify does after failures.
fn disable_all(world: &World) {
    let mut netlify = world.sandbox.world().netlify.lock();
    for hook in netlify.notifications.values_mut() {
        hook.disabled = true;
    }
}

fn enabled(world: &World) -> usize {
    let netlify = world.sandbox.world().netlify.lock();
    let hooks = netlify.notifications.values();
    hooks.filter(|hook| !hook.disabled).count()
}

#[tokio::test]
async fn what_netlify_has_switched_off_is_switched_on_again() {
    let world = World::with(notified()).await;
    let mut request = docs();
    request["drift"] = json!("report");
    let link = world.client.link_settled(request).await;
    let id = text(&link["id"]);
    disable_all(&world);
    // Patrols see what nobody tells.
    let told = checked(&world, &id).await;
    assert_eq!(told["status"], "live", "{told:#}");
    assert_eq!(drift(&told), ["notification_disabled"]);
    let path = format!("/links/{id}/heal");
    let asked = world.client.post(&path, json!({"drift": "all"})).await;
    asked.expect(202);
    let healed = world.client.settled(&id).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(drift(&healed), [""; 0]);
    assert_eq!(enabled(&world), 3);
    assert_eq!(world.count("notifications"), (3, 3));

    // Somebody removes one, and the policy is to heal.
    let change = json!({"policy": "heal"});
    let path = format!("/links/{id}/drift");
    let set = world
        .client
        .send(Method::PATCH, &path, |it| it.json(&change));
    set.await.expect(200);
    let one = {
        let mut netlify = world.sandbox.world().netlify.lock();
        let first = netlify.notifications.keys().next().cloned();
        netlify.notifications.remove(&first.expect("a hook"))
    };
    assert!(one.is_some());
    disable_all(&world);
    let healed = checked(&world, &id).await;
    assert_eq!(drift(&healed), [""; 0], "{healed:#}");
    assert_eq!((enabled(&world), world.count("notifications").1), (3, 3));
    assert!(world.sandbox.violations().is_empty());
}

#[tokio::test]
async fn links_from_before_the_public_address_are_told_from_the_next_look_on() {
    let mut world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let id = text(&link["id"]);
    assert_eq!(world.count("notifications"), (0, 0));
    for (name, value) in notified().settings {
        world.set(name, value);
    }
    world.restart().await;
    let healed = checked(&world, &id).await;
    assert_eq!(healed["status"], "live", "{healed:#}");
    assert_eq!(drift(&healed), [""; 0]);
    assert_eq!(world.count("notifications"), (3, 3));
    let before = world.sandbox.calls().len();
    push(&world, &link, "words that Netlify tells of").await;
    let delivered = {
        let netlify = world.sandbox.world().netlify.lock();
        netlify.notifications.values().any(|it| it.delivered > 0)
    };
    assert!(delivered, "{:#?}", reads(&world, before));

    // The service moves: its old addresses are left.
    for (name, value) in notified().settings {
        world.set(name, value);
    }
    world.restart().await;
    let healed = checked(&world, &id).await;
    assert_eq!(drift(&healed), [""; 0], "{healed:#}");
    assert_eq!(world.count("notifications"), (6, 3));
    assert!(world.sandbox.violations().is_empty());
    let unlinked = world.client.unlink(&id, "?keep_site=true").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
    assert_eq!(world.count("notifications").1, 0);
}
