//! Which facts are external objects, and how they stand in the ledger.

use serde_json::json;

use super::doors::Opened;
use crate::{
    link::{
        facts::{Fact, NotificationHook, Origin, SetVariable},
        resource::ResourceKind,
    },
    store::{links::LeasedLink, resources::Entry},
};

/// The ledger's entries for a fact; facts that are no objects have none.
pub fn entries(link: &LeasedLink, opened: &Opened, fact: &Fact) -> Vec<Entry> {
    let netlify = |kind, id: &str, origin, attributes| Entry {
        connection: link.netlify_connection,
        kind,
        host: opened.netlify.instance().host.clone(),
        external_id: id.to_owned(),
        origin,
        attributes,
    };
    let provider = |kind, id: &str, origin, attributes| {
        let repository = link
            .facts
            .repository
            .as_ref()
            .map(|repository| repository.id.as_str());
        Entry {
            connection: link.provider_connection,
            kind,
            host: format!("{}/{}", link.spec.host, repository.unwrap_or_default()),
            external_id: id.to_owned(),
            origin,
            attributes,
        }
    };
    match fact {
        // The operator's, and used by many links: not in any link's account.
        Fact::DeployKey(key) if key.standing => Vec::new(),
        Fact::DeployKey(key) => {
            let public = json!({ "public_key": key.public_key });
            vec![netlify(
                ResourceKind::DeployKey,
                &key.id,
                Origin::Made,
                public,
            )]
        }
        Fact::Site(site, origin) => {
            let name = json!({ "name": site.name });
            vec![netlify(ResourceKind::Site, &site.id, *origin, name)]
        }
        Fact::SiteThatWas(site, before) => {
            let before = json!({ "name": site.name, "before": before });
            vec![netlify(ResourceKind::Site, &site.id, Origin::Found, before)]
        }
        Fact::InstalledKey(key, origin) => {
            let of = json!(key);
            vec![provider(ResourceKind::InstalledKey, &key.id, *origin, of)]
        }
        Fact::Webhook(webhook, origin, _) => {
            let url = json!({ "url": webhook.url });
            vec![provider(ResourceKind::Webhook, &webhook.id, *origin, url)]
        }
        Fact::Environment(set) => {
            let site = link.facts.site.as_ref().map(|site| site.id.as_str());
            let variable = |set: &SetVariable| Entry {
                host: format!(
                    "{}/{}",
                    opened.netlify.instance().host,
                    site.unwrap_or_default()
                ),
                ..netlify(ResourceKind::EnvVariable, &set.name, set.origin, json!({}))
            };
            set.iter().map(variable).collect()
        }
        Fact::Notifications(hooks) => {
            let hook = |hook: &NotificationHook| {
                let event = json!({ "event": hook.event });
                netlify(ResourceKind::Notification, &hook.id, Origin::Made, event)
            };
            hooks.iter().map(hook).collect()
        }
        Fact::Repository(..)
        | Fact::DeployKeyRefused
        | Fact::Attachment(_)
        | Fact::Build(..)
        | Fact::AskedBuild(_)
        | Fact::Deploy(_)
        | Fact::Proof(_)
        | Fact::Asked(_)
        | Fact::KeyRetired(_)
        | Fact::Nothing => Vec::new(),
    }
}
