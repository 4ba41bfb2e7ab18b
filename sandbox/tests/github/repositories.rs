//! Repositories: what is seen by whom, renames, archives, branches.

use linkbroker_sandbox::github::{self, Access, NewRepository, NewToken, TokenKind};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::stage::{Stage, answer};

fn token(name: &str, access: Access) -> NewToken {
    NewToken {
        token: name.to_owned(),
        login: "ann".to_owned(),
        permissions: [("acme/docs".to_owned(), access)].into(),
        ..NewToken::default()
    }
}

#[tokio::test]
async fn a_repository_shows_itself_with_the_visitors_rights() {
    let stage = Stage::new().await;
    let (status, repository) = stage.get("/repos/Acme/DOCS").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(repository["full_name"], "acme/docs");
    assert_eq!(
        (&repository["private"], &repository["visibility"]),
        (&json!(true), &json!("private"))
    );
    assert_eq!(repository["owner"]["type"], "Organization");
    assert_eq!(repository["permissions"]["admin"], true);
    assert!(repository["size"].as_u64().unwrap() > 0);
    assert_eq!(
        stage
            .get(&format!("/repositories/{}", repository["id"]))
            .await
            .1,
        repository
    );

    stage.token(token("ghp_read", Access::Read));
    let seen = stage
        .call_as("ghp_read", Method::GET, "/repos/acme/docs")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer(seen).await.1["permissions"],
        json!({"admin": false, "maintain": false, "push": false, "triage": false, "pull": true})
    );
}

#[tokio::test]
async fn who_may_not_gets_404_and_who_is_unknown_401() {
    let stage = Stage::new().await;
    stage.token(token("ghp_none", Access::None));
    stage.token(token("ghp_push", Access::Push));
    let status = async |token: &str, method: Method, path: &str| {
        stage
            .call_as(token, method, path)
            .json(&json!({}))
            .send()
            .await
            .unwrap()
            .status()
    };
    assert_eq!(
        status("ghp_none", Method::GET, "/repos/acme/docs").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        status("ghp_push", Method::GET, "/repos/acme/docs").await,
        StatusCode::OK
    );
    assert_eq!(
        status("ghp_push", Method::POST, "/repos/acme/docs/keys").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        status("ghp_push", Method::GET, "/repos/acme/docs/hooks").await,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        status("wrong", Method::GET, "/repos/acme/docs").await,
        StatusCode::UNAUTHORIZED
    );
    let anonymous = stage
        .http
        .get(format!("{}/repos/acme/docs", stage.sandbox.github_url()));
    assert_eq!(
        anonymous.send().await.unwrap().status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn scopes_and_permissions_are_named_in_the_refusal() {
    let stage = Stage::new().await;
    let scoped = NewToken {
        scopes: Some(vec!["repo:status".to_owned()]),
        ..token("ghp_small", Access::Admin)
    };
    stage.token(scoped);
    let refused = stage
        .call_as("ghp_small", Method::GET, "/repos/acme/docs/keys")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_FOUND);
    assert_eq!(refused.headers()["x-oauth-scopes"], "repo:status");
    assert_eq!(refused.headers()["x-accepted-oauth-scopes"], "repo");

    let fine = NewToken {
        kind: TokenKind::FineGrained,
        grants: [("administration".to_owned(), "read".to_owned())].into(),
        expires_at: Some(4_102_444_800),
        ..token("github_pat_1", Access::Admin)
    };
    stage.token(fine);
    let listed = stage
        .call_as("github_pat_1", Method::GET, "/repos/acme/docs/keys")
        .send()
        .await
        .unwrap();
    assert_eq!(listed.status(), StatusCode::OK);
    assert!(listed.headers().get("x-oauth-scopes").is_none());
    assert_eq!(
        listed.headers()["github-authentication-token-expiration"],
        "2100-01-01 00:00:00 UTC"
    );
    let refused = stage
        .call_as("github_pat_1", Method::POST, "/repos/acme/docs/keys")
        .send()
        .await
        .unwrap();
    assert_eq!(
        refused.headers()["x-accepted-github-permissions"],
        "administration=write"
    );
    let (status, body) = answer(refused).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(
        body["message"],
        "Resource not accessible by personal access token"
    );
}

#[tokio::test]
async fn an_expired_token_is_bad_credentials() {
    let stage = Stage::new().await;
    let ends = stage.sandbox.world().clock.unix() + 60;
    stage.token(NewToken {
        expires_at: Some(ends),
        ..token("ghp_old", Access::Admin)
    });
    let call = async || {
        stage
            .call_as("ghp_old", Method::GET, "/user")
            .send()
            .await
            .unwrap()
    };
    assert_eq!(answer(call().await).await.1["login"], "ann");
    stage
        .sandbox
        .world()
        .clock
        .advance(std::time::Duration::from_secs(61));
    let (status, body) = answer(call().await).await;
    assert_eq!(
        (status, &body["message"]),
        (StatusCode::UNAUTHORIZED, &json!("Bad credentials"))
    );
}

#[tokio::test]
async fn a_renamed_repository_redirects_to_its_id_and_keeps_the_method() {
    let stage = Stage::new().await;
    let id = stage.get("/repos/acme/docs").await.1["id"].clone();
    github::rename(stage.sandbox.world(), "acme/docs", "acme/handbook").unwrap();

    let moved = stage
        .call(Method::GET, "/repos/acme/docs/hooks?per_page=5")
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    let location = format!(
        "{}/repositories/{id}/hooks?per_page=5",
        stage.sandbox.github_url()
    );
    assert_eq!(moved.headers()["location"], location);
    let moved = stage
        .call(Method::POST, "/repos/acme/docs/hooks")
        .json(&json!({}))
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status(), StatusCode::TEMPORARY_REDIRECT);
    let url = moved.headers()["location"].to_str().unwrap().to_owned();
    let body = json!({"config": {"url": "http://127.0.0.1:9/"}});
    let followed = stage
        .http
        .post(url)
        .bearer_auth(linkbroker_sandbox::GITHUB_TOKEN)
        .json(&body);
    assert_eq!(followed.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(stage.get("/repos/acme/handbook").await.1["id"], id);

    // Whoever takes the old name ends the redirect.
    stage.repository("docs").await;
    assert_ne!(stage.get("/repos/acme/docs").await.1["id"], id);
}

#[tokio::test]
async fn archived_repositories_can_be_read_only() {
    let stage = Stage::new().await;
    github::archive(stage.sandbox.world(), "acme/docs", true).unwrap();
    assert_eq!(stage.get("/repos/acme/docs").await.1["archived"], true);
    assert_eq!(stage.get("/repos/acme/docs/keys").await.0, StatusCode::OK);
    let (status, body) = stage.post("/repos/acme/docs/hooks", json!({})).await;
    assert_eq!(
        (status, &body["message"]),
        (
            StatusCode::FORBIDDEN,
            &json!("Repository was archived so is read-only.")
        )
    );
}

#[tokio::test]
async fn branches_and_refs_are_those_of_the_repository() {
    let stage = Stage::new().await;
    let new = linkbroker_sandbox::git::NewCommit {
        branch: "feature/x".to_owned(),
        files: [("new.txt".to_owned(), "new".to_owned())].into(),
        message: "A new root".to_owned(),
        ..Default::default()
    };
    let made = github::commit(stage.sandbox.world(), "acme/docs", new)
        .await
        .unwrap();

    for path in ["feature/x", "feature%2Fx"] {
        let (status, branch) = stage
            .get(&format!("/repos/acme/docs/branches/{path}"))
            .await;
        assert_eq!(
            (status, &branch["commit"]["sha"]),
            (StatusCode::OK, &made["sha"])
        );
        assert_eq!(branch["name"], "feature/x");
    }
    let (_, reference) = stage.get("/repos/acme/docs/git/ref/heads/feature/x").await;
    assert_eq!(reference["object"]["sha"], made["sha"]);
    let names: Vec<Value> = stage
        .get("/repos/acme/docs/branches")
        .await
        .1
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["name"].clone())
        .collect();
    assert_eq!(names, ["feature/x", "main"]);

    let (status, absent) = stage.get("/repos/acme/docs/branches/feature").await;
    assert_eq!(
        (status, &absent["message"]),
        (StatusCode::NOT_FOUND, &json!("Branch not found"))
    );
    assert_eq!(
        stage.get("/repos/acme/docs/git/ref/heads/feature").await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn an_empty_repository_has_size_0_and_no_refs() {
    let stage = Stage::new().await;
    let new = NewRepository {
        name: "empty".to_owned(),
        private: false,
        ..NewRepository::default()
    };
    github::create_repository(stage.sandbox.world(), new)
        .await
        .unwrap();
    assert_eq!(stage.get("/repos/acme/empty").await.1["size"], 0);
    let (status, body) = stage.get("/repos/acme/empty/git/ref/heads/main").await;
    assert_eq!(
        (status, &body["message"]),
        (StatusCode::CONFLICT, &json!("Git Repository is empty."))
    );
    let anonymous = stage
        .http
        .get(format!("{}/repos/acme/empty", stage.sandbox.github_url()));
    let (status, body) = answer(anonymous.send().await.unwrap()).await;
    assert_eq!((status, body.get("permissions")), (StatusCode::OK, None));
}

#[tokio::test]
async fn the_doors_of_a_github_app_stay_shut_for_tokens() {
    let stage = Stage::new().await;
    assert_eq!(
        stage.get("/user/installations").await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        stage.get("/repos/acme/docs/installation").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(stage.get("/nowhere").await.1["message"], "Not Found");
}

#[tokio::test]
async fn a_renamed_branch_redirects() {
    let stage = Stage::new().await;
    github::rename_branch(stage.sandbox.world(), "acme/docs", "main", "trunk")
        .await
        .unwrap();
    let moved = stage
        .call(Method::GET, "/repos/acme/docs/branches/main")
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    let location = format!(
        "{}/repos/acme/docs/branches/trunk",
        stage.sandbox.github_url()
    );
    assert_eq!(moved.headers()["location"], location);
    assert_eq!(
        stage.get("/repos/acme/docs").await.1["default_branch"],
        "trunk"
    );
    assert_eq!(
        stage.get("/repos/acme/docs/branches/trunk").await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn single_sign_on_names_the_page_that_lets_the_token_in() {
    let stage = Stage::new().await;
    let url = "https://github.com/orgs/acme/sso?authorization_request=1";
    stage.token(NewToken {
        sso_url: Some(url.to_owned()),
        ..token("ghp_sso", Access::Admin)
    });
    let refused = stage
        .call_as("ghp_sso", Method::GET, "/repos/acme/docs")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        refused.headers()["x-github-sso"],
        format!("required; url={url}")
    );
}

/// Reads, writes, and refusals of every kind, all against the vendor's description.
#[tokio::test]
async fn every_answer_keeps_the_vendors_description() {
    let stage = Stage::new().await;
    let hook = stage.hook("http://127.0.0.1:9/", &["push"]).await;
    let delivery = stage.deliveries(&hook, 1).await[0]["id"].clone();
    let key = linkbroker_sandbox::git::KeyPair::generate().await.unwrap();
    let body = json!({"title": "t", "key": key.public_line(), "read_only": true});
    let (_, made) = stage.post("/repos/acme/docs/keys", body.clone()).await;
    let id = stage.get("/repos/acme/docs").await.1["id"].clone();
    for path in [
        "/repos/acme/docs",
        &format!("/repositories/{id}"),
        &format!("/repositories/{id}/hooks"),
        "/repos/acme/docs/branches",
        "/repos/acme/docs/branches/main",
        "/repos/acme/docs/git/ref/heads/main",
        "/repos/acme/docs/keys",
        &format!("/repos/acme/docs/keys/{}", made["id"]),
        "/repos/acme/docs/hooks",
        &hook,
        &format!("{hook}/config"),
        &format!("{hook}/deliveries"),
        &format!("{hook}/deliveries/{delivery}"),
        "/user",
        "/rate_limit",
        "/meta",
    ] {
        assert_eq!(stage.get(path).await.0, StatusCode::OK, "{path}");
    }
    let patch = stage
        .call(Method::PATCH, &hook)
        .json(&json!({"add_events": ["delete"]}));
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::OK);
    for tail in ["pings", "tests", &format!("deliveries/{delivery}/attempts")] {
        let call = stage.call(Method::POST, &format!("{hook}/{tail}"));
        assert!(call.send().await.unwrap().status().is_success(), "{tail}");
    }
    stage.post("/repos/acme/docs/keys", body).await;
    stage.get("/repos/acme/absent").await;
    stage.get("/repos/acme/docs/branches/absent").await;
    stage.get("/repos/acme/docs/installation").await;
    github::rename(stage.sandbox.world(), "acme/docs", "acme/handbook").unwrap();
    stage.get("/repos/acme/docs").await;
    stage
        .post("/repos/acme/docs/keys", json!({"key": "x"}))
        .await;
    stage
        .delete(&format!("/repositories/{id}/keys/{}", made["id"]))
        .await;
    let violations = stage.sandbox.world().contracts.violations();
    assert!(violations.is_empty(), "{violations:#?}");
}
