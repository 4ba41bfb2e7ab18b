//! What following builds costs: 480 builds that end within a minute in one team, and five thousand links of which nothing runs.

use std::time::Duration;

use linkbroker_sandbox::recorder::{Call, Upstream};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::{
    Line,
    world::{Setup, World, docs, text, until},
};

const BUILDS: usize = 480;
const LINKS: usize = 12;
const IDLE: i32 = 5_000;
const MINUTE: Duration = Duration::from_secs(60);

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let mut lines = busy().await?;
    lines.extend(idle().await?);
    Ok(lines)
}

async fn world() -> World {
    World::with(Setup {
        // As they are by default; the tests' world is quicker.
        settings: vec![
            ("LINKBROKER_WATCH_MIN_MS", "2000".to_owned()),
            ("LINKBROKER_WATCH_MAX_MS", "15000".to_owned()),
        ],
        switches: json!({"netlify": {"pretend_builds": true, "concurrent_builds": 40, "key_stock": LINKS}}),
        ..Setup::default()
    })
    .await
}

/// Pushes replayed evenly over a minute: each is a build, and none is a call with the token.
async fn busy() -> anyhow::Result<Vec<Line>> {
    let world = world().await;
    let mut links = Vec::new();
    for number in 0..LINKS {
        let name = format!("site-{number}");
        world.repository(&name).await;
        let mut request = docs();
        request["repository"] = json!(format!("https://github.com/acme/{name}"));
        request["site"]["name"] = json!(format!("acme-{name}"));
        request["verify"] = json!("build");
        links.push(world.client.link_settled(request).await);
    }
    let state = world.state();
    let repositories = state["github"]["repositories"].as_array().cloned();
    let hook = |repository: &Value| {
        let id = &repository["hooks"][0]["id"];
        let path = format!("/repos/{}/hooks/{id}/tests", text(&repository["full_name"]));
        (!id.is_null()).then_some(path)
    };
    let hooks: Vec<_> = repositories.iter().flatten().filter_map(hook).collect();
    let before = world.sandbox.calls().len();
    let started = Instant::now();
    let mut ticks = interval(MINUTE / u32::try_from(BUILDS)?);
    for number in 0..BUILDS {
        ticks.tick().await;
        world
            .github(Method::POST, &hooks[number % hooks.len()], None)
            .await;
    }
    let pushed = started.elapsed();
    known(&world, &links).await;
    let calls: Vec<_> = of_netlify(&world, before).collect();
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    Ok(vec![
        Line::new(
            "builds of one team, pushed",
            format!("{BUILDS} in {:.0} s", pushed.as_secs_f64()),
        ),
        Line::new(
            "all known to be over",
            format!(
                "{:.0} s after the last push",
                (started.elapsed() - pushed).as_secs_f64()
            ),
        ),
        Line::new(
            "reads per build",
            format!("{:.2}", calls.len() as f64 / BUILDS as f64),
        ),
        Line::new("refused for the rate limit", refused.to_string()),
    ])
}

/// Waits until the history of all links has all of the builds.
async fn known(world: &World, links: &[Value]) {
    let deadline = Instant::now() + 5 * MINUTE;
    loop {
        let mut over = 0;
        for link in links {
            let path = format!("/links/{}/builds?limit=100", text(&link["id"]));
            let page = world.client.get(&path).await.expect(200).body;
            let builds = page["builds"].as_array().cloned().unwrap_or_default();
            over += builds.iter().filter(|it| it["outcome"] == "ready").count();
        }
        if over >= BUILDS + LINKS || Instant::now() > deadline {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The first link copied in the database: the copies' sites are strange to Netlify, which costs as much as if they were not.
async fn idle() -> anyhow::Result<Vec<Line>> {
    let world = world().await;
    let mut request = docs();
    request["verify"] = json!("build");
    world.client.link_settled(request).await;
    let copies = "with copies as (
            insert into links (id, tenant, spec, labels, netlify_connection, provider_connection, status, created_by, facts, next_run_at)
            select gen_random_uuid(), tenant, jsonb_set(spec, '{site,name}', to_jsonb(gen_random_uuid())), labels, netlify_connection,
                   provider_connection, status, created_by, facts, null
            from links, generate_series(1, $1) returning id, tenant, netlify_connection)
        insert into watches (link_id, tenant, connection_id, team, site_id)
        select c.id, c.tenant, c.netlify_connection, w.team, gen_random_uuid()::text from copies c, watches w";
    let mut db = world.database.connection().await;
    sqlx::query(copies).bind(IDLE - 1).execute(&mut db).await?;
    // The first idle patrol after the copies begins the minute.
    let before = world.sandbox.calls().len();
    until_long(&world, before, 1).await;
    let began = world.sandbox.calls().len();
    tokio::time::sleep(3 * MINUTE).await;
    let calls = of_netlify(&world, began).count();
    Ok(vec![Line::new(
        format!("calls a minute for {IDLE} links of which nothing runs"),
        format!("{:.1}", calls as f64 / 3.0),
    )])
}

async fn until_long(world: &World, since: usize, calls: usize) {
    for _ in 0..8 {
        let seen = of_netlify(world, since).count();
        if seen >= calls {
            return;
        }
        tokio::time::sleep(MINUTE / 4).await;
    }
    until("a patrol", async || {
        (of_netlify(world, since).count() >= calls).then_some(())
    })
    .await;
}

fn of_netlify(world: &World, since: usize) -> impl Iterator<Item = Call> {
    let calls = world.sandbox.calls().split_off(since);
    calls
        .into_iter()
        .filter(|call| call.upstream == Upstream::Netlify)
}
