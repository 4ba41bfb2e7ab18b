//! How Netlify gets at a repository, as callers write it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema,
        schema::{AdditionalProperties, OneOfBuilder, Type},
    },
};

/// Largest id of an installation: what every JSON reader can tell from its neighbours.
pub const INSTALLATION_MAX: u64 = (1 << 53) - 1;

/// How Netlify gets at the repository: `"deploy_key"`, or `{"installation_id": 4711}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AccessShape", into = "AccessShape")]
pub enum AccessMode {
    /// A deploy key on the repository and a webhook to Netlify.
    #[default]
    DeployKey,
    /// An installation of Netlify's GitHub App that covers the repository: neither key nor webhook.
    InstallationId(u64),
}

/// [`AccessMode`] as JSON.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "use \"deploy_key\", or {\"installation_id\": NUMBER}"
)]
enum AccessShape {
    Word(AccessWord),
    Installation(InstallationAccess),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AccessWord {
    DeployKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InstallationAccess {
    installation_id: u64,
}

impl From<AccessShape> for AccessMode {
    fn from(shape: AccessShape) -> Self {
        match shape {
            AccessShape::Word(AccessWord::DeployKey) => Self::DeployKey,
            AccessShape::Installation(it) => Self::InstallationId(it.installation_id),
        }
    }
}

impl From<AccessMode> for AccessShape {
    fn from(mode: AccessMode) -> Self {
        match mode {
            AccessMode::DeployKey => Self::Word(AccessWord::DeployKey),
            AccessMode::InstallationId(installation_id) => {
                Self::Installation(InstallationAccess { installation_id })
            }
        }
    }
}

impl ToSchema for AccessMode {
    fn name() -> Cow<'static, str> {
        "AccessMode".into()
    }
}

/// By hand, for the limits of the number and the closed object, which attributes cannot say.
impl PartialSchema for AccessMode {
    fn schema() -> RefOr<Schema> {
        let key = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "A deploy key on the repository and a webhook to Netlify.",
            ))
            .enum_values(Some(["deploy_key"]));
        let id = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .description(Some(
                "The number at the end of the address of the app's settings page.",
            ))
            .minimum(Some(1))
            .maximum(Some(INSTALLATION_MAX))
            .examples([json!(4711)]);
        let installation = ObjectBuilder::new()
            .description(Some("An installation of Netlify's GitHub App that covers the repository: neither key nor webhook. Only where the operator has granted it; `site.team` has to be named."))
            .property("installation_id", id)
            .required("installation_id")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let one_of = OneOfBuilder::new()
            .description(Some("How Netlify gets at the repository."))
            .default(Some(json!("deploy_key")))
            .item(key)
            .item(installation);
        RefOr::T(one_of.build().into())
    }
}

impl AccessMode {
    /// The installation, when it is one.
    pub const fn installation_id(self) -> Option<u64> {
        match self {
            Self::DeployKey => None,
            Self::InstallationId(id) => Some(id),
        }
    }
}
