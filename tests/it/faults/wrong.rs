//! What can go wrong with a call, in the sandbox's language of faults, and how it may end: the rules of the table.

use linkbroker_sandbox::{Fault, Upstream};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc2822};

use super::call::{Call, Kind};
use super::expected::{
    Class::{self, Asks, Degrades, Fails, GoesOn, Retries, Waits},
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
    pub reach: Reach,
}

/// Whom a fault concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The call alone.
    Call,
    /// The credential, which has to rest for a minute.
    Minute,
    /// A connection that others may use too, or all connections for a moment.
    Neighbours,
}

/// What a fault needs to know of its world.
pub struct Place<'a> {
    /// Where somebody else listens.
    pub elsewhere: &'a str,
    /// What the call presents: careless vendors repeat it.
    pub secret: &'a str,
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
            reach: Reach::Call,
        }
    }

    const fn at(self, fits: fn(&Call) -> bool) -> Self {
        Self { fits, ..self }
    }

    const fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    const fn reaching(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// Whether it can happen to this call.
    pub fn fits(&self, call: &Call) -> bool {
        (self.fits)(call)
    }

    /// How it may end at this call. What a patrol cannot see it sees a little later, with the same credential.
    pub fn ends_at(&self, call: &Call) -> &'static [Class] {
        match call.is_of_a_patrol() {
            true if self.name == "401" => &[GoesOn, Asks, Degrades],
            true => &[GoesOn, Retries, Waits],
            false => self.ends.of(call.kind()),
        }
    }

    /// As the sandbox is told.
    pub fn fault(&self, place: &Place) -> Fault {
        serde_json::from_value((self.fault)(place)).expect("a fault of the sandbox")
    }
}

fn is_github(call: &Call) -> bool {
    call.upstream == Upstream::Github
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

fn in_some_seconds() -> String {
    let at = OffsetDateTime::now_utc() + Duration::seconds(5);
    let text = at.format(&Rfc2822).expect("a time in this age");
    text.replace("+0000", "GMT")
}

fn limit(retry_after: &str) -> Value {
    json!({"status": 429, "body": {"message": "Slow down"}, "headers": {"retry-after": retry_after}})
}

fn secondary() -> Value {
    let message =
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    json!({"status": 403, "body": {"message": message}, "headers": {"retry-after": "4"}})
}

fn past_reset() -> Value {
    let headers = json!({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1700000000"});
    json!({"status": 429, "body": {"message": "Too many requests"}, "headers": headers})
}

fn refusal(status: u16, message: &str, place: &Place) -> Value {
    json!({"status": status, "body": {"message": format!("{message} ({})", place.secret)}})
}

/// What only looks ahead is looked for again where it is needed.
const TRIES: Ends = Ends {
    reads: &[Retries, GoesOn],
    ..Ends::all(&[Retries])
};
/// A step that only looks ahead does not wait itself, only the next call does.
const WAITS: Ends = Ends {
    reads: &[Waits, GoesOn],
    ..Ends::all(&[Waits])
};
const PASSES: Ends = Ends::all(&[GoesOn]);
/// What nobody reads cannot be wrong.
const GARBLED: Ends = Ends::all(&[Retries, GoesOn]);
/// Azure DevOps says by it that the credential is refused.
const SIGNED_OUT: Ends = Ends {
    reads: &[Retries, Asks, GoesOn],
    ..Ends::all(&[Retries, Asks])
};
/// A person's key that cannot be looked for is asked for.
const REFUSED: Ends = Ends {
    reads: &[Asks, Degrades, GoesOn],
    ..Ends::all(&[Asks, Degrades])
};
/// A repository that may not be read is as good as none.
const FORBIDDEN: Ends = Ends {
    reads: &[Asks, Degrades, Fails, GoesOn],
    ..REFUSED
};
const MISSING: Ends = Ends::all(&[Fails, Asks, GoesOn, Degrades]);

/// Everything, in the order of the docs.
#[rustfmt::skip]
pub static ALL: &[Wrong] = &[
    Wrong::new("refused", "nobody listens", TRIES, |_| json!({"refused_ms": 120})).reaching(Reach::Neighbours),
    Wrong::new("hung", "connecting takes too long", TRIES, |_| json!({"hung_ms": 1_200})).reaching(Reach::Neighbours),
    Wrong::new("reset", "the connection breaks before the effect", TRIES, |_| json!("reset")),
    Wrong::new("lost answer", "the connection breaks after the effect", TRIES, |_| json!("lost_answer")),
    Wrong::new("stale connection", "the connection is stale at its next use", Ends::all(&[GoesOn, Retries]), |_| json!("stale_connection")).reaching(Reach::Neighbours),
    Wrong::new("late answer", "the answer does not begin in time", TRIES, |_| json!({"late_ms": 6_000})),
    Wrong::new("drip", "the body comes byte by byte", GARBLED, |_| json!({"drip_ms": 1_000})).at(has_answer),
    Wrong::new("429 in seconds", "429, `Retry-After` in seconds", WAITS, |_| limit("4")),
    Wrong::new("429 with a date", "429, `Retry-After` as a date", WAITS, |_| limit(&in_some_seconds())),
    Wrong::new("429 past reset", "429, its limit reset long ago: a second's rest", Ends::all(&[Waits, GoesOn]), |_| past_reset()),
    Wrong::new("429 without a time", "429 that does not say for how long", WAITS, |place| refusal(429, "Slow down", place)).reaching(Reach::Minute),
    Wrong::new("403 secondary", "GitHub's secondary rate limit", WAITS, |_| secondary()).at(is_github),
    Wrong::new("200 asks to wait", "a good answer with `Retry-After`, as Azure DevOps gives", Ends::all(&[GoesOn, Waits]), |_| {
        json!({"more_headers": {"retry-after": "1"}})
    }),
    Wrong::new("500", "500", TRIES, |place| refusal(500, "Internal error", place)),
    Wrong::new("502 page", "502 with a proxy's page", TRIES, |_| page(502)),
    Wrong::new("200 sign-in page", "200 with a page to sign in", SIGNED_OUT, |_| page(200)),
    Wrong::new("203 sign-in page", "203 with a page to sign in", SIGNED_OUT, |_| page(203)),
    Wrong::new("half body", "JSON that ends in the middle", GARBLED, |_| json!("half_body")).at(has_answer),
    Wrong::new("broken body", "the connection breaks within the body", GARBLED, |_| json!("broken_body")).at(has_answer),
    Wrong::new("wrong types", "numbers as texts, texts as numbers", GARBLED, |_| json!({"json": "wrong_types"})).at(has_answer),
    Wrong::new("unknown words", "words that nobody knows", PASSES, |_| json!({"json": "unknown_words"})).at(has_answer),
    Wrong::new("null ids", "ids that are null", GARBLED, |_| json!({"json": "null_ids"})).at(has_answer),
    Wrong::new("long list", "a list that is 1,000 items longer", PASSES, |_| json!({"json": "long_list"})).at(is_read),
    Wrong::new("empty list", "a list that lags and is empty", TRIES, |_| json!({"json": "empty_list"})).at(is_read),
    Wrong::new("1 GB body", "a body of a gigabyte", GARBLED, |_| json!({"body_bytes": 1_u64 << 30})).at(has_answer),
    Wrong::new("gzip bomb", "a body that unpacks to a gigabyte", GARBLED, |_| json!("gzip_bomb")).at(has_answer),
    Wrong::new("redirect", "a redirect on the same host", PASSES, |_| redirect("{target}")),
    // A call gives up after four; four may be sent side by side.
    Wrong::new("redirect loop", "redirects without end", TRIES, |_| redirect("{target}")).times(16),
    Wrong::new("redirect elsewhere", "a redirect to another host", TRIES, |place| redirect(&format!("{}{{target}}", place.elsewhere))),
    Wrong::new("redirect to metadata", "a redirect to 169.254.169.254", TRIES, |_| redirect("http://169.254.169.254/latest/meta-data/")),
    Wrong::new("401", "401: the credential is not valid any more", REFUSED, |place| refusal(401, "Bad credentials", place)),
    Wrong::new("403", "403: the credential may not do this", FORBIDDEN, |place| refusal(403, "Resource not accessible by personal access token", place)),
    Wrong::new("404", "404: hidden, or gone", MISSING, |place| refusal(404, "Not Found", place)).at(has_answer),
];
