//! Environment variables of a site.
//!
//! The calls are the team's, narrowed to one site; the team is named by its slug, as Netlify's own CLI does. Scopes are
//! never sent: choosing them is for larger plans. Without them Netlify takes all.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::was_there;
use crate::{
    link::{
        environment::{BRANCH, EnvVariable},
        facts::Site,
        failure::FailureCode,
    },
    upstream::{Access, Call, Class, UpstreamError},
};

/// Contexts of a secret for which none are named: Netlify takes no secret for all, because that would include the
/// local ones (netlify-cli, `env:set`).
const SECRET_CONTEXTS: [&str; 3] = ["production", "deploy-preview", "branch-deploy"];

/// A variable as Netlify describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Variable {
    /// Its name.
    #[serde(rename = "key")]
    pub name: String,
    values: Option<Vec<VariableValue>>,
    is_secret: Option<bool>,
    updated_at: Option<String>,
}

/// Its value in one context. Of a secret it is not the real one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct VariableValue {
    value: Option<String>,
    context: Option<String>,
    context_parameter: Option<String>,
}

impl Variable {
    /// When it was changed last, by Netlify's clock.
    pub fn changed_at(&self) -> Option<OffsetDateTime> {
        OffsetDateTime::parse(self.updated_at.as_deref()?, &Rfc3339).ok()
    }

    /// Whether Netlify shows its value.
    pub fn is_secret(&self) -> bool {
        self.is_secret == Some(true)
    }

    /// Whether it is as asked, as far as Netlify shows it.
    pub fn looks_like(&self, asked: &EnvVariable) -> bool {
        let values = self.values.iter().flatten();
        let contexts: BTreeSet<_> = values.clone().filter_map(VariableValue::context).collect();
        let expected: BTreeSet<_> = contexts_of(asked).into_iter().collect();
        let asked_value = asked.value.expose_secret();
        let has_value = |it: &VariableValue| it.value.as_deref() == Some(asked_value);
        self.is_secret() == asked.settings.secret
            && contexts == expected
            && (self.is_secret() || values.clone().all(has_value))
    }
}

impl VariableValue {
    /// In the words of a request.
    fn context(&self) -> Option<String> {
        let context = self.context.clone()?;
        let branch = self.context_parameter.as_deref();
        Some(match branch.filter(|_| context == "branch") {
            Some(branch) => format!("{BRANCH}{branch}"),
            None => context,
        })
    }
}

fn contexts_of(variable: &EnvVariable) -> Vec<String> {
    let settings = &variable.settings;
    match (settings.contexts.is_empty(), settings.secret) {
        (false, _) => settings.contexts.iter().cloned().collect(),
        (true, false) => vec!["all".to_owned()],
        (true, true) => SECRET_CONTEXTS.map(str::to_owned).into(),
    }
}

/// The site's own variables; those that it shares with its team are not among them.
///
/// # Errors
/// `site_gone`, `environment_refused`.
pub async fn list(access: &Access, site: &Site) -> Result<Vec<Variable>, UpstreamError> {
    let call = Call::get(["accounts", &site.team, "env"])
        .query("site_id", &site.id)
        .told_by_role();
    let answer = access.send(call).await;
    answer.map_err(|error| gone(refused(error), site))?.json()
}

/// Gives the site variables that it does not have.
///
/// # Errors
/// `env_variable_exists` when it has one of them, `site_gone`, `environment_refused`.
pub async fn create(
    access: &Access,
    site: &Site,
    variables: &[(&String, &EnvVariable)],
) -> Result<(), UpstreamError> {
    let bodies: Vec<_> = variables
        .iter()
        .map(|(name, variable)| body(name, variable))
        .collect();
    let values = variables.iter().map(|(_, variable)| variable.value.clone());
    let call = Call::post(["accounts", &site.team, "env"])
        .told_by_role()
        .query("site_id", &site.id)
        .json(&bodies)
        .hiding(values);
    let answer = access.send(call).await;
    answer.map_err(|error| gone(refused(error), site))?;
    Ok(())
}

/// Replaces a variable of the site with all its values.
///
/// # Errors
/// [`UpstreamError::is_missing`] when the site or the variable is not there; `environment_refused`.
pub async fn replace(
    access: &Access,
    site: &Site,
    name: &str,
    variable: &EnvVariable,
) -> Result<(), UpstreamError> {
    // The name stands in the query by the richer description, in the body by the older one and Netlify's CLI.
    let call = Call::put(["accounts", &site.team, "env", name])
        .told_by_role()
        .query("site_id", &site.id)
        .query("key", name)
        .json(&body(name, variable))
        .hiding([variable.value.clone()]);
    access.send(call).await.map_err(refused)?;
    Ok(())
}

/// Deletes a variable of the site; whether it was there.
///
/// # Errors
/// `environment_refused`.
pub async fn delete(access: &Access, site: &Site, name: &str) -> Result<bool, UpstreamError> {
    let call = Call::delete(["accounts", &site.team, "env", name])
        .query("site_id", &site.id)
        .told_by_role();
    was_there(access.send(call).await.map_err(refused))
}

fn body(name: &str, variable: &EnvVariable) -> Value {
    let text = variable.value.expose_secret();
    let contexts = contexts_of(variable);
    let value = |context: &String| match context.strip_prefix(BRANCH) {
        Some(branch) => json!({ "value": text, "context": "branch", "context_parameter": branch }),
        None => json!({ "value": text, "context": context }),
    };
    let values: Vec<_> = contexts.iter().map(value).collect();
    json!({ "key": name, "values": values, "is_secret": variable.settings.secret })
}

/// What Netlify does not take here has one name, whatever it calls it: "unauthorized" is, by its description, also
/// what a member's role does not allow, and 422 a "catchall".
fn refused(error: UpstreamError) -> UpstreamError {
    use FailureCode::{CredentialRefused, EnvironmentRefused, NetlifyForbidden, RequestRefused};
    let is_refusal = matches!(
        error.code,
        CredentialRefused | NetlifyForbidden | RequestRefused
    );
    match error.class {
        Class::Refused if is_refusal => UpstreamError {
            code: EnvironmentRefused,
            ..error
        },
        _ => error,
    }
}

fn gone(error: UpstreamError, site: &Site) -> UpstreamError {
    let detail = format!(
        "Netlify has no site with the id {} in the team `{}` for this credential.",
        site.id, site.team
    );
    error.if_missing(FailureCode::SiteGone, detail)
}
