//! Table `watches`: links whose sites' builds are followed.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::StoreError;

/// A link that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The link.
    pub link: Uuid,
    /// Netlify's id of its site.
    pub site: String,
    /// Whether Netlify tells us of its builds.
    pub notified: bool,
}

/// A site in a team, seen by a connection.
#[derive(Debug)]
pub struct NewWatch<'a> {
    /// The link.
    pub link: Uuid,
    /// Who owns it.
    pub tenant: &'a str,
    /// The connection to Netlify.
    pub connection: Uuid,
    /// Slug of the team.
    pub team: &'a str,
    /// Netlify's id of the site.
    pub site: &'a str,
    /// Whether Netlify tells us of its builds.
    pub notified: bool,
}

/// Begins to follow the builds of a link's site, or goes on. Nobody has told of those that ended before Netlify was asked to tell:
/// the site's list, read after that, has them.
pub async fn begin(db: &mut PgConnection, new: &NewWatch<'_>) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into watches as w (link_id, tenant, connection_id, team, site_id, notified, listed_at)
         values ($1, $2, $3, $4, $5, $6, case when $6 then '-infinity' else now() end)
         on conflict (link_id) do update set notified = excluded.notified, listed_at = excluded.listed_at
         where w.notified <> excluded.notified",
        new.link,
        new.tenant,
        new.connection,
        new.team,
        new.site,
        new.notified
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Follows the builds of a link that is over no longer.
pub async fn end(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!("delete from watches where link_id = $1", link)
        .execute(db)
        .await?;
    Ok(())
}

/// The watched links of these sites.
pub async fn of_sites(
    db: &mut PgConnection,
    connection: Uuid,
    sites: &[String],
) -> Result<Vec<Watch>, StoreError> {
    let watches = sqlx::query_as!(
        Watch,
        "select link_id as link, site_id as site, notified from watches where connection_id = $1 and site_id = any($2)",
        connection,
        sites
    )
    .fetch_all(db)
    .await?;
    Ok(watches)
}

/// The links of a patrol whose sites' own lists were not read for this long, or for the longer time when Netlify tells us of
/// their builds; the longest unread first.
pub async fn longest_unlisted(
    db: &mut PgConnection,
    connection: Uuid,
    team: &str,
    (unread, unread_when_notified): (Duration, Duration),
    limit: i64,
) -> Result<Vec<Watch>, StoreError> {
    let watches = sqlx::query_as!(
        Watch,
        "select link_id as link, site_id as site, notified from watches
         where connection_id = $1 and team = $2
           and listed_at < now() - make_interval(secs => case when notified then $4::float8 else $3::float8 end)
         order by listed_at limit $5",
        connection,
        team,
        unread.as_secs_f64(),
        unread_when_notified.as_secs_f64(),
        limit
    )
    .fetch_all(db)
    .await?;
    Ok(watches)
}

/// Notes that the lists of these links' sites were read, unless it was before Netlify was asked to tell.
pub async fn listed(db: &mut PgConnection, read: &[Watch]) -> Result<(), StoreError> {
    let (links, notified): (Vec<_>, Vec<_>) = read
        .iter()
        .map(|watch| (watch.link, watch.notified))
        .unzip();
    sqlx::query!(
        "update watches w set listed_at = now()
         from unnest($1::uuid[], $2::boolean[]) as read (link, notified)
         where w.link_id = read.link and w.notified = read.notified",
        &links,
        &notified
    )
    .execute(db)
    .await?;
    Ok(())
}
