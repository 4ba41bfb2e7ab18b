//! Where Netlify is to tell us of a link's deploys: addresses that nobody can guess, and a secret to sign with.

use aws_lc_rs::rand;
use secrecy::SecretString;
use sqlx::PgConnection;
use url::Url;
use uuid::Uuid;

use super::{Worker, doors::Opened};
use crate::{
    netlify::hooks::DEPLOY_EVENTS,
    steps::Subscription,
    store::{
        StoreError,
        links::LeasedLink,
        subscriptions::{self, Subscription as Row},
    },
    vault::{Purpose, Sealed, VaultError, link_row},
};

/// The link's addresses and secret, made on first use; nothing without a public address, or while a link that has none is
/// taken back.
pub async fn of_link(
    worker: &Worker,
    db: &mut PgConnection,
    opened: &Opened,
    link: &LeasedLink,
    make: bool,
) -> Result<Option<Subscription>, StoreError> {
    let Some(public) = &worker.settings.public_url else {
        return Ok(None);
    };
    let mut rows = subscriptions::of_link(db, link.id).await?;
    if rows.is_empty() && make {
        rows = new_rows(opened, link.id).unwrap_or_else(|error| unusable(link, error));
        for row in &rows {
            subscriptions::insert(db, link.id, &link.tenant, row).await?;
        }
    }
    let opened = opened_rows(opened, link.id, public, &rows);
    Ok(opened.unwrap_or_else(|error| unusable(link, error)))
}

/// Without notifications patrols see the same, later.
fn unusable<T: Default>(link: &LeasedLink, error: VaultError) -> T {
    tracing::error!(link = %link.id, %error, "no secret for notifications");
    T::default()
}

fn new_rows(opened: &Opened, link: Uuid) -> Result<Vec<Row>, VaultError> {
    let mut random = [0; 32];
    rand::fill(&mut random).map_err(|_| VaultError::Library)?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let sealed = opened.key.seal(
        secret.as_bytes(),
        &link_row(link),
        Purpose::NotificationSecret,
    )?;
    let row = |event: &&str| Row {
        id: Uuid::new_v4(),
        event: (*event).to_owned(),
        secret: sealed.0.clone(),
    };
    Ok(DEPLOY_EVENTS.iter().map(row).collect())
}

fn opened_rows(
    opened: &Opened,
    link: Uuid,
    public: &Url,
    rows: &[Row],
) -> Result<Option<Subscription>, VaultError> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let sealed = Sealed(first.secret.clone());
    let secret = opened
        .key
        .open(&sealed, &link_row(link), Purpose::NotificationSecret)?;
    let secret = String::from_utf8_lossy(&secret).into_owned();
    let address = |row: &Row| (row.event.clone(), address(public, row.id));
    Ok(Some(Subscription {
        secret: SecretString::from(secret),
        addresses: rows.iter().map(address).collect(),
    }))
}

fn address(public: &Url, id: Uuid) -> Url {
    let mut url = public.clone();
    let base = url.path().trim_end_matches('/');
    let path = format!("{base}/notifications/netlify/{}", id.simple());
    url.set_path(&path);
    url
}
