//! Step `install_deploy_key`: the public half of the key pair on the repository, read-only.

use time::OffsetDateTime;

use super::{Halt, StepContext, Undone, ask, remove};
use crate::{
    link::resource::ResourceKind,
    link::{
        action::{Deed, GoesOn},
        drift::{Drift, DriftKind, Healable},
        facts::{DeployKey, Fact, InstalledKey, Origin},
        failure::FailureCode,
        plan::StepName,
    },
    providers::{RepositoryKey, bare},
};

/// Fresh keys that a link may try after the first was in use elsewhere.
const FRESH_KEYS: usize = 1;

/// The key is on the repository, whoever put it there; of a standing one the operator has said so.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let key = cx.deploy_key()?;
    if key.standing {
        return Ok(Some(standing(cx, key)));
    }
    if !cx.provider.capabilities().finds_keys {
        return Ok(None);
    }
    Ok(find(cx, key).await?.map(|found| {
        let origin = cx.origin_at_provider(found.created_at);
        Fact::InstalledKey(installed(key, found), origin)
    }))
}

async fn find(cx: &StepContext<'_>, key: &DeployKey) -> Result<Option<RepositoryKey>, Halt> {
    let repository = cx.repository()?;
    Ok(cx.provider.find_key(repository, &key.public_key).await?)
}

/// Whether the key is there and works, where that can be seen.
pub async fn drift(cx: &StepContext<'_>) -> Result<Vec<Drift>, Halt> {
    let key = cx.deploy_key()?;
    if key.standing || !cx.provider.capabilities().finds_keys {
        return Ok(Vec::new());
    }
    let expected = cx.facts.installed_key.as_ref().map(|key| key.id.clone());
    Ok(match find(cx, key).await? {
        Some(found) if found.enabled => Vec::new(),
        Some(_) => vec![Drift::new(
            DriftKind::KeyDisabled,
            Some("on".to_owned()),
            Some("off".to_owned()),
        )],
        None => {
            let missing = Drift::new(DriftKind::KeyMissing, expected, None);
            vec![match cx.provider.capabilities().installs_keys {
                true => missing,
                // A person has to be asked, which needs somebody who wants it.
                false => Drift {
                    healable: Healable::OnRequest,
                    ..missing
                },
            }]
        }
    })
}

fn installed(key: &DeployKey, found: RepositoryKey) -> InstalledKey {
    InstalledKey {
        id: found.id,
        deploy_key_id: key.id.clone(),
        expires_at: found.expires_at,
    }
}

/// Nobody is asked: the account that has it is not the credential's.
fn standing(cx: &StepContext<'_>, key: &DeployKey) -> Fact {
    let expires_at = cx.standing_key.and_then(|standing| standing.expires_at);
    placed_by_others(key, expires_at)
}

/// A key that cannot be seen has no id of the provider's that we know.
fn placed_by_others(key: &DeployKey, expires_at: Option<OffsetDateTime>) -> Fact {
    let placed = InstalledKey {
        id: key.id.clone(),
        deploy_key_id: key.id.clone(),
        expires_at,
    };
    Fact::InstalledKey(placed, Origin::Found)
}

/// Puts it there, or asks a person to. A key that is in use elsewhere is exchanged for a fresh one, once.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let key = cx.deploy_key()?;
    match cx.provider.capabilities().installs_keys {
        _ if key.standing => Ok(standing(cx, key)),
        true => install(cx).await,
        false => by_hand(cx).await,
    }
}

/// What cannot be seen is taken at the caller's word: the clone of the first build is the proof.
async fn by_hand(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let key = cx.deploy_key()?;
    let can_be_seen = cx.provider.capabilities().finds_keys;
    if !can_be_seen && cx.facts.asked.contains(&StepName::InstallDeployKey) {
        let repository = cx.repository()?;
        let glimpsed = cx.provider.glimpse_key(repository, &key.public_key).await?;
        return Ok(match glimpsed {
            Some(found) => Fact::InstalledKey(installed(key, found), Origin::Found),
            None => placed_by_others(key, None),
        });
    }
    Err(ask(
        Fact::Asked(StepName::InstallDeployKey),
        FailureCode::KeyToBePlaced,
        Deed::PlaceDeployKey {
            public_key: bare(&key.public_key),
        },
        cx.provider.place_of_keys(cx.repository()?),
        match can_be_seen {
            true => GoesOn::BySeeing,
            false => GoesOn::ByRetry,
        },
    ))
}

async fn install(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let key = cx.deploy_key()?;
    let title = format!("Netlify deploy key ({})", cx.spec.site.name);
    match cx
        .provider
        .install_key(cx.repository()?, &title, &key.public_key)
        .await
    {
        Ok(found) => Ok(Fact::InstalledKey(installed(key, found), Origin::Made)),
        Err(error) if is_taken(error.code) => match observe(cx).await? {
            Some(fact) => Ok(fact),
            None if cx.facts.refused_keys.len() < FRESH_KEYS => Err(Halt::Reopen {
                step: StepName::ReserveDeployKey,
                fact: Box::new(Fact::DeployKeyRefused),
                why: error.code,
            }),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Whether the provider does not take the key because somebody has it already.
fn is_taken(code: FailureCode) -> bool {
    matches!(
        code,
        FailureCode::KeyInUseElsewhere | FailureCode::KeyInProfileNotProject
    )
}

/// Takes our key off the repository, and the one that it was to take the place of.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let former = cx.facts.rotation.iter().flat_map(|it| &it.installed);
    let mut receipts = Vec::new();
    for key in cx.facts.installed_key.iter().chain(former) {
        let delete = cx.provider.remove_key(cx.repository()?, &key.id);
        receipts.extend(remove(cx, ResourceKind::InstalledKey, &key.id, delete).await?);
    }
    Ok(receipts)
}
