//! A GitHub App calls by its own token and by its installations'.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use linkbroker_sandbox::github::{self, NewInstallation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Stage, answer};

fn app(stage: &Stage) -> Value {
    let new = serde_json::from_value(json!({"slug": "broker"})).unwrap();
    github::create_app(stage.sandbox.world(), new).unwrap()
}

fn install(stage: &Stage, repositories: Option<&[&str]>, suspended: bool, id: Option<u64>) -> u64 {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let new = NewInstallation {
        app: "broker".to_owned(),
        account: "acme".to_owned(),
        repositories: repositories.map(names),
        suspended,
        id,
    };
    github::install(stage.sandbox.world(), new).unwrap()
}

fn jwt(app: &Value, issuer: &Value, from: i64, to: i64) -> String {
    let pem = app["private_key"].as_str().unwrap();
    let text: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let key = RsaKeyPair::from_der(&BASE64_STANDARD.decode(text).unwrap()).unwrap();
    let part = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let claims = json!({"iss": issuer, "iat": from, "exp": to});
    let signed = format!(
        "{}.{}",
        part(json!({"alg": "RS256", "typ": "JWT"})),
        part(claims)
    );
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        signed.as_bytes(),
        &mut signature,
    )
    .unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

async fn call(stage: &Stage, token: &str, method: Method, path: &str) -> (StatusCode, Value) {
    answer(stage.call_as(token, method, path).send().await.unwrap()).await
}

#[tokio::test]
async fn an_app_gets_a_token_that_sees_what_its_installation_covers() {
    let stage = Stage::new().await;
    stage.repository("secrets").await;
    let app = app(&stage);
    let id = install(&stage, Some(&["docs"]), false, None);
    let now = stage.sandbox.world().clock.unix();
    for issuer in [&app["id"], &app["client_id"]] {
        let own = jwt(&app, issuer, now - 60, now + 540);
        let (status, shown) = call(&stage, &own, Method::GET, "/app").await;
        assert_eq!((status.as_u16(), &shown["slug"]), (200, &json!("broker")));
        let (_, found) = call(&stage, &own, Method::GET, "/repos/acme/docs/installation").await;
        assert_eq!(found["id"], id);
        let (status, _) = call(
            &stage,
            &own,
            Method::GET,
            "/repos/acme/secrets/installation",
        )
        .await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let own = jwt(&app, &app["id"], now - 60, now + 540);
    let mint = format!("/app/installations/{id}/access_tokens");
    let (status, made) = call(&stage, &own, Method::POST, &mint).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let token = made["token"].as_str().unwrap();
    let (status, docs) = call(&stage, token, Method::GET, "/repos/acme/docs").await;
    assert_eq!(
        (status.as_u16(), &docs["permissions"]["admin"]),
        (200, &json!(false))
    );
    let (status, _) = call(&stage, token, Method::GET, "/repos/acme/docs/hooks").await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = call(&stage, token, Method::GET, "/repos/acme/secrets").await;
    assert_eq!(status, StatusCode::NOT_FOUND);

    install(&stage, None, true, Some(id));
    let (status, refused) = call(&stage, token, Method::GET, "/repos/acme/docs").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(refused["message"], "This installation has been suspended");
    assert!(
        stage.sandbox.violations().is_empty(),
        "{:#?}",
        stage.sandbox.violations()
    );
}

#[tokio::test]
async fn an_apps_own_token_is_looked_at_closely() {
    let stage = Stage::new().await;
    let app = app(&stage);
    let now = stage.sandbox.world().clock.unix();
    let good = jwt(&app, &app["id"], now - 60, now + 540);
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for (token, status, says) in [
        (forged, 401, "could not be decoded"),
        (
            jwt(&app, &app["id"], now - 60, now + 700),
            401,
            "too far in the future",
        ),
        (
            jwt(&app, &app["id"], now - 600, now - 1),
            401,
            "future time",
        ),
        (
            jwt(&app, &app["id"], now + 90, now + 540),
            401,
            "'Issued at'",
        ),
        (
            jwt(&app, &json!(1), now - 60, now + 540),
            404,
            "Integration not found",
        ),
    ] {
        let (was, body) = call(&stage, &token, Method::GET, "/app").await;
        assert_eq!(was.as_u16(), status, "{says}");
        assert!(body["message"].as_str().unwrap().contains(says), "{body}");
    }
    assert_eq!(stage.get("/app").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn only_an_owners_token_sees_the_apps_of_an_organisation() {
    let stage = Stage::new().await;
    app(&stage);
    let id = install(&stage, None, false, None);
    assert_eq!(
        stage.get("/orgs/acme/installations").await.0,
        StatusCode::NOT_FOUND
    );
    let owner = json!({"token": "ghp_owner", "login": "ann", "scopes": ["repo", "read:org"]});
    stage.token(serde_json::from_value(owner).unwrap());
    let (status, seen) = call(&stage, "ghp_owner", Method::GET, "/orgs/acme/installations").await;
    assert_eq!(
        (status.as_u16(), &seen["installations"][0]["id"]),
        (200, &json!(id))
    );
    assert!(
        stage.sandbox.violations().is_empty(),
        "{:#?}",
        stage.sandbox.violations()
    );
}
