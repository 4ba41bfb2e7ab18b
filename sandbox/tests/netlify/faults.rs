//! Faults disturb the chosen calls and no others.

use std::time::{Duration, Instant};

use linkbroker_sandbox::{Fault, FaultRule, Upstream};
use reqwest::Method;
use serde_json::json;

use crate::client::World;

#[tokio::test]
async fn a_lost_answer_has_its_effect() {
    let world = World::start().await;
    rule(&world, "POST", "/sites$", Fault::LostAnswer);
    assert!(post_site(&world).await.is_err());
    assert_eq!(world.sandbox.counts().of("sites").created, 1);
    let call = world.sandbox.calls().pop().expect("a call");
    assert_eq!(
        (call.status, call.fault.as_deref()),
        (None, Some("LostAnswer"))
    );
    assert_eq!(post_site(&world).await.expect("an answer"), 201);
}

#[tokio::test]
async fn a_reset_has_none() {
    let world = World::start().await;
    rule(&world, "POST", "/sites$", Fault::Reset);
    let error = post_site(&world).await.expect_err("a reset");
    assert!(
        format!("{error:?}").contains("ConnectionReset"),
        "{error:?}"
    );
    assert_eq!(world.sandbox.counts().of("sites").created, 0);
}

#[tokio::test]
async fn the_nth_call_is_answered_with_a_status_of_choice() {
    let world = World::start().await;
    let headers = [("retry-after".to_owned(), "7".to_owned())].into();
    let fault = Fault::Answer {
        status: 503,
        body: Some(json!("try later")),
        headers,
    };
    let rule = FaultRule::next(Upstream::Netlify, "GET", "/user$", fault)
        .nth(2)
        .times(2);
    world.sandbox.add_fault(rule).expect("a rule");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let reply = world.netlify(Method::GET, "/user", None).await;
        statuses.push((
            reply.status.as_u16(),
            reply.headers.contains_key("retry-after"),
        ));
    }
    assert_eq!(
        statuses,
        [(200, false), (503, true), (503, true), (200, false)]
    );
}

#[tokio::test]
async fn bodies_may_be_garbage_and_answers_late() {
    let world = World::start().await;
    rule(
        &world,
        "GET",
        "/user",
        Fault::Body {
            body: "<html>".to_owned(),
        },
    );
    let reply = world.netlify(Method::GET, "/user", None).await;
    assert_eq!(
        (reply.status.as_u16(), reply.text.as_str()),
        (200, "<html>")
    );

    rule(&world, "GET", "/user", Fault::Delay { delay_ms: 150 });
    let started = Instant::now();
    world.get("/user").await;
    assert!(started.elapsed() >= Duration::from_millis(150));
    world.assert_lawful();
}

#[tokio::test]
async fn a_call_has_its_effect_when_the_client_has_hung_up() {
    let world = World::start().await;
    rule(&world, "POST", "/sites$", Fault::Delay { delay_ms: 300 });
    let url = format!("{}/sites", world.sandbox.netlify_url());
    let request = world
        .http
        .post(url)
        .bearer_auth(linkbroker_sandbox::NETLIFY_TOKEN);
    let impatient = request.timeout(Duration::from_millis(50));
    assert!(impatient.send().await.expect_err("a timeout").is_timeout());
    let made = || world.sandbox.counts().of("sites").created == 1;
    world.until("the site is made", async || made()).await;
}

#[tokio::test]
async fn a_call_may_stand_still_before_its_effect_or_after_it() {
    for (fault, effects) in [(Fault::HoldRequest, 0), (Fault::HoldAnswer, 1)] {
        let world = World::start().await;
        let rule = FaultRule::next(Upstream::Netlify, "POST", "/sites$", fault);
        let strikes = world.sandbox.add_fault(rule).expect("a rule");
        let call = post_site(&world);
        tokio::pin!(call);
        tokio::select! {
            answered = &mut call => panic!("{answered:?}"),
            () = world.until("the call to stand still", async || strikes.count() == 1) => {}
        }
        world.sandbox.world().faults.clear();
        assert!(call.await.is_err());
        assert_eq!(world.sandbox.counts().of("sites").created, effects);
    }
}

#[tokio::test]
async fn a_rule_for_a_credential_leaves_others_alone_and_tells_when_it_struck() {
    let world = World::start().await;
    let rule = |credential: &str| FaultRule {
        credential: Some(credential.to_owned()),
        ..FaultRule::next(Upstream::Netlify, "POST", "/sites$", Fault::Watch)
    };
    let [ours, others] = [linkbroker_sandbox::NETLIFY_TOKEN, "another"].map(|credential| {
        let strikes = world.sandbox.add_fault(rule(credential));
        strikes.expect("a rule")
    });
    assert_eq!(post_site(&world).await.expect("an answer"), 201);
    world.until("the strike", async || ours.count() == 1).await;
    assert_eq!(others.count(), 0);
    let call = world.sandbox.calls().pop().expect("a call");
    assert_eq!(call.fault, None, "nobody was disturbed");
}

async fn post_site(world: &World) -> reqwest::Result<u16> {
    let url = format!("{}/sites", world.sandbox.netlify_url());
    let request = world
        .http
        .post(url)
        .bearer_auth(linkbroker_sandbox::NETLIFY_TOKEN);
    Ok(request.json(&json!({})).send().await?.status().as_u16())
}

fn rule(world: &World, method: &str, path: &str, fault: Fault) {
    let rule = FaultRule::next(Upstream::Netlify, method, path, fault);
    world.sandbox.add_fault(rule).expect("a rule");
}
