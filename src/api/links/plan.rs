//! `POST /links?validate_only=true`: what linking would do.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    not_found,
    view::{RequestView, summary},
};
use crate::{
    api::problem::Problem,
    link::{
        plan::{Setup, Way},
        preview::{PreviewRound, preview},
        resource::ResourceKind,
    },
    providers,
    store::links,
    upstream::{Instance, instance_of},
};

/// What linking would do. Nothing of it has happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LinkPlan {
    /// The request with every default that is known: the site's name and the connections that would be used.
    /// A name that the request leaves to us is drawn anew each time.
    pub request: RequestView,
    /// The steps, round after round; those of a round run at the same time.
    pub rounds: Vec<PreviewRound>,
    /// The objects that would be made.
    pub objects: Vec<PlannedObject>,
}

/// An object that would be made.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PlannedObject {
    /// What it is.
    pub kind: ResourceKind,
    /// Where: `netlify`, `github`, …
    pub upstream: String,
    /// What it belongs to: the name of the site, or the repository.
    pub of: String,
}

/// The plan of a link that the transaction has inserted and will not commit.
///
/// # Errors
/// When the database is away.
pub async fn plan(
    instances: &[Arc<Instance>],
    setup: Setup,
    db: &mut PgConnection,
    tenant: &str,
    id: Uuid,
) -> Result<LinkPlan, Problem> {
    let row = links::get(db, tenant, id).await?.ok_or_else(not_found)?;
    let gone = || Problem::internal(anyhow::anyhow!("{} is not configured", row.spec.host));
    let instance = instance_of(instances, &row.provider, &row.spec.host).ok_or_else(gone)?;
    let way = Way {
        spec: &row.spec,
        provider: providers::capabilities(&instance, &row.provider_credential),
        setup,
        exchanges_key: false,
    };
    let standing_key = instance.account_keys.standing_for(tenant, &row.spec.path);
    let rounds = preview(&way, &row.provider, standing_key.is_some());
    let request = summary(row).request;
    let steps = rounds.iter().flat_map(|round| &round.steps);
    let objects = steps.filter_map(|step| {
        let kind = step.makes?;
        // The step's last call is the one that makes its object.
        let upstream = step.calls.last()?.upstream.clone();
        let of = match upstream.as_str() {
            "netlify" => request
                .site_name
                .clone()
                .or(request.site_id.clone())
                .unwrap_or_default(),
            _ => request.repository.clone(),
        };
        Some(PlannedObject { kind, upstream, of })
    });
    Ok(LinkPlan {
        objects: objects.collect(),
        request,
        rounds,
    })
}
