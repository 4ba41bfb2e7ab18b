//! Service hooks: what Azure DevOps has in place of webhooks. A subscription tells about one event, so that one webhook
//! of ours is several of them; it goes by the id of the one for pushes, and the rest are found beside it.
//!
//! <https://learn.microsoft.com/rest/api/azure/devops/hooks/subscriptions?view=azure-devops-rest-7.1>

use std::collections::HashMap;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Address, AzureDevops, VERSION, answers::open_page};
use crate::{
    link::facts::{Repository, Webhook},
    providers::{Delivery, FoundWebhook, WebhookFault, is_own, same_address},
    upstream::{Answer, Call, Class, UpstreamError},
};

/// What Netlify needs to hear, by analogy with GitHub; `git.push` comes first and tells about deleted branches too.
const EVENTS: [&str; 4] = [
    "git.push",
    "git.pullrequest.created",
    "git.pullrequest.updated",
    "git.pullrequest.merged",
];

/// An organisation lists all of its webhooks at once, at about 2 KiB each.
const LIST_BYTES: usize = 16 * 1024 * 1024;
/// Newest notifications among which the last delivery is looked for.
const NOTIFICATIONS: &str = "25";

/// A subscription as far as linking needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscription {
    pub(super) id: String,
    event_type: String,
    /// `enabled`, `onProbation` (deliveries fail, Azure goes on trying), or one of the reasons for `disabled…`.
    status: Option<String>,
    #[serde(default)]
    publisher_inputs: HashMap<String, Option<String>>,
    #[serde(default)]
    consumer_inputs: HashMap<String, Option<String>>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_date: Option<OffsetDateTime>,
}

impl Subscription {
    fn is_on(&self) -> bool {
        let status = self.status.as_deref().unwrap_or_default();
        !status.starts_with("disabled")
    }

    /// Its owner has left; nobody can switch it on again.
    fn is_orphaned(&self) -> bool {
        self.status.as_deref() == Some("disabledByInactiveIdentity")
    }

    fn url(&self) -> &str {
        input(&self.consumer_inputs, "url")
    }

    /// The branch whose pushes it tells about; empty: every branch.
    fn branch(&self) -> &str {
        input(&self.publisher_inputs, "branch")
    }

    /// Whether it is for this repository and no other.
    fn is_for(&self, repository: &Repository) -> bool {
        let place = Address::of(repository);
        let wanted = input(&self.publisher_inputs, "repository");
        wanted.eq_ignore_ascii_case(place.repository)
    }

    /// Whether it tells about this repository's production branch, be it among others.
    fn tells_of(&self, repository: &Repository) -> bool {
        let place = Address::of(repository);
        let publisher = |name| input(&self.publisher_inputs, name);
        let whole_project = publisher("repository").is_empty()
            && publisher("projectId").eq_ignore_ascii_case(place.project)
            && self.is_on();
        let branch = self.branch();
        let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
        (self.is_for(repository) || whole_project)
            && (branch.is_empty() || branch == repository.branch)
    }
}

fn input<'a>(inputs: &'a HashMap<String, Option<String>>, name: &str) -> &'a str {
    let value = inputs.get(name).and_then(Option::as_deref);
    value.unwrap_or_default()
}

/// The webhook that these subscriptions make up, if any of them sends to `url`.
pub(super) fn found(
    known: Vec<Subscription>,
    repository: &Repository,
    url: &str,
    own: Option<&str>,
) -> Option<FoundWebhook> {
    let mut known = known;
    known.retain(|one| one.tells_of(repository) && same_address(one.url(), url));
    // The link's own one counts while it can be mended; else the oldest one that is on is the one that others rely on.
    let counts = |one: &Subscription| is_own(own, &one.id) && !one.is_orphaned();
    known.sort_by_key(|one| (!counts(one), !one.is_on(), one.created_date));
    let first = |event: &&str| known.iter().find(|one| one.event_type == **event);
    let missing = EVENTS.iter().filter(|event| first(event).is_none());
    let missing: Vec<_> = missing.map(|event| (*event).to_owned()).collect();
    let parts: Vec<_> = EVENTS.iter().filter_map(first).collect();
    let faults = [
        parts
            .iter()
            .any(|part| !part.is_on())
            .then_some(WebhookFault::Inactive),
        (!missing.is_empty()).then_some(WebhookFault::MissingEvents(missing)),
    ];
    let is_part = |one: &Subscription| parts.iter().any(|part| part.id == one.id);
    let doubles = known.iter().filter(|one| one.is_on() && !is_part(one));
    Some(FoundWebhook {
        webhook: Webhook {
            id: parts.first()?.id.clone(),
            url: parts.first()?.url().to_owned(),
        },
        created_at: parts.iter().filter_map(|part| part.created_date).min(),
        faults: faults.into_iter().flatten().collect(),
        doubles: doubles.map(|double| double.id.clone()).collect(),
    })
}

/// All of a subscription as Azure is to have it: every branch, all details.
fn body(repository: &Repository, event: &str, url: &str) -> Value {
    let place = Address::of(repository);
    json!({
        "publisherId": "tfs",
        "eventType": event,
        "resourceVersion": "1.0",
        "consumerId": "webHooks",
        "consumerActionId": "httpRequest",
        "publisherInputs": {
            "projectId": place.project,
            "repository": place.repository,
            "branch": "",
        },
        "consumerInputs": { "url": url },
    })
}

/// Whether the upstream has said no, so that trying again is of no use.
fn is_final(error: &UpstreamError) -> bool {
    matches!(error.class, Class::Refused | Class::NotFound)
}

impl AzureDevops {
    /// Every webhook subscription of an organisation that this credential may see.
    pub(super) async fn subscriptions(
        &self,
        organisation: &str,
    ) -> Result<Vec<Subscription>, UpstreamError> {
        let call = Call::get([organisation, "_apis", "hooks", "subscriptions"])
            .query("publisherId", "tfs")
            .query("consumerId", "webHooks")
            .query("consumerActionId", "httpRequest")
            .query("api-version", VERSION)
            .answer_bytes(LIST_BYTES);
        self.access.pages_by(call, open_page).await
    }

    /// Subscribes to everything that Netlify needs. When one fails, some are there already: what is refused for good takes
    /// them back, and after anything else the next try looks for them.
    pub(super) async fn subscribe_to_all(
        &self,
        repository: &Repository,
        url: &str,
    ) -> Result<Webhook, UpstreamError> {
        let all = EVENTS.map(|event| self.subscribe(repository, event, url));
        let (made, failed): (Vec<_>, Vec<_>) =
            join_all(all).await.into_iter().partition(Result::is_ok);
        let mut made: Vec<_> = made.into_iter().flatten().collect();
        // What may yet have had its effect says more than what was refused.
        let failed = failed.into_iter().filter_map(Result::err);
        match failed.min_by_key(is_final) {
            // In the order of the events: the one for pushes is the first.
            None => Ok(Webhook {
                id: made.swap_remove(0).id,
                url: url.to_owned(),
            }),
            Some(error) if made.is_empty() => Err(error),
            Some(error) => Err(self.stopped_halfway(repository, &made, error).await),
        }
    }

    async fn stopped_halfway(
        &self,
        repository: &Repository,
        made: &[Subscription],
        error: UpstreamError,
    ) -> UpstreamError {
        let class = Class::Uncertain;
        if !is_final(&error) {
            return UpstreamError { class, ..error };
        }
        for subscription in made.iter().rev() {
            if let Err(kept) = self.unsubscribe(repository, &subscription.id).await {
                tracing::warn!(%kept, "cannot take a half-made webhook back; the next try looks for it");
                return UpstreamError { class, ..error };
            }
        }
        error
    }

    async fn subscribe(
        &self,
        repository: &Repository,
        event: &str,
        url: &str,
    ) -> Result<Subscription, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let call = Call::post([organisation, "_apis", "hooks", "subscriptions"]);
        let call = call.query("api-version", VERSION);
        self.access
            .send(call.json(&body(repository, event, url)))
            .await?
            .json()
    }

    /// Whether it was there.
    pub(super) async fn unsubscribe(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<bool, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let call = Call::delete([organisation, "_apis", "hooks", "subscriptions", id]);
        match self.access.send(call.query("api-version", VERSION)).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Subscribes to what is missing, switches on what is off. What belonged to somebody who left is left as it is,
    /// with a new one beside it; and what others have set up for a whole project is not ours to change.
    pub(super) async fn mend(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<(), UpstreamError> {
        let Webhook { id, url } = webhook;
        let organisation = Address::of(repository).organisation;
        let mut known = self.subscriptions(organisation).await?;
        known.retain(|one| one.tells_of(repository) && same_address(one.url(), url));
        known.retain(|one| !one.is_orphaned());
        for event in EVENTS {
            let mut same = known.iter().filter(|one| one.event_type == event);
            let own = same.clone().find(|one| one.id == *id);
            let on = same.clone().find(|one| one.is_on());
            match own.or(on).or_else(|| same.next()) {
                Some(one) if one.is_on() => {}
                Some(one) => self.rewrite(repository, one, url).await?,
                None => drop(self.subscribe(repository, event, url).await?),
            }
        }
        Ok(())
    }

    /// A PUT replaces all of a subscription; the branch that somebody chose stays.
    pub(super) async fn rewrite(
        &self,
        repository: &Repository,
        subscription: &Subscription,
        url: &str,
    ) -> Result<(), UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let mut whole = body(repository, &subscription.event_type, url);
        whole["publisherInputs"]["branch"] = json!(subscription.branch());
        whole["id"] = json!(subscription.id);
        whole["status"] = json!("enabled");
        let call = Call::put([
            organisation,
            "_apis",
            "hooks",
            "subscriptions",
            &subscription.id,
        ]);
        let call = call.query("api-version", VERSION).json(&whole);
        self.access.send(call).await.map(drop)
    }

    /// What we made of a webhook: the subscription that it goes by, and beside it one for every other event that sends to the
    /// webhook's address. That one comes last, so that an interrupted removal finds the rest again. None when it is gone.
    ///
    /// Ours tell of every branch, and are the oldest of their event: we subscribe where nobody has. One that somebody has pointed
    /// elsewhere tells nothing of what else sends there.
    pub(super) async fn parts_of(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Vec<Subscription>, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let mut known = self.subscriptions(organisation).await?;
        let Some(own) = known.iter().position(|one| one.id == webhook.id) else {
            self.check_gone(organisation, &webhook.id).await?;
            return Ok(Vec::new());
        };
        let own = known.swap_remove(own);
        known.retain(|one| one.is_for(repository) && same_address(one.url(), &webhook.url));
        known.retain(|one| one.branch().is_empty());
        known.sort_by_key(|one| one.created_date);
        let mut parts = Vec::new();
        for event in EVENTS.into_iter().filter(|event| *event != own.event_type) {
            let first = known.iter().position(|one| one.event_type == event);
            parts.extend(first.map(|first| known.remove(first)));
        }
        parts.push(own);
        Ok(parts)
    }

    /// A list may lag: only what is not there by its id either is gone.
    async fn check_gone(&self, organisation: &str, id: &str) -> Result<(), UpstreamError> {
        match self.subscription(organisation, id).await? {
            Some(answer) => {
                Err(answer.contract_changed("has what the list of subscriptions lacks"))
            }
            None => Ok(()),
        }
    }

    /// Where a subscription sends by now; `None` when it is gone.
    pub(super) async fn address_of(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<Option<String>, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let Some(answer) = self.subscription(organisation, id).await? else {
            return Ok(None);
        };
        let subscription: Subscription = answer.json()?;
        Ok(Some(subscription.url().to_owned()))
    }

    /// <https://learn.microsoft.com/rest/api/azure/devops/hooks/subscriptions/get?view=azure-devops-rest-7.1>
    async fn subscription(
        &self,
        organisation: &str,
        id: &str,
    ) -> Result<Option<Answer>, UpstreamError> {
        let call = Call::get([organisation, "_apis", "hooks", "subscriptions", id]);
        match self.access.send(call.query("api-version", VERSION)).await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has Azure deliver the last push as a test. Without real data it would send one of an invented repository.
    ///
    /// <https://learn.microsoft.com/rest/api/azure/devops/hooks/notifications/create?view=azure-devops-rest-7.1>
    pub(super) async fn send_last_push(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<(), UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let [push, ..] = EVENTS;
        let test = json!({
            "subscriptionId": webhook.id,
            "details": body(repository, push, &webhook.url),
        });
        let call = Call::post([organisation, "_apis", "hooks", "testnotifications"])
            .query("useRealData", "true")
            .query("api-version", VERSION);
        self.access.send(call.json(&test)).await.map(drop)
    }

    /// <https://learn.microsoft.com/rest/api/azure/devops/hooks/notifications/list?view=azure-devops-rest-7.1>
    pub(super) async fn last_notification(
        &self,
        repository: &Repository,
        webhook: &Webhook,
    ) -> Result<Option<Delivery>, UpstreamError> {
        let organisation = Address::of(repository).organisation;
        let collection = [
            organisation,
            "_apis",
            "hooks",
            "subscriptions",
            &webhook.id,
            "notifications",
        ];
        let call = Call::get(collection)
            .query("maxResults", NOTIFICATIONS)
            .query("api-version", VERSION);
        let mut sent: Vec<Notification> = self.access.pages_by(call, open_page).await?;
        // Filtered ones were about another repository or branch.
        sent.retain(|one| one.result.as_deref() != Some("filtered"));
        let Some(newest) = sent.into_iter().max_by_key(|one| one.created_date) else {
            return Ok(None);
        };
        let [org, apis, hooks, subscriptions, subscription, notifications] = collection;
        let id = newest.id.to_string();
        let call = Call::get([
            org,
            apis,
            hooks,
            subscriptions,
            subscription,
            notifications,
            &id,
        ]);
        let whole = self.access.send(call.query("api-version", VERSION)).await?;
        Ok(Some(whole.json::<Notification>()?.into()))
    }
}

/// A message that Azure sent, or is about to send.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notification {
    id: i64,
    /// `pending`, `succeeded`, `failed` or `filtered`.
    result: Option<String>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    created_date: Option<OffsetDateTime>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    /// The receiver's answer as text, beginning with `Status Code: 204`.
    response: Option<String>,
}

impl From<Notification> for Delivery {
    fn from(sent: Notification) -> Self {
        let response = sent.details.and_then(|details| details.response);
        Self {
            id: sent.id.to_string(),
            status: response.as_deref().and_then(status),
            at: sent.created_date,
        }
    }
}

/// The status in the text of an answer: the first number that can be one.
fn status(response: &str) -> Option<u16> {
    let words = response.split(|c: char| !c.is_ascii_digit());
    let mut numbers = words
        .filter(|word| word.len() == 3)
        .filter_map(|word| word.parse().ok());
    numbers.find(|number| (100..600).contains(number))
}
