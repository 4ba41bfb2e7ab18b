//! Queries, cursors, paths and headers.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{collection::vec, prelude::*, sample::select};
use reqwest::{
    Method,
    header::{HeaderName, HeaderValue},
};

use super::{Odd, json::odd_string, send_all, world};

/// What each list takes; `wait` is left out because it may be heeded.
const PARAMETERS: [&str; 14] = [
    "cursor",
    "limit",
    "status",
    "provider",
    "repository",
    "site",
    "ref",
    "label.portal",
    "label.",
    "condition",
    "updated_after",
    "after",
    "keep_site",
    "unknown",
];

const HEADERS: [&str; 15] = [
    "last-event-id",
    "if-none-match",
    "if-match",
    "idempotency-key",
    "x-request-id",
    "authorization",
    "prefer",
    "accept",
    "accept-encoding",
    "range",
    "origin",
    "x-forwarded-for",
    "x-webhook-signature",
    "x-hub-signature-256",
    "x-github-event",
];

/// As one segment of a path or one value of a query.
pub fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes())
        .collect::<String>()
        .replace('+', "%20")
}

/// Cursors are base64 of what they name: a number, an id, a name.
fn cursor() -> impl Strategy<Value = String> {
    let named = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<u128>().prop_map(|id| format!("{id:032x}")),
        odd_string(),
    ];
    named.prop_map(|named| URL_SAFE_NO_PAD.encode(named))
}

fn value() -> impl Strategy<Value = String> {
    let odd = odd_string().prop_map(|text| encoded(&text.chars().take(500).collect::<String>()));
    let raw = select(
        [
            "%",
            "%zz",
            "%ff%fe",
            "a=b=c",
            "&&",
            "1&1",
            "2026-11-22T10:00:00Z",
        ]
        .as_slice(),
    );
    let number = any::<i64>().prop_map(|number| number.to_string());
    prop_oneof![3 => odd, 3 => cursor(), 1 => number, 1 => raw.prop_map(str::to_owned)]
}

fn paths(link: &str) -> Vec<String> {
    let lists = ["/links", "/connections", "/audit", "/errors", "/nowhere"];
    let parts = [
        "",
        "/events",
        "/steps",
        "/builds",
        "/diagnosis",
        "/resources",
    ];
    let of_link = parts.map(|part| format!("/links/{link}{part}"));
    lists
        .map(str::to_owned)
        .into_iter()
        .chain(of_link)
        .collect()
}

fn path(link: &str) -> impl Strategy<Value = String> + use<> {
    let query = vec((select(PARAMETERS.as_slice()), value()), 0..4).prop_map(|pairs| {
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("&")
    });
    let known = (select(paths(link)), query).prop_map(|(path, query)| format!("{path}?{query}"));
    let odd = (
        select(["/links", "/connections", "/errors"].as_slice()),
        value(),
    )
        .prop_map(|(path, id)| format!("{path}/{id}"));
    prop_oneof![4 => known, 1 => odd]
}

/// Any value that a header may have at all; often a cursor, often a signature that is none.
fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let bytes = prop_oneof![
        3 => vec(prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8], 0..80),
        2 => cursor().prop_map(String::into_bytes),
        1 => vec(Just(b'x'), 0..8000),
        2 => "(W/)?\"[0-9]{0,30}\"(, \\*)?|Bearer [A-Za-z0-9_.-]{0,60}|sha256=[0-9a-f]{0,64}".prop_map(String::into_bytes),
    ];
    let value = bytes.prop_filter_map("no control characters", |bytes| {
        HeaderValue::from_bytes(&bytes).ok()
    });
    (select(HEADERS.as_slice()), value)
        .prop_map(|(name, value)| (HeaderName::from_static(name), value))
}

fn requests(link: &str) -> impl Strategy<Value = Odd> + use<> {
    let stream = Just(vec![(
        HeaderName::from_static("accept"),
        HeaderValue::from_static("text/event-stream"),
    )]);
    let headers = prop_oneof![Just(Vec::new()), stream];
    let method =
        prop_oneof![8 => Just(Method::GET), 1 => Just(Method::HEAD), 1 => Just(Method::PATCH)];
    (method, path(link), headers, vec(header(), 0..4)).prop_map(
        |(method, path, mut headers, odd)| {
            headers.extend(odd);
            Odd {
                method,
                path,
                headers,
                body: None,
            }
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_and_no_header_is_too_odd() {
    let (world, link, _) = world().await;
    send_all(&world, &requests(&link).boxed());
    world.client.get("/readyz").await.expect(204);
}
