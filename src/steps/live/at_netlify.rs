//! How things stand at Netlify.

use super::Answer;
use crate::{
    diagnosis::{Attached, BranchRule, ClonesBy, SiteState, TeamState},
    link::{facts::Repository, failure::FailureCode},
    netlify::{
        accounts,
        sites::{self, Site},
    },
    steps::{StepContext, create_site},
};

/// The site, and where Netlify listens for it.
pub(super) async fn site(cx: &StepContext<'_>) -> Answer<(SiteState, Option<String>)> {
    let (Some(known), Some(repository)) = (&cx.facts.site, &cx.facts.repository) else {
        return Ok(None);
    };
    let gone = SiteState {
        is_gone: true,
        ..SiteState::default()
    };
    match sites::get(cx.netlify, &known.id).await {
        Ok(site) => {
            let hook = site.attachment().deploy_hook;
            Ok(Some((of_site(cx, repository, &site), hook)))
        }
        Err(error) if error.code == FailureCode::SiteGone => Ok(Some((gone, None))),
        Err(error) => Err(error),
    }
}

fn of_site(cx: &StepContext<'_>, repository: &Repository, site: &Site) -> SiteState {
    let attached = match site.repository_path() {
        None => Attached::Nothing,
        Some(_) if create_site::is_attached_to(cx.provider_kind, repository, site) => {
            Attached::Links
        }
        Some(_) => Attached::Another,
    };
    SiteState {
        is_gone: false,
        is_disabled: site.disabled == Some(true),
        attached,
        clones_by: clones_by(cx, site),
        builds_are_stopped: site.builds_are_stopped(),
        branch: rule(site, &repository.branch),
    }
}

fn rule(site: &Site, branch: &str) -> BranchRule {
    let allowed = site.allowed_branches();
    let is_listed = allowed.is_empty() || allowed.iter().any(|it| it == branch);
    match (is_listed, site.branch() == Some(branch)) {
        (true, _) => BranchRule::Built,
        (false, true) => BranchRule::Unlisted,
        (false, false) => BranchRule::NotBuilt,
    }
}

fn clones_by(cx: &StepContext<'_>, site: &Site) -> ClonesBy {
    let own_key = cx.facts.deploy_key.as_ref().map(|key| key.id.as_str());
    match (site.installation_id(), site.deploy_key_id()) {
        (Some(_), _) => ClonesBy::Installation,
        (None, None) => ClonesBy::Nothing,
        (None, key) if key == own_key => ClonesBy::Key,
        (None, Some(_)) => ClonesBy::OtherKey,
    }
}

pub(super) async fn team(cx: &StepContext<'_>) -> Answer<TeamState> {
    let Some(site) = &cx.facts.site else {
        return Ok(None);
    };
    let teams = accounts::list(cx.netlify).await?;
    let Some(team) = teams.into_iter().find(|team| team.slug == site.team) else {
        return Ok(None);
    };
    // Not every plan has build minutes to tell of.
    let queue = accounts::build_queue(cx.netlify, &team.id).await;
    Ok(Some(TeamState {
        exceeded: team
            .exceeded_limits()
            .into_iter()
            .map(str::to_owned)
            .collect(),
        minutes_are_used_up: queue.is_ok_and(|queue| queue.minutes_are_used_up),
        builds_private_organisations: team.builds_private_organisations(),
    }))
}
