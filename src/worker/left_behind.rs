//! What an undo that cannot finish leaves behind, and where a person removes it.

use super::doors::Opened;
use crate::{
    link::{
        facts::Repository, failure::Evidence, plan::StepName, resource::ResourceKind,
        status::StepState,
    },
    store::links::LeasedLink,
};

/// One line for each object whose step could not be undone.
pub fn evidence(link: &LeasedLink, opened: &Opened) -> Vec<Evidence> {
    let failed = link
        .steps
        .iter()
        .filter(|run| run.state == StepState::UndoFailed);
    failed
        .flat_map(|run| objects(run.step, link, opened))
        .collect()
}

fn objects(step: StepName, link: &LeasedLink, opened: &Opened) -> Vec<Evidence> {
    let facts = &link.facts;
    let repository = facts.repository.as_ref();
    let on_repository = |kind, id: &String, page: fn(&Opened, &Repository) -> Option<String>| {
        let place = repository.and_then(|repository| page(opened, repository));
        left(kind, id, place.unwrap_or_else(|| link.spec.path.clone()))
    };
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
