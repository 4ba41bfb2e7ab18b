//! Step `find_build`: the build that the link follows, and its deploy. The first one is started by Netlify
//! when the repository is attached; a later one may be asked for by the caller.

use std::time::Duration;

use super::{Halt, StepContext, Undone, installation};
use crate::{
    link::facts::{AskedBuild, Build, Deploy, Fact},
    netlify::{
        builds::{self, Cache},
        deploys,
    },
};

/// How long Netlify may take to start the build by itself, or to name its deploy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// The newest build of the site, unless the link followed it before; after a failed one, unless it has failed too. One that the caller asked for is
/// found by its title.
pub async fn observe(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    if let Some(asked) = &cx.facts.asked_build {
        return find_asked(cx, asked).await;
    }
    let mut started = builds::list_for_site(cx.netlify, &cx.site()?.id).await?;
    started.sort_by(|a, b| b.created_at.cmp(&a.created_at));
    let newest = started.into_iter().next();
    let known = cx.facts.proof.as_ref().map(|proof| &proof.known_builds);
    let newest = newest
        .filter(|newest| !is_pushed(cx) || known.is_none_or(|known| !known.contains(&newest.id)));
    let is_over = |build: &builds::Build| is_retry(cx) && build.has_failed();
    match newest.filter(|newest| is_news(cx, &newest.id) && !is_over(newest)) {
        None => Ok(None),
        Some(build) => named(build, cx).map(Some),
    }
}

/// Whether the link has followed a build before.
fn is_retry(cx: &StepContext<'_>) -> bool {
    !cx.facts.ended_builds.is_empty()
}

/// Whether the link neither followed the build before nor found it on the site.
fn is_news(cx: &StepContext<'_>, build: &str) -> bool {
    let before = cx
        .facts
        .site_before
        .iter()
        .flat_map(|before| &before.builds);
    let ended = cx.facts.ended_builds.iter().map(|ended| &ended.build.id);
    before.chain(ended).all(|known| known != build)
}

/// Reads what the answer to the attaching named; without a name, looks for a while and then starts
/// the build that should have been there.
pub async fn ensure(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if let Some(asked) = &cx.facts.asked_build {
        return start_asked(cx, asked).await;
    }
    if is_pushed(cx) {
        return see_pushed(cx).await;
    }
    if let Some(fact) = read_named(cx).await? {
        return Ok(fact);
    }
    if let Some(fact) = observe(cx).await? {
        return Ok(fact);
    }
    if !is_retry(cx) && cx.elapsed < patience(cx) {
        return Err(Halt::wait(
            LOOK_AGAIN,
            "waits for Netlify to start the first build",
        ));
    }
    if cx.spec.access.installation_id().is_some() && !is_retry(cx) {
        let detail = format!(
            "no build started within {} s of the attaching",
            patience(cx).as_secs()
        );
        return Err(installation::not_delivering(cx, detail).into());
    }
    start(cx).await
}

/// Whether the replayed push is to start the build.
fn is_pushed(cx: &StepContext<'_>) -> bool {
    cx.way().is_gated() && !is_retry(cx)
}

/// Waits for the build of the replayed push. Without one in time the site gets its build all the same: the one that has
/// started by itself where the gate does not hold, else one of ours.
async fn see_pushed(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    if let Some(fact) = observe(cx).await? {
        return Ok(fact);
    }
    if cx.elapsed < cx.pace.proof {
        let note = "waits for the replayed push to start the first build";
        return Err(Halt::wait(cx.pace.pause(cx.elapsed), note));
    }
    if let Some(fact) = read_named(cx).await? {
        return Ok(fact);
    }
    start(cx).await
}

async fn start(cx: &StepContext<'_>) -> Result<Fact, Halt> {
    let title = format!("linkbroker {}", cx.link.simple());
    let build = builds::start(cx.netlify, &cx.site()?.id, &title, Cache::Keep).await?;
    named(build, cx)
}

/// An installation that covers the repository builds as soon as a push would.
fn patience(cx: &StepContext<'_>) -> Duration {
    match cx.spec.access.installation_id() {
        Some(_) => cx.pace.proof,
        None => PATIENCE,
    }
}

/// A build ends by itself.
pub async fn undo(_: &StepContext<'_>) -> Result<Undone, Halt> {
    Ok(Vec::new())
}

async fn find_asked(cx: &StepContext<'_>, asked: &AskedBuild) -> Result<Option<Fact>, Halt> {
    if let Some(id) = &asked.id {
        return named(builds::get(cx.netlify, id).await?, cx).map(Some);
    }
    let deploys = deploys::list_for_site(cx.netlify, &cx.site()?.id).await?;
    let mut titled = deploys.into_iter();
    let titled = titled.find(|deploy| deploy.title.as_ref() == Some(&asked.title));
    Ok(titled.and_then(of_deploy))
}

async fn start_asked(cx: &StepContext<'_>, asked: &AskedBuild) -> Result<Fact, Halt> {
    let cache = match asked.clear_cache {
        true => Cache::Clear,
        false => Cache::Keep,
    };
    let build = builds::start(cx.netlify, &cx.site()?.id, &asked.title, cache).await?;
    let started = AskedBuild {
        id: Some(build.id.clone()),
        ..asked.clone()
    };
    match named(build, cx) {
        // Its id is what the next look goes by.
        Err(Halt::Wait { after, note, .. }) => Err(Halt::Wait {
            after,
            note,
            fact: Some(Box::new(Fact::AskedBuild(started))),
        }),
        done => done,
    }
}

/// One call when the answer named the deploy, which knows its build; one when it named the build.
async fn read_named(cx: &StepContext<'_>) -> Result<Option<Fact>, Halt> {
    let Some(attachment) = cx
        .facts
        .attachment
        .as_ref()
        .filter(|_| cx.facts.ended_builds.is_empty())
    else {
        return Ok(None);
    };
    if let Some(deploy_id) = &attachment.deploy_id {
        match deploys::get(cx.netlify, deploy_id).await {
            Ok(deploy) if deploy.build_id.as_ref().is_some_and(|id| is_news(cx, id)) => {
                return Ok(of_deploy(deploy));
            }
            Ok(_) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    match attachment.build_id.as_ref().filter(|id| is_news(cx, id)) {
        Some(build_id) => named(builds::get(cx.netlify, build_id).await?, cx).map(Some),
        None => Ok(None),
    }
}

fn of_deploy(deploy: Deploy) -> Option<Fact> {
    let build = Build {
        id: deploy.build_id.clone()?,
        deploy_id: deploy.id.clone(),
    };
    Some(Fact::Build(build, Some(deploy)))
}

/// Netlify names a build's deploy within seconds.
fn named(build: builds::Build, cx: &StepContext<'_>) -> Result<Fact, Halt> {
    match build.fact() {
        Some(build) => Ok(Fact::Build(build, None)),
        None if cx.elapsed < PATIENCE => Err(Halt::wait(
            LOOK_AGAIN,
            "waits for Netlify to name the build's deploy",
        )),
        None => Err(Halt::stop(
            crate::link::failure::FailureCode::BuildNotStarted,
            format!(
                "Netlify has the build {} but named no deploy for it",
                build.id
            ),
        )),
    }
}
