//! The admin door for all providers, over HTTP as a demo uses it.

use linkbroker_sandbox::git::KeyPair;
use linkbroker_sandbox::{NewRepository, Provider};
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{Reply, Stage, public_key};

async fn ask(stage: &Stage, method: Method, path: &str, body: Value) -> Reply {
    let url = format!("{}{path}", stage.sandbox.admin_url());
    Reply::to(stage.http.request(method, url), Some(body)).await
}

#[tokio::test]
async fn repositories_are_made_changed_and_moved_at_any_provider() {
    let stage = Stage::new(Provider::Gitlab, "acme/web/docs").await;
    let new = json!({"provider": "azure_devops", "owner": "acme/Web Team", "name": "docs", "template": "site"});
    let made = ask(&stage, Method::POST, "/repositories", new)
        .await
        .expect(201);
    assert!(
        made["ssh_url"]
            .as_str()
            .unwrap()
            .ends_with("/v3/acme/Web%20Team/docs")
    );
    let nested = "/repositories/acme%2Fweb/docs";
    let change = json!({"message": "Second", "files": {"a.txt": "a"}});
    let path = format!("{nested}/commits?provider=gitlab");
    let commit = ask(&stage, Method::POST, &path, change.clone())
        .await
        .expect(201);
    assert_eq!(commit["branch"], "main");
    let to = json!({"to": "acme/handbook"});
    ask(
        &stage,
        Method::POST,
        &format!("{nested}/rename?provider=gitlab"),
        to,
    )
    .await
    .expect(204);
    let archive = "/repositories/acme/handbook/archive?provider=gitlab";
    ask(&stage, Method::POST, archive, json!({}))
        .await
        .expect(204);
    let world = Reply::to(
        stage
            .http
            .get(format!("{}/world", stage.sandbox.admin_url())),
        None,
    )
    .await;
    let world = world.expect(200);
    let project = &world["gitlab"]["repositories"][0];
    assert_eq!(project["full_name"], "acme/handbook");
    assert_eq!(project["archived"], true);
    assert_eq!(project["head"], commit["sha"]);
    let refused = ask(&stage, Method::POST, &path, change).await.expect(400);
    assert!(
        refused["error"].as_str().unwrap().contains("no repository"),
        "{refused}"
    );
}

#[tokio::test]
async fn paths_that_a_provider_could_not_have_are_refused() {
    let stage = Stage::new(Provider::Plain, "acme/docs").await;
    for (provider, owner, name) in [
        ("bitbucket", "acme/web", "docs"),
        ("azure_devops", "acme", "docs"),
        ("gitlab", "acme//web", "docs"),
        ("gitea", "acme", "a b"),
        ("plain", "acme", "docs"),
    ] {
        let new = json!({"provider": provider, "owner": owner, "name": name});
        ask(&stage, Method::POST, "/repositories", new)
            .await
            .expect(400);
    }
}

#[tokio::test]
async fn tokens_keys_and_webhooks_are_given_by_hand_and_taken_with_the_person() {
    let stage = Stage::new(Provider::Gitlab, "acme/docs").await;
    let token = json!({"gitlab": {"token": "mine", "login": "ann", "everywhere": "admin"}});
    ask(&stage, Method::POST, "/tokens", token)
        .await
        .expect(204);
    let person = json!({"provider": "gitlab", "login": "ann", "key": public_key().await});
    ask(&stage, Method::POST, "/person-keys", person.clone())
        .await
        .expect(204);
    ask(&stage, Method::POST, "/person-keys", person)
        .await
        .expect(400);
    let key = json!({"provider": "gitlab", "repository": "acme/docs", "key": public_key().await});
    ask(&stage, Method::POST, "/deploy-keys", key)
        .await
        .expect(201);
    let hook =
        json!({"provider": "gitlab", "repository": "acme/docs", "url": "http://127.0.0.1:1/"});
    ask(&stage, Method::POST, "/webhooks", hook)
        .await
        .expect(201);
    let user = async || {
        let url = format!("{}/user", stage.sandbox.gitlab_url());
        Reply::to(stage.http.get(url).bearer_auth("mine"), None)
            .await
            .status
    };
    assert_eq!(user().await, 200);
    ask(
        &stage,
        Method::DELETE,
        "/people/ann?provider=gitlab",
        json!({}),
    )
    .await
    .expect(204);
    assert_eq!(user().await, 401);
    ask(&stage, Method::DELETE, "/tokens", json!({"gitlab": "mine"}))
        .await
        .expect(400);
    let counts = stage.sandbox.counts();
    assert_eq!(counts.at(Provider::Gitlab, "installed_keys").alive, 1);
    assert_eq!(counts.at(Provider::Gitlab, "webhooks").alive, 1);

    ask(&stage, Method::POST, "/reset", json!({}))
        .await
        .expect(204);
    let counts = stage.sandbox.counts();
    assert_eq!(counts.at(Provider::Gitlab, "repositories").created, 0);
    assert_eq!(user().await, 401);
}

/// One SSH front serves all providers: a key that one of them knows opens nothing at another.
#[tokio::test]
async fn the_same_path_at_two_providers_is_two_repositories() {
    let stage = Stage::new(Provider::Gitlab, "acme/docs").await;
    for provider in [Provider::Github, Provider::Gitea] {
        let new = NewRepository {
            provider,
            name: "docs".to_owned(),
            template: Some("site".to_owned()),
            ..NewRepository::default()
        };
        stage.sandbox.create_repository(new).await.unwrap();
    }
    let key = KeyPair::generate().await.unwrap();
    let install =
        json!({"provider": "gitlab", "repository": "acme/docs", "key": key.public_line()});
    ask(&stage, Method::POST, "/deploy-keys", install)
        .await
        .expect(201);
    let git = &stage.sandbox.world().git;
    let folder = tempfile::tempdir().unwrap();
    let clone = async |path: &str, into: &str| {
        let url = git.ssh_url(path);
        git.clone_over_ssh(Some(&key), &url, "main", &folder.path().join(into))
            .await
    };
    clone("gitlab/acme/docs", "a").await.unwrap();
    for (path, into) in [("acme/docs", "b"), ("gitea/acme/docs", "c")] {
        let refused = clone(path, into).await.unwrap_err();
        assert!(
            refused.log.contains("Permission denied (publickey)"),
            "{refused}"
        );
    }
    let absent = clone("gitlab/acme/other", "d").await.unwrap_err();
    assert!(absent.log.contains("could not be found"), "{absent}");
}
