//! Headers that answers have by their status, whatever the route.

use std::collections::BTreeMap;

use utoipa::openapi::{
    Header, ObjectBuilder, Ref, RefOr, Response, header::HeaderBuilder, schema::Type,
};

/// A header that answers of certain statuses have.
struct Common {
    name: &'static str,
    /// Empty: all of them.
    statuses: &'static [&'static str],
    kind: Type,
    description: &'static str,
}

/// Answers to requests that count: callers are known.
const COUNTED: &[&str] = &["200", "201", "202", "204", "304", "429"];

const COMMON: &[Common] = &[
    Common {
        name: "x-request-id",
        statuses: &[],
        kind: Type::String,
        description: "Names the request in the server's log",
    },
    Common {
        name: "Location",
        statuses: &["201", "202"],
        kind: Type::String,
        description: "Address of what was made or is being worked on",
    },
    Common {
        name: "ETag",
        statuses: &["202", "304"],
        kind: Type::String,
        description: "Version of the link",
    },
    Common {
        name: "Retry-After",
        statuses: &["202", "429", "503"],
        kind: Type::Integer,
        description: "When to read or try again, in seconds",
    },
    Common {
        name: "RateLimit-Policy",
        statuses: COUNTED,
        kind: Type::String,
        description: "The tenant's quota and its window, when there is one: draft-ietf-httpapi-ratelimit-headers",
    },
    Common {
        name: "RateLimit",
        statuses: COUNTED,
        kind: Type::String,
        description: "What remains of the quota, and in how many seconds there is more",
    },
    Common {
        name: "WWW-Authenticate",
        statuses: &["401", "403"],
        kind: Type::String,
        description: "What kind of token, or which scope, is missing (RFC 6750)",
    },
];

/// The headers' descriptions, for the document's components.
pub fn components() -> BTreeMap<String, RefOr<Header>> {
    let described = COMMON
        .iter()
        .map(|header| (header.name.to_owned(), header.describe().into()));
    described.collect()
}

/// Adds the headers that an answer of this status has, in place of a route's own words for them.
pub fn add(status: &str, response: &mut Response, is_counted: bool) {
    let fitting = COMMON.iter().filter(|header| {
        let is_quota = header.statuses == COUNTED;
        (is_counted || !is_quota)
            && (header.statuses.is_empty() || header.statuses.contains(&status))
    });
    for header in fitting {
        let shared = Ref::new(format!("#/components/headers/{}", header.name));
        response
            .headers
            .insert(header.name.to_owned(), RefOr::Ref(shared));
    }
}

impl Common {
    fn describe(&self) -> Header {
        let schema = ObjectBuilder::new().schema_type(self.kind.clone()).build();
        HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(self.description))
            .build()
    }
}
