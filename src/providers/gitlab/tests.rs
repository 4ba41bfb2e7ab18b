//! How GitLab is spoken to and understood.

use serde_json::json;

use super::*;
use crate::upstream::{
    UpstreamKind,
    testing::{Reply, Vendor, answer, token},
};

const HOOK: &str = "https://api.netlify.com/hooks/gitlab";
const KEY: &str = "ssh-rsa BBBB Netlify";

fn gitlab(vendor: &Vendor) -> Gitlab {
    let instance = vendor.instance(UpstreamKind::Gitlab);
    Gitlab::new(&Http::new().unwrap(), instance, token("canary")).unwrap()
}

fn docs() -> Repository {
    Repository {
        host: "github.com".into(),
        id: "42".into(),
        path: "acme/web/docs".into(),
        web_url: "https://gitlab.com/acme/web/docs".into(),
        ssh_url: "git@gitlab.com:acme/web/docs.git".into(),
        private: true,
        branch: "main".into(),
    }
}

fn with(mut whole: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(more);
    whole
}

/// As recorded: much is null, and new words appear.
fn project(more: Value) -> Value {
    let whole = json!({
        "id": 42, "path_with_namespace": "acme/web/docs", "web_url": "https://gitlab.com/acme/web/docs",
        "ssh_url_to_repo": "git@gitlab.com:acme/web/docs.git", "default_branch": "main", "empty_repo": false,
        "visibility": "private", "archived": false, "repository_access_level": "enabled", "import_status": "none",
        "marked_for_deletion_on": null, "namespace": {"id": 7, "kind": "group", "parent_id": null},
        "permissions": {"project_access": null, "group_access": {"access_level": 40, "notification_level": 3}},
        "a_field_of_tomorrow": [1],
    });
    with(whole, more)
}

fn key(id: u32, key: &str, more: Value) -> Value {
    let whole = json!({
        "id": id, "title": "Netlify", "key": key, "fingerprint": null, "can_push": false,
        "created_at": "2026-08-01T12:00:00.000Z", "expires_at": null, "last_used_at": null,
    });
    with(whole, more)
}

fn hook(id: u32, more: Value) -> Value {
    let whole = json!({
        "id": id, "url": HOOK, "created_at": "2026-08-01T12:00:00.000Z", "push_events": true,
        "merge_requests_events": true, "enable_ssl_verification": true, "alert_status": "executable",
        "disabled_until": null, "push_events_branch_filter": null, "branch_filter_strategy": "wildcard",
    });
    with(whole, more)
}

fn said(message: &str) -> Value {
    json!({ "message": message })
}

fn asked_webhook() -> Webhook {
    Webhook {
        id: "5".into(),
        url: HOOK.into(),
    }
}

#[test]
fn refusals_are_named_by_status_place_and_words() {
    use FailureCode as Code;
    const KEYS: &str = "/api/v4/projects/42/deploy_keys";
    const HOOKS: &str = "/api/v4/projects/42/hooks";
    const TEST: &str = "/api/v4/projects/42/hooks/5/test/push_events";
    const PROJECT: &str = "/api/v4/projects/acme%2Fdocs";
    let by_field = |field: &str, text: &str| json!({"message": {field: [text]}}).to_string();
    let taken = "has already been taken";
    let page = "<html><body>Sign in to the proxy</body></html>".to_owned();
    #[rustfmt::skip]
    let rows = [
        (PROJECT, 401, said("401 Unauthorized").to_string(), Code::CredentialRefused),
        (PROJECT, 401, json!({"error": "invalid_token", "error_description": "Token is expired."}).to_string(), Code::CredentialRefused),
        (PROJECT, 404, said("404 Project Not Found").to_string(), Code::RepositoryNotFoundOrNoAccess),
        (PROJECT, 405, said("Non GET methods are not allowed for moved projects").to_string(), Code::RequestRefused),
        (PROJECT, 409, said("409 Conflict: Resource lock").to_string(), Code::UpstreamUnavailable),
        (PROJECT, 418, page.clone(), Code::RequestRefused),
        (PROJECT, 302, String::new(), Code::UpstreamContractChanged),
        (PROJECT, 429, "Retry later".to_owned(), Code::RateLimited),
        (PROJECT, 502, page.clone(), Code::UpstreamUnavailable),
        (KEYS, 403, json!({"error": "insufficient_scope", "error_description": "…", "scope": "api"}).to_string(), Code::ScopeMissing),
        (KEYS, 403, said("403 Forbidden").to_string(), Code::AdminRequired),
        (KEYS, 403, said("403 Forbidden - Your account has been blocked.").to_string(), Code::CredentialRefused),
        (KEYS, 403, page, Code::AdminRequired),
        (KEYS, 404, said("404 Not found").to_string(), Code::AdminRequired),
        (KEYS, 400, by_field("fingerprint_sha256", taken), Code::KeyInUseElsewhere),
        (KEYS, 400, by_field("deploy_key.fingerprint", taken), Code::KeyInUseElsewhere),
        (KEYS, 400, by_field("fingerprint", taken), Code::KeyInUseElsewhere),
        (KEYS, 400, by_field("key", "RSA keys must be at least 3072 bits"), Code::KeyRefused),
        (KEYS, 400, json!({"error": "title is missing"}).to_string(), Code::KeyRefused),
        (HOOKS, 422, said("Maximum number of project hooks (100) exceeded").to_string(), Code::WebhookLimitReached),
        (HOOKS, 422, said("Invalid url given").to_string(), Code::WebhookRefused),
        (HOOKS, 400, by_field("url", "is blocked: Requests to the local network are not allowed"), Code::WebhookRefused),
        (HOOKS, 404, said("404 Not found").to_string(), Code::AdminRequired),
        (TEST, 422, said("Ensure the project has at least one commit.").to_string(), Code::RepositoryEmpty),
        (TEST, 422, said("Hook executed successfully but returned HTTP 500").to_string(), Code::WebhookNotDelivered),
        (TEST, 429, json!({"message": {"error": "This endpoint has been requested too many times."}}).to_string(), Code::RateLimited),
    ];
    for (path, status, body, code) in rows {
        let error = refusals::classify(&answer("POST", path, status, &[], &body));
        assert_eq!(error.code, code, "{path} {status} {body}");
        assert!(!error.detail.contains("<html>"), "{}", error.detail);
    }
    let limited = answer("POST", KEYS, 403, &[("retry-after", "9")], "{}");
    assert_eq!(refusals::classify(&limited).code, Code::RateLimited);
}

#[test]
fn the_words_of_every_error_shape_reach_the_detail() {
    #[rustfmt::skip]
    let rows = [
        (r#"{"message":{"key":["is too short","must be at least 3072 bits"]}}"#, "key is too short, must be at least 3072 bits"),
        (r#"{"error":"title is missing"}"#, "title is missing"),
        (r#"{"error":"bad","error_description":"worse"}"#, "bad worse"),
        ("plain words", "plain words"),
        ("", "it gives no reason"),
        ("<!doctype html><p>words", "it gives no reason"),
        ("[]", "it gives no reason"),
    ];
    for (body, words) in rows {
        let path = "/api/v4/projects/42/deploy_keys";
        let error = refusals::classify(&answer("POST", path, 400, &[], body));
        assert!(error.detail.contains(words), "{body}: {}", error.detail);
    }
}

#[tokio::test]
async fn resolving_the_default_branch_of_a_nested_project_takes_one_call() {
    let vendor = Vendor::start(vec![Reply::new(200, project(json!({})))]).await;
    let found = gitlab(&vendor).resolve("Acme/Web/docs", None).await;
    assert_eq!(found.unwrap(), docs());
    assert_eq!(vendor.asked(), ["GET /api/projects/Acme%2FWeb%2Fdocs"]);
    assert_eq!(vendor.seen()[0].headers["authorization"], "Bearer canary");
}

#[tokio::test]
async fn a_look_at_the_webhooks_beside_resolving_says_only_what_it_saw() {
    let other = json!({"url": "https://other.example/"});
    for (reply, look) in [
        (Reply::new(200, "[]"), Look::Missing),
        (Reply::new(200, json!([hook(1, other)])), Look::Missing),
        (Reply::new(200, json!([hook(1, json!({}))])), Look::Unknown),
        (Reply::new(404, said("404 Not found")), Look::Unknown),
    ] {
        let replies = vec![
            reply.at("/hooks"),
            Reply::new(200, project(json!({}))).at("docs"),
        ];
        let vendor = Vendor::start(replies).await;
        let found = gitlab(&vendor)
            .resolve_and_look("acme/web/docs", None, HOOK)
            .await;
        assert_eq!(found.unwrap(), (docs(), look));
    }
}

#[tokio::test]
async fn another_branch_is_looked_up_by_its_encoded_name() {
    let found = Reply::new(200, json!({"name": "feature/x"}));
    let missing = Reply::new(404, said("404 Branch Not Found"));
    for (reply, is_there) in [(found, true), (missing, false)] {
        let vendor = Vendor::start(vec![Reply::new(200, project(json!({}))), reply]).await;
        let result = gitlab(&vendor)
            .resolve("acme/docs", Some("feature/x"))
            .await;
        match is_there {
            true => assert_eq!(result.unwrap().branch, "feature/x"),
            false => assert_eq!(result.unwrap_err().code, FailureCode::BranchMissing),
        }
        let asked = "GET /api/projects/42/repository/branches/feature%2Fx";
        assert_eq!(vendor.asked()[1], asked);
    }
}

#[tokio::test]
async fn who_can_see_a_project_decides_whether_it_is_private() {
    for (visibility, private) in [
        (json!("public"), false),
        (json!("internal"), true),
        (json!("private"), true),
        (json!(null), true),
        (json!("a_word_of_tomorrow"), true),
    ] {
        let more = json!({"visibility": visibility});
        let vendor = Vendor::start(vec![Reply::new(200, project(more))]).await;
        let found = gitlab(&vendor).resolve("acme/docs", None).await.unwrap();
        assert_eq!(found.private, private, "{visibility}");
    }
}

#[tokio::test]
async fn what_linking_would_fail_at_is_found_by_reading() {
    use FailureCode as Code;
    for (more, code, words) in [
        (
            json!({"archived": true}),
            Code::RepositoryArchived,
            "archived",
        ),
        (
            json!({"marked_for_deletion_on": "2026-12-01"}),
            Code::ProviderRefused,
            "deleted",
        ),
        (
            json!({"repository_access_level": "disabled"}),
            Code::ProviderRefused,
            "switched off",
        ),
        (
            json!({"ssh_url_to_repo": null}),
            Code::ProviderRefused,
            "SSH",
        ),
        (
            json!({"empty_repo": true}),
            Code::RepositoryEmpty,
            "no commits",
        ),
        (
            json!({"default_branch": null}),
            Code::RepositoryEmpty,
            "no commits",
        ),
        (
            json!({"default_branch": null, "import_status": "started"}),
            Code::RepositoryEmpty,
            "imported",
        ),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, project(more))]).await;
        let error = gitlab(&vendor)
            .resolve("acme/docs", None)
            .await
            .unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.detail.contains(words), "{}", error.detail);
        vendor.seen();
    }
}

#[tokio::test]
async fn a_role_that_the_project_does_not_show_is_found_by_reading_its_keys() {
    let access = |project: Value, group: Value| json!({"permissions": {"project_access": project, "group_access": group}});
    let level = |level: u8| json!({"access_level": level});
    let none = || Value::Null;
    for (more, may_read_keys, words) in [
        (access(level(50), none()), None, ""),
        (access(level(30), level(40)), None, ""),
        (access(none(), none()), Some(true), ""),
        (json!({"permissions": null}), Some(true), ""),
        (access(level(30), level(20)), Some(true), ""),
        (
            access(level(30), level(20)),
            Some(false),
            "the role Developer",
        ),
        (access(none(), none()), Some(false), "no role"),
    ] {
        let keys = may_read_keys.map(|may| match may {
            true => Reply::new(200, "[]"),
            false => Reply::new(404, said("404 Not found")),
        });
        let replies = std::iter::once(Reply::new(200, project(more))).chain(keys);
        let vendor = Vendor::start(replies.collect()).await;
        let result = gitlab(&vendor).resolve("acme/docs", None).await;
        assert_eq!(
            vendor.seen().len(),
            1 + usize::from(may_read_keys.is_some())
        );
        match words {
            "" => assert!(result.is_ok()),
            words => {
                let error = result.unwrap_err();
                assert_eq!(error.code, FailureCode::AdminRequired);
                assert!(error.detail.contains(words), "{}", error.detail);
                assert!(error.detail.contains("Maintainer") && !error.is_missing());
            }
        }
    }
}

#[tokio::test]
async fn without_a_credential_a_public_project_is_read_and_people_do_the_rest() {
    let public = json!({"visibility": "public", "permissions": null});
    let vendor = Vendor::start(vec![Reply::new(200, project(public))]).await;
    let instance = vendor.instance(UpstreamKind::Gitlab);
    let anybody = Gitlab::new(&Http::new().unwrap(), instance, Credential::Anonymous).unwrap();
    assert_eq!(anybody.capabilities(), Capabilities::BY_HAND);
    let found = anybody.resolve("acme/web/docs", None).await.unwrap();
    assert!(!found.private);
    assert!(!vendor.seen()[0].headers.contains_key("authorization"));
    let page = anybody.place_of_keys(&found).page.unwrap();
    assert_eq!(
        page,
        "https://gitlab.com/acme/web/docs/-/settings/repository#js-deploy-keys-settings"
    );
    let page = anybody.place_of_webhooks(&found).page.unwrap();
    assert_eq!(page, "https://gitlab.com/acme/web/docs/-/hooks");
    assert_eq!(anybody.identity().await.unwrap(), Identity::anybody());
}

#[tokio::test]
async fn a_moved_project_is_followed_and_known_by_its_new_path() {
    let moved = Reply::new(302, "{}").header("location", "/api/projects/42");
    let vendor = Vendor::start(vec![moved, Reply::new(200, project(json!({})))]).await;
    let found = gitlab(&vendor).resolve("acme/old", None).await.unwrap();
    assert_eq!(
        (found.path.as_str(), found.id.as_str()),
        ("acme/web/docs", "42")
    );
}

#[tokio::test]
async fn a_project_without_a_number_or_a_page_instead_is_no_answer() {
    let nameless = json!({"path_with_namespace": "acme/docs", "web_url": "x"});
    for reply in [
        Reply::new(200, nameless),
        Reply::new(200, "<html>Sign in</html>"),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let error = gitlab(&vendor)
            .resolve("acme/docs", None)
            .await
            .unwrap_err();
        assert_eq!(error.code, FailureCode::UpstreamContractChanged);
        assert!(!error.detail.contains("Sign in"), "{}", error.detail);
    }
}

#[tokio::test]
async fn keys_are_found_by_content_on_any_page() {
    let next = "</api/projects/42/deploy_keys?per_page=100&page=2>; rel=\"next\"";
    let expired = json!({"expires_at": "2020-01-01T00:00:00.000Z", "last_used_at": "2019-12-31T00:00:00.000Z"});
    let first = Reply::new(200, json!([key(1, "ssh-rsa AAAA", json!({}))])).header("link", next);
    let second = Reply::new(200, json!([key(2, "ssh-rsa BBBB", expired)]));
    let vendor = Vendor::start(vec![first, second]).await;
    let found = gitlab(&vendor)
        .find_key(&docs(), KEY)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.id.as_str(), found.enabled, found.read_only),
        ("2", false, true)
    );
    assert!(found.created_at.is_some() && found.last_used.is_some());
}

#[tokio::test]
async fn a_new_key_can_only_read() {
    let made = Reply::new(201, key(3, "ssh-rsa BBBB", json!({})));
    let vendor = Vendor::start(vec![made]).await;
    let made = gitlab(&vendor).install_key(&docs(), "Netlify", KEY).await;
    let made = made.unwrap();
    assert_eq!(
        (made.id.as_str(), made.enabled, made.read_only),
        ("3", true, true)
    );
    let sent = json!({"title": "Netlify", "key": KEY, "can_push": false});
    assert_eq!(vendor.seen()[0].json(), sent);
}

#[tokio::test]
async fn a_key_that_the_project_had_with_the_right_to_push_loses_it() {
    for can_push in [json!(true), json!(null)] {
        let had = Reply::new(201, key(3, "ssh-rsa BBBB", json!({"can_push": can_push})));
        let vendor = Vendor::start(vec![had, Reply::new(200, "{}")]).await;
        let key = gitlab(&vendor).install_key(&docs(), "Netlify", KEY).await;
        assert!(key.unwrap().read_only);
        assert_eq!(vendor.asked()[1], "PUT /api/projects/42/deploy_keys/3");
        assert_eq!(vendor.seen()[1].json(), json!({"can_push": false}));
    }
}

#[tokio::test]
async fn a_key_in_the_own_profile_is_told_from_one_elsewhere() {
    use FailureCode as Code;
    let taken = || {
        let words = json!({"message": {"fingerprint_sha256": ["has already been taken"]}});
        Reply::new(400, words)
    };
    for (profile, code) in [
        (
            Reply::new(200, json!([{"id": 9, "key": "ssh-rsa BBBB mine"}])),
            Code::KeyInProfileNotProject,
        ),
        (
            Reply::new(200, json!([{"id": 9, "key": "ssh-rsa AAAA"}])),
            Code::KeyInUseElsewhere,
        ),
        (
            Reply::new(403, said("403 Forbidden")),
            Code::KeyInUseElsewhere,
        ),
        (Reply::new(200, "<html>"), Code::KeyInUseElsewhere),
    ] {
        let vendor = Vendor::start(vec![taken(), profile]).await;
        let result = gitlab(&vendor).install_key(&docs(), "Netlify", KEY).await;
        assert_eq!(result.unwrap_err().code, code);
        assert_eq!(vendor.asked()[1], "GET /api/user/keys?per_page=100");
    }
}

#[tokio::test]
async fn webhooks_are_found_on_any_page_with_their_faults_and_doubles() {
    let next = "</api/projects/42/hooks?per_page=100&page=2>; rel=\"next\"";
    let other = json!({"url": "https://other.example/"});
    let off = json!({"alert_status": "temporarily_disabled"});
    let poor = json!({
        "url": "https://API.netlify.com/hooks/gitlab/", "merge_requests_events": false,
        "enable_ssl_verification": false, "push_events_branch_filter": "release/*",
    });
    let first = Reply::new(200, json!([hook(1, other), hook(2, off)])).header("link", next);
    let vendor = Vendor::start(vec![first, Reply::new(200, json!([hook(3, poor)]))]).await;
    let found = gitlab(&vendor)
        .find_webhook(&docs(), HOOK, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.webhook.id.as_str(), &found.doubles[..]),
        ("3", &["2".to_owned()][..])
    );
    let missing = WebhookFault::MissingEvents(vec!["merge_requests_events".into()]);
    let faults = [
        missing,
        WebhookFault::HidesBranches,
        WebhookFault::InsecureTls,
    ];
    assert_eq!(found.faults, faults);
}

#[tokio::test]
async fn a_webhook_is_at_fault_only_for_what_keeps_pushes_back() {
    use WebhookFault as Fault;
    let filter = |filter: &str, strategy: &str| json!({"push_events_branch_filter": filter, "branch_filter_strategy": strategy});
    for (more, fault) in [
        (json!({}), None),
        (json!({"alert_status": null}), None),
        (json!({"alert_status": "disabled"}), Some(Fault::Inactive)),
        (
            json!({"alert_status": "a_word_of_tomorrow"}),
            Some(Fault::Inactive),
        ),
        (filter("", "wildcard"), None),
        (filter("main", "wildcard"), None),
        (filter("*", "wildcard"), None),
        (filter("next", "all_branches"), None),
        (filter("next", "wildcard"), Some(Fault::HidesBranches)),
        (filter("^ma", "regex"), Some(Fault::HidesBranches)),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, json!([hook(3, more.clone())]))]).await;
        let found = gitlab(&vendor)
            .find_webhook(&docs(), HOOK, None)
            .await
            .unwrap();
        assert_eq!(found.unwrap().faults, Vec::from_iter(fault), "{more}");
    }
}

#[tokio::test]
async fn a_new_webhook_has_no_token_and_only_the_events_that_netlify_needs() {
    let vendor = Vendor::start(vec![Reply::new(201, hook(9, json!({})))]).await;
    let installed = gitlab(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap();
    assert!(installed.made);
    assert_eq!(
        vendor.seen()[0].json(),
        json!({
            "url": HOOK, "name": "Netlify", "push_events": true, "merge_requests_events": true,
            "tag_push_events": false, "issues_events": false, "enable_ssl_verification": true,
            "branch_filter_strategy": "all_branches",
        })
    );
}

#[tokio::test]
async fn a_webhook_is_mended_by_a_change_and_woken_by_a_delivery() {
    use WebhookFault as Fault;
    const PUT: &str = "PUT /api/projects/42/hooks/5";
    const TEST: &str = "POST /api/projects/42/hooks/5/test/push_events";
    for (faults, asked) in [
        (vec![Fault::InsecureTls], vec![PUT]),
        (vec![Fault::Inactive], vec![TEST]),
        (vec![Fault::Inactive, Fault::HidesBranches], vec![PUT, TEST]),
    ] {
        let replies = asked.iter().map(|_| Reply::new(201, "{}"));
        let vendor = Vendor::start(replies.collect()).await;
        let found = FoundWebhook {
            webhook: asked_webhook(),
            created_at: None,
            faults,
            doubles: Vec::new(),
        };
        gitlab(&vendor)
            .repair_webhook(&docs(), &found)
            .await
            .unwrap();
        assert_eq!(vendor.asked(), asked);
        for put in vendor.seen().iter().filter(|seen| seen.method == "PUT") {
            assert_eq!(put.json()["url"], HOOK);
        }
    }
}

#[tokio::test]
async fn removing_what_is_gone_succeeds_unless_it_is_only_hidden() {
    let missing = || Reply::new(404, said("404 Not found"));
    let hidden =
        json!({"permissions": {"project_access": {"access_level": 30}, "group_access": null}});
    for (looks, ok) in [
        (vec![Reply::new(200, project(json!({})))], true),
        (vec![missing()], true),
        (vec![Reply::new(200, project(hidden)), missing()], false),
    ] {
        let replies = std::iter::once(missing()).chain(looks).collect();
        let vendor = Vendor::start(replies).await;
        let result = gitlab(&vendor).remove_key(&docs(), "3").await;
        assert_eq!(result.is_ok(), ok);
        assert_eq!(vendor.asked()[0], "DELETE /api/projects/42/deploy_keys/3");
    }
    let vendor = Vendor::start(vec![Reply::new(204, "")]).await;
    let webhook = Webhook {
        id: "4".into(),
        url: HOOK.into(),
    };
    let removed = gitlab(&vendor).remove_webhook(&docs(), &webhook).await;
    assert!(removed.unwrap());
}

#[tokio::test]
async fn a_push_is_replayed_for_the_default_branch_alone() {
    let vendor = Vendor::start(vec![
        Reply::new(200, project(json!({}))),
        Reply::new(201, said("201 Created")),
    ])
    .await;
    let provider = gitlab(&vendor);
    let replay = provider.replay_push(&docs(), &asked_webhook()).await;
    assert_eq!(replay.unwrap(), Replay::Sent);
    assert_eq!(
        vendor.asked()[1],
        "POST /api/projects/42/hooks/5/test/push_events"
    );

    let other = project(json!({"default_branch": "trunk"}));
    let vendor = Vendor::start(vec![Reply::new(200, other)]).await;
    let provider = gitlab(&vendor);
    let replay = provider.replay_push(&docs(), &asked_webhook()).await;
    assert_eq!(replay.unwrap(), Replay::OtherBranch);
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn the_newest_delivery_of_a_push_is_reported_where_gitlab_keeps_one() {
    let sent = |id: u32, trigger: &str, status: Value| json!({"id": id, "trigger": trigger, "response_status": status, "request_data": {"commits": []}});
    let list = |status: Value| {
        let events = [
            sent(4, "merge_request_hooks", json!("500")),
            sent(3, "push_hooks", status),
            sent(2, "push_hooks", json!("204")),
        ];
        Reply::new(200, json!(events))
    };
    for (reply, expected) in [
        (list(json!("204")), Some(Some(204))),
        (list(json!(503)), Some(Some(503))),
        (list(json!("internal error")), Some(None)),
        (list(json!(null)), Some(None)),
        (Reply::new(200, "[]"), None),
        (Reply::new(404, said("404 Not found")), None),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let gitlab = gitlab(&vendor);
        let push = gitlab
            .last_delivery(&docs(), &asked_webhook(), DeliveryEvent::Push)
            .await;
        assert_eq!(push.unwrap().map(|delivery| delivery.status), expected);
        assert_eq!(
            vendor.asked(),
            ["GET /api/projects/42/hooks/5/events?per_page=20"]
        );
        let ping = gitlab
            .last_delivery(&docs(), &asked_webhook(), DeliveryEvent::Ping)
            .await;
        assert_eq!(ping.unwrap(), None);
    }
}

#[tokio::test]
async fn an_identity_tells_scopes_and_expiry_where_the_token_can_be_asked() {
    let user = || Reply::new(200, json!({"id": 1, "username": "bob"}));
    let token = |expiry: Value| {
        Reply::new(
            200,
            json!({"id": 2, "scopes": ["api"], "active": true, "expires_at": expiry}),
        )
    };
    for (reply, scopes, expiry) in [
        (
            token(json!("2026-11-30")),
            Some(vec!["api".to_owned()]),
            Some(1_795_996_800),
        ),
        (
            token(json!("2026-11-30T00:00:00.000Z")),
            Some(vec!["api".to_owned()]),
            Some(1_795_996_800),
        ),
        (token(json!(null)), Some(vec!["api".to_owned()]), None),
        (Reply::new(404, said("404 Not Found")), None, None),
        (Reply::new(401, said("401 Unauthorized")), None, None),
    ] {
        let vendor = Vendor::start(vec![user(), reply]).await;
        let identity = gitlab(&vendor).identity().await.unwrap();
        assert_eq!(identity.login, "bob");
        assert_eq!(identity.scopes, scopes);
        assert_eq!(identity.expires_at.map(|at| at.unix_timestamp()), expiry);
    }
    let vendor = Vendor::start(vec![user(), Reply::new(500, "")]).await;
    assert!(gitlab(&vendor).identity().await.is_err());
}
