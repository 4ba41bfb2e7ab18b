//! Projects: found by id and by path, moved, foreign, empty; tokens, scopes and limits.

use linkbroker_sandbox::forge::Access;
use linkbroker_sandbox::{NewRepository, Provider, admin};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ENCODED, PATH, Stage};

#[tokio::test]
async fn a_project_in_nested_groups_is_found_by_path_and_by_id() {
    let stage = Stage::new().await;
    let by_path = stage.get(&format!("/projects/{ENCODED}")).await.expect(200);
    let by_id = stage.get(&stage.project("")).await.expect(200);
    assert_eq!(by_path, by_id);
    assert_eq!(by_path["path_with_namespace"], PATH);
    assert_eq!(by_path["visibility"], "private");
    assert_eq!(by_path["empty_repo"], false);
    let ssh = by_path["ssh_url_to_repo"].as_str().unwrap();
    assert!(ssh.ends_with("/gitlab/acme/web/docs.git"), "{ssh}");
    assert_eq!(by_path["permissions"]["group_access"]["access_level"], 40);
    let branch = stage
        .get(&stage.project("/repository/branches/main"))
        .await
        .expect(200);
    assert_eq!(branch["default"], true);
    let absent = stage
        .get(&stage.project("/repository/branches/feature%2Fx"))
        .await;
    assert_eq!(absent.expect(404)["message"], "404 Branch Not Found");
    stage.assert_lawful();
}

#[tokio::test]
async fn after_a_move_reading_is_redirected_and_writing_refused_without_a_word() {
    let stage = Stage::new().await;
    let at = (Provider::Gitlab, PATH).into();
    admin::rename(stage.sandbox.world(), &at, "acme/pages/docs").unwrap();

    let read = stage.get(&format!("/projects/{ENCODED}")).await;
    let to = read.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(read.status, 302);
    assert!(
        to.ends_with(&format!("/gitlab/api/v4/projects/{}", stage.id)),
        "{to}"
    );
    let hook = json!({"url": "http://127.0.0.1:1/hooks/gitlab"});
    let written = stage
        .post(&format!("/projects/{ENCODED}/hooks"), hook)
        .await;
    assert!(!written.headers.contains_key("location"));
    let refusal = written.expect(405)["message"].clone();
    assert_eq!(
        refusal,
        "Non GET methods are not allowed for moved projects"
    );
    let there = stage.get(&stage.project("")).await.expect(200);
    assert_eq!(there["path_with_namespace"], "acme/pages/docs");
}

#[tokio::test]
async fn a_foreign_project_and_an_absent_one_look_the_same() {
    let stage = Stage::new().await;
    stage.token("stranger", Access::None, &["api"]);
    let foreign = stage
        .call_as("stranger", Method::GET, &stage.project(""), None)
        .await;
    let absent = stage
        .call_as("stranger", Method::GET, "/projects/acme%2Fnothing", None)
        .await;
    assert_eq!(foreign.expect(404), absent.expect(404));
}

#[tokio::test]
async fn each_refusal_of_a_token_has_its_own_shape() {
    let stage = Stage::new().await;
    let user = async |token| stage.call_as(token, Method::GET, "/user", None).await;
    assert_eq!(
        user("unknown").await.expect(401)["message"],
        "401 Unauthorized"
    );

    stage.token("reader", Access::Admin, &["read_api"]);
    user("reader").await.expect(200);
    let hooks = stage.project("/hooks");
    let hook = json!({"url": "http://127.0.0.1:1/hooks/gitlab"});
    let written = stage
        .call_as("reader", Method::POST, &hooks, Some(hook.clone()))
        .await;
    assert_eq!(written.expect(403)["error"], "insufficient_scope");

    stage.token("developer", Access::Push, &["api"]);
    let written = stage
        .call_as("developer", Method::POST, &hooks, Some(hook.clone()))
        .await;
    assert_eq!(written.expect(404)["message"], "404 Not Found");
    stage.switch(json!({"non_maintainer_status": 403}));
    let written = stage
        .call_as("developer", Method::POST, &hooks, Some(hook))
        .await;
    assert_eq!(written.expect(403)["message"], "403 Forbidden");
}

#[tokio::test]
async fn a_token_tells_its_scopes_and_its_end() {
    let stage = Stage::new().await;
    let own = stage.get("/personal_access_tokens/self").await.expect(200);
    assert_eq!(own["scopes"], json!(["api"]));
    assert_eq!(own["expires_at"], Value::Null);
    let user = stage.get("/user").await.expect(200);
    assert_eq!(own["user_id"], user["id"]);
    stage.assert_lawful();
}

#[tokio::test]
async fn an_empty_project_has_no_default_branch() {
    let stage = Stage::new().await;
    let new = NewRepository {
        provider: Provider::Gitlab,
        name: "empty".to_owned(),
        ..NewRepository::default()
    };
    stage.sandbox.create_repository(new).await.unwrap();
    let empty = stage.get("/projects/acme%2Fempty").await.expect(200);
    assert_eq!(empty["default_branch"], Value::Null);
    assert_eq!(empty["empty_repo"], true);
    stage.assert_lawful();
}

#[tokio::test]
async fn too_many_calls_are_told_to_retry_later() {
    let stage = Stage::new().await;
    stage.switch(json!({"calls_per_minute": 2}));
    for left in ["1", "0"] {
        let user = stage.get("/user").await;
        assert_eq!(user.headers["ratelimit-remaining"], left);
        user.expect(200);
    }
    let refused = stage.get("/user").await;
    let wait: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.expect(429), "Retry later\n");
}
