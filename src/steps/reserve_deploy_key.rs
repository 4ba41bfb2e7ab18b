//! Step `reserve_deploy_key`: a key pair at Netlify, from stock when there is one.
//!
//! Netlify's keys have no name and the call that makes one has no natural key (limits.md C2), so
//! a key whose answer was lost is found by what the ledger does not know.

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::facts::{DeployKey, Fact, Origin},
    link::failure::FailureCode,
    link::resource::{Receipt, ResourceKind},
    netlify::{deploy_keys, sites},
    upstream::StandingKey,
};

/// The key that was taken from stock, else the one that was made since the interrupted try began and that no link knows and no
/// site clones with: such a one is somebody's, however young. With several it cannot be told which is ours: none is taken.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    if let Some(standing) = cx.standing_key {
        return read_standing(cx, standing).await.map(Some);
    }
    if let Some(key) = &cx.key_at_hand {
        return Ok(Some(Fact::DeployKey(key.clone())));
    }
    let keys = deploy_keys::list(cx.netlify).await?;
    let mut candidates: Vec<_> = keys
        .into_iter()
        .filter(|key| {
            cx.origin_at_netlify(key.made_at()) == Origin::Made
                && !cx.known_deploy_keys.contains(&key.id)
        })
        .collect();
    if !candidates.is_empty() {
        let sites = sites::list(cx.netlify).await?;
        let is_used = |id: &str| sites.iter().any(|site| site.deploy_key_id() == Some(id));
        candidates.retain(|key| !is_used(&key.id));
    }
    match (candidates.pop(), candidates.pop()) {
        (Some(key), None) => Ok(Some(Fact::DeployKey(key.fact()))),
        _ => Ok(None),
    }
}

/// The operator's standing key where there is one, the key that was taken from stock, else a new one.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if let Some(standing) = cx.standing_key {
        return read_standing(cx, standing).await;
    }
    let key = match &cx.key_at_hand {
        Some(key) => key.clone(),
        None => deploy_keys::create(cx.netlify).await?.fact(),
    };
    Ok(Fact::DeployKey(key))
}

/// Netlify shows a key to its owner alone, and clones with it for the owner's sites.
async fn read_standing(cx: &StepContext<'_>, standing: &StandingKey) -> Result<Fact, Halt> {
    let id = &standing.deploy_key_id;
    let key = deploy_keys::get(cx.netlify, id).await.map_err(|error| {
        let detail = format!("Netlify shows no deploy key {id} to the link's Netlify connection.");
        error.if_missing(FailureCode::StandingKeyUnusable, detail)
    })?;
    Ok(Fact::DeployKey(DeployKey {
        standing: true,
        ..key.fact()
    }))
}

/// A key that the provider was ever given is deleted; an unused one serves the next link; a standing one stays.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let mut receipts = Vec::new();
    let mut sent = cx.facts.refused_keys.clone();
    let former = cx.facts.rotation.iter().flat_map(|it| &it.key);
    sent.extend(former.map(|key| key.id.clone()));
    if let Some(key) = cx.facts.deploy_key.as_ref().filter(|key| !key.standing) {
        match cx.key_was_sent {
            true => sent.push(key.id.clone()),
            false => receipts.push((ResourceKind::DeployKey, key.id.clone(), Receipt::Stock)),
        }
    }
    for id in sent {
        let delete = deploy_keys::delete(cx.netlify, &id);
        receipts.extend(remove(cx, ResourceKind::DeployKey, &id, delete).await?);
    }
    Ok(receipts)
}
