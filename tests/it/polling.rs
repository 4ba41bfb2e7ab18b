//! Reading links: versions, pages, filters, and what a settled link does not do.

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Connection;

use crate::checking_connections::connection;
use crate::world::{World, docs, text, until};

#[tokio::test]
async fn a_link_is_read_anew_only_when_it_has_changed() {
    let world = World::usual().await;
    let accepted = world.client.post("/links", docs()).await.expect(202);
    let id = accepted.id();
    assert_eq!(
        accepted.header("location"),
        Some(format!("/links/{id}").as_str())
    );
    assert_eq!(
        accepted.header("etag"),
        Some(format!("\"{}\"", accepted.body["version"]).as_str())
    );
    assert_eq!(accepted.header("retry-after"), Some("1"));
    assert_eq!(accepted.body["status"], "queued");
    assert!(
        accepted.body["poll_after_ms"]
            .as_u64()
            .is_some_and(|pause| pause > 0)
    );

    let settled = world.client.settled(&id).await;
    assert!(settled["version"].as_i64() > accepted.body["version"].as_i64());
    let path = format!("/links/{id}");
    let read = world.client.get(&path).await.expect(200);
    assert_eq!(read.header("retry-after"), None);
    let etag = read.header("etag").expect("an ETag").to_owned();
    for known in [etag.clone(), format!("W/{etag}")] {
        let again = world.client.send(Method::GET, &path, |request| {
            request.header("if-none-match", known)
        });
        let again = again.await.expect(304);
        assert_eq!(again.header("etag"), Some(etag.as_str()));
    }
    let stale = world.client.send(Method::GET, &path, |request| {
        request.header("if-none-match", "\"1\"")
    });
    stale.await.expect(200);
}

#[tokio::test]
async fn versions_only_grow_while_a_link_is_set_up() {
    let world = World::usual().await;
    let id = world.client.link(docs()).await;
    let mut versions = Vec::new();
    loop {
        let link = world.client.read(&id).await;
        versions.push(link["version"].as_i64().expect("a version"));
        if link.get("poll_after_ms").is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(versions.is_sorted(), "{versions:?}");
    assert!(versions.last() > versions.first(), "{versions:?}");
}

#[tokio::test]
async fn a_reader_who_waits_sees_a_change_of_which_nobody_lived_to_tell() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let version = link["version"].as_i64().expect("a version");
    let path = format!("/links/{}?wait=25&after={version}", text(&link["id"]));
    let waiting = world.client.get(&path);
    let change = async {
        world.has_a_waiting_reader().await;
        let mut database = world.database.connection().await;
        let silently = sqlx::query("update links set version = version + 1");
        silently.execute(&mut database).await.expect("a change");
    };
    let (told, ()) = tokio::join!(waiting, change);
    assert_eq!(told.expect(200).body["version"], version + 1);
}

#[tokio::test]
async fn links_are_listed_in_pages_newest_first() {
    let world = World::usual().await;
    let mut made = Vec::new();
    for at in 0..5 {
        // None of these exists: they settle at once and make nothing.
        let repository = format!("https://github.com/acme/none-{at}");
        let labels = json!({"at": at.to_string()});
        let request = json!({"repository": repository, "ref": format!("ref-{at}"), "site": {"name": format!("site-{at}")}, "labels": labels});
        made.insert(0, world.client.link(request).await);
    }
    for id in &made {
        world.client.settled(id).await;
    }
    let mut listed = Vec::new();
    let mut path = "/links?limit=2".to_owned();
    loop {
        let page = world.client.get(&path).await.expect(200).body;
        let ids = ids(&page);
        assert!((1..=2).contains(&ids.len()), "{ids:?}");
        listed.extend(ids);
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/links?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(listed, made);

    for (query, expected) in [
        ("ref=ref-3", vec![made[1].clone()]),
        ("site=site-0", vec![made[4].clone()]),
        ("status=failed", made.clone()),
        ("status=live", Vec::new()),
        ("ref=ref-3&site=site-0", Vec::new()),
    ] {
        let page = world
            .client
            .get(&format!("/links?{query}"))
            .await
            .expect(200)
            .body;
        assert_eq!(ids(&page), expected, "{query}");
    }
}

fn ids(page: &Value) -> Vec<String> {
    let links = page["links"].as_array().expect("links");
    links.iter().map(|link| text(&link["id"])).collect()
}

#[tokio::test]
async fn connections_are_listed_in_pages_by_name() {
    let world = World::empty(Default::default()).await;
    for name in ["c", "a", "b"] {
        let credential = json!({"type": "token", "token": "token"});
        let connection = json!({"name": name, "kind": "github", "credential": credential});
        world
            .client
            .post("/connections", connection)
            .await
            .expect(201);
    }
    let first = world
        .client
        .get("/connections?limit=2")
        .await
        .expect(200)
        .body;
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let second = world
        .client
        .get(&format!("/connections?limit=2&cursor={cursor}"))
        .await
        .expect(200)
        .body;
    let pages = [&first, &second].map(|page| page["connections"].as_array().expect("connections"));
    let names: Vec<_> = pages
        .into_iter()
        .flatten()
        .map(|connection| text(&connection["name"]))
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(second.get("next_cursor").is_none());
}

#[tokio::test]
async fn a_second_link_with_the_same_ref_or_site_is_sent_to_the_first() {
    let world = World::usual().await;
    let mut request = docs();
    request["ref"] = json!("the-docs");
    let first = world.client.link(request.clone()).await;
    let place = format!("/links/{first}");

    let mut same_ref = request.clone();
    same_ref["site"]["name"] = json!("another-site");
    let mut same_site = request.clone();
    same_site["ref"] = json!("another-ref");
    for again in [request.clone(), same_ref, same_site] {
        let refused = world.client.post("/links", again).await.expect(409);
        assert_eq!(refused.code(), "link_exists");
        assert_eq!(refused.header("location"), Some(place.as_str()));
    }
    let link = world.client.settled(&first).await;
    assert_eq!(link["status"], "live", "{link:#}");
    assert_eq!(
        ids(&world.client.get("/links").await.expect(200).body),
        std::slice::from_ref(&first)
    );

    // Once it is over, both names are free again.
    world.client.unlink(&first, "").await;
    let second = world.client.link_settled(request).await;
    assert_eq!(second["status"], "live", "{second:#}");
}

#[tokio::test]
async fn only_a_link_that_stands_still_can_be_tried_again() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let retry = format!("/links/{}/retry", text(&link["id"]));
    let refused = world
        .client
        .send(Method::POST, &retry, |request| request)
        .await
        .expect(409);
    assert_eq!(refused.code(), "illegal_transition");
    let read = world.client.read(&text(&link["id"])).await;
    assert_eq!(read, link);

    world.client.unlink(&text(&link["id"]), "").await;
    let refused = world
        .client
        .send(Method::POST, &retry, |request| request)
        .await
        .expect(409);
    assert_eq!(refused.code(), "illegal_transition");
}

#[tokio::test]
async fn a_connection_in_use_stays_until_its_links_are_over() {
    let world = World::usual().await;
    let link = world.client.link_settled(docs()).await;
    let connections = world.client.get("/connections").await.expect(200).body;
    for connection in connections["connections"].as_array().expect("connections") {
        let path = format!("/connections/{}", text(&connection["id"]));
        let refused = world.client.delete(&path).await.expect(409);
        assert_eq!(refused.code(), "connection_in_use");
    }
    world.client.unlink(&text(&link["id"]), "").await;
    for connection in connections["connections"].as_array().expect("connections") {
        let path = format!("/connections/{}", text(&connection["id"]));
        world.client.delete(&path).await.expect(204);
        world.client.delete(&path).await.expect(404);
    }
    // The link can still be read, with the names of the connections that it was made with.
    let over = world.client.read(&text(&link["id"])).await;
    assert_eq!(
        over["request"]["connections"],
        link["request"]["connections"]
    );
}

#[tokio::test]
async fn a_connection_that_a_link_is_just_being_made_with_is_in_use() {
    let world = World::usual().await;
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&github["id"]));
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table links in share mode");
    hold.execute(&mut *held).await.expect("no new links");
    let client = world.client.clone();
    let making = tokio::spawn(async move { client.post("/links", docs()).await });
    let database = &world.database;
    until("the link to have its connections", async || {
        (database.waiting("insert into links%").await == 1).then_some(())
    })
    .await;
    let client = world.client.clone();
    let deleting = tokio::spawn(async move { client.delete(&path).await });
    until("the connection to be asked for", async || {
        let waits = database.waiting("%from connections%for update").await == 1;
        (waits || deleting.is_finished()).then_some(())
    })
    .await;
    held.rollback().await.expect("links again");

    let made = making.await.expect("an answer").expect(202);
    let refused = deleting.await.expect("an answer").expect(409);
    assert_eq!(refused.code(), "connection_in_use");
    let link = world.client.settled(&made.id()).await;
    assert_eq!(link["status"], "live", "{link:#}");
    let unlinked = world.client.unlink(&made.id(), "").await;
    assert_eq!(unlinked["status"], "unlinked", "{unlinked:#}");
}

#[tokio::test]
async fn a_link_asked_for_while_its_connection_is_being_deleted_is_refused() {
    let world = World::usual().await;
    let github = connection(&world.client, "github").await;
    let path = format!("/connections/{}", text(&github["id"]));
    let mut owner = world.database.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    let hold = sqlx::query("lock table audit in share mode");
    hold.execute(&mut *held).await.expect("no new entries");
    let client = world.client.clone();
    let deleting = tokio::spawn(async move { client.delete(&path).await });
    let database = &world.database;
    until("the connection to be nearly deleted", async || {
        (database.waiting("insert into audit%").await == 1).then_some(())
    })
    .await;
    let client = world.client.clone();
    let posted = tokio::spawn(async move { client.post("/links", docs()).await });
    let client = world.client.clone();
    let mut other = docs();
    other["site"]["name"] = json!("acme-other");
    let put = tokio::spawn(async move {
        let path = "/links/by-ref/other";
        let put = client.send(Method::PUT, path, |request| request.json(&other));
        put.await
    });
    until("both links to wait", async || {
        (database.waiting("%").await == 3).then_some(())
    })
    .await;
    held.rollback().await.expect("entries again");

    deleting.await.expect("an answer").expect(204);
    for asked in [posted, put] {
        let refused = asked.await.expect("an answer").expect(422);
        assert_eq!(
            refused.body["errors"][0]["pointer"],
            "/connections/provider"
        );
    }
}
