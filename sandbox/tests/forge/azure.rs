//! Azure DevOps: GUIDs and blanks in names, pages to sign in, one subscription per event, keys of persons, advice to wait.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use linkbroker_sandbox::forge::{self, Access, NewPersonKey, NewToken, NewWebhook};
use linkbroker_sandbox::{AZURE_DEVOPS_TOKEN, NewRepository, Provider, admin};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Reply, Stage, public_key, receiver, until};

const REPOSITORY: &str = "/acme/Web%20Team/_apis/git/repositories/docs";
const SUBSCRIPTIONS: &str = "/acme/_apis/hooks/subscriptions";
const MAKER: &str = "ms.vss-token-web.personal-access-token-issue-session-token-provider";

async fn stage() -> Stage {
    Stage::new(Provider::AzureDevops, "acme/Web Team/docs").await
}

async fn call(stage: &Stage, method: Method, path: &str, body: Option<Value>) -> Reply {
    call_as(stage, AZURE_DEVOPS_TOKEN, method, path, body).await
}

async fn call_as(
    stage: &Stage,
    token: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Reply {
    let mark = if path.contains('?') { '&' } else { '?' };
    let url = format!(
        "{}{path}{mark}api-version=7.1",
        stage.sandbox.azure_devops_url()
    );
    let request = stage.http.request(method, url).basic_auth("", Some(token));
    Reply::to(request, body).await
}

async fn get(stage: &Stage, path: &str) -> Reply {
    call(stage, Method::GET, path, None).await
}

fn switch(stage: &Stage, patch: Value) {
    stage
        .sandbox
        .patch_switches(&json!({"azure_devops": patch}))
        .unwrap();
}

fn subscription(repository: &Value, event: &str, url: &str) -> Value {
    json!({"publisherId": "tfs", "eventType": event, "resourceVersion": "1.0", "consumerId": "webHooks",
        "consumerActionId": "httpRequest", "consumerInputs": {"url": url},
        "publisherInputs": {"projectId": repository["project"]["id"], "repository": repository["id"], "branch": ""}})
}

async fn subscribe(stage: &Stage, repository: &Value, event: &str, url: &str) -> Value {
    let body = Some(subscription(repository, event, url));
    call(stage, Method::POST, SUBSCRIPTIONS, body)
        .await
        .expect(200)
}

async fn make_key(stage: &Stage, key: &str) -> Value {
    let account = get(stage, "/acme/_apis/connectionData").await.expect(200)["instanceId"].clone();
    let end = (stage.sandbox.world().clock.now() + Duration::from_secs(364 * 86_400)).date();
    let properties = json!({"displayName": "Netlify", "publicData": key, "validTo": format!("{end}T00:00:00Z"),
        "scope": "app_token", "isPublic": true, "targetAccounts": [account]});
    let body =
        json!({"contributionIds": [MAKER], "dataProviderContext": {"properties": properties}});
    let path = "/acme/_apis/Contribution/HierarchyQuery";
    call(stage, Method::POST, path, Some(body))
        .await
        .expect(200)
}

#[tokio::test]
async fn a_site_is_cloned_with_a_persons_key_and_rebuilt_on_push() {
    let stage = stage().await;
    let repository = get(&stage, REPOSITORY).await.expect(200);
    assert_eq!(repository["defaultBranch"], "refs/heads/main");
    let ssh = repository["sshUrl"].as_str().unwrap();
    assert!(ssh.ends_with("/v3/acme/Web%20Team/docs"), "{ssh}");
    let key = stage.deploy_key().await;
    let made = make_key(&stage, key["public_key"].as_str().unwrap()).await;
    assert!(
        made["dataProviders"][MAKER]["authorizationId"].is_string(),
        "{made}"
    );
    let id = repository["id"].clone();
    let path = "acme/Web Team/_git/docs";
    let repo = json!({"provider": "azure_devops", "repo": path, "repo_path": path, "id": id, "repo_id": id});
    let site = stage.attach(&key, repo).await;
    let hook = site["deploy_hook"].as_str().unwrap();
    assert!(hook.ends_with("/netlify/hooks/azure_devops"), "{hook}");
    let events = [
        "git.push",
        "git.pullrequest.created",
        "git.pullrequest.updated",
        "git.pullrequest.merged",
    ];
    for event in events {
        subscribe(&stage, &repository, event, hook).await;
    }
    stage.assert_rebuilt_on_push(&site).await;
    let counts = stage.sandbox.counts();
    assert_eq!(counts.at(Provider::AzureDevops, "webhooks").alive, 4);
    assert_eq!(counts.at(Provider::AzureDevops, "installed_keys").alive, 1);
    stage.assert_lawful();
}

#[tokio::test]
async fn who_is_not_signed_in_gets_a_page_and_only_some_calls_say_so() {
    let stage = stage().await;
    let page = call_as(&stage, "unknown", Method::GET, REPOSITORY, None).await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.status, 203);
    let gone = format!("{SUBSCRIPTIONS}/278d5cd2-584d-4b63-824a-2ba458937249");
    let removed = call_as(&stage, "unknown", Method::DELETE, &gone, None)
        .await
        .expect(401);
    assert_eq!(removed["typeKey"], "UnauthorizedRequestException");
    let url = format!(
        "{}{REPOSITORY}?api-version=7.1",
        stage.sandbox.azure_devops_url()
    );
    let suppressed = stage
        .http
        .get(&url)
        .header("x-tfs-fedauthredirect", "Suppress");
    Reply::to(suppressed, None).await.expect(401);
    switch(&stage, json!({"sign_in_redirects": true}));
    let redirect = Reply::to(stage.http.get(&url), None).await;
    assert!(
        redirect.headers["location"]
            .to_str()
            .unwrap()
            .contains("/_signin")
    );
    assert_eq!(redirect.status, 302);
    stage.assert_lawful();
}

#[tokio::test]
async fn what_is_absent_is_told_by_its_type() {
    let stage = stage().await;
    for (path, status, kind) in [
        (
            "/acme/Web%20Team/_apis/git/repositories/none",
            404,
            "GitRepositoryNotFoundException",
        ),
        (
            "/acme/None/_apis/git/repositories/docs",
            404,
            "ProjectDoesNotExistWithNameException",
        ),
    ] {
        assert_eq!(get(&stage, path).await.expect(status)["typeKey"], kind);
    }
    let page = get(&stage, "/nobody/Web/_apis/git/repositories/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.status, 404);
    switch(&stage, json!({"missing_project_as_400": true}));
    let absent = get(&stage, "/acme/None/_apis/git/repositories/docs")
        .await
        .expect(400);
    assert!(absent["message"].as_str().unwrap().starts_with("VS800075"));
}

#[tokio::test]
async fn after_a_rename_only_the_guid_holds() {
    let stage = stage().await;
    let id = get(&stage, REPOSITORY).await.expect(200)["id"].clone();
    let by_guid = format!("/acme/_apis/git/repositories/{}", id.as_str().unwrap());
    admin::rename(stage.sandbox.world(), &stage.at, "acme/Web Team/handbook").unwrap();
    get(&stage, REPOSITORY).await.expect(404);
    assert_eq!(get(&stage, &by_guid).await.expect(200)["name"], "handbook");
    admin::archive(
        stage.sandbox.world(),
        &(Provider::AzureDevops, "acme/Web Team/handbook").into(),
        true,
    )
    .unwrap();
    assert_eq!(get(&stage, &by_guid).await.expect(200)["isDisabled"], true);
}

#[tokio::test]
async fn refs_are_found_by_prefix_in_pages() {
    let stage = stage().await;
    let world = stage.sandbox.world();
    for branch in ["feature", "feature-2", "other"] {
        let new = linkbroker_sandbox::git::NewCommit {
            branch: branch.to_owned(),
            message: "A branch".to_owned(),
            files: [("a.txt".to_owned(), branch.to_owned())].into(),
            ..Default::default()
        };
        admin::commit(world, &stage.at, new).await.unwrap();
    }
    let refs = format!("{REPOSITORY}/refs?filter=heads%2Ffeature");
    assert_eq!(get(&stage, &refs).await.expect(200)["count"], 2);
    switch(&stage, json!({"page_size": 1}));
    let first = get(&stage, &refs).await;
    let next = first.headers["x-ms-continuationtoken"]
        .to_str()
        .unwrap()
        .to_owned();
    assert_eq!(first.expect(200)["value"][0]["name"], "refs/heads/feature");
    let second = get(
        &stage,
        &format!("{refs}&continuationToken={}", next.replace('/', "%2F")),
    )
    .await;
    assert!(!second.headers.contains_key("x-ms-continuationtoken"));
    assert_eq!(
        second.expect(200)["value"][0]["name"],
        "refs/heads/feature-2"
    );
    stage.assert_lawful();
}

#[tokio::test]
async fn subscriptions_double_are_replaced_whole_and_tell_of_their_deliveries() {
    let stage = stage().await;
    let answer = Arc::new(Mutex::new(StatusCode::NO_CONTENT));
    let url = receiver(answer.clone()).await;
    let repository = get(&stage, REPOSITORY).await.expect(200);
    let first = subscribe(&stage, &repository, "git.push", &url).await;
    assert_eq!(first["status"], "enabled");
    let path = format!("{SUBSCRIPTIONS}/{}", first["id"].as_str().unwrap());
    stage.push("second text").await;
    let notifications = format!("{path}/notifications");
    let list = until("a notification", async || {
        let list = get(&stage, &notifications).await.expect(200);
        (list["count"] == 1).then_some(list)
    })
    .await;
    assert_eq!(list["value"][0]["result"], "succeeded");
    let one = get(
        &stage,
        &format!("{notifications}/{}", list["value"][0]["id"]),
    )
    .await
    .expect(200);
    assert!(
        one["details"]["response"].as_str().unwrap().contains("204"),
        "{one}"
    );

    *answer.lock() = StatusCode::BAD_GATEWAY;
    for count in 2..=4 {
        stage.push(&format!("text {count}")).await;
        stage.deliveries(count).await;
    }
    assert_eq!(
        get(&stage, &path).await.expect(200)["status"],
        "onProbation"
    );
    let again = Some(subscription(&repository, "git.push", &url));
    let replaced = call(&stage, Method::PUT, &path, again).await.expect(200);
    assert_eq!(replaced["status"], "enabled");
    subscribe(&stage, &repository, "git.push", &url).await;
    let filter = format!("{SUBSCRIPTIONS}?publisherId=tfs&consumerId=webHooks&eventType=git.push");
    assert_eq!(get(&stage, &filter).await.expect(200)["count"], 2);
    call(&stage, Method::DELETE, &path, None).await.expect(204);
    get(&stage, &path).await.expect(404);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_test_with_real_data_sends_the_latest_push() {
    let stage = stage().await;
    let url = receiver(Arc::new(Mutex::new(StatusCode::NO_CONTENT))).await;
    let repository = get(&stage, REPOSITORY).await.expect(200);
    let made = subscribe(&stage, &repository, "git.push", &url).await;
    let details = subscription(&repository, "git.push", &url);
    let test = Some(json!({"subscriptionId": made["id"], "details": details}));
    let path = "/acme/_apis/hooks/testnotifications?useRealData=true";
    let queued = call(&stage, Method::POST, path, test).await.expect(200);
    assert_eq!(queued["status"], "queued");
    assert_eq!(stage.deliveries(1).await[0]["status_code"], 204);
    stage.assert_lawful();
}

#[tokio::test]
async fn keys_are_listed_expire_and_are_refused_inside_a_good_answer() {
    let stage = stage().await;
    let key = public_key().await;
    make_key(&stage, &key).await;
    let tokens = "/acme/_apis/Token/SessionTokens";
    let list = get(
        &stage,
        &format!("{tokens}?isPublic=true&includePublicData=true"),
    )
    .await
    .expect(200);
    assert_eq!(list["value"][0]["publicData"], key);
    let twice = make_key(&stage, &key).await;
    let message = twice["dataProviderExceptions"][MAKER]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("already exists"), "{message}");

    stage
        .sandbox
        .world()
        .clock
        .advance(Duration::from_secs(365 * 86_400));
    let list = get(&stage, &format!("{tokens}?isPublic=true"))
        .await
        .expect(200);
    assert_eq!(list["value"][0]["isValid"], false);
    let one = format!(
        "{tokens}/{}",
        list["value"][0]["authorizationId"].as_str().unwrap()
    );
    call(&stage, Method::DELETE, &one, None).await.expect(204);
    switch(&stage, json!({"ssh_key_calls_work": false}));
    let refused = make_key(&stage, &public_key().await).await;
    assert!(refused["dataProviderExceptions"][MAKER].is_object());
    stage.assert_lawful();
}

#[tokio::test]
async fn a_persons_key_opens_what_the_person_may_read_until_it_expires() {
    let stage = stage().await;
    let key = stage.deploy_key().await;
    let world = stage.sandbox.world();
    let person = NewPersonKey {
        provider: Provider::AzureDevops,
        login: "netlify-reader".to_owned(),
        key: key["public_key"].as_str().unwrap().to_owned(),
        permissions: serde_json::from_value(
            json!({"repositories": {"acme/Web Team/docs": "read"}}),
        )
        .unwrap(),
        expires_at: Some(world.clock.unix() + 3600),
        ..NewPersonKey::default()
    };
    admin::add_person_key(world, person).unwrap();
    let id = get(&stage, REPOSITORY).await.expect(200)["id"].clone();
    let path = "acme/Web Team/_git/docs";
    let repo = json!({"provider": "azure_devops", "repo": path, "repo_path": path, "id": id, "repo_id": id});
    let site = stage.attach(&key, repo).await;
    assert_eq!(stage.deploys(&site, 1).await[0]["state"], "ready");
    world.clock.advance(Duration::from_secs(3601));
    let build = format!("/sites/{}/builds", site["id"].as_str().unwrap());
    stage.netlify(Method::POST, &build, None).await.expect(200);
    let failed = stage.deploys(&site, 2).await;
    assert!(
        failed[0]["error_message"]
            .as_str()
            .unwrap()
            .contains("preparing repo"),
        "{failed:#?}"
    );
}

#[tokio::test]
async fn waiting_is_advised_before_it_is_enforced() {
    let stage = stage().await;
    switch(&stage, json!({"delayed_above": 1, "refused_above": 2}));
    let first = get(&stage, REPOSITORY).await;
    assert!(!first.headers.contains_key("retry-after"));
    let delayed = get(&stage, REPOSITORY).await;
    assert_eq!(delayed.headers["retry-after"], "5");
    delayed.expect(200);
    let refused = get(&stage, REPOSITORY).await.expect(429);
    assert!(refused["message"].as_str().unwrap().starts_with("TF400733"));
}

#[tokio::test]
async fn a_reader_may_not_subscribe_and_writing_wants_a_version() {
    let stage = stage().await;
    let reader = NewToken {
        token: "reader".to_owned(),
        login: "ann".to_owned(),
        permissions: [("acme/Web Team/docs".to_owned(), Access::Read)].into(),
        ..NewToken::default()
    };
    let world = stage.sandbox.world();
    forge::add_token(world, &world.forges.azure, reader).unwrap();
    let repository = get(&stage, REPOSITORY).await.expect(200);
    let body = subscription(&repository, "git.push", "http://127.0.0.1:1/");
    let refused = call_as(
        &stage,
        "reader",
        Method::POST,
        SUBSCRIPTIONS,
        Some(body.clone()),
    )
    .await;
    let message = refused.expect(403)["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("does not have permissions")
    );
    let url = format!("{}{SUBSCRIPTIONS}", stage.sandbox.azure_devops_url());
    let request = stage
        .http
        .post(url)
        .basic_auth("acme", Some(AZURE_DEVOPS_TOKEN));
    let refused = Reply::to(request, Some(body)).await.expect(400);
    assert_eq!(refused["typeKey"], "VssVersionNotSpecifiedException");
}

#[tokio::test]
async fn what_somebody_subscribed_who_left_is_silent() {
    let stage = stage().await;
    let token = NewToken {
        token: "leaver".to_owned(),
        login: "ann".to_owned(),
        everywhere: Some(Access::Admin),
        ..NewToken::default()
    };
    let world = stage.sandbox.world();
    forge::add_token(world, &world.forges.azure, token).unwrap();
    let repository = get(&stage, REPOSITORY).await.expect(200);
    let body = subscription(&repository, "git.push", "http://127.0.0.1:1/");
    let made = call_as(&stage, "leaver", Method::POST, SUBSCRIPTIONS, Some(body))
        .await
        .expect(200);
    assert_eq!(made["status"], "enabled");
    forge::remove_person(&world.forges.azure, "ann").unwrap();
    let path = format!("{SUBSCRIPTIONS}/{}", made["id"].as_str().unwrap());
    assert_eq!(
        get(&stage, &path).await.expect(200)["status"],
        "disabledByInactiveIdentity"
    );
}

#[tokio::test]
async fn a_subscription_without_a_repository_hears_of_the_whole_project() {
    let stage = stage().await;
    let url = receiver(Arc::new(Mutex::new(StatusCode::NO_CONTENT))).await;
    let mut whole = get(&stage, REPOSITORY).await.expect(200);
    whole["id"] = "".into();
    subscribe(&stage, &whole, "git.push", &url).await;
    let other = NewRepository {
        provider: Provider::AzureDevops,
        owner: "acme/Web Team".to_owned(),
        name: "other".to_owned(),
        template: Some("site".to_owned()),
        ..NewRepository::default()
    };
    stage.sandbox.create_repository(other).await.unwrap();
    // The first commit of the new repository is a push that the project's subscription hears of.
    assert_eq!(stage.deliveries(1).await[0]["event"], "git.push");
    let by_hand = NewWebhook {
        provider: Provider::AzureDevops,
        repository: "acme/Web Team/docs".to_owned(),
        url,
        ..NewWebhook::default()
    };
    let world = stage.sandbox.world();
    forge::install_webhook(world, &world.forges.azure, by_hand).unwrap();
    assert_eq!(get(&stage, SUBSCRIPTIONS).await.expect(200)["count"], 2);
}
