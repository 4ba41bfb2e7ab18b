//! Credentials that an upstream has refused: noted with their connection, so that no link calls with them any more.

use sqlx::PgConnection;

use super::{
    Worker,
    doors::{Opened, UsedCredential},
};
use crate::{
    link::failure::{Failure, FailureCode},
    store::{Rows, StoreError, begin, checks, links::LeasedLink},
    upstream::UpstreamKind,
};

/// Notes the refusal of one of a link's credentials, when the failure is one; the refusal as it is told from then on.
pub async fn note(
    worker: &Worker,
    tenant: &str,
    opened: &Opened,
    failure: &Failure,
) -> Result<Option<Failure>, StoreError> {
    let [netlify, provider] = &opened.credentials;
    let used = match is_by_netlify(failure) {
        true => netlify,
        false => provider,
    };
    note_of(worker, tenant, used, failure).await
}

/// [`note`] of a connection's credential.
pub async fn note_of(
    worker: &Worker,
    tenant: &str,
    used: &UsedCredential,
    failure: &Failure,
) -> Result<Option<Failure>, StoreError> {
    if !is_refusal(failure) {
        return Ok(None);
    }
    let mut tx = begin(&worker.pool, Rows::Of(tenant)).await?;
    let refusal = naming(used, failure);
    let (connection, sealed) = (used.connection, &used.sealed);
    let is_news = checks::note_refusal(&mut tx, tenant, connection, sealed, &refusal).await?;
    tx.commit().await?;
    if is_news {
        tracing::warn!(%connection, %failure, "a credential was refused: its links wait until it is replaced");
    }
    Ok(Some(refusal))
}

/// Whether the credential that a link was refused, Netlify's or the provider's, is another one by now, or was found good: who
/// saw to that may have found the link at work and left it there. Asked for before the link is held, because they take the two
/// in this order.
pub async fn is_outdated(
    db: &mut PgConnection,
    link: &LeasedLink,
    is_netlifys: bool,
) -> Result<bool, StoreError> {
    let connection = match is_netlifys {
        true => link.netlify_connection,
        false => link.provider_connection,
    };
    Ok(!checks::is_still_refused(db, &link.tenant, connection).await?)
}

/// Whether it was Netlify who refused; else it was the git provider.
pub fn is_by_netlify(failure: &Failure) -> bool {
    let trace = failure.upstream.as_ref();
    trace.is_some_and(|trace| trace.upstream == UpstreamKind::Netlify.as_str())
}

/// Whether a credential is refused: by the upstream, or because it cannot even be sent.
pub fn is_refusal(failure: &Failure) -> bool {
    failure.code == FailureCode::CredentialRefused
}

fn naming(used: &UsedCredential, failure: &Failure) -> Failure {
    Failure {
        detail: format!("connection `{}`: {}", used.name, failure.detail),
        ..failure.clone()
    }
}
