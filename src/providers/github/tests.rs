//! How GitHub is spoken to and understood.

use serde_json::json;

use super::*;
use crate::providers::WebhookFault;
use crate::upstream::{
    UpstreamKind,
    testing::{Reply, Vendor, answer, token},
};

const HOOK: &str = "https://api.netlify.com/hooks/github";

fn github(vendor: &Vendor) -> Github {
    let http = Http::new().unwrap();
    Github::new(
        &http,
        vendor.instance(UpstreamKind::Github),
        token("canary"),
    )
    .unwrap()
}

fn docs() -> Repository {
    Repository {
        host: "github.com".into(),
        id: "42".into(),
        path: "acme/docs".into(),
        web_url: "https://github.com/acme/docs".into(),
        ssh_url: "git@github.com:acme/docs.git".into(),
        private: true,
        branch: "main".into(),
    }
}

fn repo(more: Value) -> Value {
    let mut whole = json!({
        "id": 42, "full_name": "acme/docs", "private": true, "size": 7,
        "html_url": "https://github.com/acme/docs", "ssh_url": "git@github.com:acme/docs.git",
        "default_branch": "main", "permissions": {"admin": true},
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    whole
}

#[test]
fn refusals_are_named_in_the_right_order() {
    use FailureCode as Code;
    let keys = "/repos/a/b/keys";
    let hooks = "/repositories/1/hooks";
    let own = |text: &str| {
        json!({"message": "Validation Failed", "errors": [{"code": "custom", "message": text}]})
            .to_string()
    };
    let said = |text: &str| json!({"message": text}).to_string();
    for (path, status, headers, body, code) in [
        (
            keys,
            401,
            vec![],
            said("Bad credentials"),
            Code::CredentialRefused,
        ),
        (
            keys,
            403,
            vec![
                ("retry-after", "9"),
                ("x-github-sso", "required; url=https://x"),
            ],
            said("archived"),
            Code::RateLimited,
        ),
        (
            keys,
            403,
            vec![("gh-limited-by", "x")],
            said("no"),
            Code::RateLimited,
        ),
        (
            keys,
            403,
            vec![],
            said("You have exceeded a secondary rate limit"),
            Code::RateLimited,
        ),
        (
            keys,
            403,
            vec![("x-github-sso", "required; url=https://x")],
            said("Resource protected"),
            Code::SsoRequired,
        ),
        (
            keys,
            403,
            vec![],
            said("Repository was archived so is read-only."),
            Code::RepositoryArchived,
        ),
        (
            keys,
            403,
            vec![],
            said("Resource not accessible by personal access token"),
            Code::ScopeMissing,
        ),
        (
            keys,
            403,
            vec![],
            said("Repository access blocked"),
            Code::ProviderRefused,
        ),
        (
            keys,
            403,
            vec![],
            said("Upgrade to GitHub Pro"),
            Code::ProviderRefused,
        ),
        (
            keys,
            403,
            vec![],
            said("Must have admin rights to Repository."),
            Code::AdminRequired,
        ),
        (keys, 404, vec![], said("Not Found"), Code::AdminRequired),
        (hooks, 404, vec![], said("Not Found"), Code::AdminRequired),
        (
            "/repos/a/b",
            404,
            vec![],
            said("Not Found"),
            Code::RepositoryNotFoundOrNoAccess,
        ),
        (
            "/repos/a/b",
            451,
            vec![],
            said("Repository access blocked"),
            Code::ProviderRefused,
        ),
        (
            "/repos/a/b/git/ref/heads%2Fx",
            409,
            vec![],
            said("Git Repository is empty."),
            Code::RepositoryEmpty,
        ),
        (
            keys,
            422,
            vec![],
            own("key is already in use"),
            Code::KeyInUseElsewhere,
        ),
        (
            keys,
            422,
            vec![],
            own("Deploy keys are disabled for this repository"),
            Code::DeployKeysDisabled,
        ),
        (
            keys,
            422,
            vec![],
            own("key is invalid. It must begin with 'ssh-rsa'"),
            Code::KeyRefused,
        ),
        (
            hooks,
            422,
            vec![],
            own("Hook already exists on this repository"),
            Code::WebhookRefused,
        ),
        (
            hooks,
            422,
            vec![],
            own("The \"push\" event cannot have more than 20 hooks"),
            Code::WebhookLimitReached,
        ),
        (keys, 429, vec![], said("slow"), Code::RateLimited),
        (keys, 500, vec![], String::new(), Code::UpstreamUnavailable),
        (
            keys,
            302,
            vec![],
            String::new(),
            Code::UpstreamContractChanged,
        ),
    ] {
        let error = refusals::classify(&answer("POST", path, status, &headers, &body));
        assert_eq!(error.code, code, "{path} {status} {body}");
    }
}

#[test]
fn the_wanted_permission_and_the_sso_address_reach_the_detail() {
    let permission = [("x-accepted-github-permissions", "administration=write")];
    let body = r#"{"message":"Resource not accessible by personal access token"}"#;
    let error = refusals::classify(&answer("POST", "/repos/a/b/keys", 403, &permission, body));
    assert!(
        error.detail.contains("administration=write"),
        "{}",
        error.detail
    );
    let sso = [(
        "x-github-sso",
        "required; url=https://github.com/orgs/acme/sso?x=1",
    )];
    let error = refusals::classify(&answer("GET", "/repos/a/b", 403, &sso, "{}"));
    assert!(
        error.detail.contains("https://github.com/orgs/acme/sso"),
        "{}",
        error.detail
    );
}

#[tokio::test]
async fn resolving_the_default_branch_takes_one_call() {
    let vendor = Vendor::start(vec![Reply::new(200, repo(json!({})))]).await;
    assert_eq!(
        github(&vendor).resolve("Acme/Docs", None).await.unwrap(),
        docs()
    );
    let seen = &vendor.seen()[0];
    assert_eq!(vendor.asked(), ["GET /api/repos/Acme/Docs"]);
    assert_eq!(seen.headers["accept"], "application/vnd.github+json");
    assert_eq!(seen.headers["x-github-api-version"], "2022-11-28");
    assert!(
        seen.headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("linkbroker/")
    );
}

#[tokio::test]
async fn nulls_and_words_of_tomorrow_are_tolerated_and_a_missing_id_is_no_answer() {
    for more in [
        json!({"permissions": null, "size": null, "visibility": "a word of tomorrow"}),
        json!({"parent": null, "owner": null, "license": {"key": 7}}),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, repo(more.clone()))]).await;
        let found = github(&vendor).resolve("acme/docs", None).await;
        assert_eq!(found.unwrap(), docs(), "{more}");
    }
    for body in [
        repo(json!({"id": null})).to_string(),
        repo(json!({"id": "42"})).to_string(),
        repo(json!({"full_name": null})).to_string(),
        "<html>Sign in</html>".to_owned(),
        r#"{"id": 42, "full_na"#.to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, &body)]).await;
        let error = github(&vendor).resolve("acme/docs", None).await;
        let error = error.expect_err(&body);
        assert_eq!(error.code, FailureCode::UpstreamContractChanged, "{body}");
        assert!(!error.detail.contains("Sign in"), "{}", error.detail);
    }
}

#[tokio::test]
async fn another_branch_or_a_suspicious_size_takes_a_second_call() {
    let there = || Reply::new(200, json!({"ref": "refs/heads/x"}));
    for (more, branch, asked) in [
        (
            json!({}),
            Some("feature/x"),
            "GET /api/repos/acme/docs/git/ref/heads%2Ffeature%2Fx",
        ),
        (
            json!({"size": 0}),
            None,
            "GET /api/repos/acme/docs/git/ref/heads%2Fmain",
        ),
    ] {
        let vendor = Vendor::start(vec![Reply::new(200, repo(more)), there()]).await;
        let found = github(&vendor).resolve("acme/docs", branch).await.unwrap();
        assert_eq!(found.branch, branch.unwrap_or("main"));
        assert_eq!(vendor.asked()[1], asked);
    }
}

#[tokio::test]
async fn what_linking_would_fail_at_is_found_by_reading() {
    use FailureCode as Code;
    let empty = || Reply::new(409, json!({"message": "Git Repository is empty."}));
    let missing = || Reply::new(404, json!({"message": "Not Found"}));
    for (more, branch, second, code) in [
        (
            json!({"archived": true}),
            None,
            None,
            Code::RepositoryArchived,
        ),
        (json!({"disabled": true}), None, None, Code::ProviderRefused),
        (
            json!({"permissions": {"admin": false, "push": true}}),
            None,
            None,
            Code::AdminRequired,
        ),
        (
            json!({"size": 0}),
            None,
            Some(empty()),
            Code::RepositoryEmpty,
        ),
        (json!({}), Some("dev"), Some(missing()), Code::BranchMissing),
        (
            json!({}),
            Some("dev"),
            Some(Reply::new(200, "[]")),
            Code::BranchMissing,
        ),
    ] {
        let replies = std::iter::once(Reply::new(200, repo(more)))
            .chain(second)
            .collect();
        let vendor = Vendor::start(replies).await;
        let error = github(&vendor)
            .resolve("acme/docs", branch)
            .await
            .unwrap_err();
        assert_eq!(error.code, code);
        vendor.seen();
    }
}

#[tokio::test]
async fn scopes_count_only_where_github_names_them() {
    for (scopes, private, missing) in [
        (None, true, None),
        (Some("repo, gist"), true, None),
        (Some(""), false, Some("`repo`")),
        (Some("public_repo"), true, Some("`repo`")),
        (Some("public_repo"), false, Some("`write:repo_hook`")),
        (Some("public_repo, admin:repo_hook"), false, None),
    ] {
        let mut reply = Reply::new(200, repo(json!({"private": private})));
        if let Some(scopes) = scopes {
            reply = reply.header("x-oauth-scopes", scopes);
        }
        let vendor = Vendor::start(vec![reply]).await;
        let result = github(&vendor).resolve("acme/docs", None).await;
        match missing {
            None => assert!(result.is_ok(), "{scopes:?}"),
            Some(scope) => assert!(result.unwrap_err().detail.contains(scope), "{scopes:?}"),
        }
    }
}

#[tokio::test]
async fn a_renamed_repository_is_followed_and_known_by_its_new_name() {
    let moved = Reply::new(301, "{}").header("location", "/api/repositories/42");
    let vendor = Vendor::start(vec![moved, Reply::new(200, repo(json!({})))]).await;
    let found = github(&vendor).resolve("acme/old", None).await.unwrap();
    assert_eq!(found.path, "acme/docs");
}

#[tokio::test]
async fn keys_are_found_by_content_and_installed_read_only() {
    let key = |id: u32, key: &str| json!({"id": id, "key": key, "read_only": true, "enabled": false, "last_used": null});
    let list = Reply::new(200, json!([key(1, "ssh-rsa AAAA"), key(2, "ssh-rsa BBBB")]));
    let made = Reply::new(
        201,
        json!({"id": 3, "key": "ssh-rsa CCCC", "read_only": true}),
    );
    let vendor = Vendor::start(vec![list, made]).await;
    let github = github(&vendor);
    let found = github
        .find_key(&docs(), "ssh-rsa BBBB a comment")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.id.as_str(), found.enabled), ("2", false));
    let made = github
        .install_key(&docs(), "Netlify", "ssh-rsa CCCC x")
        .await
        .unwrap();
    assert_eq!(
        (made.id.as_str(), made.enabled, made.read_only),
        ("3", true, true)
    );
    let sent = json!({"title": "Netlify", "key": "ssh-rsa CCCC x", "read_only": true});
    assert_eq!(vendor.seen()[1].json(), sent);
}

fn hook(id: u32, more: Value) -> Value {
    let mut whole = json!({
        "id": id, "active": true, "events": ["push", "pull_request", "delete"],
        "config": {"url": HOOK, "content_type": "json", "insecure_ssl": "0"},
    });
    whole
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    whole
}

#[tokio::test]
async fn webhooks_are_found_on_any_page_with_their_faults_and_doubles() {
    let next = "</api/repos/acme/docs/hooks?per_page=100&page=2>; rel=\"next\"";
    let other = json!({"config": {"url": "https://other.example/"}});
    let off = json!({"active": false});
    let form = json!({
        "events": ["push"],
        "config": {"url": "https://API.netlify.com/hooks/github/", "content_type": "form", "insecure_ssl": 1},
    });
    let first = Reply::new(200, json!([hook(1, other), hook(2, off)])).header("link", next);
    let vendor = Vendor::start(vec![first, Reply::new(200, json!([hook(3, form)]))]).await;
    let found = github(&vendor)
        .find_webhook(&docs(), HOOK, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.webhook.id, "3");
    assert_eq!(found.doubles, ["2"]);
    let missing = WebhookFault::MissingEvents(vec!["pull_request".into(), "delete".into()]);
    assert_eq!(
        found.faults,
        [missing, WebhookFault::NotJson, WebhookFault::InsecureTls]
    );
}

#[tokio::test]
async fn a_new_webhook_sends_json_and_only_what_netlify_needs() {
    let vendor = Vendor::start(vec![Reply::new(201, hook(9, json!({})))]).await;
    let installed = github(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap();
    assert!(installed.made);
    assert_eq!(
        vendor.seen()[0].json(),
        json!({
            "name": "web", "active": true, "events": ["push", "pull_request", "delete"],
            "config": {"url": HOOK, "content_type": "json", "insecure_ssl": "0"},
        })
    );
}

#[tokio::test]
async fn an_existing_webhook_is_adopted_and_repaired() {
    let overlap = Reply::new(
        422,
        json!({"message": "Validation Failed", "errors": [{"message": "Hook already exists on this repository"}]}),
    );
    let list = Reply::new(200, json!([hook(5, json!({"active": false}))]));
    let vendor = Vendor::start(vec![overlap, list, Reply::new(200, "{}")]).await;
    let installed = github(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap();
    assert!(!installed.made);
    assert_eq!(installed.webhook.id, "5");
    assert_eq!(vendor.asked()[2], "PATCH /api/repos/acme/docs/hooks/5");
}

#[tokio::test]
async fn a_refused_webhook_that_is_not_there_stays_refused() {
    let refusal = Reply::new(422, json!({"message": "url is not supported"}));
    let vendor = Vendor::start(vec![refusal, Reply::new(200, "[]")]).await;
    let error = github(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap_err();
    assert_eq!(error.code, FailureCode::WebhookRefused);
    assert!(error.detail.contains("url is not supported"));
}

#[tokio::test]
async fn removing_what_is_gone_succeeds_unless_it_is_only_hidden() {
    let missing = || Reply::new(404, json!({"message": "Not Found"}));
    let hidden = json!({"permissions": {"admin": false}});
    for (look, ok) in [
        (Reply::new(200, repo(json!({}))), true),
        (missing(), true),
        (Reply::new(200, repo(hidden)), false),
        (Reply::new(200, repo(json!({"id": 43}))), false),
    ] {
        let vendor = Vendor::start(vec![missing(), look]).await;
        let result = github(&vendor).remove_key(&docs(), "3").await;
        assert_eq!(result.is_ok(), ok);
        assert_eq!(vendor.asked()[0], "DELETE /api/repos/acme/docs/keys/3");
    }
    let vendor = Vendor::start(vec![Reply::new(204, "")]).await;
    let webhook = Webhook {
        id: "4".into(),
        url: HOOK.into(),
    };
    let removed = github(&vendor).remove_webhook(&docs(), &webhook).await;
    assert!(removed.unwrap());
}

#[tokio::test]
async fn a_name_is_checked_by_the_id_of_what_has_it() {
    let renamed = repo(json!({"full_name": "acme/handbook"}));
    let other = repo(json!({"id": 43, "permissions": {"admin": false}}));
    let vendor = Vendor::start(vec![Reply::new(200, renamed), Reply::new(200, other)]).await;
    let github = github(&vendor);
    github.check_name(&docs()).await.unwrap();
    let error = github.check_name(&docs()).await.unwrap_err();
    assert_eq!(error.code, FailureCode::RepositoryReplaced);
    assert_eq!(
        error.detail,
        "the link is for repository 42; acme/docs is 43 now"
    );
}

#[tokio::test]
async fn the_newest_delivery_of_an_event_is_reported() {
    let sent = |id: u32, event: &str, code: u32| json!({"id": id, "event": event, "status_code": code, "delivered_at": "2026-08-01T12:00:00Z"});
    let list = || {
        Reply::new(
            200,
            json!([
                sent(3, "push", 0),
                sent(2, "push", 204),
                sent(1, "ping", 204)
            ]),
        )
    };
    let vendor = Vendor::start(vec![Reply::new(204, ""), list(), list()]).await;
    let github = github(&vendor);
    let webhook = Webhook {
        id: "5".into(),
        url: HOOK.into(),
    };
    github.replay_push(&docs(), &webhook).await.unwrap();
    let push = github
        .last_delivery(&docs(), &webhook, DeliveryEvent::Push)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((push.id.as_str(), push.status), ("3", None));
    assert!(push.at.is_some());
    let ping = github
        .last_delivery(&docs(), &webhook, DeliveryEvent::Ping)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ping.status, Some(204));
    assert_eq!(vendor.asked()[0], "POST /api/repos/acme/docs/hooks/5/tests");
}

#[tokio::test]
async fn an_identity_tells_scopes_and_expiry() {
    let user = || Reply::new(200, json!({"login": "bob"}));
    let classic = user().header("x-oauth-scopes", "repo, user").header(
        "github-authentication-token-expiration",
        "2026-11-30 10:00:00 UTC",
    );
    let offset = user().header(
        "github-authentication-token-expiration",
        "2026-11-30 12:00:00 +0200",
    );
    let vendor = Vendor::start(vec![classic, offset, user()]).await;
    let github = github(&vendor);
    let first = github.identity().await.unwrap();
    let second = github.identity().await.unwrap();
    assert_eq!(first.scopes.unwrap(), ["repo", "user"]);
    assert_eq!(first.expires_at.unwrap().unix_timestamp(), 1_796_032_800);
    assert_eq!(first.expires_at, second.expires_at);
    let third = github.identity().await.unwrap();
    assert_eq!((third.scopes, third.expires_at), (None, None));
}
