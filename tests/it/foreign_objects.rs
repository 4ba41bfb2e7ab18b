//! A tenant that names another one's objects: every route, every parameter. The answer is that for an object that does not
//! exist, nothing goes to an upstream, and nothing of the other tenant's changes.
//!
//! The same once more with the tenant predicate taken out of every query, so that row level security stands alone.

mod probes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use linkbroker::api::caller::Scope;
use linkbroker_sandbox::{GITHUB_TOKEN, NETLIFY_TOKEN};
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;
use uuid::Uuid;

use crate::world::{Answer, Description, Setup, Unguarded, World, text, until};
use probes::{Ask, NO_OBJECT, Objects, Own, PROBES, Probe, request};

/// The other tenant.
const OTHER: &str = "umbrella";

#[test]
fn every_parameter_that_names_an_object_has_a_probe() {
    let mut probed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for probe in PROBES {
        let parameters = probed.entry(probe.operation).or_default();
        parameters.extend(probe.parameters);
    }
    for (operation, mut parameters) in Description::get().operations_of_callers() {
        parameters.retain(|parameter| !NO_OBJECT.contains(parameter));
        let probed = probed.remove(operation);
        assert_eq!(probed.unwrap_or_default(), parameters, "{operation}");
    }
    assert_eq!(probed, BTreeMap::new(), "operations that are not there");
}

#[tokio::test]
async fn what_belongs_to_another_tenant_does_not_exist() {
    let stage = Stage::set(Setup::default()).await;
    assert_eq!(stage.leaks().await, Vec::<String>::new());
}

#[tokio::test]
async fn row_level_security_alone_hides_what_belongs_to_another_tenant() {
    let unguarded = Arc::<Unguarded>::default();
    let stage = Stage::set(without_predicate(unguarded.clone())).await;
    assert_eq!(stage.leaks().await, Vec::<String>::new());
    let rewritten: BTreeSet<_> = unguarded.rewritten().into_iter().collect();
    assert!(rewritten.len() >= 15, "{rewritten:#?}");
}

#[tokio::test]
async fn without_predicate_and_row_level_security_the_probes_do_find_leaks() {
    let stage = Stage::set(without_predicate(Arc::default())).await;
    let mut database = stage.world.database.owner().await;
    for table in [
        "connections",
        "links",
        "idempotency_keys",
        "resource_uses",
        "events",
        "preflights",
    ] {
        let off = format!("alter table {table} disable row level security");
        database
            .execute(sqlx::AssertSqlSafe(off))
            .await
            .expect("no row level security");
    }
    let leaks = stage.leaks().await;
    let by_id = PROBES.iter().filter(|probe| probe.missing);
    let by_name = ["listLinks", "createLink", "putLinkByRef"];
    for operation in by_id.map(|probe| probe.operation).chain(by_name) {
        let found = leaks.iter().any(|leak| leak.starts_with(operation));
        assert!(found, "{operation} does not leak: {leaks:#?}");
    }
}

fn without_predicate(unguarded: Arc<Unguarded>) -> Setup {
    Setup {
        tap: Some(unguarded),
        ..Setup::default()
    }
}

/// Two tenants, each with a live link.
struct Stage {
    world: World,
    foreign: Objects,
    absent: Objects,
}

impl Stage {
    async fn set(mut setup: Setup) -> Self {
        // Nothing but the probes touches the tenants.
        let idle = ("LINKBROKER_PATROL_IDLE_SECONDS", "3600".to_owned());
        setup.settings.push(idle);
        let world = World::with(setup).await;
        world.repository("secrets").await;
        let own = own(&world).await;
        let foreign = foreign(&world, &own).await;
        let absent = absent(&foreign);
        Self {
            world,
            foreign,
            absent,
        }
    }

    /// Where an answer, the sandbox or the other tenant's rows tell foreign objects from absent ones.
    async fn leaks(&self) -> Vec<String> {
        let calls = self.world.sandbox.calls().len();
        let rows = self.rows_of_the_other().await;
        let mut leaks = Vec::new();
        for probe in PROBES {
            let foreign = self.answer(probe, &self.foreign).await;
            let absent = self.answer(probe, &self.absent).await;
            if probe.missing {
                assert_eq!(absent.status, 404, "{}: {}", probe.operation, absent.text);
            }
            let (found, wanted) = (told(&foreign, &self.foreign), told(&absent, &self.absent));
            if found != wanted {
                leaks.push(format!("{}: {found} instead of {wanted}", probe.operation));
            }
        }
        let called = self.world.sandbox.calls().split_off(calls);
        leaks.extend(
            called
                .iter()
                .map(|call| format!("called {} {}", call.method, call.path)),
        );
        if self.rows_of_the_other().await != rows {
            leaks.push("the other tenant's rows have changed".to_owned());
        }
        leaks
    }

    async fn answer(&self, probe: &Probe, objects: &Objects) -> Answer {
        let Ask {
            method,
            path,
            body,
            key,
            bearer,
        } = (probe.ask)(objects);
        let client = match bearer {
            Some(token) => self
                .world
                .client
                .with_token(&self.world.server.address, Some(token)),
            None => self.world.client.clone(),
        };
        let is_header = probe.parameters.contains(&"Last-Event-ID");
        client
            .send(method, &path, |mut request| {
                if let Some(body) = &body {
                    request = request.json(body);
                }
                if let Some(key) = key {
                    request = request.header("idempotency-key", key);
                }
                if is_header {
                    request = request.header("last-event-id", &objects.event_cursor);
                }
                request
            })
            .await
    }

    /// All rows of the other tenant.
    async fn rows_of_the_other(&self) -> Value {
        self.world.database.dump_of(OTHER).await.into()
    }
}

async fn own(world: &World) -> Own {
    let mut request = crate::world::docs();
    request["site"]["name"] = json!("own-docs");
    let link = text(&world.client.link_settled(request).await["id"]);
    let path = format!("/links/{link}/status-tokens");
    let issued = world.client.send(Method::POST, &path, |request| request);
    let status_token = text(&issued.await.expect(201).body["token"]);
    Own { link, status_token }
}

async fn foreign(world: &World, own: &Own) -> Objects {
    let client = world.client_of(OTHER, Scope::ALL);
    let connection = world
        .connect_as(&client, "umbrella-netlify", "netlify", NETLIFY_TOKEN)
        .await;
    world
        .connect_as(&client, "umbrella-github", "github", GITHUB_TOKEN)
        .await;
    let mut it = Objects {
        link: String::new(),
        connection,
        preflight: String::new(),
        netlify: "umbrella-netlify".to_owned(),
        github: "umbrella-github".to_owned(),
        reference: "umbrella-secrets-ref".to_owned(),
        site: "umbrella-secrets-site".to_owned(),
        site_id: String::new(),
        repository: "acme/secrets".to_owned(),
        key: "umbrella-key".to_owned(),
        links_cursor: String::new(),
        connections_cursor: cursor("umbrella-netlify"),
        audit_cursor: String::new(),
        event_cursor: String::new(),
        own: own.clone(),
    };
    let asked = client.send(Method::POST, "/links", |sent| {
        sent.json(&request(&it)).header("idempotency-key", &it.key)
    });
    it.link = asked.await.expect(202).id();
    let settled = client.settled(&it.link).await;
    assert_eq!(settled["status"], "live", "{settled:#}");
    it.site_id = text(&settled["site"]["id"]);
    let connections = json!({"netlify": it.netlify, "provider": it.github});
    let asked =
        json!({"repository": "https://github.com/acme/secrets", "connections": connections});
    it.preflight = client.post("/preflights", asked).await.expect(202).id();
    let path = format!("/preflights/{}", it.preflight);
    until("its calls to be over", async || {
        let read = client.get(&path).await.expect(200).body;
        (read["state"] == "done").then_some(())
    })
    .await;
    it.links_cursor = cursor(&uuid_in(&it.link).to_string());
    let events = client
        .get(&format!("/links/{}/events", it.link))
        .await
        .expect(200);
    it.event_cursor = text(&events.body["next_cursor"]);
    let audit = client.get("/audit?limit=1").await.expect(200);
    it.audit_cursor = text(&audit.body["next_cursor"]);
    it
}

/// What could be there and is not: ids of the same moment, other names.
fn absent(of: &Objects) -> Objects {
    let other_cursor =
        |text: &str| cursor(&of_the_same_moment(uuid_of(&decoded(text))).to_string());
    let other_id = |text: &str| {
        let (kind, _) = text.split_once('_').expect("a prefix");
        format!("{kind}_{}", of_the_same_moment(uuid_in(text)).simple())
    };
    let event: i64 = decoded(&of.event_cursor)
        .parse()
        .expect("the number of an event");
    Objects {
        link: other_id(&of.link),
        connection: other_id(&of.connection),
        preflight: other_id(&of.preflight),
        netlify: "umbrella-nothing".to_owned(),
        github: "umbrella-nobody".to_owned(),
        reference: "umbrella-absence-ref".to_owned(),
        site: "umbrella-absence-site".to_owned(),
        site_id: Uuid::new_v4().to_string(),
        repository: "acme/absence".to_owned(),
        key: "umbrella-nokey".to_owned(),
        links_cursor: other_cursor(&of.links_cursor),
        connections_cursor: cursor("umbrella-nothing"),
        audit_cursor: other_cursor(&of.audit_cursor),
        event_cursor: cursor(&(event + 1_000_000).to_string()),
        own: of.own.clone(),
    }
}

fn cursor(item: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(item)
}

fn decoded(cursor: &str) -> String {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).expect("a cursor");
    String::from_utf8(bytes).expect("text")
}

fn uuid_of(text: &str) -> Uuid {
    text.parse().expect("a UUID")
}

fn uuid_in(id: &str) -> Uuid {
    uuid_of(id.split_once('_').expect("a prefix").1)
}

fn of_the_same_moment(id: Uuid) -> Uuid {
    let mut bytes = *id.as_bytes();
    bytes[8..].copy_from_slice(&Uuid::new_v4().as_bytes()[8..]);
    Uuid::from_bytes(bytes)
}

/// What an answer tells, but for the names that were in the request and for what is new with every request.
fn told(answer: &Answer, asked: &Objects) -> String {
    static NEW: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(lnk|con)_[0-9a-f]{32}|"request_id":"[^"]*"|\d{4}-\d\d-\d\dT[0-9:.]+Z|lbs_[^"]+"#,
        )
        .expect("a regular expression")
    });
    let mut text = answer.text.clone();
    for name in [
        &asked.netlify,
        &asked.github,
        &asked.reference,
        &asked.site,
        &asked.site_id,
        &asked.repository,
        &asked.event_cursor,
    ] {
        text = text.replace(name.as_str(), "…");
    }
    let text = NEW.replace_all(&text, "…");
    let replayed = answer.header("idempotency-replayed");
    format!("{} {text} {replayed:?}", answer.status)
}
