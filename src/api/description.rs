//! The API's description (OpenAPI 3.1): what every route has in common, so that no route has to say it.
//!
//! Routes describe themselves in their `utoipa::path`. [`complete`] adds what follows from that: headers by the status
//! of an answer, the form of ids, examples by the type of a body.

mod examples;
mod headers;

use std::collections::BTreeMap;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, OpenApi as Document, PathItem, Ref, RefOr, Response, Schema,
        path::{Operation, Parameter, ParameterIn},
        schema::{AdditionalProperties, SchemaType, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{
    ids::Prefix,
    problem::{PROBLEM_JSON, ProblemDocument},
};

const ABOUT: &str = "\
Links git repositories to Netlify sites, for other programs.

**Linking** takes one `POST /links`. The answer comes at once, the setup goes on in the background: read the link again \
(its `Location`) until `poll_after_ms` is absent, wait for news with `wait` and `after`, or follow its events as a stream.

**Callers** send an access token: `Authorization: Bearer <token>`. It names the tenant and what the caller may do \
(`links:read`, `links:write`, `connections:read`, `connections:write`). What belongs to another tenant does not exist.

**Errors** are `application/problem+json` with a stable `code`; `/errors` explains each. A path without the method is \
answered with 405 and `Allow`. Unknown fields and parameters are refused, so that a misspelt one is not ignored.

**Every answer** has an `x-request-id`: the caller's own when it sent one of 1 to 128 letters, digits, `-`, `_`, `.` and \
`:`. Fields may be added to answers; clients ignore what they do not know.";

/// The description without its routes.
#[derive(OpenApi)]
#[openapi(
    info(title = "linkbroker", description = ABOUT,
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
        contact(name = "Whoever runs this linkbroker")),
    servers((url = "/", description = "The server that this description comes from")),
    tags((name = "links", description = "Which repository goes to which site, and how far that has come"),
        (name = "connections", description = "A tenant's named access to its upstreams"),
        (name = "errors", description = "What every code means"),
        (name = "audit", description = "Who changed what, here and at the upstreams"),
        (name = "operations", description = "For the people who run the service")),
    components(schemas(ProblemDocument)),
    security(("bearer" = [])),
    modifiers(&BearerTokens)
)]
pub struct Base;

struct BearerTokens;

impl Modify for BearerTokens {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "A JWT of a configured issuer, or an API key (`lbk_…`) where the operator has switched those on.",
            ))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let status_token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "A status token (`lbs_…`): reading one link, for 15 minutes.",
            ));
        components.add_security_scheme("status_token", SecurityScheme::Http(status_token.build()));
    }
}

/// Adds what follows from the routes; to be called once they are all there.
pub fn complete(document: &mut Document) {
    let components = document.components.get_or_insert_default();
    components.headers.extend(headers::components());
    components.examples.extend(examples::components());
    if let Some(RefOr::T(credential)) = components.schemas.get_mut("NewCredential") {
        refuse_unknown_fields(credential);
    }
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete_operation(path, operation);
            for response in operation.responses.responses.values_mut() {
                share_problem(response, &mut components.responses);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let methods = [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ];
    methods.into_iter().flatten()
}

fn complete_operation(path: &str, operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            describe_id(path, parameter);
            forget_null(parameter);
            describe_idempotency_key(parameter);
        }
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        body.content.values_mut().for_each(add_example);
    }
    // Requests of callers that nobody has to know are not counted.
    let nobody = [SecurityRequirement::default()];
    let is_counted = operation.security.as_deref() != Some(&nobody);
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            headers::add(status, response, is_counted);
            response.content.values_mut().for_each(add_example);
        }
    }
}

fn add_example(content: &mut RefOr<Content>) {
    if let RefOr::T(content) = content {
        examples::add(content);
    }
}

/// Many operations refuse alike: such an answer is described once, under the codes that it may have.
fn share_problem(response: &mut RefOr<Response>, shared: &mut BTreeMap<String, RefOr<Response>>) {
    let RefOr::T(answer) = response else { return };
    let Some(RefOr::T(problem)) = answer.content.get(PROBLEM_JSON) else {
        return;
    };
    let codes: Vec<_> = problem.examples.keys().map(String::as_str).collect();
    if !codes.is_empty() {
        let name = codes.join("-");
        let named = RefOr::Ref(Ref::from_response_name(&name));
        shared.insert(name, std::mem::replace(response, named));
    }
}

/// An id names what it belongs to, by the path before it.
fn describe_id(path: &str, parameter: &mut Parameter) {
    let owner = Prefix::ALL
        .iter()
        .find(|prefix| path.starts_with(&format!("/{}/{{id}}", prefix.collection())));
    let is_id = parameter.name == "id" && parameter.parameter_in == ParameterIn::Path;
    if let (true, Some(owner), Some(RefOr::T(Schema::Object(schema)))) =
        (is_id, owner, &mut parameter.schema)
    {
        schema.pattern = Some(owner.pattern());
        schema.example = Some(format!("{}019302f0c1b47cc2a1f5d3e8b7a69c01", owner.as_str()).into());
    }
}

/// A parameter may be absent, but there is no `null` in queries and headers.
fn forget_null(parameter: &mut Parameter) {
    if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
        && let SchemaType::Array(types) = &mut schema.schema_type
    {
        types.retain(|kind| *kind != Type::Null);
        if let [only] = types.as_slice() {
            schema.schema_type = SchemaType::Type(only.clone());
        }
    }
}

/// Keys are compared byte for byte, so they are what every header can carry unchanged.
fn describe_idempotency_key(parameter: &mut Parameter) {
    if let ("Idempotency-Key", Some(RefOr::T(Schema::Object(schema)))) =
        (parameter.name.as_str(), &mut parameter.schema)
    {
        schema.pattern = Some("^[!-~]{1,255}$".to_owned());
    }
}

/// Serde refuses unknown fields in each variant of a tagged enum; utoipa does not know that.
fn refuse_unknown_fields(schema: &mut Schema) {
    let Schema::OneOf(variants) = schema else {
        return;
    };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

#[cfg(test)]
mod tests;
