//! Step `retire_key`: the key that another has taken the place of is removed, once nothing clones with it any more.

use std::time::Duration;

use super::{Halt, StepContext, Undone, known, remove};
use crate::{
    link::{
        facts::{Build, DeployKey, Fact, Rotation},
        failure::FailureCode,
        resource::ResourceKind,
    },
    netlify::{builds, deploy_keys, deploys},
};

/// How long builds that began with the former key are waited for.
const PATIENCE: Duration = Duration::from_secs(1800);

/// Removing what is gone succeeds, so that there is nothing to look for.
pub async fn observe(_: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    Ok(None)
}

/// Waits for the proof, then for what still clones with the former key, and removes both halves of it.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let rotation = known(cx.facts.rotation.as_ref(), "former key")?;
    if rotation.useless.is_none() {
        let build = known(cx.facts.build.as_ref(), "build")?;
        see_cloned(cx, build).await?;
        see_none_begun_before(cx, build).await?;
    }
    Ok(Fact::KeyRetired(take_away(cx, rotation).await?))
}

/// A deploy knows its commit as soon as the clone worked.
async fn see_cloned(cx: &StepContext<'_>, build: &Build) -> Result<(), Halt> {
    let deploy = deploys::get(cx.netlify, &build.deploy_id).await?;
    match deploys::outcome(&deploy).is_over() {
        _ if deploy.commit_ref.is_some() => Ok(()),
        false => Err(Halt::wait(
            cx.pace.pause(cx.elapsed),
            "waits for a build to clone with the new key",
        )),
        true => {
            let said = deploy.error_message.unwrap_or_default();
            let detail = format!("no build has cloned with the new key: {said}");
            Err(Halt::stop(FailureCode::CloneDenied, detail))
        }
    }
}

async fn see_none_begun_before(cx: &StepContext<'_>, proof: &Build) -> Result<(), Halt> {
    let builds = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let ours = builds.iter().find(|build| build.id == proof.id);
    let since = ours.and_then(builds::Build::made_at);
    let is_older = |build: &builds::Build| since.is_none_or(|since| build.made_at() <= Some(since));
    let runs = |build: &&builds::Build| {
        build.done != Some(true) && build.id != proof.id && is_older(build)
    };
    match builds.iter().find(runs) {
        Some(_) if cx.elapsed < PATIENCE => Err(Halt::wait(
            cx.pace.pause(cx.elapsed),
            "waits for builds that began with the former key",
        )),
        _ => Ok(()),
    }
}

async fn take_away(cx: &StepContext<'_>, rotation: &Rotation) -> Result<Undone, Halt> {
    let mut receipts = Vec::new();
    match (&rotation.installed, &rotation.key) {
        (Some(installed), _) => {
            let delete = cx.provider.remove_key(cx.repository()?, &installed.id);
            let kind = ResourceKind::InstalledKey;
            receipts.extend(remove(cx, kind, &installed.id, delete).await?);
        }
        (None, Some(key)) => remove_unrecorded(cx, key).await?,
        (None, None) => {}
    }
    if let Some(key) = &rotation.key {
        let delete = deploy_keys::delete(cx.netlify, &key.id);
        let kind = ResourceKind::DeployKey;
        receipts.extend(remove(cx, kind, &key.id, delete).await?);
    }
    Ok(receipts)
}

/// A call whose answer was lost may have placed the key that failed.
async fn remove_unrecorded(cx: &StepContext<'_>, key: &DeployKey) -> Result<(), Halt> {
    if !cx.provider.capabilities().finds_keys {
        return Ok(());
    }
    let repository = cx.repository()?;
    let found = cx.provider.find_key(repository, &key.public_key).await?;
    if let Some(found) = found {
        cx.provider.remove_key(repository, &found.id).await?;
    }
    Ok(())
}

/// What is left of the former key goes with the link's own.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}
