//! What an undo that cannot finish leaves behind, and where a person removes it.

use super::doors::Opened;
use crate::{
    link::{
        facts::Repository,
        failure::{Evidence, FailureCode},
        plan::StepName,
        resource::ResourceKind,
        status::StepState,
    },
    store::links::LeasedLink,
};

/// One line for each object whose step could not be undone, also where that only waits for another step's undo.
pub fn evidence(link: &LeasedLink, opened: &Opened) -> Vec<Evidence> {
    let is_left = |state| !matches!(state, StepState::Undone | StepState::Skipped);
    let left = link.steps.iter().filter(|run| is_left(run.state));
    left.flat_map(|run| objects(run.step, link, opened))
        .collect()
}

fn objects(step: StepName, link: &LeasedLink, opened: &Opened) -> Vec<Evidence> {
    let facts = &link.facts;
    let repository = facts.repository.as_ref();
    let failure = link.failure.as_ref().map(|failure| failure.code);
    let place = |page: fn(&Opened, &Repository) -> Option<String>| match repository {
        // Pages go by the name, which is another one's.
        Some(Repository { id, path, .. }) if failure == Some(FailureCode::RepositoryReplaced) => {
            format!("repository {id}, which was {path}")
        }
        Some(known) => page(opened, known).unwrap_or_else(|| link.spec.path.clone()),
        None => link.spec.path.clone(),
    };
    let on_repository = |kind, id: &String, page| left(kind, id, place(page));
    let keys = |opened: &Opened, at: &Repository| opened.provider.place_of_keys(at).page;
    let webhooks = |opened: &Opened, at: &Repository| opened.provider.place_of_webhooks(at).page;
    match step {
        StepName::InstallDeployKey => facts
            .installed_key
            .iter()
            .map(|key| on_repository(ResourceKind::InstalledKey, &key.id, keys))
            .collect(),
        StepName::InstallWebhook => facts
            .webhook
            .iter()
            .map(|webhook| on_repository(ResourceKind::Webhook, &webhook.id, webhooks))
            .collect(),
        StepName::CreateSite => facts
            .site
            .iter()
            .map(|site| left(ResourceKind::Site, &site.id, site.admin_url.clone()))
            .collect(),
        StepName::ReserveDeployKey => facts
            .deploy_key
            .iter()
            .filter(|key| !key.standing)
            .map(|key| {
                let call =
                    "DELETE /api/v1/deploy_keys/{id} at Netlify's API, as the connection's user";
                left(
                    ResourceKind::DeployKey,
                    &key.id,
                    call.replace("{id}", &key.id),
                )
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn left(kind: ResourceKind, id: &str, place: String) -> Evidence {
    Evidence {
        source: "left_behind".to_owned(),
        text: format!("{kind} {id}: {place}"),
    }
}
