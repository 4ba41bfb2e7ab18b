//! Error answers in the API's description.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::{Response as ResponseDoc, ResponseBuilder};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ContentBuilder, Object, Ref, RefOr};

use super::{PROBLEM_JSON, ProblemCode, ProblemDocument};

/// What any operation with a caller may answer: for `responses(…, CallerProblems)` in `utoipa::path`.
/// The schema itself has to be listed once, in the document's `components(schemas(ProblemDocument))`.
pub struct CallerProblems;

/// What an operation on one object may answer besides [`CallerProblems`].
pub struct ObjectProblems;

/// What an operation with a JSON body may answer besides [`CallerProblems`].
pub struct BodyProblems;

/// What an operation with a JSON body and an `Idempotency-Key` may answer besides [`CallerProblems`];
/// goes after [`BodyProblems`], whose answers it completes.
pub struct RepeatableProblems;

impl IntoResponses for CallerProblems {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        use ProblemCode::{
            BodyTooLarge, Forbidden, Internal, InvalidQuery, RateLimited, Unauthorized, Unavailable,
        };
        documented(&[
            InvalidQuery,
            Unauthorized,
            Forbidden,
            BodyTooLarge,
            RateLimited,
            Internal,
            Unavailable,
        ])
    }
}

impl IntoResponses for ObjectProblems {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        documented(&[ProblemCode::NotFound])
    }
}

impl IntoResponses for BodyProblems {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        use ProblemCode::{InvalidBody, InvalidQuery, InvalidRequest, UnsupportedMediaType};
        documented(&[
            InvalidBody,
            InvalidQuery,
            UnsupportedMediaType,
            InvalidRequest,
        ])
    }
}

impl IntoResponses for RepeatableProblems {
    fn responses() -> BTreeMap<String, RefOr<ResponseDoc>> {
        use ProblemCode::{
            IdempotencyConflict, InvalidBody, InvalidHeader, InvalidQuery, InvalidRequest,
        };
        documented(&[
            InvalidBody,
            InvalidQuery,
            InvalidHeader,
            InvalidRequest,
            IdempotencyConflict,
        ])
    }
}

/// Documents answers with these codes, those of one status together, each with its example.
pub fn documented(codes: &[ProblemCode]) -> BTreeMap<String, RefOr<ResponseDoc>> {
    let mut by_status = BTreeMap::<u16, Vec<ProblemCode>>::new();
    for &code in codes {
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(code);
    }
    let documented = |(status, codes): (u16, Vec<_>)| (status.to_string(), answer(&codes).into());
    by_status.into_iter().map(documented).collect()
}

fn answer(codes: &[ProblemCode]) -> ResponseDoc {
    let titles: Vec<_> = codes.iter().map(|code| code.title()).collect();
    let examples = codes.iter().map(|&code| {
        let value = serde_json::to_value(ProblemDocument::new(code)).ok();
        (
            code.as_str(),
            ExampleBuilder::new()
                .summary(code.title())
                .value(value)
                .build(),
        )
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Problem")))
        .examples_from_iter(examples)
        .build();
    let mut response = ResponseBuilder::new()
        .description(titles.join("; or: "))
        .content(PROBLEM_JSON, content);
    for (name, kind, meaning) in headers(codes) {
        let header = HeaderBuilder::new()
            .schema(Some(Object::with_type(kind)))
            .description(Some(meaning));
        response = response.header(name, header.build());
    }
    response.build()
}

/// Headers that come with answers of these codes.
fn headers(codes: &[ProblemCode]) -> Vec<(&'static str, Type, &'static str)> {
    let retry_after = (
        "Retry-After",
        Type::Integer,
        "When to try again, in seconds",
    );
    let quota = "The quota that is used up and its window (draft-ietf-httpapi-ratelimit-headers)";
    let challenge = "What kind of token is needed (RFC 6750)";
    match codes {
        [ProblemCode::RateLimited, ..] => vec![
            retry_after,
            ("RateLimit-Policy", Type::String, quota),
            (
                "RateLimit",
                Type::String,
                "What remains of it, and in how many seconds there is more",
            ),
        ],
        [ProblemCode::Unavailable, ..] => vec![retry_after],
        [ProblemCode::Unauthorized | ProblemCode::Forbidden, ..] => {
            vec![("WWW-Authenticate", Type::String, challenge)]
        }
        _ => Vec::new(),
    }
}
