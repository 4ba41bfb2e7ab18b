//! Who changed what: one row for every write of a caller and for every write to an upstream, for ever.

use std::collections::BTreeSet;

use linkbroker::api::caller::Scope;
use linkbroker_sandbox::recorder::{Call, Upstream};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use crate::world::{Client, Description, Setup, World, docs, text, until};

/// The whole audit, page by page, oldest first.
async fn whole(client: &Client, filter: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/audit?limit=7{filter}{cursor}");
        let page = client.get(&path).await.expect(200).body;
        entries.extend(page["entries"].as_array().expect("entries").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    entries.reverse();
    entries
}

/// What the audit says of calls, in a form that the sandbox's record can be brought into too.
fn audited(entries: &[Value]) -> Vec<String> {
    let calls = entries
        .iter()
        .filter(|entry| entry.get("upstream").is_some());
    let told = calls.map(|entry| {
        let upstream = &entry["upstream"];
        let (status, id) = (&upstream["status"], &upstream["request_id"]);
        format!("{} {} {status} {id}", entry["verb"], entry["object"])
    });
    sorted(told)
}

fn written(calls: &[Call]) -> Vec<String> {
    let writes = calls
        .iter()
        .filter(|call| call.upstream != Upstream::NetlifyHooks && call.method != "GET");
    let told = writes.map(|call| {
        let path = call.path.split('?').next().unwrap_or_default();
        let (method, status) = (json!(call.method), json!(call.status));
        format!(
            "{method} {} {status} {}",
            json!(path),
            json!(call.request_id)
        )
    });
    sorted(told)
}

fn sorted(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_write_to_an_upstream_has_one_row_with_the_upstreams_request_id() {
    let world = World::usual().await;
    // Refused, lost and repeated calls are writes too.
    world.fault(
        json!({"upstream": "github", "method": "POST", "path": "/keys", "fault": "lost_answer"}),
    );
    world.fault(json!({"upstream": "netlify", "method": "POST", "path": "/sites", "fault": {"status": 503}}));
    let link = world.client.link_settled(docs()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let id = link["id"].as_str().expect("an id");
    assert_eq!(world.client.unlink(id, "").await["status"], "unlinked");

    let entries = whole(&world.client, "").await;
    let (audited, written) = (audited(&entries), written(&world.sandbox.calls()));
    assert_eq!(audited, written);
    assert!(written.len() >= 10, "{written:#?}");
    for entry in entries
        .iter()
        .filter(|entry| entry.get("upstream").is_some())
    {
        assert_eq!(entry["link"], id);
        assert!(entry["step"].is_string(), "{entry:#}");
        assert_eq!(entry.get("caller"), None, "{entry:#}");
    }
    assert!(!entries.iter().any(|entry| entry["verb"] == "adopt"));
    assert_eq!(
        whole(&world.client, &format!("&link={id}")).await.len(),
        entries.len() - 2
    );
}

#[tokio::test]
async fn an_effect_whose_record_died_with_the_process_is_audited_when_it_is_found() {
    let switches = json!({"latency_ms": 600});
    let mut world = World::with(Setup {
        switches,
        ..Setup::default()
    })
    .await;
    let id = world.client.link(docs()).await;
    // The key is there, and its answer is still on the way.
    until("the key at Netlify", async || {
        (world.count("deploy_keys").0 == 1).then_some(())
    })
    .await;
    world.server.kill();
    world
        .sandbox
        .patch_switches(&json!({"latency_ms": 0}))
        .expect("a switch");
    world.start_again().await;
    let link = world.client.settled(&id).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(world.count("deploy_keys"), (1, 1));

    let entries = whole(&world.client, "").await;
    let adopted: Vec<_> = entries
        .iter()
        .filter(|entry| entry["verb"] == "adopt")
        .collect();
    assert_eq!(adopted.len(), 1, "{adopted:#?}");
    assert_eq!(adopted[0]["step"], "reserve_deploy_key");
    let posts = |entry: &&Value| entry["step"] == "reserve_deploy_key" && entry["verb"] == "POST";
    assert_eq!(entries.iter().filter(posts).count(), 0);
}

/// Every operation of the API by which callers write.
const WRITES: [&str; 17] = [
    "cancelLink",
    "checkConnection",
    "checkLink",
    "createConnection",
    "createLink",
    "createPreflight",
    "createStatusToken",
    "deleteConnection",
    "deleteLink",
    "healLink",
    "putLinkByRef",
    "rebuildLink",
    "replaceCredential",
    "retryLink",
    "rotateKey",
    "setDriftPolicy",
    "verifyLink",
];

#[tokio::test]
async fn every_write_of_a_caller_has_one_row() {
    assert_eq!(
        Description::get().writing_operations(),
        BTreeSet::from(WRITES)
    );
    let world = World::usual().await;
    let spare = write_a_connection(&world.client).await;
    let thought_of = write_a_preflight(&world.client).await;
    let broken = write_a_link_that_fails(&world.client).await;
    let named = write_a_link_by_ref(&world).await;
    let canceled = write_a_link_that_is_canceled(&world).await;

    let entries = whole(&world.client, "").await;
    let mut verbs: Vec<_> = entries
        .iter()
        .filter(|entry| entry["caller"] == "tester")
        .map(|entry| (text(&entry["verb"]), text(&entry["object"])))
        .collect();
    // The connections of every world.
    verbs.drain(..2);
    let expected = [
        ("create", &spare),
        ("replace_credential", &spare),
        ("check", &spare),
        ("delete", &spare),
        ("preflight", &thought_of),
        ("create", &broken),
        ("retry", &broken),
        ("create_status_token", &broken),
        ("unlink", &broken),
        ("create", &named),
        ("set_labels", &named),
        ("verify", &named),
        ("rebuild", &named),
        ("rotate-key", &named),
        ("check", &named),
        ("heal", &named),
        ("set_drift_policy", &named),
        ("unlink", &named),
        ("create", &canceled),
        ("cancel", &canceled),
    ];
    let expected = expected.map(|(verb, object)| (verb.to_owned(), object.clone()));
    assert_eq!(verbs, expected);
}

async fn write_a_connection(client: &Client) -> String {
    let credential = json!({"type": "token", "token": "another-token"});
    let connection =
        json!({"name": "spare", "kind": "github", "host": "github.com", "credential": credential});
    let made = client.post("/connections", connection).await.expect(201);
    let path = format!("/connections/{}", made.id());
    let credential_of = format!("{path}/credential");
    let replaced = client.send(Method::PUT, &credential_of, |request| {
        request.json(&credential)
    });
    replaced.await.expect(204);
    act(client, &format!("{path}/check"), 202).await;
    client.delete(&path).await.expect(204);
    // Refused writes change nothing and are nobody's business.
    client.delete(&path).await.expect(404);
    made.id()
}

/// Nothing is written upstream for it, and whoever has upstreams asked on their behalf is on record all the same.
async fn write_a_preflight(client: &Client) -> String {
    let mut request = docs();
    request["connections"] = json!({"provider": "github"});
    client.post("/preflights", request).await.expect(202).id()
}

async fn write_a_link_that_fails(client: &Client) -> String {
    let mut broken = docs();
    broken["build"]["command"] = json!("exit 1");
    broken["connections"] = json!({"provider": "github"});
    let id = text(&client.link_settled(broken).await["id"]);
    client.retry(&id).await;
    act(client, &format!("/links/{id}/status-tokens"), 201).await;
    client.unlink(&id, "").await;
    id
}

async fn write_a_link_by_ref(world: &World) -> String {
    let client = &world.client;
    let put = async |labels: Value, status| {
        let mut request = docs();
        request["connections"] = json!({"provider": "github"});
        request["labels"] = labels;
        let put = client.send(Method::PUT, "/links/by-ref/team-a", |call| {
            call.json(&request)
        });
        put.await.expect(status)
    };
    let id = put(json!({}), 202).await.id();
    client.settled(&id).await;
    put(json!({"portal": "backstage"}), 200).await;
    // Equal to what is there: no write.
    put(json!({"portal": "backstage"}), 200).await;
    for verb in ["verify", "rebuild", "rotate-key"] {
        act(client, &format!("/links/{id}/{verb}"), 202).await;
        assert_eq!(client.settled(&id).await["status"], "live");
    }
    stop_builds(world);
    act(client, &format!("/links/{id}/check"), 202).await;
    assert_eq!(client.settled(&id).await["status"], "degraded");
    let path = format!("/links/{id}/heal");
    let heal = client.post(&path, json!({"drift": "all"})).await;
    heal.expect(202);
    assert_eq!(client.settled(&id).await["status"], "live");
    let (path, policy) = (format!("/links/{id}/drift"), json!({"policy": "report"}));
    let set = client.send(Method::PATCH, &path, |call| call.json(&policy));
    set.await.expect(200);
    client.unlink(&id, "").await;
    id
}

/// As somebody does on the site's page.
fn stop_builds(world: &World) {
    let mut netlify = world.sandbox.world().netlify.lock();
    let mut repos = netlify
        .sites
        .values_mut()
        .filter_map(|site| site.repo.as_mut());
    repos.next().expect("an attached repository").stop_builds = true;
}

async fn write_a_link_that_is_canceled(world: &World) -> String {
    let slow = world.sandbox.patch_switches(&json!({"latency_ms": 300}));
    slow.expect("a switch");
    let mut request = docs();
    request["connections"] = json!({"provider": "github"});
    let id = world.client.link(request).await;
    act(&world.client, &format!("/links/{id}/cancel"), 202).await;
    assert_eq!(world.client.settled(&id).await["status"], "canceled");
    id
}

async fn act(client: &Client, path: &str, status: u16) {
    let asked = client.send(Method::POST, path, |request| request);
    asked.await.expect(status);
}

#[tokio::test]
async fn it_is_read_with_its_own_scope_by_its_own_tenant_since_a_time() {
    let world = World::usual().await;
    let others: Vec<Scope> = Scope::ALL
        .iter()
        .copied()
        .filter(|scope| *scope != Scope::AuditRead)
        .collect();
    let refused = world
        .client_of("acme", &others)
        .get("/audit")
        .await
        .expect(403);
    assert!(
        refused
            .header("www-authenticate")
            .is_some_and(|challenge| challenge.contains("audit:read"))
    );
    let umbrella = world.client_of("umbrella", &[Scope::AuditRead]);
    assert_eq!(whole(&umbrella, "").await, Vec::<Value>::new());

    let entries = whole(&world.client, "").await;
    assert_eq!(entries.len(), 2);
    let second = entries[1]["at"].as_str().expect("a time");
    assert_eq!(
        whole(&world.client, &format!("&since={second}")).await,
        entries[1..]
    );
    for query in ["link=con_1", "since=yesterday", "cursor=x", "limit=0"] {
        let answer = world
            .client
            .get(&format!("/audit?{query}"))
            .await
            .expect(400);
        assert_eq!(answer.code(), "invalid_query", "{query}");
    }
}

#[tokio::test]
async fn nobody_changes_what_is_recorded() {
    let world = World::usual().await;
    let mut service = world.database.connection_of("acme").await;
    let mut owner = world.database.connection().await;
    for statement in [
        "update audit set caller = 'nobody'",
        "delete from audit",
        "truncate audit",
    ] {
        for connection in [&mut service, &mut owner] {
            let refused = connection.execute(statement).await.expect_err("a refusal");
            let code = refused
                .as_database_error()
                .and_then(|error| error.code().map(|code| code.into_owned()));
            assert_eq!(code.as_deref(), Some("42501"), "{statement}: {refused}");
        }
    }
    // Nor writes into another tenant's audit.
    let foreign = "insert into audit (id, tenant, verb, object) values (gen_random_uuid(), 'umbrella', 'create', 'x')";
    service.execute(foreign).await.expect_err("a refusal");
    assert_eq!(whole(&world.client, "").await.len(), 2);
}
