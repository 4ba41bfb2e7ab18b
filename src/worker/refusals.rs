//! Credentials that an upstream has refused: noted with their connection, so that no link calls with them any more.

use super::{
    Worker,
    doors::{Opened, UsedCredential},
};
use crate::{
    link::failure::{Failure, FailureCode},
    store::{Rows, StoreError, begin, checks},
    upstream::UpstreamKind,
};

/// Notes the refusal when the failure is one.
pub async fn note(
    worker: &Worker,
    tenant: &str,
    opened: &Opened,
    failure: &Failure,
) -> Result<(), StoreError> {
    let Some(trace) = failure.upstream.as_ref().filter(|_| is_refusal(failure)) else {
        return Ok(());
    };
    let [netlify, provider] = &opened.credentials;
    let used = match trace.upstream == UpstreamKind::Netlify.as_str() {
        true => netlify,
        false => provider,
    };
    let mut tx = begin(&worker.pool, Rows::Of(tenant)).await?;
    let refusal = naming(used, failure);
    let (connection, sealed) = (used.connection, &used.sealed);
    let is_news = checks::note_refusal(&mut tx, tenant, connection, sealed, &refusal).await?;
    tx.commit().await?;
    if is_news {
        tracing::warn!(%connection, %failure, "a credential was refused: its links wait until it is replaced");
    }
    Ok(())
}

/// Whether the upstream itself has refused the credential, as opposed to one that cannot even be sent.
pub fn is_refusal(failure: &Failure) -> bool {
    let answered = |trace: &crate::link::failure::UpstreamTrace| trace.status.is_some();
    let trace = failure.upstream.as_deref();
    failure.code == FailureCode::CredentialRefused && trace.is_some_and(answered)
}

fn naming(used: &UsedCredential, failure: &Failure) -> Failure {
    Failure {
        detail: format!("connection `{}`: {}", used.name, failure.detail),
        ..failure.clone()
    }
}
