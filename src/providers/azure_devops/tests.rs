//! How Azure DevOps is spoken to and understood.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::{
    providers::WebhookFault,
    upstream::{
        AccountKeys, UpstreamKind,
        testing::{Reply, Vendor, answer, token},
    },
};

const HOOK: &str = "https://api.netlify.com/hooks/azure_devops";
const PROJECT: &str = "a7573007-bbb3-4341-b726-0c4148a07853";
const REPO: &str = "3411ebc1-d5aa-464f-9615-0b527bc66719";
const EVENTS: [&str; 4] = [
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.updated",
    "git.pullrequest.merged",
];

fn with(vendor: &Vendor, credential: Credential, by_internal_api: bool) -> AzureDevops {
    let instance = Instance {
        host: "dev.azure.com".into(),
        ssh_host: "ssh.dev.azure.com".into(),
        account_keys: AccountKeys {
            by_internal_api,
            ..AccountKeys::default()
        },
        ..(*vendor.instance(UpstreamKind::AzureDevops)).clone()
    };
    AzureDevops::new(&Http::new().unwrap(), Arc::new(instance), credential).unwrap()
}

fn azure(vendor: &Vendor) -> AzureDevops {
    with(vendor, pat("acme"), false)
}

fn pat(organisation: &str) -> Credential {
    Credential::Basic {
        user: organisation.into(),
        secret: "canary".into(),
    }
}

fn docs() -> Repository {
    Repository {
        host: "dev.azure.com".into(),
        id: format!("{PROJECT}/{REPO}"),
        path: "acme/Web Team/Our docs".into(),
        web_url: "https://dev.azure.com/acme/Web%20Team/_git/Our%20docs".into(),
        ssh_url: "git@ssh.dev.azure.com:v3/acme/Web%20Team/Our%20docs".into(),
        private: true,
        branch: "main".into(),
    }
}

fn merged(mut whole: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(more);
    whole
}

fn json_reply(body: Value) -> Reply {
    Reply::new(200, body).header("content-type", "application/json; charset=utf-8")
}

fn repo(more: Value) -> Reply {
    let whole = json!({
        "id": REPO, "name": "Our docs", "defaultBranch": "refs/heads/main", "size": 728,
        "project": { "id": PROJECT, "name": "Web Team", "visibility": "private", "state": "wellFormed" },
        "sshUrl": "acme@vs-ssh.visualstudio.com:v3/acme/Web%20Team/Our%20docs",
        "webUrl": "https://acme.visualstudio.com/Web%20Team/_git/Our%20docs", "isDisabled": false,
    });
    json_reply(merged(whole, more))
}

fn list(values: Value) -> Reply {
    json_reply(json!({ "count": 1, "value": values }))
}

fn said(type_key: &str, message: &str) -> String {
    json!({ "$id": "1", "innerException": null, "message": message, "typeKey": type_key, "errorCode": 0 })
        .to_string()
}

fn sign_in() -> String {
    "<!DOCTYPE html><html><title>Azure DevOps Services | Sign In</title></html>".to_owned()
}

#[test]
fn refusals_are_named_by_place_type_and_words() {
    use FailureCode as Code;
    let git = "/acme/Web%20Team/_apis/git/repositories/docs";
    let hooks = "/acme/_apis/hooks/subscriptions";
    let keys = "/acme/_apis/Token/SessionTokens";
    // A project that is called like an area of the API.
    let unlucky = "/acme/hooks/_apis/git/repositories/docs";
    let gone = said(
        "GitRepositoryNotFoundException",
        "TF401019: The Git repository docs does not exist",
    );
    let nobody = said(
        "UnauthorizedRequestException",
        "TF400813: The user is not authorized",
    );
    let no_project = said(
        "ProjectDoesNotExistException",
        "VS800075: The project with id 'x' does not exist",
    );
    let needs = said(
        "GitNeedsPermissionException",
        "TF401027: You need the Git 'GenericRead' permission",
    );
    let hook_rights = said(
        "AccessDeniedException",
        "does not have permissions to edit subscriptions",
    );
    for (path, status, body, code) in [
        (git, 203, sign_in(), Code::CredentialRefused),
        (hooks, 203, sign_in(), Code::CredentialRefused),
        (git, 302, String::new(), Code::CredentialRefused),
        (git, 401, nobody, Code::CredentialRefused),
        (git, 401, sign_in(), Code::CredentialRefused),
        (git, 403, needs.clone(), Code::ScopeMissing),
        (unlucky, 403, needs, Code::ScopeMissing),
        (hooks, 403, hook_rights, Code::AdminRequired),
        (keys, 403, String::new(), Code::ScopeMissing),
        (git, 404, gone.clone(), Code::RepositoryNotFoundOrNoAccess),
        (git, 404, sign_in(), Code::RepositoryNotFoundOrNoAccess),
        (git, 400, no_project, Code::RepositoryNotFoundOrNoAccess),
        (git, 400, gone, Code::RepositoryNotFoundOrNoAccess),
        (
            git,
            400,
            said("VssVersionNotSpecifiedException", "No api-version"),
            Code::RequestRefused,
        ),
        (
            hooks,
            400,
            said("ArgumentException", "The maximum number of subscriptions"),
            Code::WebhookLimitReached,
        ),
        (
            hooks,
            400,
            said("SubscriptionInputException", "Input `url` is not valid"),
            Code::WebhookRefused,
        ),
        (
            git,
            429,
            said("RequestBlockedException", "TF400733: blocked"),
            Code::RateLimited,
        ),
        (
            git,
            503,
            said("RequestBlockedException", "TF400733: blocked"),
            Code::RateLimited,
        ),
        (
            git,
            500,
            said(
                "TeamFoundationServerException",
                "TF400898: An Internal Error Occurred",
            ),
            Code::UpstreamUnavailable,
        ),
        (git, 502, sign_in(), Code::UpstreamUnavailable),
        (git, 307, String::new(), Code::UpstreamContractChanged),
    ] {
        let error = refusals::classify(&answer("POST", path, status, &[], &body));
        assert_eq!(error.code, code, "{path} {status} {body}");
    }
}

#[tokio::test]
async fn resolving_takes_one_call_and_makes_addresses_from_names() {
    let vendor = Vendor::start(vec![repo(json!({}))]).await;
    let found = azure(&vendor).resolve("acme/web team/our docs", None).await;
    assert_eq!(found.unwrap(), docs());
    let asked = "GET /api/acme/web%20team/_apis/git/repositories/our%20docs?api-version=7.1";
    assert_eq!(vendor.asked(), [asked]);
    let seen = &vendor.seen()[0];
    assert_eq!(seen.headers["x-tfs-fedauthredirect"], "Suppress");
    assert!(
        seen.headers["authorization"]
            .to_str()
            .unwrap()
            .starts_with("Basic ")
    );
}

#[tokio::test]
async fn nulls_are_tolerated_and_a_missing_id_is_no_answer() {
    for more in [
        json!({ "isDisabled": null, "isInMaintenance": null, "size": null, "parentRepository": null }),
        json!({ "isFork": "a word of tomorrow" }),
    ] {
        let vendor = Vendor::start(vec![repo(more.clone())]).await;
        let found = azure(&vendor).resolve("acme/Web Team/Our docs", None).await;
        assert_eq!(found.unwrap(), docs(), "{more}");
    }
    for reply in [
        repo(json!({ "id": null })),
        repo(json!({ "project": null })),
        json_reply(json!([])),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let error = azure(&vendor).resolve("acme/Web Team/Our docs", None).await;
        let error = error.unwrap_err();
        assert_eq!(error.code, FailureCode::UpstreamContractChanged);
    }
}

#[tokio::test]
async fn what_is_not_public_is_private() {
    for (visibility, private) in [
        (json!("public"), false),
        (json!("private"), true),
        (json!("a word of tomorrow"), true),
        (json!(null), true),
    ] {
        let project = json!({ "id": PROJECT, "name": "Web Team", "visibility": visibility });
        let vendor = Vendor::start(vec![repo(json!({ "project": project }))]).await;
        let found = azure(&vendor).resolve("acme/Web Team/Our docs", None).await;
        assert_eq!(found.unwrap().private, private);
    }
}

#[tokio::test]
async fn a_branch_has_to_be_there_by_its_exact_name_on_any_page() {
    let prefix = || json!([{ "name": "refs/heads/feature/x-ray", "objectId": "1" }]);
    let exact = || json!([{ "name": "refs/heads/feature/x", "objectId": "2" }]);
    let refs = format!(
        "GET /api/acme/{PROJECT}/_apis/git/repositories/{REPO}/refs?filter=heads%2Ffeature%2Fx&api-version=7.1"
    );
    for (last, missing) in [
        (exact(), None),
        (json!([]), Some(FailureCode::BranchMissing)),
    ] {
        let first = list(prefix()).header("x-ms-continuationtoken", "to ken");
        let vendor = Vendor::start(vec![repo(json!({})), first, list(last)]).await;
        let found = azure(&vendor)
            .resolve("acme/Web Team/Our docs", Some("feature/x"))
            .await;
        assert_eq!(found.err().map(|error| error.code), missing);
        assert_eq!(
            vendor.asked()[1..],
            [refs.clone(), format!("{refs}&continuationToken=to+ken")]
        );
    }
}

#[tokio::test]
async fn what_linking_would_fail_at_is_found_by_reading() {
    use FailureCode as Code;
    let page = || Reply::new(200, sign_in()).header("content-type", "text/html; charset=utf-8");
    for (reply, code) in [
        (
            repo(json!({ "isDisabled": true })),
            Code::RepositoryArchived,
        ),
        (
            repo(json!({ "isInMaintenance": true })),
            Code::UpstreamUnavailable,
        ),
        (
            repo(json!({ "defaultBranch": null })),
            Code::RepositoryEmpty,
        ),
        (repo(json!({ "id": null })), Code::UpstreamContractChanged),
        (page(), Code::CredentialRefused),
        (Reply::new(203, sign_in()), Code::CredentialRefused),
        (
            Reply::new(302, "").header(
                "location",
                "https://spsprodeus21.vssps.visualstudio.com/_signin",
            ),
            Code::CredentialRefused,
        ),
        (
            Reply::new(302, "").header("location", "/api/_signin?realm=dev.azure.com"),
            Code::CredentialRefused,
        ),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let found = azure(&vendor).resolve("acme/Web Team/Our docs", None).await;
        assert_eq!(found.unwrap_err().code, code);
        // A page to sign in is never followed.
        assert_eq!(vendor.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_pause_that_comes_with_success_is_kept() {
    let vendor = Vendor::start(vec![repo(json!({})).header("retry-after", 30)]).await;
    let azure = azure(&vendor);
    azure.resolve("acme/Web Team/Our docs", None).await.unwrap();
    let held = azure.resolve("acme/Web Team/Our docs", None).await;
    assert_eq!(held.unwrap_err().code, FailureCode::RateLimited);
    assert_eq!(vendor.asked().len(), 1);
}

fn subscription(id: &str, event: &str, more: Value) -> Value {
    let whole = json!({
        "id": id, "eventType": event, "status": "enabled", "publisherId": "tfs", "subscriber": null,
        "publisherInputs": { "projectId": PROJECT, "repository": REPO, "branch": "", "tfsSubscriptionId": "x" },
        "consumerInputs": { "url": HOOK }, "createdDate": "2026-11-01T10:00:00.123Z", "probationRetries": 0,
    });
    merged(whole, more)
}

fn whole() -> Vec<Value> {
    let events = EVENTS.iter().enumerate();
    events
        .map(|(at, event)| subscription(&format!("s{at}"), event, json!({})))
        .collect()
}

fn inputs(repository: &str, branch: &str) -> Value {
    json!({ "publisherInputs": { "projectId": PROJECT, "repository": repository, "branch": branch } })
}

async fn found_among(subscriptions: Vec<Value>) -> Option<FoundWebhook> {
    let vendor = Vendor::start(vec![list(json!(subscriptions))]).await;
    let found = azure(&vendor)
        .find_webhook(&docs(), HOOK, None)
        .await
        .unwrap();
    let asked = "GET /api/acme/_apis/hooks/subscriptions?publisherId=tfs&consumerId=webHooks&consumerActionId=httpRequest&api-version=7.1";
    assert_eq!(vendor.asked(), [asked]);
    found
}

#[tokio::test]
async fn a_webhook_is_a_subscription_for_each_event() {
    let found = found_among(whole()).await.unwrap();
    assert_eq!(
        (found.webhook.id.as_str(), found.webhook.url.as_str()),
        ("s0", HOOK)
    );
    assert!(found.faults.is_empty() && found.doubles.is_empty());
    assert!(found.created_at.is_some());
}

#[tokio::test]
async fn what_is_for_others_is_no_part_of_it() {
    let elsewhere = json!({ "consumerInputs": { "url": "https://ci.example/" } });
    let foreign = [
        subscription("f1", "git.push", elsewhere),
        subscription("f2", "git.push", inputs("another-guid", "")),
        subscription("f3", "git.push", inputs(REPO, "refs/heads/release")),
        subscription(
            "f4",
            "git.push",
            merged(inputs("", ""), json!({ "status": "disabledByUser" })),
        ),
        subscription(
            "f5",
            "git.push",
            json!({ "consumerInputs": { "url": null } }),
        ),
    ];
    assert_eq!(found_among(foreign.into()).await, None);
}

#[tokio::test]
async fn a_subscription_for_the_whole_project_counts() {
    let mut known = whole();
    known[0] = subscription("p", "git.push", inputs("", ""));
    let found = found_among(known).await.unwrap();
    assert_eq!(found.webhook.id, "p");
    assert!(found.faults.is_empty());
}

#[tokio::test]
async fn faults_and_doubles_are_told_event_by_event() {
    let mut known = whole();
    known.remove(3);
    known[1]["status"] = json!("disabledBySystem");
    known[2]["status"] = json!("onProbation");
    known.push(subscription(
        "younger",
        "git.push",
        json!({ "createdDate": "2026-11-02T10:00:00Z" }),
    ));
    let found = found_among(known).await.unwrap();
    let missing = vec!["git.pullrequest.merged".to_owned()];
    assert_eq!(
        found.faults,
        [WebhookFault::Inactive, WebhookFault::MissingEvents(missing)]
    );
    assert_eq!(found.doubles, ["younger"]);
}

#[tokio::test]
async fn the_links_own_subscription_counts_unless_its_owner_has_left() {
    for (status, id, doubles) in [
        ("disabledByUser", "s0", vec!["theirs"]),
        ("disabledByInactiveIdentity", "theirs", vec![]),
    ] {
        let mut known = whole();
        known[0]["status"] = json!(status);
        known.push(subscription("theirs", "git.push", json!({})));
        let vendor = Vendor::start(vec![list(json!(known))]).await;
        let found = azure(&vendor).find_webhook(&docs(), HOOK, Some("s0")).await;
        let found = found.unwrap().expect("a webhook");
        assert_eq!(
            (found.webhook.id.as_str(), found.doubles),
            (id, doubles.iter().map(|it| (*it).to_owned()).collect())
        );
    }
}

#[tokio::test]
async fn a_subscription_tells_where_it_sends_by_now() {
    let ci = json!({ "consumerInputs": { "url": "https://ci.example/" } });
    let moved = json_reply(subscription("s0", "git.push", ci));
    let vendor = Vendor::start(vec![moved, Reply::new(404, "{}")]).await;
    let azure = azure(&vendor);
    let address = async || azure.webhook_address(&docs(), &webhook()).await.unwrap();
    assert_eq!(address().await.as_deref(), Some("https://ci.example/"));
    assert_eq!(address().await, None);
    let asked = "GET /api/acme/_apis/hooks/subscriptions/s0?api-version=7.1";
    assert_eq!(vendor.asked(), [asked, asked]);
}

fn made(id: &str) -> Reply {
    json_reply(subscription(id, "git.push", json!({})))
}

fn sent(event: &str) -> Value {
    json!({
        "publisherId": "tfs", "eventType": event, "resourceVersion": "1.0",
        "consumerId": "webHooks", "consumerActionId": "httpRequest",
        "publisherInputs": { "projectId": PROJECT, "repository": REPO, "branch": "" },
        "consumerInputs": { "url": HOOK },
    })
}

#[tokio::test]
async fn a_new_webhook_subscribes_to_each_event_and_goes_by_the_one_for_pushes() {
    let replies = ["s0", "s1", "s2", "s3"].map(made);
    let vendor = Vendor::start(replies.into()).await;
    let installed = azure(&vendor).install_webhook(&docs(), HOOK).await.unwrap();
    assert!(installed.made);
    assert_eq!(installed.webhook.id, "s0");
    let bodies: Vec<_> = vendor.seen().iter().map(|seen| seen.json()).collect();
    assert_eq!(bodies, EVENTS.map(sent));
    let asked = "POST /api/acme/_apis/hooks/subscriptions?api-version=7.1";
    assert!(vendor.asked().iter().all(|line| line == asked));
}

#[tokio::test]
async fn a_webhook_that_is_refused_halfway_leaves_nothing_behind() {
    let refusal = || Reply::new(400, said("SubscriptionInputException", "no such event"));
    let gone = || Reply::new(204, "");
    let sent = [made("s0"), made("s1"), refusal(), made("s3")];
    let replies = sent.into_iter().chain([gone(), gone(), gone()]);
    let replies: Vec<_> = replies.collect();
    let vendor = Vendor::start(replies).await;
    let error = azure(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.class),
        (FailureCode::WebhookRefused, Class::Refused)
    );
    let mut taken_back = vendor.asked()[4..].to_vec();
    taken_back.sort();
    let place = "DELETE /api/acme/_apis/hooks/subscriptions";
    let made = ["s0", "s1", "s3"].map(|id| format!("{place}/{id}?api-version=7.1"));
    assert_eq!(taken_back, made);
}

#[tokio::test]
async fn a_webhook_that_is_interrupted_halfway_is_looked_for() {
    let vendor = Vendor::start(vec![made("s0"), Reply::new(500, "")]).await;
    let error = azure(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Uncertain);
    let limited = || Reply::new(429, "").header("retry-after", 5);
    let replies = vec![made("s0"), limited(), limited(), limited()];
    let vendor = Vendor::start(replies).await;
    let error = azure(&vendor)
        .install_webhook(&docs(), HOOK)
        .await
        .unwrap_err();
    assert_eq!(
        (error.code, error.class),
        (FailureCode::RateLimited, Class::Uncertain)
    );
}

#[tokio::test]
async fn mending_subscribes_to_what_is_missing_and_switches_on_what_is_off() {
    let mut known = whole();
    known.remove(3);
    known[1]["status"] = json!("disabledByUser");
    known[2]["status"] = json!("disabledByInactiveIdentity");
    let replies = vec![list(json!(known)), made("s1"), made("n2"), made("n3")];
    let vendor = Vendor::start(replies).await;
    let found = FoundWebhook {
        webhook: Webhook {
            id: "s0".into(),
            url: HOOK.into(),
        },
        created_at: None,
        faults: Vec::new(),
        doubles: Vec::new(),
    };
    azure(&vendor)
        .repair_webhook(&docs(), &found)
        .await
        .unwrap();
    let collection = "/api/acme/_apis/hooks/subscriptions";
    let made = format!("POST {collection}?api-version=7.1");
    assert_eq!(
        vendor.asked()[1..],
        [
            format!("PUT {collection}/s1?api-version=7.1"),
            made.clone(),
            made
        ]
    );
    let seen = vendor.seen();
    let on = json!({ "id": "s1", "status": "enabled" });
    assert_eq!(seen[1].json(), merged(sent(EVENTS[1]), on));
    assert_eq!(
        [&seen[2], &seen[3]].map(|seen| seen.json()),
        [sent(EVENTS[2]), sent(EVENTS[3])]
    );
}

#[tokio::test]
async fn removing_takes_every_part_and_the_one_for_pushes_last() {
    let mut known = whole();
    let merged_event = EVENTS[3];
    let younger = json!({ "createdDate": "2026-11-02T10:00:00Z" });
    known.extend([
        subscription("project", "git.push", inputs("", "")),
        subscription("other", "git.pullrequest.commented", json!({})),
        subscription("dev", "git.push", inputs(REPO, "dev")),
        subscription("dev merged", merged_event, inputs(REPO, "refs/heads/dev")),
        subscription("double", "git.push", json!({})),
        subscription("younger", merged_event, younger),
    ]);
    let mut replies = vec![list(json!(known))];
    replies.extend((0..4).map(|_| Reply::new(204, "")));
    let vendor = Vendor::start(replies).await;
    assert!(
        azure(&vendor)
            .remove_webhook(&docs(), &webhook())
            .await
            .unwrap()
    );
    let removed = ["s1", "s2", "s3", "s0"];
    let removed = removed
        .map(|id| format!("DELETE /api/acme/_apis/hooks/subscriptions/{id}?api-version=7.1"));
    assert_eq!(vendor.asked()[1..], removed);

    let vendor = Vendor::start(vec![list(json!(whole())), Reply::new(404, "{}")]).await;
    let gone = Webhook {
        id: "gone".into(),
        ..webhook()
    };
    assert!(!azure(&vendor).remove_webhook(&docs(), &gone).await.unwrap());

    // A list that lags is no sign that it is gone.
    let vendor = Vendor::start(vec![list(json!([])), made("s0")]).await;
    let error = azure(&vendor).remove_webhook(&docs(), &webhook()).await;
    let error = error.expect_err("a list that lags");
    assert_eq!(error.class, Class::Transient, "{error:?}");
}

#[tokio::test]
async fn what_sends_to_where_somebody_pointed_a_part_is_no_part() {
    let ci = json!({ "consumerInputs": { "url": "https://ci.example/" } });
    let mut known = whole();
    known[0] = subscription("s0", "git.push", ci.clone());
    known.push(subscription("theirs", EVENTS[1], ci));
    let mut replies = vec![list(json!(known))];
    replies.extend((0..4).map(|_| Reply::new(204, "")));
    let vendor = Vendor::start(replies).await;
    let removed = azure(&vendor).remove_webhook(&docs(), &webhook()).await;
    assert!(removed.unwrap());
    let removed = ["s1", "s2", "s3", "s0"];
    let removed = removed
        .map(|id| format!("DELETE /api/acme/_apis/hooks/subscriptions/{id}?api-version=7.1"));
    assert_eq!(vendor.asked()[1..], removed);
}

#[tokio::test]
async fn moving_points_every_part_elsewhere() {
    let mut replies = vec![list(json!(whole()))];
    replies.extend(["s1", "s2", "s3", "s0"].map(made));
    let vendor = Vendor::start(replies).await;
    let url = "https://elsewhere.example/";
    azure(&vendor)
        .move_webhook(&docs(), &webhook(), url)
        .await
        .unwrap();
    let seen = vendor.seen();
    assert_eq!(seen.len(), 5);
    assert!(
        seen[1..]
            .iter()
            .all(|seen| seen.json()["consumerInputs"]["url"] == url)
    );
}

fn webhook() -> Webhook {
    Webhook {
        id: "s0".into(),
        url: HOOK.into(),
    }
}

#[tokio::test]
async fn the_last_push_is_sent_again_with_real_data() {
    let vendor = Vendor::start(vec![json_reply(json!({ "id": 7, "status": "queued" }))]).await;
    azure(&vendor)
        .replay_push(&docs(), &webhook())
        .await
        .unwrap();
    let asked = "POST /api/acme/_apis/hooks/testnotifications?useRealData=true&api-version=7.1";
    assert_eq!(vendor.asked(), [asked]);
    let sent = json!({ "subscriptionId": "s0", "details": sent("git.push") });
    assert_eq!(vendor.seen()[0].json(), sent);
}

#[tokio::test]
async fn the_newest_notification_tells_how_the_delivery_ended() {
    let notification =
        |id: u32, result: &str, at: &str| json!({ "id": id, "result": result, "createdDate": at });
    let sent = json!([
        notification(1, "succeeded", "2026-11-01T10:00:00Z"),
        notification(3, "filtered", "2026-11-01T12:00:00Z"),
        notification(2, "failed", "2026-11-01T11:00:00Z"),
    ]);
    let response = "Status Code: 422\nReason Phrase: Unprocessable Entity\nHTTP Version: 1.1";
    for (details, status) in [
        (json!({ "response": response }), Some(422)),
        (
            json!({ "response": null, "errorMessage": "The remote name could not be resolved" }),
            None,
        ),
        (json!(null), None),
    ] {
        let whole = merged(
            notification(2, "failed", "2026-11-01T11:00:00Z"),
            json!({ "details": details }),
        );
        let vendor = Vendor::start(vec![list(sent.clone()), json_reply(whole)]).await;
        let delivery = azure(&vendor)
            .last_delivery(&docs(), &webhook(), DeliveryEvent::Push)
            .await;
        let delivery = delivery.unwrap().unwrap();
        assert_eq!((delivery.id.as_str(), delivery.status), ("2", status));
    }
}

#[tokio::test]
async fn the_person_is_told_by_the_organisation_or_else_by_the_profile() {
    let data =
        |person: Value| json_reply(json!({ "authenticatedUser": person, "instanceId": "org" }));
    let ann = json!({ "id": "7", "providerDisplayName": "Ann", "properties": { "Account": { "$type": "System.String", "$value": "ann@acme.example" } } });
    let nobody = json!({ "id": "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "properties": {} });
    let vendor = Vendor::start(vec![data(ann), data(nobody)]).await;
    let azure = azure(&vendor);
    assert_eq!(azure.identity().await.unwrap().login, "ann@acme.example");
    assert_eq!(
        azure.identity().await.unwrap_err().code,
        FailureCode::CredentialRefused
    );
    assert_eq!(
        vendor.asked()[0],
        "GET /api/acme/_apis/connectionData?api-version=7.1-preview"
    );

    for credential in [pat(""), token("eyJ")] {
        let bob = json!({ "id": "8", "displayName": "Bob", "emailAddress": null });
        let vendor = Vendor::start(vec![json_reply(bob), Reply::new(203, sign_in())]).await;
        let azure = with(&vendor, credential, false);
        assert_eq!(azure.identity().await.unwrap().login, "Bob");
        let refused = azure.identity().await.unwrap_err();
        assert!(
            refused.detail.contains("organisation's name as its user"),
            "{}",
            refused.detail
        );
    }
}

const KEY: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 Netlify";

fn account_key(id: &str, content: &str) -> Value {
    json!({
        "authorizationId": id, "displayName": "x", "publicData": content, "isValid": true,
        "validFrom": "2026-11-01T10:00:00Z", "validTo": "2027-10-31T10:00:00Z", "scope": "app_token",
    })
}

#[tokio::test]
async fn a_person_places_the_key_unless_the_operator_allows_undescribed_calls() {
    let vendor = Vendor::start(Vec::new()).await;
    let azure = azure(&vendor);
    assert!(!azure.capabilities().installs_keys);
    let place = azure.place_of_keys(&docs());
    let page = "https://dev.azure.com/acme/_usersSettings/keys";
    assert_eq!(place.page.as_deref(), Some(page));
    assert!(place.account.unwrap().contains("service account"));
    vendor.seen();
}

#[tokio::test]
async fn a_key_that_a_person_placed_is_seen_where_the_credential_may_look() {
    let keys = json!([account_key("k1", "ssh-rsa BBBB"), account_key("k2", KEY)]);
    let refused = || Reply::new(401, said("UnauthorizedRequestException", "no"));
    let vendor = Vendor::start(vec![list(keys), refused()]).await;
    let azure = azure(&vendor);
    let found = azure.glimpse_key(&docs(), KEY).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.enabled), ("k2", true));
    assert!(found.expires_at.is_some());
    assert_eq!(azure.glimpse_key(&docs(), KEY).await.unwrap(), None);
    // Who may place keys has to know for certain; a credential that was refused is not tried again.
    let unknown = azure.find_key(&docs(), KEY).await;
    assert_eq!(unknown.unwrap_err().code, FailureCode::CredentialRefused);
    let asked = "GET /api/acme/_apis/Token/SessionTokens?isPublic=true&includePublicData=true&api-version=7.0-preview.1";
    assert!(vendor.asked().iter().all(|line| line == asked));
}

fn organisation() -> Reply {
    json_reply(json!({ "authenticatedUser": { "id": "7" }, "instanceId": "organisation-guid" }))
}

#[tokio::test]
async fn a_key_that_is_placed_by_undescribed_calls_is_confirmed_and_expires_within_a_year() {
    let answered = json_reply(json!({ "dataProviders": {}, "dataProviderExceptions": null }));
    let keys = list(json!([account_key("k9", KEY)]));
    let vendor = Vendor::start(vec![organisation(), answered, keys]).await;
    let azure = with(&vendor, pat("acme"), true);
    let placed = azure.install_key(&docs(), "Netlify", KEY).await.unwrap();
    assert_eq!(placed.id, "k9");
    assert!(placed.expires_at.is_some());
    let seen = vendor.seen();
    assert!(
        seen[1]
            .target
            .starts_with("/api/acme/_apis/Contribution/HierarchyQuery?")
    );
    let sent = &seen[1].json()["dataProviderContext"]["properties"];
    assert_eq!(
        sent["publicData"],
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7"
    );
    assert_eq!(sent["targetAccounts"], json!(["organisation-guid"]));
    let format = &time::format_description::well_known::Rfc3339;
    let until = OffsetDateTime::parse(sent["validTo"].as_str().unwrap(), format).unwrap();
    let life = until - OffsetDateTime::now_utc();
    assert!(
        life > Duration::days(363) && life < Duration::days(365),
        "{life}"
    );
}

#[tokio::test]
async fn a_refusal_inside_of_a_success_is_a_refusal_and_silence_is_uncertain() {
    use FailureCode as Code;
    let maker = "ms.vss-token-web.personal-access-token-issue-session-token-provider";
    let refused = |message: &str| {
        json_reply(json!({ "dataProviderExceptions": { maker: { "message": message } } }))
    };
    for (reply, code) in [
        (
            refused("The public key has already been added"),
            Code::KeyInUseElsewhere,
        ),
        (refused("SSH is disabled by policy"), Code::KeyRefused),
    ] {
        let vendor = Vendor::start(vec![organisation(), reply]).await;
        let placed = with(&vendor, pat("acme"), true)
            .install_key(&docs(), "x", KEY)
            .await;
        assert_eq!(placed.unwrap_err().code, code);
    }
    let replies = vec![organisation(), json_reply(json!({})), list(json!([]))];
    let vendor = Vendor::start(replies).await;
    let placed = with(&vendor, pat("acme"), true)
        .install_key(&docs(), "x", KEY)
        .await;
    let error = placed.unwrap_err();
    assert_eq!(
        (error.code, error.class),
        (Code::UpstreamContractChanged, Class::Uncertain)
    );
}

#[tokio::test]
async fn a_key_is_removed_from_the_account() {
    for (reply, outcome) in [
        (Reply::new(204, ""), Ok(true)),
        (Reply::new(404, said("TokenNotFound", "no")), Ok(false)),
        (
            Reply::new(203, sign_in()),
            Err(FailureCode::CredentialRefused),
        ),
    ] {
        let vendor = Vendor::start(vec![reply]).await;
        let removed = with(&vendor, pat("acme"), true)
            .remove_key(&docs(), "k9")
            .await;
        assert_eq!(removed.map_err(|error| error.code), outcome);
        let asked =
            "DELETE /api/acme/_apis/Token/SessionTokens/k9?isPublic=true&api-version=5.0-preview.1";
        assert_eq!(vendor.asked(), [asked]);
    }
}

#[test]
fn people_and_profiles_live_at_hosts_of_their_own_but_only_at_the_vendors() {
    let at = |api: &str| {
        crate::upstream::testing::instance(UpstreamKind::AzureDevops, api.parse().unwrap())
    };
    let people = |api| beside(&at(api), "vssps.dev.azure.com").api.to_string();
    assert_eq!(
        people("https://dev.azure.com"),
        "https://vssps.dev.azure.com/"
    );
    assert_eq!(
        people("http://127.0.0.1:9/azure"),
        "http://127.0.0.1:9/azure"
    );
}
