//! What can go wrong with a call (limits.md, C3.6), in the sandbox's language of faults.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use super::call::{Call, Kind};
use super::expected::{
    Class::{Asks, Degrades, Fails, GoesOn, Retries, Waits},
    Ends,
};

/// One thing that can go wrong.
#[derive(Debug)]
pub struct Wrong {
    pub name: &'static str,
    /// For people.
    pub what: &'static str,
    /// How it may end.
    pub ends: Ends,
    fault: fn(&Place) -> Value,
    fits: fn(&Call) -> bool,
    /// How many calls in a row.
    pub times: u64,
    /// The credential has to rest for a minute: too long for a test to sit out.
    pub parks: bool,
}

/// What a fault needs to know of its world.
pub struct Place {
    /// Where somebody else listens.
    pub elsewhere: String,
}

impl Wrong {
    const fn new(
        name: &'static str,
        what: &'static str,
        ends: Ends,
        fault: fn(&Place) -> Value,
    ) -> Self {
        Self {
            name,
            what,
            ends,
            fault,
            fits: |_| true,
            times: 1,
            parks: false,
        }
    }

    const fn at(self, fits: fn(&Call) -> bool) -> Self {
        Self { fits, ..self }
    }

    const fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    const fn parking(self) -> Self {
        Self {
            parks: true,
            ..self
        }
    }

    /// Whether it can happen to this call.
    pub fn fits(&self, call: &Call) -> bool {
        (self.fits)(call)
    }

    /// As the sandbox is told.
    pub fn fault(&self, place: &Place) -> Value {
        (self.fault)(place)
    }
}

fn is_github(call: &Call) -> bool {
    call.upstream == "github"
}

fn is_read(call: &Call) -> bool {
    call.kind() == Kind::Reads
}

fn has_answer(call: &Call) -> bool {
    call.kind() != Kind::Removes
}

fn redirect(to: &str) -> Value {
    json!({"status": 307, "headers": {"location": to}})
}

fn page(status: u16) -> Value {
    let html = json!({"content-type": "text/html; charset=utf-8"});
    json!({"status": status, "body": "<html><title>Sign in</title></html>", "headers": html})
}

fn in_two_seconds() -> String {
    let at = OffsetDateTime::now_utc() + Duration::seconds(2);
    let text = at.format(&Rfc2822).expect("a time in this age");
    text.replace("+0000", "GMT")
}

fn secondary() -> Value {
    let message =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    json!({"status": 403, "body": {"message": message}, "headers": {"retry-after": "1"}})
}

fn past_reset() -> Value {
    let headers = json!({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"});
    json!({"status": 429, "body": {"message": "Too many requests"}, "headers": headers})
}

fn refusal(status: u16, message: &str) -> Value {
    json!({"status": status, "body": {"message": message}})
}

const TRIES: Ends = Ends::all(&[Retries]);
const WAITS: Ends = Ends::all(&[Waits]);
const PASSES: Ends = Ends::all(&[GoesOn]);
/// Where nobody reads the answer to a write, it goes on.
const GARBLED: Ends = Ends {
    reads: &[Retries],
    writes: &[Retries, GoesOn],
    removes: &[GoesOn],
};
/// Nothing was done, and nothing says so: what was not made is missed later.
const LIES: Ends = Ends {
    reads: &[Retries],
    writes: &[Retries, Degrades],
    removes: &[GoesOn],
};
const REFUSED: Ends = Ends::all(&[Asks, Degrades]);
const MISSING: Ends = Ends {
    reads: &[Fails, Asks, GoesOn, Degrades],
    writes: &[Fails, Asks, Degrades, GoesOn],
    removes: &[GoesOn],
};

/// Everything, in the order of the docs.
#[rustfmt::skip]
pub const ALL: &[Wrong] = &[
    Wrong::new("refused", "nobody listens", TRIES, |_| json!({"refused_ms": 120})),
    Wrong::new("hung", "connecting takes too long", TRIES, |_| json!({"hung_ms": 800})),
    Wrong::new("reset", "the connection breaks before the effect", TRIES, |_| json!("reset")),
    Wrong::new("lost answer", "the connection breaks after the effect", TRIES, |_| json!("lost_answer")),
    Wrong::new("stale connection", "the connection is stale at its next use", Ends::all(&[GoesOn, Retries]), |_| json!("stale_connection")),
    Wrong::new("slow header", "the answer does not begin in time", TRIES, |_| json!({"late_ms": 4000})),
    Wrong::new("drip", "the body comes byte by byte", GARBLED, |_| json!({"drip_ms": 500})).at(has_answer),
    Wrong::new("429 in seconds", "429, `Retry-After` in seconds", WAITS, |_| {
        json!({"status": 429, "body": {"message": "Slow down"}, "headers": {"retry-after": "1"}})
    }),
    Wrong::new("429 with a date", "429, `Retry-After` as a date", WAITS, |_| {
        json!({"status": 429, "body": {"message": "Slow down"}, "headers": {"retry-after": in_two_seconds()}})
    }),
    Wrong::new("429 past reset", "429, its limit reset long ago", WAITS, |_| past_reset()),
    Wrong::new("429 without a time", "429 that does not say for how long", WAITS, |_| refusal(429, "Slow down")).parking(),
    Wrong::new("403 secondary", "GitHub's secondary rate limit", WAITS, |_| secondary()).at(is_github),
    Wrong::new("200 asks to wait", "a good answer with `Retry-After`, as Azure DevOps gives", Ends::all(&[GoesOn, Waits]), |_| {
        json!({"more_headers": {"retry-after": "1"}})
    }),
    Wrong::new("500", "500", TRIES, |_| refusal(500, "Internal error")),
    Wrong::new("502 page", "502 with a proxy's page", TRIES, |_| page(502)),
    Wrong::new("200 sign-in page", "200 with a page to sign in", LIES, |_| page(200)),
    Wrong::new("203 sign-in page", "203 with a page to sign in", TRIES, |_| page(203)),
    Wrong::new("half body", "JSON that ends in the middle", GARBLED, |_| json!("half_body")).at(has_answer),
    Wrong::new("broken body", "the connection breaks within the body", GARBLED, |_| json!("broken_body")).at(has_answer),
    Wrong::new("wrong types", "numbers as texts, texts as numbers", GARBLED, |_| json!({"json": "wrong_types"})).at(has_answer),
    Wrong::new("unknown words", "words that nobody knows", PASSES, |_| json!({"json": "unknown_words"})).at(has_answer),
    Wrong::new("null ids", "ids that are null", GARBLED, |_| json!({"json": "null_ids"})).at(has_answer),
    Wrong::new("long list", "a list that is 1,000 items longer", PASSES, |_| json!({"json": "long_list"})).at(is_read),
    Wrong::new("1 GB body", "a body of a gigabyte", GARBLED, |_| json!({"body_bytes": 1_u64 << 30})).at(has_answer),
    Wrong::new("gzip bomb", "a body that unpacks to a gigabyte", GARBLED, |_| json!("gzip_bomb")).at(has_answer),
    Wrong::new("redirect", "a redirect on the same host", PASSES, |_| redirect("{target}")),
    Wrong::new("redirect loop", "redirects without end", TRIES, |_| redirect("{target}")).times(4),
    Wrong::new("redirect elsewhere", "a redirect to another host", TRIES, |place| redirect(&format!("{}{{target}}", place.elsewhere))),
    Wrong::new("redirect to metadata", "a redirect to 169.254.169.254", TRIES, |_| redirect("http://169.254.169.254/latest/meta-data/")),
    Wrong::new("401", "401: the credential is not valid any more", REFUSED, |_| refusal(401, "Bad credentials")),
    Wrong::new("403", "403: the credential may not do this", REFUSED, |_| refusal(403, "Resource not accessible by personal access token")),
    Wrong::new("404", "404: hidden, or gone", MISSING, |_| refusal(404, "Not Found")),
];
