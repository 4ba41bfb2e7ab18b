//! How Netlify's refusals are read, and what its odd answers become.

use serde_json::json;

use super::*;
use crate::link::builds::BuildOutcome;
use crate::upstream::{
    Call,
    testing::{Reply, Vendor, answer, instance},
};

#[test]
fn refusals_are_named() {
    use FailureCode as Code;
    for (status, body, code, class) in [
        (
            400,
            r#"{"code":400,"message":"bad"}"#,
            Code::RequestRefused,
            Class::Refused,
        ),
        (
            401,
            "HTTP Basic: Access denied.",
            Code::CredentialRefused,
            Class::Refused,
        ),
        (
            401,
            r#"{"code":401,"message":"Access Denied"}"#,
            Code::CredentialRefused,
            Class::Refused,
        ),
        (
            403,
            r#"{"error":"Account credit usage exceeded - new deploys are blocked"}"#,
            Code::AccountCannotBuild,
            Class::Refused,
        ),
        (
            403,
            r#"{"message":"Forbidden"}"#,
            Code::NetlifyForbidden,
            Class::Refused,
        ),
        (
            404,
            r#"{"code":404,"message":"Not Found"}"#,
            Code::RequestRefused,
            Class::NotFound,
        ),
        (404, "", Code::RequestRefused, Class::NotFound),
        (
            409,
            r#"{"code":409,"msg":"Key A already exists"}"#,
            Code::EnvVariableExists,
            Class::Refused,
        ),
        (
            422,
            r#"{"errors":{"subdomain":["must be unique"]}}"#,
            Code::SiteNameTaken,
            Class::Refused,
        ),
        (
            422,
            r#"{"errors":{"name":["is too long"]}}"#,
            Code::SiteNameTaken,
            Class::Refused,
        ),
        (
            422,
            r#"{"errors":{"branch":["is invalid"]}}"#,
            Code::RequestRefused,
            Class::Refused,
        ),
        (
            422,
            r#"{"message":"Site password not available on this plan"}"#,
            Code::NetlifyForbidden,
            Class::Refused,
        ),
        (405, "", Code::RequestRefused, Class::Refused),
        (
            500,
            "<html>oops</html>",
            Code::UpstreamUnavailable,
            Class::Uncertain,
        ),
        (503, "", Code::UpstreamUnavailable, Class::Uncertain),
        (302, "", Code::UpstreamContractChanged, Class::Uncertain),
    ] {
        let error = classify(&answer("POST", "/x", status, &[], body));
        assert_eq!((error.code, error.class), (code, class), "{status} {body}");
        assert!(!error.detail.contains('<'), "{}", error.detail);
    }
    let limited = classify(&answer(
        "GET",
        "/x",
        429,
        &[],
        r#"{"code":429,"message":"API Request rate limit surpassed for application"}"#,
    ));
    assert!(matches!(limited.class, Class::RateLimited { .. }));
}

#[test]
fn nested_reasons_become_a_sentence() {
    let body = r#"{"errors":{"subdomain":["must be unique","is odd"]}}"#;
    let error = classify(&answer("POST", "/x", 422, &[], body));
    let sentence = "Netlify refuses the site's name: subdomain must be unique, is odd.";
    assert_eq!(error.detail, sentence);
}

#[test]
fn webhooks_are_addressed_beside_the_api() {
    for (api, hook) in [
        (
            "https://api.netlify.com/api/v1",
            "https://api.netlify.com/hooks/github",
        ),
        (
            "https://api.netlify.com/api/v1/",
            "https://api.netlify.com/hooks/github",
        ),
        (
            "http://127.0.0.1:9999/netlify/api/v1",
            "http://127.0.0.1:9999/netlify/hooks/github",
        ),
    ] {
        let netlify = instance(UpstreamKind::Netlify, api.parse().unwrap());
        assert_eq!(webhook_url(&netlify, UpstreamKind::Github).as_str(), hook);
    }
}

fn netlify(vendor: &Vendor) -> Access {
    vendor.access(&DIALECT)
}

#[tokio::test]
async fn a_site_is_made_bare_and_in_its_team() {
    let vendor = Vendor::start(vec![Reply::new(201, json!({"id": "s", "name": "docs"}))]).await;
    let new = sites::NewSite {
        name: "docs",
        team: Some("acme"),
    };
    let site = sites::create(&netlify(&vendor), &new).await.unwrap();
    assert_eq!(site.fact().url, "https://docs.netlify.app");
    assert_eq!(vendor.asked(), ["POST /api/acme/sites"]);
    assert_eq!(vendor.seen()[0].json(), json!({"name": "docs"}));
}

#[tokio::test]
async fn nulls_and_empty_texts_are_no_values_and_a_missing_id_is_no_answer() {
    let sparse = json!({
        "id": "s", "name": "docs", "url": "", "ssl_url": null, "admin_url": null, "account_slug": null,
        "build_settings": null, "deploy_hook": null, "build_id": "", "deploy_id": "", "deploy_url": null,
        "state": "a word of tomorrow", "capabilities": {"anything": [1]},
    });
    let vendor = Vendor::start(vec![Reply::new(200, &sparse)]).await;
    let site = sites::get(&netlify(&vendor), "s").await.unwrap();
    assert_eq!(site.fact().url, "https://docs.netlify.app");
    let attachment = site.attachment();
    assert_eq!(
        (
            attachment.deploy_hook,
            attachment.build_id,
            attachment.deploy_id
        ),
        (None, None, None)
    );

    for body in [
        r#"{"name": "docs"}"#,
        r#"{"id": null, "name": "docs"}"#,
        "<html>Log in</html>",
        "[]",
        "",
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, body)]).await;
        let error = sites::get(&netlify(&vendor), "s").await.unwrap_err();
        assert_eq!(error.code, FailureCode::UpstreamContractChanged, "{body}");
        assert!(!error.detail.contains("Log in"), "{}", error.detail);
    }
}

#[tokio::test]
async fn not_found_means_something_else_at_each_call() {
    let missing = || Reply::new(404, r#"{"code":404,"message":"Not Found"}"#);
    let vendor = Vendor::start((0..9).map(|_| missing()).collect()).await;
    let access = netlify(&vendor);
    let new = sites::NewSite {
        name: "docs",
        team: Some("nobody"),
    };
    let code = |error: UpstreamError| error.code;
    assert_eq!(
        code(sites::create(&access, &new).await.unwrap_err()),
        FailureCode::TeamNotFound
    );
    assert_eq!(
        code(sites::get(&access, "s").await.unwrap_err()),
        FailureCode::SiteGone
    );
    assert_eq!(sites::find_by_name(&access, "docs").await.unwrap(), None);
    let start = builds::start(&access, "s", "ours", builds::Cache::Keep).await;
    assert_eq!(code(start.unwrap_err()), FailureCode::AccountCannotBuild);
    assert_eq!(
        deploys::log_tail(&access, "d", 10).await.unwrap(),
        Vec::<String>::new()
    );
    assert!(!deploy_keys::delete(&access, "k").await.unwrap());
    assert!(!sites::unlink_repo(&access, "s").await.unwrap());
    assert!(!sites::delete(&access, "s").await.unwrap());
    assert!(
        access
            .send(Call::get(["x"]))
            .await
            .unwrap_err()
            .is_missing()
    );
}

#[tokio::test]
async fn a_started_build_is_read_from_an_object_or_a_list() {
    let build = json!({"id": "b", "deploy_id": "d", "sha": null, "error": null});
    let vendor = Vendor::start(vec![
        Reply::new(200, &build),
        Reply::new(200, json!([build])),
    ])
    .await;
    let access = netlify(&vendor);
    for cache in [builds::Cache::Keep, builds::Cache::Clear] {
        let started = builds::start(&access, "s", "link 1", cache).await.unwrap();
        assert_eq!(started.fact().unwrap().deploy_id, "d");
    }
    assert_eq!(
        vendor.asked(),
        [
            "POST /api/sites/s/builds?title=link+1",
            "POST /api/sites/s/builds?title=link+1&clear_cache=true",
        ]
    );
}

#[tokio::test]
async fn a_build_without_a_deploy_yet_is_no_fact() {
    let vendor = Vendor::start(vec![Reply::new(200, json!({"id": "b", "deploy_id": ""}))]).await;
    assert_eq!(
        builds::get(&netlify(&vendor), "b").await.unwrap().fact(),
        None
    );
}

#[tokio::test]
async fn canceling_what_is_over_reports_how_it_ended() {
    for refusal in [404, 422] {
        let over = Reply::new(200, json!({"id": "d", "state": "ready"}));
        let vendor = Vendor::start(vec![Reply::new(refusal, "{}"), over]).await;
        let deploy = deploys::cancel(&netlify(&vendor), "d").await.unwrap();
        assert_eq!(deploys::outcome(&deploy), BuildOutcome::Ready);
        assert_eq!(
            vendor.asked(),
            ["POST /api/deploys/d/cancel", "GET /api/deploys/d"]
        );
    }
}

#[tokio::test]
async fn the_log_ends_with_its_last_lines_under_either_name() {
    let log = json!([{"message": "one"}, {"log": "two"}, {"message": "three", "level": "info"}]);
    let vendor = Vendor::start(vec![Reply::new(200, log)]).await;
    let tail = deploys::log_tail(&netlify(&vendor), "d", 2).await.unwrap();
    assert_eq!(tail, ["two", "three"]);
}
