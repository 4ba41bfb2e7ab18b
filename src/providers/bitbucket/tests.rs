//! How Bitbucket is spoken to and understood.

use serde_json::json;

use super::*;
use crate::{
    providers::WebhookFault,
    upstream::{
        UpstreamKind,
        testing::{Reply, Vendor, answer, token},
    },
};

const HOOK: &str = "https://api.netlify.com/hooks/bitbucket";
const UUID: &str = "{85d08b4e-571d-44e9-a507-fa476535aa98}";

fn with(vendor: &Vendor, credential: Credential) -> Bitbucket {
    let instance = vendor.instance(UpstreamKind::Bitbucket);
    Bitbucket::new(&Http::new().unwrap(), instance, credential).unwrap()
}

/// With an access token, which asks for nobody's rights.
fn bitbucket(vendor: &Vendor) -> Bitbucket {
    with(vendor, token("canary"))
}

fn api_token() -> Credential {
    Credential::Basic {
        user: "ann@acme.example".into(),
        secret: "canary".into(),
    }
}

fn docs() -> Repository {
    Repository {
        host: "github.com".into(),
        id: UUID.into(),
        path: "acme/docs".into(),
        web_url: "https://bitbucket.org/acme/docs".into(),
        ssh_url: "git@bitbucket.org:acme/docs.git".into(),
        private: true,
        branch: "main".into(),
    }
}

fn repo(more: Value) -> Value {
    let mut whole = json!({
        "type": "repository", "uuid": UUID, "full_name": "acme/docs", "is_private": true,
        "mainbranch": {"type": "branch", "name": "main"}, "parent": null, "size": 7,
        "links": {
            "html": {"href": "https://bitbucket.org/acme/docs"},
            "clone": [
                {"name": "https", "href": "https://ann@bitbucket.org/acme/docs.git"},
                {"name": "ssh", "href": "git@bitbucket.org:acme/docs.git"},
            ],
        },
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    whole
}

fn page(values: Value) -> Reply {
    Reply::new(200, json!({ "values": values, "pagelen": 100 }))
}

fn rights(word: &str) -> Reply {
    page(json!([{ "type": "repository_permission", "permission": word }]))
}

fn said(text: &str) -> String {
    json!({ "type": "error", "error": { "message": text } }).to_string()
}

#[test]
fn refusals_are_named_in_both_shapes() {
    use FailureCode as Code;
    let repo = "/2.0/repositories/acme/docs";
    let keys = "/2.0/repositories/acme/docs/deploy-keys";
    let hooks = "/2.0/repositories/acme/docs/hooks";
    // A repository that is called like a collection.
    let unlucky = "/2.0/repositories/acme/hooks";
    let objection = |text: &str| json!({ "key": [{ "message": text }] }).to_string();
    let known = objection("Someone has already added that access key to this repository.");
    let on_account = objection("Someone has already registered this key to an account.");
    let nested = json!({ "type": "error", "error": {
        "message": "Bad request", "fields": { "key": ["Someone has already registered this key"] },
    }});
    let scopes = json!({ "type": "error", "error": {
        "message": "Your credentials lack one or more required privilege scopes.",
        "detail": { "granted": ["repository"], "required": ["repository:admin"] },
    }});
    let html = "<html><body>Bad gateway</body></html>".to_owned();
    for (path, status, body, code) in [
        (keys, 401, String::new(), Code::CredentialRefused),
        (keys, 403, scopes.to_string(), Code::ScopeMissing),
        (keys, 403, said("Access denied"), Code::AdminRequired),
        (hooks, 403, said("Access denied"), Code::AdminRequired),
        (
            repo,
            403,
            said("Access denied"),
            Code::RepositoryNotFoundOrNoAccess,
        ),
        (
            unlucky,
            403,
            said("Access denied"),
            Code::RepositoryNotFoundOrNoAccess,
        ),
        (
            repo,
            404,
            said("Repository acme/docs not found"),
            Code::RepositoryNotFoundOrNoAccess,
        ),
        (keys, 400, known, Code::KeyInUseElsewhere),
        (keys, 400, on_account, Code::KeyInUseElsewhere),
        (keys, 400, nested.to_string(), Code::KeyInUseElsewhere),
        (keys, 400, objection("Invalid SSH key."), Code::KeyRefused),
        (
            keys,
            400,
            said("Something already went wrong"),
            Code::KeyRefused,
        ),
        (
            hooks,
            400,
            said("The maximum of 50 webhooks is reached"),
            Code::WebhookLimitReached,
        ),
        (hooks, 400, said("Enter a valid URL."), Code::WebhookRefused),
        (
            keys,
            429,
            "Rate limit for this resource has been exceeded".into(),
            Code::RateLimited,
        ),
        (keys, 502, html.clone(), Code::UpstreamUnavailable),
        (keys, 418, html, Code::RequestRefused),
        (keys, 302, String::new(), Code::UpstreamContractChanged),
    ] {
        let error = refusals::classify(&answer("POST", path, status, &[], &body));
        assert_eq!(error.code, code, "{path} {status} {body}");
    }
}

#[test]
fn a_refusal_says_what_is_missing() {
    let body = json!({ "error": { "message": "lacks", "detail": { "required": ["webhook", "account"] } } });
    let refusal = answer("GET", "/2.0/user", 403, &[], &body.to_string());
    let detail = refusals::classify(&refusal).detail;
    assert!(detail.contains("`webhook`, `account`"), "{detail}");
    let refusal = answer("GET", "/2.0/user", 401, &[], "");
    let detail = refusals::classify(&refusal).detail;
    assert!(detail.contains("app passwords no longer work"), "{detail}");
}

#[tokio::test]
async fn an_access_token_resolves_in_one_call() {
    let vendor = Vendor::start(vec![Reply::new(200, repo(json!({})))]).await;
    let found = bitbucket(&vendor).resolve("Acme/Docs", None).await.unwrap();
    assert_eq!(found, docs());
    assert_eq!(vendor.asked(), ["GET /api/repositories/Acme/Docs"]);
}

#[tokio::test]
async fn nulls_and_words_of_tomorrow_are_tolerated_and_a_missing_id_is_no_answer() {
    for more in [
        json!({"parent": null, "project": null, "size": null}),
        json!({"type": "a word of tomorrow", "fork_policy": "another"}),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, repo(more.clone()))]).await;
        let found = bitbucket(&vendor).resolve("acme/docs", None).await;
        assert_eq!(found.unwrap(), docs(), "{more}");
    }
    for body in [
        repo(json!({"uuid": null})).to_string(),
        repo(json!({"full_name": 7})).to_string(),
        "<html>Log in</html>".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, &body)]).await;
        let error = bitbucket(&vendor).resolve("acme/docs", None).await;
        let error = error.expect_err(&body);
        assert_eq!(error.code, FailureCode::UpstreamContractChanged, "{body}");
        assert!(!error.detail.contains("Log in"), "{}", error.detail);
    }
}

#[tokio::test]
async fn links_that_are_missing_are_made_up_from_the_name() {
    let vendor = Vendor::start(vec![Reply::new(200, repo(json!({ "links": {} })))]).await;
    let found = bitbucket(&vendor).resolve("acme/docs", None).await.unwrap();
    assert_eq!(found.web_url, "https://github.com/acme/docs");
    assert_eq!(found.ssh_url, "git@github.com:acme/docs.git");
}

#[tokio::test]
async fn an_api_token_asks_for_the_persons_rights_at_the_same_time() {
    // Whichever call comes first gets an answer that fits both.
    let both = |word: &str| {
        let values = json!({ "values": [{ "permission": word }] });
        Reply::new(200, repo(values))
    };
    for (word, refused) in [
        ("admin", None),
        ("write", Some(FailureCode::AdminRequired)),
        ("a word of tomorrow", Some(FailureCode::AdminRequired)),
    ] {
        let vendor = Vendor::start(vec![both(word), both(word)]).await;
        let result = with(&vendor, api_token()).resolve("acme/docs", None).await;
        assert_eq!(result.err().map(|error| error.code), refused, "{word}");
        let mut asked = vendor.asked();
        asked.sort();
        let rights = "GET /api/user/permissions/repositories?q=repository.full_name%3D%22acme%2Fdocs%22&pagelen=100";
        assert_eq!(asked, ["GET /api/repositories/acme/docs", rights]);
    }
}

#[tokio::test]
async fn rights_that_bitbucket_does_not_tell_are_unknown_and_not_refused() {
    let vendor = Vendor::start(vec![Reply::new(410, said("Gone"))]).await;
    let bitbucket = with(&vendor, api_token());
    assert_eq!(bitbucket.is_admin("acme/docs").await.unwrap(), None);
    for (reply, known) in [(rights("admin"), true), (page(json!([])), false)] {
        let vendor = Vendor::start(vec![reply]).await;
        let bitbucket = with(&vendor, api_token());
        assert_eq!(bitbucket.is_admin("acme/docs").await.unwrap(), Some(known));
    }
}

#[tokio::test]
async fn a_renamed_repository_is_known_by_its_new_name() {
    let moved = Reply::new(301, "{}").header("location", "/api/repositories/acme/docs");
    let vendor = Vendor::start(vec![moved, Reply::new(200, repo(json!({})))]).await;
    let found = bitbucket(&vendor).resolve("acme/old", None).await.unwrap();
    assert_eq!(found.path, "acme/docs");
}

#[tokio::test]
async fn another_branch_takes_another_call() {
    let replies = vec![
        Reply::new(200, repo(json!({}))),
        Reply::new(200, json!({ "name": "feature/x" })),
    ];
    let vendor = Vendor::start(replies).await;
    let bitbucket = bitbucket(&vendor);
    let found = bitbucket.resolve("acme/docs", Some("feature/x")).await;
    assert_eq!(found.unwrap().branch, "feature/x");
    let asked = "GET /api/repositories/acme/docs/refs/branches/feature%2Fx";
    assert_eq!(vendor.asked()[1], asked);
}

#[tokio::test]
async fn what_linking_would_fail_at_is_found_by_reading() {
    use FailureCode as Code;
    let missing = || Reply::new(404, said("Branch not found"));
    for (more, branch, second, code) in [
        (
            json!({ "mainbranch": null }),
            None,
            None,
            Code::RepositoryEmpty,
        ),
        (
            json!({ "mainbranch": null }),
            Some("main"),
            None,
            Code::RepositoryEmpty,
        ),
        (json!({}), Some("dev"), Some(missing()), Code::BranchMissing),
        (
            json!({ "uuid": null }),
            None,
            None,
            Code::UpstreamContractChanged,
        ),
    ] {
        let replies = std::iter::once(Reply::new(200, repo(more))).chain(second);
        let vendor = Vendor::start(replies.collect()).await;
        let result = bitbucket(&vendor).resolve("acme/docs", branch).await;
        assert_eq!(result.unwrap_err().code, code);
        vendor.seen();
    }
}

#[tokio::test]
async fn scopes_count_in_both_vocabularies_and_only_where_bitbucket_names_them() {
    let api = "read:repository:bitbucket, admin:repository:bitbucket, read:webhook:bitbucket, write:webhook:bitbucket";
    let whole = format!("{api}, delete:webhook:bitbucket");
    for (scopes, missing) in [
        (None, None),
        (Some(""), None),
        (Some("repository, repository:admin, webhook"), None),
        (Some("repository, webhook"), Some("`repository:admin`")),
        (Some("repository:admin"), Some("`webhook`")),
        (Some(whole.as_str()), None),
        (Some(api), Some("`delete:webhook:bitbucket`")),
    ] {
        let mut reply = Reply::new(200, repo(json!({})));
        if let Some(scopes) = scopes {
            reply = reply.header("x-oauth-scopes", scopes);
        }
        let vendor = Vendor::start(vec![reply]).await;
        let result = bitbucket(&vendor).resolve("acme/docs", None).await;
        match missing {
            None => assert!(result.is_ok(), "{scopes:?}"),
            Some(scope) => assert!(result.unwrap_err().detail.contains(scope), "{scopes:?}"),
        }
    }
}

#[tokio::test]
async fn keys_are_found_on_any_page_by_content_without_their_comment() {
    let key = |id: u32, key: &str| {
        json!({
            "id": id, "key": key, "label": "x", "comment": "ann@laptop", "type": "deploy_key",
            "added_on": "2026-11-01T10:00:00.123456+00:00", "last_used": null,
        })
    };
    let next = json!({
        "values": [key(1, "ssh-rsa AAAA")],
        "next": "/api/repositories/acme/docs/deploy-keys?page=2",
    });
    let replies = vec![Reply::new(200, next), page(json!([key(2, "ssh-rsa BBBB")]))];
    let vendor = Vendor::start(replies).await;
    let wanted = "ssh-rsa BBBB ann@laptop";
    let found = bitbucket(&vendor).find_key(&docs(), wanted).await.unwrap();
    let found = found.unwrap();
    assert_eq!((found.id.as_str(), found.read_only), ("2", true));
    assert!(found.created_at.is_some());
    let collection =
        "/api/repositories/acme/%7B85d08b4e-571d-44e9-a507-fa476535aa98%7D/deploy-keys";
    assert_eq!(vendor.asked()[0], format!("GET {collection}?pagelen=100"));
}

#[tokio::test]
async fn a_key_is_installed_under_a_label() {
    let made = json!({ "id": 3, "key": "ssh-rsa CCCC", "comment": "x", "label": "Netlify" });
    let vendor = Vendor::start(vec![Reply::new(200, made)]).await;
    let key = bitbucket(&vendor)
        .install_key(&docs(), "Netlify", "ssh-rsa CCCC x")
        .await
        .unwrap();
    assert_eq!((key.id.as_str(), key.enabled), ("3", true));
    let sent = json!({ "key": "ssh-rsa CCCC x", "label": "Netlify" });
    assert_eq!(vendor.seen()[0].json(), sent);
}

fn hook(uuid: &str, more: Value) -> Value {
    let mut whole = json!({
        "uuid": uuid, "type": "webhook_subscription", "active": true, "url": HOOK, "description": "Netlify",
        "events": EVENTS, "skip_cert_verification": false, "created_at": "2026-11-02T10:00:00Z", "secret_set": false,
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    whole
}

#[tokio::test]
async fn webhooks_are_found_with_their_faults_and_doubles() {
    let other = json!({ "url": "https://other.example/" });
    let off = json!({ "active": false, "created_at": "2026-11-01T10:00:00Z" });
    let older = json!({
        "created_at": "2026-11-01T12:00:00Z", "url": "https://API.netlify.com/hooks/bitbucket/",
        "events": ["repo:push", "repo:fork"], "skip_cert_verification": true,
    });
    let hooks = [
        hook("{1}", other),
        hook("{2}", off),
        hook("{3}", json!({})),
        hook("{4}", older),
    ];
    let vendor = Vendor::start(vec![page(json!(hooks))]).await;
    let found = bitbucket(&vendor)
        .find_webhook(&docs(), HOOK, None)
        .await
        .unwrap();
    let found = found.unwrap();
    assert_eq!(found.webhook.id, "{4}");
    assert_eq!(found.doubles, ["{3}", "{2}"]);
    let missing = EVENTS[1..].iter().map(|event| (*event).to_owned());
    let faults = [
        WebhookFault::MissingEvents(missing.collect()),
        WebhookFault::InsecureTls,
    ];
    assert_eq!(found.faults, faults);
}

#[tokio::test]
async fn a_new_webhook_tells_what_netlify_needs() {
    let vendor = Vendor::start(vec![Reply::new(201, hook("{9}", json!({})))]).await;
    let installed = bitbucket(&vendor).install_webhook(&docs(), HOOK).await;
    let installed = installed.unwrap();
    assert!(installed.made);
    assert_eq!(installed.webhook.id, "{9}");
    let sent = json!({
        "description": "Netlify", "url": HOOK, "active": true, "skip_cert_verification": false,
        "events": ["repo:push", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected"],
    });
    assert_eq!(vendor.seen()[0].json(), sent);
}

#[tokio::test]
async fn mending_a_webhook_keeps_what_others_want_from_it() {
    let ill =
        json!({ "active": false, "events": ["repo:fork", "repo:push"], "description": "ours" });
    let replies = vec![
        Reply::new(200, hook("{5}", ill)),
        Reply::new(200, hook("{5}", json!({}))),
    ];
    let vendor = Vendor::start(replies).await;
    let webhook = Webhook {
        id: "{5}".into(),
        url: HOOK.into(),
    };
    let moved = bitbucket(&vendor)
        .move_webhook(&docs(), &webhook, "https://elsewhere.example/")
        .await;
    moved.unwrap();
    let place = "/api/repositories/acme/%7B85d08b4e-571d-44e9-a507-fa476535aa98%7D/hooks/%7B5%7D";
    let asked = [format!("GET {place}"), format!("PUT {place}")];
    assert_eq!(vendor.asked(), asked);
    let sent = vendor.seen()[1].json();
    assert_eq!(sent["description"], "ours");
    assert_eq!(sent["active"], true);
    assert_eq!(sent["url"], "https://elsewhere.example/");
    assert_eq!(sent["events"].as_array().unwrap().len(), 1 + EVENTS.len());
}

#[tokio::test]
async fn removing_what_is_gone_succeeds_unless_it_is_only_hidden() {
    for (reply, outcome) in [
        (Reply::new(204, ""), Ok(true)),
        (Reply::new(404, said("Not found")), Ok(false)),
        (
            Reply::new(403, said("Access denied")),
            Err(FailureCode::AdminRequired),
        ),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let removed = bitbucket(&vendor).remove_key(&docs(), "3").await;
        assert_eq!(removed.map_err(|error| error.code), outcome);
    }
}

#[tokio::test]
async fn a_person_has_a_name_and_an_access_token_has_none() {
    let ann = json!({ "uuid": "{7}", "nickname": null, "display_name": "Ann" });
    let reply = Reply::new(200, ann).header("x-oauth-scopes", "account, webhook");
    let vendor = Vendor::start(vec![reply]).await;
    let identity = with(&vendor, api_token()).identity().await.unwrap();
    assert_eq!(identity.login, "Ann");
    assert_eq!(identity.scopes.unwrap(), ["account", "webhook"]);

    let refusal = || Reply::new(403, said("lacks one or more required privilege scopes"));
    let vendor = Vendor::start(vec![refusal()]).await;
    let identity = bitbucket(&vendor).identity().await.unwrap();
    assert!(identity.login.starts_with("access token"));
    let vendor = Vendor::start(vec![refusal()]).await;
    let refused = with(&vendor, api_token()).identity().await;
    assert_eq!(refused.unwrap_err().code, FailureCode::ScopeMissing);
}

#[tokio::test]
async fn what_bitbucket_cannot_do_is_declared_and_never_pretended() {
    let vendor = Vendor::start(Vec::new()).await;
    let bitbucket = bitbucket(&vendor);
    let can = bitbucket.capabilities();
    assert!(!can.replays_pushes && !can.reports_deliveries && !can.refuses_double_webhooks);
    let webhook = Webhook {
        id: "{5}".into(),
        url: HOOK.into(),
    };
    let replayed = bitbucket.replay_push(&docs(), &webhook).await;
    assert_eq!(replayed.unwrap_err().code, FailureCode::PushUnverified);
    vendor.seen();
}
