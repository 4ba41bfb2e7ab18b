//! A Netlify site that is linked to a GitLab project: cloned with its deploy key, built on push.

use linkbroker_sandbox::Provider;
use serde_json::{Value, json};

use super::{PATH, Stage};
use crate::stage::until;

/// Links a site by key, webhook and attach.
async fn link(stage: &Stage, id: Value) -> Value {
    let key = stage.deploy_key().await;
    let install = json!({"title": "Netlify", "key": key["public_key"], "can_push": false});
    stage
        .post(&stage.project("/deploy_keys"), install)
        .await
        .expect(201);
    let repo =
        json!({"provider": "gitlab", "repo": PATH, "repo_path": PATH, "id": id, "repo_id": id});
    let site = stage.attach(&key, repo).await;
    let hook = site["deploy_hook"].as_str().unwrap();
    assert!(hook.ends_with("/netlify/hooks/gitlab"), "{hook}");
    stage
        .post(&stage.project("/hooks"), json!({"url": hook}))
        .await
        .expect(201);
    site
}

#[tokio::test]
async fn a_private_project_is_cloned_with_its_key_and_rebuilt_on_push() {
    let stage = Stage::new().await;
    let site = link(&stage, json!(stage.id)).await;
    stage.assert_rebuilt_on_push(&site).await;
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
    stage.deploys(&site, 1).await;
    stage.push("second text").await;
    let hook = stage.get(&stage.project("/hooks")).await.expect(200)[0]["id"].clone();
    let log = stage.project(&format!("/hooks/{hook}/events"));
    until("the delivery", async || {
        let log = stage.get(&log).await.expect(200);
        (log[0]["response_status"] == "204").then_some(())
    })
    .await;
    assert_eq!(stage.deploys(&site, 1).await.len(), 1);
}
