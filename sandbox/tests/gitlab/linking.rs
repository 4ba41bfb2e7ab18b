//! A Netlify site that is linked to a GitLab project: cloned with its deploy key, built on push.

use linkbroker_sandbox::Provider;
use reqwest::Method;
use serde_json::{Value, json};

use crate::stage::{PATH, Stage, until};

/// Links a site by key, webhook and attach; gives its id.
async fn link(stage: &Stage, id: Value) -> String {
    let key = stage
        .netlify(Method::POST, "/deploy_keys", None)
        .await
        .expect(201);
    let install = json!({"title": "Netlify", "key": key["public_key"], "can_push": false});
    stage
        .post(&stage.project("/deploy_keys"), install)
        .await
        .expect(201);
    let site = stage
        .netlify(Method::POST, "/sites", Some(json!({"name": "acme-docs"})))
        .await
        .expect(201);
    let path = format!("/sites/{}", site["id"].as_str().unwrap());
    let repo = json!({"provider": "gitlab", "repo": PATH, "repo_path": PATH, "id": id, "repo_id": id,
        "private": true, "branch": "main", "repo_branch": "main", "deploy_key_id": key["id"],
        "cmd": "sh build.sh", "dir": "dist"});
    let site = stage
        .netlify(Method::PATCH, &path, Some(json!({"repo": repo})))
        .await
        .expect(200);
    let hook = site["deploy_hook"].as_str().unwrap();
    assert!(hook.ends_with("/netlify/hooks/gitlab"), "{hook}");
    stage
        .post(&stage.project("/hooks"), json!({"url": hook}))
        .await
        .expect(201);
    path
}

async fn deploys(stage: &Stage, site: &str, count: usize) -> Vec<Value> {
    let path = format!("{site}/deploys");
    until("deploys to end", async || {
        let list = stage.netlify(Method::GET, &path, None).await.expect(200);
        let list = list.as_array().unwrap().clone();
        let over = |d: &Value| d["state"] == "ready" || d["state"] == "error";
        (list.len() == count && list.iter().all(over)).then_some(list)
    })
    .await
}

#[tokio::test]
async fn a_private_project_is_cloned_with_its_key_and_rebuilt_on_push() {
    let stage = Stage::new().await;
    let site = link(&stage, json!(stage.id)).await;
    let first = deploys(&stage, &site, 1).await;
    assert_eq!(first[0]["state"], "ready", "{first:#?}");

    let pushed = stage.push("second text").await;
    let both = deploys(&stage, &site, 2).await;
    assert_eq!(both[0]["state"], "ready", "{both:#?}");
    assert_eq!(both[0]["commit_ref"], pushed["sha"]);
    assert_eq!(both[0]["title"], "Say second text");
    let keys = stage.get(&stage.project("/deploy_keys")).await.expect(200);
    assert!(keys[0]["last_used_at"].is_string());
    let counts = stage.sandbox.counts();
    assert_eq!(counts.at(Provider::Gitlab, "webhooks").alive, 1);
    assert_eq!(counts.of("webhooks").alive, 1);
    stage.assert_lawful();
}

#[tokio::test]
async fn a_site_attached_with_another_projects_id_hears_no_pushes() {
    let stage = Stage::new().await;
    let site = link(&stage, json!(stage.id + 1)).await;
    deploys(&stage, &site, 1).await;
    stage.push("second text").await;
    let hook = stage.get(&stage.project("/hooks")).await.expect(200)[0]["id"].clone();
    let log = stage.project(&format!("/hooks/{hook}/events"));
    until("the delivery", async || {
        let log = stage.get(&log).await.expect(200);
        (log[0]["response_status"] == "204").then_some(())
    })
    .await;
    assert_eq!(deploys(&stage, &site, 1).await.len(), 1);
}
