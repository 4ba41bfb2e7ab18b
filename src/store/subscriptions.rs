//! Table `subscriptions`: where Netlify tells us of deploys, and what it signs with.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{StoreError, data_keys::DataKeyRow};

/// One address of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The end of the address.
    pub id: Uuid,
    /// Netlify's word for what is told there.
    pub event: String,
    /// The sealed secret.
    pub secret: Vec<u8>,
}

/// The addresses of a link, in no order.
pub async fn of_link(db: &mut PgConnection, link: Uuid) -> Result<Vec<Subscription>, StoreError> {
    let rows = sqlx::query_as!(
        Subscription,
        "select id, event, secret from subscriptions where link_id = $1",
        link
    )
    .fetch_all(db)
    .await?;
    Ok(rows)
}

/// Gives a link an address.
pub async fn insert(
    db: &mut PgConnection,
    link: Uuid,
    tenant: &str,
    new: &Subscription,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into subscriptions (id, link_id, tenant, event, secret) values ($1, $2, $3, $4, $5)",
        new.id,
        link,
        tenant,
        new.event,
        new.secret
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets the addresses of a link that is over.
pub async fn forget(db: &mut PgConnection, link: Uuid) -> Result<(), StoreError> {
    sqlx::query!("delete from subscriptions where link_id = $1", link)
        .execute(db)
        .await?;
    Ok(())
}

/// What is known of an address that somebody calls.
#[derive(Debug)]
pub struct Called {
    /// The link.
    pub link: Uuid,
    /// Who owns it.
    pub tenant: String,
    /// What is told there.
    pub event: String,
    /// The sealed secret.
    pub secret: Vec<u8>,
    /// The tenant's data key, which opens it.
    pub data_key: DataKeyRow,
    /// The connection to Netlify.
    pub connection: Uuid,
    /// Slug of the team.
    pub team: String,
    /// Netlify's id of the site.
    pub site: String,
}

/// Looks an address up; those of links that are not watched are none. Needs [`super::Rows::OfAll`].
pub async fn called(db: &mut PgConnection, id: Uuid) -> Result<Option<Called>, StoreError> {
    let row = sqlx::query!(
        "select s.link_id, s.tenant, s.event, s.secret, k.key_id, k.wrapped, w.connection_id, w.team, w.site_id
         from subscriptions s
         join data_keys k on k.tenant = s.tenant
         join watches w on w.link_id = s.link_id
         where s.id = $1",
        id
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| Called {
        link: row.link_id,
        tenant: row.tenant,
        event: row.event,
        secret: row.secret,
        data_key: DataKeyRow {
            key_id: row.key_id,
            wrapped: row.wrapped,
        },
        connection: row.connection_id,
        team: row.team,
        site: row.site_id,
    }))
}
