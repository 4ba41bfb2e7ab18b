//! What following builds costs: 480 builds that end within a minute in one team, and five thousand links of which nothing runs.

use std::time::Duration;

use linkbroker_sandbox::{
    netlify::Site,
    recorder::{Call, Upstream},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::time::{Instant, interval};
use uuid::Uuid;

use crate::{
    Line,
    world::{Setup, World, docs, text, unix_ms},
};

const BUILDS: usize = 480;
const LINKS: usize = 48;
const IDLE: usize = 5_000;
const IDLE_MINUTES: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);

pub async fn run() -> anyhow::Result<Vec<Line>> {
    let mut lines = busy("without notifications", Vec::new()).await?;
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let public = vec![
        ("LINKBROKER_LISTEN", free.to_string()),
        ("LINKBROKER_PUBLIC_URL", format!("http://{free}")),
    ];
    lines.extend(busy("with notifications", public).await?);
    Ok(lines)
}

async fn world(mut settings: Vec<(&'static str, String)>) -> World {
    // As they are by default; the tests' world is quicker.
    settings.extend([
        ("LINKBROKER_WATCH_MIN_MS", "2000".to_owned()),
        ("LINKBROKER_WATCH_MAX_MS", "15000".to_owned()),
        ("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "0".to_owned()),
        ("LINKBROKER_LOG", "info".to_owned()),
    ]);
    World::with(Setup {
        settings,
        switches: json!({
            "netlify": {"pretend_builds": true, "concurrent_builds": 400, "key_stock": LINKS},
            // The pushes are replayed by people, who share no limit with linkbroker.
            "github": {"limits": {"content_per_minute": 100_000, "content_per_hour": 100_000}},
        }),
        ..Setup::default()
    })
    .await
}

/// Pushes replayed evenly over a minute: each is a build of twenty seconds, and none is a call with the token.
async fn busy(how: &str, settings: Vec<(&'static str, String)>) -> anyhow::Result<Vec<Line>> {
    let world = world(settings).await;
    let links = link_many(&world).await?;
    let state = world.state();
    let repositories = state["github"]["repositories"].as_array().cloned();
    let hook = |repository: &Value| {
        let id = &repository["hooks"][0]["id"];
        let path = format!("/repos/{}/hooks/{id}/tests", text(&repository["full_name"]));
        (!id.is_null()).then_some(path)
    };
    let hooks: Vec<_> = repositories.iter().flatten().filter_map(hook).collect();
    let before = world.sandbox.calls().len();
    let mut ticks = interval(MINUTE / u32::try_from(BUILDS)?);
    for number in 0..BUILDS {
        ticks.tick().await;
        world
            .github(Method::POST, &hooks[number % hooks.len()], None)
            .await;
    }
    let known = known(&world, &links).await;
    let calls = of(&world, before, Upstream::Netlify);
    let lag = unix_ms() / 1000.0 - last_end(&world);
    let refused = calls.iter().filter(|call| call.status == Some(429)).count();
    let line = |what: &str, value: String| Line::new(format!("{how}: {what}"), value);
    Ok(vec![
        line(
            "builds of one team that end, and that are known to have ended",
            format!("{}, {known}", ended(&world)),
        ),
        line("ends within", format!("{:.0} s", ends_within(&world))),
        line("all known", format!("{lag:.0} s after the last end")),
        line(
            "calls to Netlify for each build",
            format!("{:.2}", calls.len() as f64 / BUILDS as f64),
        ),
        line(
            "most calls in a minute",
            most_in_a_minute(&calls).to_string(),
        ),
        line("refused for the rate limit", refused.to_string()),
    ])
}

/// Live links, each with a repository of its own. The token's limit is in force from then on.
async fn link_many(world: &World) -> anyhow::Result<Vec<Value>> {
    let unlimited = json!({"netlify": {"rate_limit_per_minute": 100_000}});
    world.sandbox.patch_switches(&unlimited)?;
    let mut ids = Vec::new();
    for number in 0..LINKS {
        let name = format!("site-{number}");
        world.repository(&name).await;
        let mut request = docs();
        request["repository"] = json!(format!("https://github.com/acme/{name}"));
        request["site"]["name"] = json!(format!("acme-{name}"));
        request["verify"] = json!("build");
        ids.push(world.client.link(request).await);
    }
    let mut links = Vec::new();
    for id in &ids {
        let link = world.client.settled_at_last(id).await;
        anyhow::ensure!(link["status"] == "live", "a link is not live: {link:#}");
        links.push(link);
    }
    let slow = json!({"netlify": {"rate_limit_per_minute": 500, "times": {"building_ms": 20_000}}});
    world.sandbox.patch_switches(&slow)?;
    Ok(links)
}

/// Waits until the history of all links has all of the builds, or nothing is to be hoped for any more; how many it has.
async fn known(world: &World, links: &[Value]) -> usize {
    let deadline = Instant::now() + 5 * MINUTE;
    loop {
        let mut over = 0;
        for link in links {
            let path = format!("/links/{}/builds?limit=100", text(&link["id"]));
            let page = world.client.get(&path).await.expect(200).body;
            let builds = page["builds"].as_array().cloned().unwrap_or_default();
            over += builds.iter().filter(|it| it["outcome"] == "ready").count();
        }
        // The first builds of the links are none of them.
        let known = over.saturating_sub(LINKS);
        if known >= BUILDS || Instant::now() > deadline {
            return known;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// When the pushed builds ended, as Unix time in seconds, the first one first.
fn ends(world: &World) -> Vec<f64> {
    let netlify = world.sandbox.world().netlify.lock();
    let mut ends: Vec<_> = netlify
        .deploys
        .values()
        .filter(|deploy| deploy.state.is_final() && deploy.cause.source == "git")
        .map(|deploy| deploy.updated_at.unix_timestamp_nanos() as f64 / 1e9)
        .collect();
    ends.sort_by(f64::total_cmp);
    ends
}

fn ended(world: &World) -> usize {
    ends(world).len()
}

fn ends_within(world: &World) -> f64 {
    let ends = ends(world);
    let span = ends.first().zip(ends.last());
    span.map_or(0.0, |(first, last)| last - first)
}

fn last_end(world: &World) -> f64 {
    ends(world).last().copied().unwrap_or_default()
}

/// A live link and its site copied: links and sites that are all as they were left, and all due to be looked at.
pub async fn idle() -> anyhow::Result<Vec<Line>> {
    let world = world(Vec::new()).await;
    let mut request = docs();
    request["verify"] = json!("build");
    let link = world.client.link_settled(request).await;
    let sites = copy_site(&world, &text(&link["site"]["id"]), IDLE - 1);
    copy_link(&mut world.database.connection().await, &sites).await?;
    // One minute to come into step.
    tokio::time::sleep(MINUTE).await;
    let before = world.sandbox.calls().len();
    tokio::time::sleep(MINUTE * u32::try_from(IDLE_MINUTES)?).await;
    let calls = of(&world, before, Upstream::Netlify);
    let about = |what: &str| calls.iter().filter(|call| call.path.contains(what)).count();
    let a_minute = |calls: usize| format!("{:.1}", calls as f64 / IDLE_MINUTES as f64);
    let links = format!("{IDLE} links of which nothing runs");
    Ok(vec![
        Line::new(
            format!("{links}: calls to Netlify a minute"),
            a_minute(calls.len()),
        ),
        Line::new(
            format!("{links}: most calls in a minute"),
            most_in_a_minute(&calls).to_string(),
        ),
        Line::new(
            format!("{links}: of them for running builds, for lists of builds"),
            format!(
                "{}, {}",
                a_minute(about("/builds/status")),
                a_minute(about("/deploys"))
            ),
        ),
        Line::new(
            format!("{links}: calls to GitHub a minute"),
            a_minute(of(&world, before, Upstream::Github).len()),
        ),
    ])
}

fn copy_site(world: &World, of: &str, copies: usize) -> Vec<String> {
    let mut netlify = world.sandbox.world().netlify.lock();
    let made: Vec<_> = {
        let first = &netlify.sites[of];
        let copy = |_| {
            let id = Uuid::new_v4().to_string();
            Site {
                name: id.clone(),
                own_hook: id.clone(),
                id,
                account_id: first.account_id.clone(),
                user_id: first.user_id.clone(),
                created_at: first.created_at,
                updated_at: first.updated_at,
                repo: first.repo.clone(),
                announced: None,
                published: None,
                metadata: first.metadata.clone(),
                settings: first.settings.clone(),
            }
        };
        (0..copies).map(copy).collect()
    };
    let ids = made.iter().map(|site| site.id.clone()).collect();
    netlify
        .sites
        .extend(made.into_iter().map(|site| (site.id.clone(), site)));
    ids
}

/// The only link, once more for each of the sites.
async fn copy_link(db: &mut PgConnection, sites: &[String]) -> anyhow::Result<()> {
    let copies = "with copies as (
            insert into links (id, tenant, spec, labels, netlify_connection, provider_connection, status, created_by, facts,
                               next_run_at, live_at, fence)
            select gen_random_uuid(), tenant, jsonb_set(spec, '{site,name}', to_jsonb(site)), labels, netlify_connection,
                   provider_connection, status, created_by, jsonb_set(facts, '{site,id}', to_jsonb(site)), null, live_at, fence
            from links, unnest($1::text[]) site returning id, tenant, netlify_connection, facts),
        runs as (
            insert into step_runs (link_id, tenant, step, state, started_at, finished_at)
            select c.id, c.tenant, s.step, s.state, s.started_at, s.finished_at from copies c, step_runs s),
        looks as (
            insert into inspections (link_id, tenant, connection, due_at)
            select id, tenant, netlify_connection, now() from copies)
        insert into watches (link_id, tenant, connection_id, team, site_id, listed_at)
        select c.id, c.tenant, c.netlify_connection, w.team, c.facts -> 'site' ->> 'id', now() - interval '1 day'
        from copies c, watches w";
    sqlx::query(copies).bind(sites).execute(db).await?;
    Ok(())
}

fn of(world: &World, since: usize, upstream: Upstream) -> Vec<Call> {
    let mut calls = world.sandbox.calls().split_off(since);
    calls.retain(|call| call.upstream == upstream);
    calls
}

fn most_in_a_minute(calls: &[Call]) -> usize {
    let within = |first: &Call| {
        let until = first.started_ms + MINUTE.as_secs_f64() * 1000.0;
        let in_it = |call: &&Call| (first.started_ms..until).contains(&call.started_ms);
        calls.iter().filter(in_it).count()
    };
    calls.iter().map(within).max().unwrap_or_default()
}
