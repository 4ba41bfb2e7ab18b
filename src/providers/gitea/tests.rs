//! How Gitea and Forgejo are spoken to and understood.

use serde_json::json;

use super::*;
use crate::{
    providers::WebhookFault,
    upstream::{
        UpstreamKind,
        testing::{Reply, Vendor, answer, token},
    },
};

const HOOK: &str = "https://api.netlify.com/hooks/0123456789abcdef01234567";
const KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABTAIL1234== Netlify";

fn gitea(vendor: &Vendor) -> Gitea {
    let instance = vendor.instance(UpstreamKind::Gitea);
    Gitea::new(&Http::new().unwrap(), instance, token("canary")).unwrap()
}

fn docs() -> Repository {
    Repository {
        host: "github.com".into(),
        id: "42".into(),
        path: "acme/docs".into(),
        web_url: "https://code.example/acme/docs".into(),
        ssh_url: "ssh://git@code.example:2222/acme/docs.git".into(),
        private: true,
        branch: "main".into(),
    }
}

fn with(mut whole: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(more);
    whole
}

fn repo(more: Value) -> Value {
    let whole = json!({
        "id": 42, "full_name": "acme/docs", "html_url": "https://code.example/acme/docs",
        "ssh_url": "ssh://git@code.example:2222/acme/docs.git", "default_branch": "main",
        "private": true, "internal": false, "archived": false, "empty": false, "parent": null,
        "permissions": {"admin": true, "push": true, "pull": true},
    });
    with(whole, more)
}

fn hook(id: u32, more: Value) -> Value {
    let whole = json!({
        "id": id, "type": "gitea", "active": true, "branch_filter": "",
        "config": {"url": HOOK, "content_type": "json"},
        "events": ["push", "pull_request", "pull_request_assign", "delete"],
        "created_at": "2026-08-01T12:00:00Z",
    });
    with(whole, more)
}

fn said(message: &str) -> Value {
    json!({"errors": null, "message": message, "url": "https://code.example/api/swagger"})
}

fn webhook() -> Webhook {
    Webhook {
        id: "5".into(),
        url: HOOK.into(),
    }
}

#[test]
fn refusals_are_named_by_status_place_and_words() {
    use FailureCode as Code;
    const REPO: &str = "/api/v1/repos/acme/docs";
    const KEYS: &str = "/api/v1/repos/acme/docs/keys";
    const HOOKS: &str = "/api/v1/repos/acme/docs/hooks";
    #[rustfmt::skip]
    let rows = [
        (REPO, 401, said("user does not exist [uid: 0, name: ]"), Code::CredentialRefused),
        (REPO, 404, said("The target couldn't be found."), Code::RepositoryNotFoundOrNoAccess),
        (KEYS, 404, json!(null), Code::AdminRequired),
        (KEYS, 403, said("token does not have at least one of required scope(s): [write:repository]"), Code::ScopeMissing),
        (KEYS, 403, said("user should be an owner or a collaborator with admin write of a repository"), Code::AdminRequired),
        (KEYS, 423, said("This repo is archived. You can't change it."), Code::RepositoryArchived),
        (KEYS, 422, said("Key content has been used as non-deploy key"), Code::KeyInProfileNotProject),
        (KEYS, 422, said("This key has already been added to this repository"), Code::KeyInUseElsewhere),
        (KEYS, 422, said("SSH is disabled"), Code::DeployKeysDisabled),
        (KEYS, 422, said("Invalid key content: key is too short"), Code::KeyRefused),
        (HOOKS, 422, said("Invalid hook type: gitea"), Code::WebhookRefused),
        (REPO, 418, json!([]), Code::RequestRefused),
        (REPO, 429, json!("slow"), Code::RateLimited),
        (REPO, 500, said(""), Code::UpstreamUnavailable),
        (REPO, 302, json!(null), Code::UpstreamContractChanged),
    ];
    for (path, status, body, code) in rows {
        let error = refusals::classify(&answer("POST", path, status, &[], &body.to_string()));
        assert_eq!(error.code, code, "{path} {status} {body}");
    }
    let page = answer("POST", KEYS, 403, &[], "<html>proxy</html>");
    assert!(!refusals::classify(&page).detail.contains("proxy"));
}

#[tokio::test]
async fn resolving_the_default_branch_takes_one_call() {
    let vendor = Vendor::start(vec![Reply::new(200, repo(json!({})))]).await;
    assert_eq!(
        gitea(&vendor).resolve("Acme/Docs", None).await.unwrap(),
        docs()
    );
    assert_eq!(vendor.asked(), ["GET /api/repos/Acme/Docs"]);
}

#[tokio::test]
async fn nulls_and_unknown_fields_are_tolerated_and_a_missing_id_is_no_answer() {
    for more in [
        json!({"permissions": null, "parent": null, "mirror_interval": 7}),
        json!({"object_format_name": "a word of tomorrow", "owner": null}),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, repo(more.clone()))]).await;
        let found = gitea(&vendor).resolve("acme/docs", None).await;
        assert_eq!(found.unwrap(), docs(), "{more}");
    }
    for body in [
        repo(json!({"id": null})).to_string(),
        repo(json!({"id": "42"})).to_string(),
        "<html>Sign in</html>".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, &body)]).await;
        let error = gitea(&vendor).resolve("acme/docs", None).await;
        let error = error.expect_err(&body);
        assert_eq!(error.code, FailureCode::UpstreamContractChanged, "{body}");
        assert!(!error.detail.contains("Sign in"), "{}", error.detail);
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_known_by_its_new_name() {
    let moved = Reply::new(307, "").header("location", "/api/repos/acme/docs");
    let vendor = Vendor::start(vec![moved, Reply::new(200, repo(json!({})))]).await;
    assert_eq!(
        gitea(&vendor).resolve("acme/old", None).await.unwrap(),
        docs()
    );
}

#[tokio::test]
async fn what_linking_would_fail_at_is_found_by_reading() {
    use FailureCode as Code;
    let missing = || Reply::new(404, said("The target couldn't be found."));
    let no_admin = json!({"permissions": {"admin": false, "push": true}});
    for (more, branch, second, code) in [
        (
            json!({"archived": true}),
            None,
            None,
            Code::RepositoryArchived,
        ),
        (json!({"empty": true}), None, None, Code::RepositoryEmpty),
        (no_admin, None, None, Code::AdminRequired),
        (
            json!({}),
            Some("feature/x"),
            Some(missing()),
            Code::BranchMissing,
        ),
    ] {
        let replies = std::iter::once(Reply::new(200, repo(more))).chain(second);
        let vendor = Vendor::start(replies.collect()).await;
        let error = gitea(&vendor)
            .resolve("acme/docs", branch)
            .await
            .unwrap_err();
        assert_eq!(error.code, code);
        vendor.seen();
    }
}

#[tokio::test]
async fn an_internal_repository_is_private_to_netlify() {
    for (more, private) in [
        (json!({"private": false, "internal": true}), true),
        (json!({"private": false, "permissions": null}), false),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, repo(more))]).await;
        let found = gitea(&vendor).resolve("acme/docs", None).await.unwrap();
        assert_eq!(found.private, private);
    }
}

#[tokio::test]
async fn lists_are_read_until_the_count_is_reached_or_a_page_is_empty() {
    let key = |id: u32, key: &str| json!({"id": id, "key": key, "read_only": true, "created_at": "2026-08-01T12:00:00Z"});
    let first = || {
        Reply::new(
            200,
            json!([key(1, "ssh-rsa AAAA"), {"id": 2, "key_type": "token"}]),
        )
    };
    let second = || Reply::new(200, json!([key(3, "ssh-rsa BBBB")]));
    for replies in [
        vec![
            first().header("x-total-count", 3),
            second().header("x-total-count", 3),
        ],
        vec![first(), second(), Reply::new(200, "[]")],
    ] {
        let pages = replies.len();
        let vendor = Vendor::start(replies).await;
        let found = gitea(&vendor)
            .find_key(&docs(), "ssh-rsa BBBB x")
            .await
            .unwrap();
        let found = found.unwrap();
        assert_eq!(
            (found.id.as_str(), found.read_only, found.enabled),
            ("3", true, true)
        );
        assert_eq!(vendor.asked().len(), pages);
        assert_eq!(
            vendor.asked()[1],
            "GET /api/repos/acme/docs/keys?page=2&limit=50"
        );
    }
}

#[tokio::test]
async fn a_new_key_can_only_read_and_has_a_title_of_its_own() {
    let made = Reply::new(201, json!({"id": 3, "key": KEY, "read_only": true}));
    let vendor = Vendor::start(vec![made]).await;
    let made = gitea(&vendor)
        .install_key(&docs(), "Netlify", KEY)
        .await
        .unwrap();
    assert_eq!((made.id.as_str(), made.read_only), ("3", true));
    let sent = json!({"title": "Netlify TAIL1234", "key": KEY, "read_only": true});
    assert_eq!(vendor.seen()[0].json(), sent);
}

#[tokio::test]
async fn webhooks_are_found_with_their_faults_and_doubles() {
    let poor = json!({
        "events": null, "branch_filter": "{next,release/*}",
        "config": {"url": HOOK, "content_type": "form"},
    });
    let other = json!({"config": {"url": "https://other.example/"}});
    let off = json!({"active": false});
    let list = json!([hook(1, other), hook(2, off), hook(3, poor)]);
    let list = Reply::new(200, list).header("x-total-count", 3);
    let vendor = Vendor::start(vec![list]).await;
    let found = gitea(&vendor)
        .find_webhook(&docs(), HOOK, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.webhook.id.as_str(), &found.doubles[..]),
        ("3", &["2".to_owned()][..])
    );
    let missing = WebhookFault::MissingEvents(EVENTS.map(str::to_owned).into());
    let faults = [missing, WebhookFault::NotJson, WebhookFault::HidesBranches];
    assert_eq!(found.faults, faults);
    for (filter, is_fit) in [("", true), ("*", true), ("main", true), ("next", false)] {
        let list = json!([hook(3, json!({"branch_filter": filter}))]);
        let list = Reply::new(200, list).header("x-total-count", 1);
        let vendor = Vendor::start(vec![list]).await;
        let found = gitea(&vendor)
            .find_webhook(&docs(), HOOK, None)
            .await
            .unwrap();
        assert_eq!(found.unwrap().faults.is_empty(), is_fit, "{filter}");
    }
}

#[tokio::test]
async fn a_new_webhook_sends_json_and_only_what_netlify_needs() {
    let vendor = Vendor::start(vec![Reply::new(201, hook(9, json!({})))]).await;
    let installed = gitea(&vendor).install_webhook(&docs(), HOOK).await.unwrap();
    assert!(installed.made && installed.webhook.url == HOOK);
    let config = json!({"url": HOOK, "content_type": "json"});
    let sent = json!({"type": "gitea", "active": true, "events": EVENTS, "config": config});
    assert_eq!(vendor.seen()[0].json(), sent);
}

#[tokio::test]
async fn a_change_keeps_what_others_want_from_a_webhook() {
    let own = || {
        hook(
            5,
            json!({"events": ["create", "push"], "branch_filter": "next"}),
        )
    };
    let replies = || vec![Reply::new(200, own()), Reply::new(200, own())];
    let vendor = Vendor::start(replies()).await;
    let found = FoundWebhook {
        webhook: webhook(),
        created_at: None,
        faults: vec![WebhookFault::Inactive],
        doubles: Vec::new(),
    };
    gitea(&vendor)
        .repair_webhook(&docs(), &found)
        .await
        .unwrap();
    let events = json!(["create", "push", "pull_request", "delete"]);
    let config = json!({"url": HOOK, "content_type": "json"});
    let sent = json!({"active": true, "events": events, "branch_filter": "", "config": config});
    assert_eq!(vendor.asked()[1], "PATCH /api/repos/acme/docs/hooks/5");
    assert_eq!(vendor.seen()[1].json(), sent);

    let vendor = Vendor::start(replies()).await;
    gitea(&vendor)
        .move_webhook(&docs(), &webhook(), HOOK)
        .await
        .unwrap();
    assert_eq!(vendor.seen()[1].json()["branch_filter"], "next");
}

#[tokio::test]
async fn removing_what_is_gone_succeeds_unless_it_is_only_hidden() {
    let missing = || Reply::new(404, json!(null));
    let hidden = json!({"permissions": {"admin": false}});
    for (look, ok) in [
        (Reply::new(200, repo(json!({}))), true),
        (missing(), true),
        (Reply::new(200, repo(hidden)), false),
        (Reply::new(200, repo(json!({"id": 43}))), false),
    ] {
        let vendor = Vendor::start(vec![missing(), look]).await;
        assert_eq!(gitea(&vendor).remove_key(&docs(), "3").await.is_ok(), ok);
        assert_eq!(vendor.asked()[0], "DELETE /api/repos/acme/docs/keys/3");
    }
}

#[tokio::test]
async fn a_name_is_checked_by_the_id_of_what_has_it() {
    let renamed = repo(json!({"full_name": "acme/handbook"}));
    let other = repo(json!({"id": 43, "permissions": {"admin": false}}));
    let vendor = Vendor::start(vec![Reply::new(200, renamed), Reply::new(200, other)]).await;
    let gitea = gitea(&vendor);
    gitea.check_name(&docs()).await.unwrap();
    let error = gitea.check_name(&docs()).await.unwrap_err();
    assert_eq!(error.code, FailureCode::RepositoryReplaced);
}

#[tokio::test]
async fn a_push_to_the_links_own_branch_is_replayed_and_its_fate_unknown() {
    let vendor = Vendor::start(vec![Reply::new(204, "")]).await;
    let gitea = gitea(&vendor);
    gitea.replay_push(&docs(), &webhook()).await.unwrap();
    let asked = "POST /api/repos/acme/docs/hooks/5/tests?ref=refs%2Fheads%2Fmain";
    assert_eq!(vendor.asked(), [asked]);
    let sent = gitea
        .last_delivery(&docs(), &webhook(), DeliveryEvent::Push)
        .await;
    assert_eq!(sent.unwrap(), None);
    assert!(!gitea.capabilities().reports_deliveries);
}

#[tokio::test]
async fn an_identity_is_a_login_and_no_more() {
    let vendor = Vendor::start(vec![Reply::new(200, json!({"id": 1, "login": "bob"}))]).await;
    let identity = gitea(&vendor).identity().await.unwrap();
    assert_eq!((identity.login.as_str(), identity.scopes), ("bob", None));
}
