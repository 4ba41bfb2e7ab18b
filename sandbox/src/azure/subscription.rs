//! One service hook subscription: what may be written, what it listens to, how it looks.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::target::{Organization, project_identity};
use super::{DISABLED_AFTER, PROBATION_AFTER, bad};
use crate::clock::milliseconds;
use crate::forge::refusal::Refusal;
use crate::forge::{Hook, Push, Repository, State};
use crate::world::World;

/// What the publisher `tfs` tells of git; `git.pullrequest.merged` is missing in the published list and real.
const EVENTS: [&str; 5] = [
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.updated",
    "git.pullrequest.merged",
    "git.repo.created",
];

/// A subscription as clients write it, always whole.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Written {
    pub publisher_id: String,
    pub event_type: String,
    pub consumer_id: String,
    pub consumer_action_id: String,
    pub publisher_inputs: Map<String, Value>,
    pub consumer_inputs: Map<String, Value>,
    pub status: Option<String>,
}

/// Whether messages are sent.
pub fn is_on(hook: &Hook) -> bool {
    hook.active && hook.failures < DISABLED_AFTER
}

/// Whether a subscription is about a repository or all of its project.
pub fn is_about(hook: &Hook, repository: &Repository) -> bool {
    let wanted = publisher_input(hook, "repository");
    wanted.is_empty() || wanted.eq_ignore_ascii_case(&repository.uuid.to_string())
}

/// Whether a push's branch is one that the subscription is about.
pub fn passes_filter(hook: &Hook, push: &Push) -> bool {
    let wanted = publisher_input(hook, "branch");
    let wanted = wanted.strip_prefix("refs/heads/").unwrap_or(wanted);
    wanted.is_empty() || push.branch() == Some(wanted)
}

/// Lays what a client wrote over a subscription.
///
/// # Errors
/// 400 for what is not known here.
pub fn write(hook: &mut Hook, written: Written) -> Result<(), Refusal> {
    let kind = (written.publisher_id.as_str(), written.consumer_id.as_str());
    if kind != ("tfs", "webHooks") || written.consumer_action_id != "httpRequest" {
        return Err(bad(
            "Only publisher tfs and consumer webHooks with httpRequest are here.",
        ));
    }
    if !EVENTS.contains(&written.event_type.as_str()) {
        return Err(bad(&format!(
            "The event type '{}' is not known.",
            written.event_type
        )));
    }
    let url = written
        .consumer_inputs
        .get("url")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err(bad("Subscription input 'url' is not a valid URI."));
    }
    url.clone_into(&mut hook.url);
    hook.events = BTreeSet::from([written.event_type]);
    hook.active = written.status.is_none_or(|status| status == "enabled");
    hook.settings.insert(
        "publisherInputs".to_owned(),
        written.publisher_inputs.into(),
    );
    hook.settings
        .insert("consumerInputs".to_owned(), written.consumer_inputs.into());
    Ok(())
}

fn publisher_input<'h>(hook: &'h Hook, name: &str) -> &'h str {
    let inputs = hook.settings.get("publisherInputs");
    inputs
        .and_then(|inputs| inputs[name].as_str())
        .unwrap_or_default()
}

/// A subscription; secrets among its inputs are stars.
pub fn shape(world: &World, state: &mut State, organization: &Organization, hook: &Hook) -> Value {
    let gone = !state.has_person(&hook.added_by);
    let by = json!({"id": Uuid::nil(), "displayName": hook.added_by});
    let status = match hook.failures {
        _ if gone => "disabledByInactiveIdentity",
        _ if !hook.active => "disabledByUser",
        DISABLED_AFTER.. => "disabledBySystem",
        PROBATION_AFTER.. => "onProbation",
        _ => "enabled",
    };
    let setting = |name: &str| {
        hook.settings
            .get(name)
            .cloned()
            .unwrap_or_else(|| json!({}))
    };
    let mut consumer = setting("consumerInputs");
    for secret in ["basicAuthPassword", "httpHeaders"] {
        if consumer[secret].is_string() {
            consumer[secret] = "********".into();
        }
    }
    consumer["url"] = hook.url.clone().into();
    let mut publisher = setting("publisherInputs");
    let instance = project_identity(state, world, &organization.name).uuid;
    publisher["tfsSubscriptionId"] = instance.to_string().into();
    let base = format!(
        "{}/azure/{}/_apis/hooks/subscriptions",
        world.origin(),
        organization.name
    );
    json!({
        "id": hook.uuid, "url": format!("{base}/{}", hook.uuid), "status": status, "publisherId": "tfs",
        "eventType": hook.events.first(), "subscriber": null, "resourceVersion": "1.0",
        "eventDescription": "Any branch", "consumerId": "webHooks", "consumerActionId": "httpRequest",
        "actionDescription": "To host netlify", "probationRetries": 0, "createdBy": by, "modifiedBy": by,
        "createdDate": milliseconds(hook.created_at), "modifiedDate": milliseconds(hook.updated_at),
        "publisherInputs": publisher, "consumerInputs": consumer,
    })
}
