//! Step `install_deploy_key`: the public half of the key pair on the repository, read-only.

use super::{Halt, StepContext, Undone, remove};
use crate::{
    link::resource::ResourceKind,
    link::{
        facts::{DeployKey, Fact, InstalledKey, Origin},
        failure::FailureCode,
        plan::StepName,
    },
    providers::RepositoryKey,
};

/// Fresh keys that a link may try after the first was in use elsewhere.
const FRESH_KEYS: usize = 1;

/// The key is on the repository, whoever put it there; a standing one is the operator's word.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let key = cx.deploy_key()?;
    if key.standing {
        return Ok(Some(standing(cx, key)));
    }
    let found = cx
        .provider
        .find_key(cx.repository()?, &key.public_key)
        .await?;
    Ok(found.map(|found| {
        let origin = cx.origin(found.created_at);
        Fact::InstalledKey(installed(key, found), origin)
    }))
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
    let installed = InstalledKey {
        id: key.id.clone(),
        deploy_key_id: key.id.clone(),
        expires_at: cx.standing_key.and_then(|standing| standing.expires_at),
    };
    Fact::InstalledKey(installed, Origin::Found)
}

/// Puts it there. A key that is in use elsewhere is exchanged for a fresh one, once.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let key = cx.deploy_key()?;
    if key.standing {
        return Ok(standing(cx, key));
    }
    let title = format!("Netlify deploy key ({})", cx.spec.site.name);
    match cx
        .provider
        .install_key(cx.repository()?, &title, &key.public_key)
        .await
    {
        Ok(found) => Ok(Fact::InstalledKey(installed(key, found), Origin::Made)),
        Err(error) if error.code == FailureCode::KeyInUseElsewhere => match observe(cx).await? {
            Some(fact) => Ok(fact),
            None if cx.facts.refused_keys.len() < FRESH_KEYS => Err(Halt::Reopen {
                step: StepName::ReserveDeployKey,
                fact: Box::new(Fact::DeployKeyRefused),
            }),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Takes our key off the repository.
pub async fn undo(cx: &StepContext<'_>) -> Result<Undone, Halt> {
    let Some(key) = &cx.facts.installed_key else {
        return Ok(Vec::new());
    };
    let delete = cx.provider.remove_key(cx.repository()?, &key.id);
    remove(cx, ResourceKind::InstalledKey, &key.id, delete).await
}
