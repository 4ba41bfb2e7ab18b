//! Environment variables: shapes, refusals, secrets, and whose they are.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{World, text};

const TEAM: &str = "/accounts/sandbox/env";

fn variable(name: &str, context: &str) -> Value {
    json!({"key": name, "values": [{"value": "x", "context": context}], "is_secret": false})
}

fn secret(name: &str, context: &str) -> Value {
    let mut secret = variable(name, context);
    secret["is_secret"] = json!(true);
    secret
}

async fn site(world: &World) -> String {
    let made = world.netlify(Method::POST, "/sites", Some(json!({})));
    let site = made.await.expect(201);
    format!("{TEAM}?site_id={}", text(&site, "id"))
}

fn names(variables: &Value) -> Vec<&str> {
    let variables = variables.as_array().expect("a list");
    variables.iter().map(|it| text(it, "key")).collect()
}

#[tokio::test]
async fn secrets_go_in_and_are_in_no_answer() {
    let world = World::start().await;
    let path = site(&world).await;
    let body = json!([variable("OPEN", "all"), secret("HIDDEN", "production")]);
    let made = world
        .netlify(Method::POST, &path, Some(body))
        .await
        .expect(201);
    assert_eq!(made[0]["values"][0]["value"], "x");
    let listed = world.get(&path).await;
    assert_eq!(names(&listed), ["HIDDEN", "OPEN"]);
    assert_eq!(listed[0]["values"][0]["value"], "");
    let one = path.replace("env?", "env/HIDDEN?");
    assert_eq!(world.get(&one).await, listed[0]);
    world.assert_lawful();
}

#[tokio::test]
async fn a_name_that_is_there_is_replaced_and_not_made_again() {
    let world = World::start().await;
    let path = site(&world).await;
    let one = json!([variable("A", "all")]);
    world
        .netlify(Method::POST, &path, Some(one))
        .await
        .expect(201);
    let both = json!([variable("A", "all"), variable("B", "all")]);
    let refused = world
        .netlify(Method::POST, &path, Some(both.clone()))
        .await
        .expect(409);
    assert!(
        text(&refused, "msg").contains("already exists"),
        "{refused}"
    );
    assert_eq!(names(&world.get(&path).await), ["A"]);
    let partial = json!({"netlify": {"env_create_is_partial": true}});
    world.sandbox.patch_switches(&partial).expect("a switch");
    world
        .netlify(Method::POST, &path, Some(both))
        .await
        .expect(409);
    assert_eq!(names(&world.get(&path).await), ["A", "B"]);

    let key = path.replace("env?", "env/A?") + "&key=A";
    let put = world
        .netlify(Method::PUT, &key, Some(variable("A", "dev")))
        .await
        .expect(200);
    assert_eq!(put["values"][0]["context"], "dev");
    let gone = path.replace("env?", "env/A?");
    world.netlify(Method::DELETE, &gone, None).await.expect(204);
    world.netlify(Method::DELETE, &gone, None).await.expect(404);
    world
        .netlify(Method::PUT, &key, Some(variable("A", "dev")))
        .await
        .expect(404);
    world.assert_lawful();
}

#[tokio::test]
async fn what_the_vendor_does_not_take_is_refused() {
    let world = World::start().await;
    let path = site(&world).await;
    let mut scoped = variable("A", "all");
    scoped["scopes"] = json!(["builds"]);
    for body in [
        secret("A", "all"),
        secret("A", "dev"),
        variable("A", "branch"),
        variable("1A", "all"),
        variable("A-B", "all"),
        scoped,
    ] {
        let body = json!([body]);
        world
            .netlify(Method::POST, &path, Some(body))
            .await
            .expect(422);
    }
    // The description asks for a list, and so does the vendor.
    let alone = world.netlify(Method::POST, &path, Some(variable("A", "all")));
    alone.await.expect(400);
    assert_eq!(world.sandbox.violations().len(), 1);
    let foreign = TEAM.replace("sandbox", "nobody");
    world.netlify(Method::GET, &foreign, None).await.expect(401);
}

#[tokio::test]
async fn a_team_shares_variables_when_its_plan_allows() {
    let world = World::start().await;
    let body = json!([variable("A", "all")]);
    world
        .netlify(Method::POST, TEAM, Some(body.clone()))
        .await
        .expect(201);
    assert_eq!(names(&world.get(&site(&world).await).await), [""; 0]);
    let switches = json!({"netlify": {"env_shared_allowed": false}});
    world.sandbox.patch_switches(&switches).expect("a switch");
    let refused = world
        .netlify(Method::POST, TEAM, Some(body.clone()))
        .await
        .expect(403);
    assert!(text(&refused, "msg").contains("not available on this plan"));
    let path = site(&world).await;
    world
        .netlify(Method::POST, &path, Some(body))
        .await
        .expect(201);
    world.assert_lawful();
}
