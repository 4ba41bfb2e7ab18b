//! Deploy keys that stand on service accounts at Azure DevOps, and the tenants that the operator grants them to.

use serde::Deserialize;
use time::OffsetDateTime;

use super::instance::PROVIDERS;
use super::problems::{Complaint, Problems};
use crate::upstream::{Instance, StandingKey, UpstreamKind};

/// A `[[standing_key]]` of the operator's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StandingKeyEntry {
    organisation: String,
    deploy_key_id: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
    #[serde(default)]
    tenants: Vec<String>,
}

/// Gives Azure DevOps its standing keys.
pub(super) fn grant(
    entries: Vec<StandingKeyEntry>,
    instances: &mut [Instance],
    problems: &mut Problems,
) {
    let azure = |known: &&mut Instance| known.kind == UpstreamKind::AzureDevops;
    let Some(azure) = instances.iter_mut().find(azure) else {
        return;
    };
    for (index, entry) in entries.into_iter().enumerate() {
        let place = format!(
            "{PROVIDERS}: standing key {} (`{}`)",
            index + 1,
            entry.organisation
        );
        let key = problems.keep(&place, entry.into_key());
        azure.account_keys.standing.extend(key);
    }
}

impl StandingKeyEntry {
    fn into_key(self) -> Result<StandingKey, Complaint> {
        let id = &self.deploy_key_id;
        if self.organisation.is_empty() || self.organisation.contains('/') {
            let remedy = "Write its name alone, as in https://dev.azure.com/NAME.";
            return Err(Complaint::new("this is no organisation", remedy));
        }
        if id.len() != 24 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let problem = format!("`deploy_key_id = \"{id}\"` is not an id of Netlify's");
            let remedy = "Write the 24 hexadecimal digits that Netlify gave the key.";
            return Err(Complaint::new(problem, remedy));
        }
        if self.tenants.is_empty() {
            let remedy =
                "Name in `tenants` whose links may clone with it whatever its account can read.";
            return Err(Complaint::new("it is granted to nobody", remedy));
        }
        Ok(StandingKey {
            organisation: self.organisation,
            deploy_key_id: self.deploy_key_id,
            expires_at: self.expires_at,
            tenants: self.tenants,
        })
    }
}
