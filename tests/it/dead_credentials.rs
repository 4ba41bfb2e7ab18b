//! Credentials that an upstream refuses: nobody goes on calling with them, and a new one sets everything going again.

use linkbroker_sandbox::GITHUB_TOKEN;
use linkbroker_sandbox::recorder::Upstream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Setup, World, until};

const LINKS: usize = 30;

fn request(number: usize) -> Value {
    json!({
        "repository": "https://github.com/acme/docs",
        "site": {"name": format!("site-{number}"), "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
        "verify": "build",
    })
}

/// Calls at GitHub so far.
fn calls(world: &World) -> usize {
    let calls = world.sandbox.calls();
    let at_github = calls
        .iter()
        .filter(|call| call.upstream == Upstream::Github);
    at_github.count()
}

#[tokio::test]
async fn many_links_with_a_dead_one_call_a_few_times_and_go_on_by_themselves_with_another() {
    let switches = json!({"netlify": {"rate_limit_per_minute": 1_000_000}});
    let world = World::empty(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    world.repository("docs").await;
    world
        .connect_with(&world.client, linkbroker_sandbox::NETLIFY_TOKEN, "ghp_dead")
        .await;
    let mut links = Vec::new();
    for number in 0..LINKS {
        links.push(world.client.link(request(number)).await);
    }
    for id in &links {
        let link = world.client.settled(id).await;
        assert_eq!(link["status"], "action_required", "{link:#}");
        assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    }
    // Whoever tries again, and whoever comes later, waits without a call.
    for id in &links[..3] {
        let link = world.client.retry(id).await;
        assert_eq!(link["diagnosis"]["code"], "credential_refused", "{link:#}");
    }
    let late = world.client.link_settled(request(LINKS)).await;
    assert_eq!(late["diagnosis"]["code"], "credential_refused", "{late:#}");
    let wasted = calls(&world);
    println!(
        "{wasted} calls with the dead credential for {} links",
        LINKS + 1
    );
    assert!((1..=10).contains(&wasted), "{wasted} calls");

    let connections = world.client.get("/connections").await.expect(200).body;
    let connections = connections["connections"].as_array().expect("connections");
    let github = connections.iter().find(|known| known["kind"] == "github");
    let github = github.expect("a connection to GitHub");
    assert_eq!(
        github["check"]["failure"]["code"], "credential_refused",
        "{github:#}"
    );
    let path = format!(
        "/connections/{}/credential",
        github["id"].as_str().expect("an id")
    );
    let good = json!({"type": "token", "token": GITHUB_TOKEN});
    let put = world
        .client
        .send(Method::PUT, &path, |request| request.json(&good));
    put.await.expect(204);
    for id in &links {
        let link = until("the link to go on by itself", async || {
            let link = world.client.read(id).await;
            (link["status"] == "live").then_some(link)
        });
        assert_eq!(link.await["diagnosis"], Value::Null);
    }
}
