//! Table `builds`: the history of each link's builds. What has ended stays as it is.

use serde_json::json;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    StoreError,
    events::{self, NewEvent},
};
use crate::link::{
    builds::SeenBuild,
    facts::{Build, Deploy},
    failure::Failure,
};

/// Newest builds that a worker looks at.
const RECENT: i64 = 12;

/// Where a page of builds ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// When the last one was started.
    pub created_at: OffsetDateTime,
    /// Its deploy.
    pub deploy_id: String,
}

impl From<&SeenBuild> for Before {
    fn from(seen: &SeenBuild) -> Self {
        Self {
            created_at: seen.created_at.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            deploy_id: seen.build.deploy_id.clone(),
        }
    }
}

impl std::fmt::Display for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}",
            self.created_at.unix_timestamp_nanos(),
            self.deploy_id
        )
    }
}

impl std::str::FromStr for Before {
    type Err = MalformedBefore;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (nanoseconds, deploy_id) = text.split_once(' ').ok_or(MalformedBefore)?;
        let nanoseconds = nanoseconds.parse().map_err(|_| MalformedBefore)?;
        let created_at = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
        Ok(Self {
            created_at: created_at.map_err(|_| MalformedBefore)?,
            deploy_id: deploy_id.to_owned(),
        })
    }
}

/// A text that no page has ended with.
#[derive(Debug, thiserror::Error)]
#[error("no place in a history of builds")]
pub struct MalformedBefore;

/// Takes over how a build stands; tells whether that was news. One that was seen to end before can only get the reason why.
pub async fn record(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    seen: &SeenBuild,
) -> Result<bool, StoreError> {
    let row = sqlx::query!(
        r#"with known as (select finished_at is not null as is_over from builds where link_id = $1 and deploy_id = $2)
           insert into builds as b (link_id, deploy_id, tenant, build_id, outcome, deploy, ahead, created_at, finished_at, failure, log_tail)
           values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, now()), case when $9 then now() end, $10, $11)
           on conflict (link_id, deploy_id) do update set
               outcome = excluded.outcome, deploy = coalesce(excluded.deploy, b.deploy), ahead = excluded.ahead,
               created_at = coalesce($8, b.created_at), finished_at = coalesce(b.finished_at, excluded.finished_at),
               failure = excluded.failure, log_tail = excluded.log_tail
               where b.finished_at is null or (b.failure is null and excluded.failure is not null and excluded.finished_at is not null)
           returning (select is_over from known) as was_over"#,
        link,
        seen.build.deploy_id,
        tenant,
        seen.build.id,
        seen.outcome.as_str(),
        seen.deploy.as_ref().map(Json) as _,
        seen.ahead.map(i64::from).map(|ahead| i32::try_from(ahead).unwrap_or(i32::MAX)),
        seen.created_at,
        seen.outcome.is_over(),
        seen.failure.as_ref().map(Json) as _,
        &seen.log_tail
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return Ok(false) };
    events::append(db, link, tenant, &news(seen, row.was_over)).await?;
    Ok(true)
}

/// `was_over`: whether it was over before; nothing when it was not known.
fn news(seen: &SeenBuild, was_over: Option<bool>) -> Vec<NewEvent> {
    let deploy = seen.deploy.as_ref();
    let about = json!({
        "build_id": seen.build.id, "deploy_id": seen.build.deploy_id,
        "branch": deploy.and_then(|it| it.branch.as_ref()), "commit_ref": seen.commit(),
    });
    let started = was_over.is_none().then(|| NewEvent {
        kind: "build.started",
        detail: about.clone(),
    });
    let ends = seen.outcome.is_over() && was_over != Some(true);
    let finished = ends.then(|| {
        let mut detail = about.clone();
        detail["outcome"] = json!(seen.outcome);
        detail["code"] = json!(seen.failure.as_ref().map(|failure| failure.code));
        NewEvent {
            kind: "build.finished",
            detail,
        }
    });
    started.into_iter().chain(finished).collect()
}

/// Notes a build that Netlify says has begun; tells whether it was new.
pub async fn begun(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    build: &Build,
) -> Result<bool, StoreError> {
    let inserted = sqlx::query!(
        "insert into builds (link_id, deploy_id, tenant, build_id) values ($1, $2, $3, $4) on conflict do nothing",
        link,
        build.deploy_id,
        tenant,
        build.id
    )
    .execute(&mut *db)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let seen = SeenBuild::unseen(build.clone());
    events::append(db, link, tenant, &news(&seen, None)).await?;
    Ok(true)
}

/// Notes that Netlify says of a build that it is over, unless that is known; tells whether somebody has to read it.
pub async fn hint(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    build: &Build,
) -> Result<bool, StoreError> {
    let noted = sqlx::query!(
        "insert into builds as b (link_id, deploy_id, tenant, build_id, hinted) values ($1, $2, $3, $4, true)
         on conflict (link_id, deploy_id) do update set hinted = true where b.finished_at is null and not b.hinted",
        link,
        build.deploy_id,
        tenant,
        build.id
    )
    .execute(db)
    .await?;
    Ok(noted.rows_affected() > 0)
}

/// The newest builds of a link, newest first.
pub async fn recent(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
) -> Result<Vec<SeenBuild>, StoreError> {
    page(db, tenant, link, None, RECENT).await
}

/// The builds of a link that are older than `before`, newest first.
pub async fn page(
    db: &mut PgConnection,
    tenant: &str,
    link: Uuid,
    before: Option<&Before>,
    limit: i64,
) -> Result<Vec<SeenBuild>, StoreError> {
    let (created_at, deploy_id) = before
        .map(|before| (before.created_at, before.deploy_id.as_str()))
        .unzip();
    let rows = sqlx::query_as!(
        Row,
        r#"select link_id, deploy_id, build_id, outcome, deploy as "deploy: Json<Deploy>", ahead, created_at, finished_at,
                  failure as "failure: Json<Failure>", log_tail, hinted, false as "notified!"
           from builds
           where tenant = $5 and link_id = $1 and ($2::timestamptz is null or (created_at, deploy_id) < ($2, $3))
           order by created_at desc, deploy_id desc limit $4"#,
        link,
        created_at,
        deploy_id,
        limit,
        tenant
    )
    .fetch_all(db)
    .await?;
    rows.into_iter().map(Row::seen).collect()
}

/// A build that somebody follows, with the link that it belongs to.
#[derive(Debug, Clone)]
pub struct Followed {
    /// The link.
    pub link: Uuid,
    /// The build.
    pub seen: SeenBuild,
    /// Whether a notification says that it is over.
    pub hinted: bool,
    /// Whether Netlify tells us of the site's builds.
    pub notified: bool,
}

/// The builds that are not over, of all links that a patrol follows. Hints count as heeded from here on: what is told while the
/// patrol reads is a hint for the next one.
pub async fn take_unfinished(
    db: &mut PgConnection,
    connection: Uuid,
    team: &str,
) -> Result<Vec<Followed>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"with heeded as (
               update builds b set hinted = false from watches w
               where w.link_id = b.link_id and w.connection_id = $1 and w.team = $2 and b.finished_at is null and b.hinted
           )
           select b.link_id, b.deploy_id, b.build_id, b.outcome, b.deploy as "deploy: Json<Deploy>", b.ahead, b.created_at,
                  b.finished_at, b.failure as "failure: Json<Failure>", b.log_tail, b.hinted, w.notified
           from builds b join watches w using (link_id)
           where w.connection_id = $1 and w.team = $2 and b.finished_at is null
           order by b.created_at"#,
        connection,
        team
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Followed {
                link: row.link_id,
                hinted: row.hinted,
                notified: row.notified,
                seen: row.seen()?,
            })
        })
        .collect()
}

/// Of these deploys, those that are known to be over.
pub async fn over(
    db: &mut PgConnection,
    link: Uuid,
    deploys: &[String],
) -> Result<Vec<String>, StoreError> {
    let over = sqlx::query_scalar!(
        "select deploy_id from builds where link_id = $1 and deploy_id = any($2) and finished_at is not null",
        link,
        deploys
    )
    .fetch_all(db)
    .await?;
    Ok(over)
}

/// How long builds of these links take that end well: the median of the last few, in seconds.
pub async fn usual_seconds(
    db: &mut PgConnection,
    links: &[Uuid],
) -> Result<Vec<(Uuid, f64)>, StoreError> {
    let rows = sqlx::query!(
        r#"select link_id as "link_id!", percentile_cont(0.5) within group (order by seconds) as "seconds!"
           from unnest($1::uuid[]) as asked (link_id) cross join lateral (
               select extract(epoch from b.finished_at - b.created_at)::float8 as seconds from builds b
               where b.link_id = asked.link_id and b.outcome = 'ready' and b.finished_at > b.created_at
               order by b.created_at desc limit 5
           ) as last group by link_id"#,
        links
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.link_id, row.seconds))
        .collect())
}

/// A row as it is read.
struct Row {
    link_id: Uuid,
    deploy_id: String,
    build_id: String,
    outcome: String,
    deploy: Option<Json<Deploy>>,
    ahead: Option<i32>,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
    failure: Option<Json<Failure>>,
    log_tail: Vec<String>,
    hinted: bool,
    notified: bool,
}

impl Row {
    fn seen(self) -> Result<SeenBuild, StoreError> {
        Ok(SeenBuild {
            build: Build {
                id: self.build_id,
                deploy_id: self.deploy_id,
            },
            outcome: self.outcome.parse()?,
            deploy: self.deploy.map(|json| json.0),
            ahead: self.ahead.and_then(|ahead| ahead.try_into().ok()),
            created_at: Some(self.created_at),
            finished_at: self.finished_at,
            failure: self.failure.map(|json| json.0),
            log_tail: self.log_tail,
        })
    }
}
