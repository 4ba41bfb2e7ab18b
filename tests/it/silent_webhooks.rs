//! A webhook that takes every push and does nothing with it: whatever the provider, such a link never says `live`.

use serde_json::{Value, json};

use crate::world::{Setup, Way, World, text, until};

macro_rules! each_way {
    ($($name:ident $way:ident,)*) => { $(
        #[tokio::test]
        async fn $name() {
            is_never_live(&Way::$way).await;
        }
    )* };
}

each_way! {
    a_silent_webhook_at_github_is_no_live_link GITHUB,
    a_silent_webhook_at_gitlab_is_no_live_link GITLAB,
    a_silent_webhook_at_bitbucket_is_no_live_link BITBUCKET,
    a_silent_webhook_at_azure_devops_is_no_live_link AZURE_STANDING,
    a_silent_webhook_at_gitea_is_no_live_link GITEA,
    a_silent_webhook_made_by_hand_is_no_live_link MANUAL,
    a_silent_webhook_of_a_public_repository_is_no_live_link PUBLIC,
}

async fn is_never_live(way: &Way) {
    let world = way
        .world_with(Setup {
            settings: vec![("LINKBROKER_PROOF_SECONDS", "2".to_owned())],
            ..Setup::default()
        })
        .await;
    world.fault(
        json!({"upstream": "netlify_hooks", "path": ".", "times": 9999, "fault": {"status": 204}}),
    );
    let id = world.client.link(way.request(&world)).await;
    loop {
        let link = world.client.settled(&id).await;
        assert_ne!(link["status"], "live", "{link:#}");
        let action = link["diagnosis"]["action"].clone();
        if action.is_null() {
            assert_eq!(link["status"], "degraded", "{link:#}");
            assert_eq!(link["diagnosis"]["code"], "push_unverified", "{link:#}");
            // The site has its build all the same.
            assert_eq!(link["deploy"]["state"], "ready", "{link:#}");
            return;
        }
        way.act(&world, &action).await;
        match text(&action["then"]).as_str() {
            "by_retry" => drop(world.client.retry(&id).await),
            _ => return stays_unproven(&world, &link).await,
        }
    }
}

/// People have pushed, and several looks for a build go by.
async fn stays_unproven(world: &World, link: &Value) {
    let looks = || {
        let calls = world.sandbox.calls();
        calls
            .iter()
            .filter(|call| call.path.contains("/builds?"))
            .count()
    };
    let before = looks();
    until("looks for a build of the push", async || {
        (looks() > before + 2).then_some(())
    })
    .await;
    let still = world.client.read(&text(&link["id"])).await;
    assert_eq!(still["status"], "action_required", "{still:#}");
    assert_eq!(still["verification"]["level"], 0, "{still:#}");
}
