//! Which links to list.

use std::collections::BTreeMap;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use url::form_urlencoded;
use utoipa::{
    IntoParams,
    openapi::{
        Object, ObjectBuilder, RefOr, Required, Schema, Type,
        path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle},
    },
};
use uuid::Uuid;

use crate::{
    api::{
        Api,
        extract::from_query,
        page::PageQuery,
        problem::{Problem, ProblemCode},
    },
    link::{
        conditions::{ConditionStatus, ConditionType},
        status::LinkStatus,
    },
    store::links::Filter,
    upstream::UpstreamKind,
};

/// What the names of label filters begin with.
const LABEL: &str = "label.";

/// Which links to list; all filters have to hold.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only in this status.
    status: Option<LinkStatus>,
    /// Only of repositories at this kind of provider.
    provider: Option<UpstreamKind>,
    /// Only of this repository: any address that `POST /links` takes, or host and path as links show
    /// them. The name that the provider uses by now counts too.
    #[param(example = "github.com/acme/docs")]
    repository: Option<String>,
    /// Only of the site with this name.
    site: Option<String>,
    /// Only with this name of the caller's.
    #[serde(rename = "ref")]
    #[param(rename = "ref")]
    reference: Option<String>,
    /// Only where this condition has this status: `Type:status`, with `true`, `false` or `unknown`.
    #[param(
        example = "PushTriggersBuild:false",
        pattern = "^[A-Za-z]+:(true|false|unknown)$"
    )]
    condition: Option<String>,
    /// Only changed after this time, RFC 3339.
    #[serde(default, with = "time::serde::rfc3339::option")]
    updated_after: Option<OffsetDateTime>,
    /// How many at most, 1 to 100. Default: 50.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u8>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// The filters `label.KEY=VALUE` in the API's description, where a parameter's name is fixed.
pub struct LabelQuery;

impl IntoParams for LabelQuery {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = || RefOr::T(Schema::Object(Object::with_type(Type::String)));
        let mut names = Object::with_type(Type::String);
        names.pattern = Some("^label\\..".to_owned());
        let labels = ObjectBuilder::new()
            .property_names(Some(Schema::Object(names)))
            .additional_properties(Some(text()))
            .examples([json!({"label.portal": "backstage"})]);
        vec![
            ParameterBuilder::new()
                .name("labels")
                .parameter_in(ParameterIn::Query)
                .required(Required::False)
                .style(Some(ParameterStyle::Form))
                .explode(Some(true))
                .description(Some(
                    "Only with these labels: `label.KEY=VALUE`, once for each label, e.g. `label.portal=backstage`.",
                ))
                .schema(Some(labels))
                .build(),
        ]
    }
}

/// The whole query of a list.
#[derive(Debug)]
pub struct ListRequest {
    query: ListQuery,
    labels: BTreeMap<String, String>,
}

impl<S: Send + Sync> FromRequestParts<S> for ListRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut labels = BTreeMap::new();
        let mut others = form_urlencoded::Serializer::new(String::new());
        for (name, value) in
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes())
        {
            let Some(key) = name.strip_prefix(LABEL) else {
                others.append_pair(&name, &value);
                continue;
            };
            if name.contains('\0') || value.contains('\0') {
                return Err(refused("label", "the character NUL is not allowed"));
            }
            if labels.insert(key.to_owned(), value.into_owned()).is_some() {
                return Err(refused(
                    &name,
                    "name each label once: a label has one value",
                ));
            }
        }
        Ok(Self {
            query: from_query(&others.finish())?,
            labels,
        })
    }
}

impl ListRequest {
    /// Which page.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidQuery`].
    pub fn page(&self) -> Result<PageQuery<'_>, Problem> {
        PageQuery::new(self.query.limit, self.query.cursor.as_deref())
    }

    /// What the store is asked for.
    ///
    /// # Errors
    /// [`ProblemCode::InvalidQuery`], naming the parameter that cannot be.
    pub fn filter(&self, api: &Api, page: &PageQuery<'_>) -> Result<Filter, Problem> {
        let query = &self.query;
        let repository = query.repository.as_deref();
        let asked = query.condition.as_deref().map(condition).transpose()?;
        Ok(Filter {
            before: page.cursor::<Uuid>()?,
            status: query.status,
            provider: query.provider.map(UpstreamKind::as_str),
            repository: repository
                .map(|text| api.locate(text))
                .transpose()
                .map_err(|why| refused("repository", &why.to_string()))?
                .map(|found| found.repository),
            site: query.site.clone(),
            reference: query.reference.clone(),
            labels: (!self.labels.is_empty()).then(|| json!(self.labels)),
            step: match asked.as_ref() {
                Some((kind, status)) => kind.step().map(|step| (step, status.states().collect())),
                None => None,
            },
            in_sync: asked
                .filter(|(kind, _)| *kind == ConditionType::InSync)
                .map(|(_, status)| status),
            updated_after: query.updated_after,
            ..Filter::default()
        })
    }
}

/// A condition and the status that it is to have.
fn condition(text: &str) -> Result<(ConditionType, ConditionStatus), Problem> {
    let parsed = text.split_once(':').and_then(|(kind, status)| {
        Some((
            kind.parse::<ConditionType>().ok()?,
            status.parse::<ConditionStatus>().ok()?,
        ))
    });
    parsed.ok_or_else(|| {
        let kinds: Vec<_> = ConditionType::ALL
            .iter()
            .map(|kind| kind.as_str())
            .collect();
        let detail = format!(
            "use TYPE:STATUS, where TYPE is one of {} and STATUS is true, false or unknown",
            kinds.join(", ")
        );
        refused("condition", &detail)
    })
}

fn refused(parameter: &str, detail: &str) -> Problem {
    Problem::new(ProblemCode::InvalidQuery).parameter(parameter, detail)
}
