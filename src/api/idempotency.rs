//! `Idempotency-Key`: a request that may be sent again without being done again.
//!
//! - The answer is kept in the very transaction that does what was asked: both are there, or neither.
//! - The same key with an equal request (method, path and body as JSON) gets the kept answer again,
//!   marked by `Idempotency-Replayed: true`.
//! - The same key with another request is refused: `idempotency_conflict`.
//! - While the first request is under way the second is told to come back:
//!   `idempotency_in_progress`. Nobody waits for a lock.
//! - A request that was refused had no effect and keeps nothing: mended, it may use the key again.
//! - Answers are kept for 24 hours.
//!
//! Bodies may hold secrets (a connection's credential), so what is stored to recognise a request is an
//! HMAC under the tenant's data key, for all routes alike: whoever reads the table cannot try
//! guesses of a secret against it.

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderName, HeaderValue, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use sqlx::{PgConnection, types::Json};
use utoipa::IntoParams;
use zeroize::Zeroizing;

use super::{
    Api, connections,
    extract::{from_json, json_bytes},
    problem::{Problem, ProblemCode},
};
use crate::store::idempotency::{self, KeptAnswer};

/// The header in the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described; `IdempotencyKey` reads it")]
pub struct KeyHeader {
    /// The caller's own name for this request: 1 to 255 visible ASCII characters. Sent again with an
    /// equal body within 24 hours, the request is not done again: it gets the same answer.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        example = "5f9c0e7a-deploy-docs"
    )]
    key: Option<String>,
}

const KEY_MAX: usize = 255;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A request with a JSON body that its caller may send again.
#[derive(Debug)]
pub struct Repeatable<T> {
    /// The body.
    pub body: T,
    /// The request, by which it is recognised.
    pub request: Once,
}

/// What a request is recognised by; empty without a key.
#[derive(Debug)]
pub struct Once(Option<Keyed>);

#[derive(Debug)]
struct Keyed {
    key: String,
    /// Method, path and body in one spelling.
    request: Zeroizing<Vec<u8>>,
}

/// Whether a request was answered before.
#[derive(Debug)]
pub enum Turn {
    /// It was, with this.
    Earlier(Response),
    /// It was not; its answer is to be kept.
    First(Keep),
}

/// The duty to keep the answer of a request that is being done.
#[derive(Debug)]
#[must_use]
pub struct Keep(Option<(String, Vec<u8>)>);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Repeatable<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(&mut parts, state).await?;
        let start = format!("{} {}\n", parts.method, parts.uri.path());
        let bytes = json_bytes(Request::from_parts(parts, body)).await?;
        let body = from_json(&bytes)?;
        let keyed = match key {
            Some(key) => Some(Keyed {
                key,
                request: one_spelling(start, &bytes)?,
            }),
            None => None,
        };
        Ok(Self {
            body,
            request: Once(keyed),
        })
    }
}

/// Fields in order, without blanks: serde's maps are sorted.
fn one_spelling(start: String, body: &[u8]) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let value: serde_json::Value = from_json(body)?;
    let mut request = Zeroizing::new(start.into_bytes());
    serde_json::to_writer(&mut *request, &value).map_err(Problem::internal)?;
    Ok(request)
}

/// The caller's own name for the request, when it gave one.
struct IdempotencyKey(Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all(&KEY).iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let bytes = value.as_bytes();
        let is_key = (1..=KEY_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        match value.to_str() {
            Ok(key) if is_key && values.next().is_none() => Ok(Self(Some(key.to_owned()))),
            _ => Err(Problem::new(ProblemCode::InvalidHeader).parameter(
                "Idempotency-Key",
                "send one key of 1 to 255 visible ASCII characters, without blanks",
            )),
        }
    }
}

impl Once {
    /// Looks whether an equal request was answered before, and reserves the key when it was not.
    ///
    /// # Errors
    /// [`ProblemCode::IdempotencyConflict`] when the key belongs to another request,
    /// [`ProblemCode::IdempotencyInProgress`] while a request with this key is being done.
    pub async fn begin(
        self,
        api: &Api,
        db: &mut PgConnection,
        tenant: &str,
    ) -> Result<Turn, Problem> {
        let Some(Keyed { key, request }) = self.0 else {
            return Ok(Turn::First(Keep(None)));
        };
        let fingerprint = connections::data_key(api, db, tenant)
            .await?
            .fingerprint(&request)
            .to_vec();
        // In this order: whoever gets the key sees what the last one with it has kept.
        let reserved = idempotency::try_reserve(db, tenant, &key).await?;
        match idempotency::get(db, tenant, &key).await? {
            Some(kept) if kept.fingerprint == fingerprint => Ok(Turn::Earlier(replay(kept)?)),
            Some(_) => Err(Problem::new(ProblemCode::IdempotencyConflict)),
            None if reserved => Ok(Turn::First(Keep(Some((key, fingerprint))))),
            None => Err(Problem::new(ProblemCode::IdempotencyInProgress).retry_after(1)),
        }
    }
}

fn replay(kept: KeptAnswer) -> Result<Response, Problem> {
    let status = u16::try_from(kept.status).map_err(Problem::internal)?;
    let status = StatusCode::from_u16(status).map_err(Problem::internal)?;
    let mut response = (status, Body::from(kept.body)).into_response();
    let headers = response.headers_mut();
    headers.clear();
    for (name, value) in kept.headers.0 {
        let name = HeaderName::try_from(name).map_err(Problem::internal)?;
        headers.append(
            name,
            HeaderValue::try_from(value).map_err(Problem::internal)?,
        );
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

impl Keep {
    /// Keeps the answer for later requests with the same key; it counts once the transaction is committed.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn keep(
        self,
        db: &mut PgConnection,
        tenant: &str,
        answer: Response,
    ) -> Result<Response, Problem> {
        let Some((key, fingerprint)) = self.0 else {
            return Ok(answer);
        };
        let (parts, body) = answer.into_parts();
        let body = to_bytes(body, usize::MAX)
            .await
            .map_err(Problem::internal)?;
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned);
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| Ok((name.to_string(), text(value)?)));
        let headers: Result<Vec<_>, anyhow::Error> = headers.collect();
        let kept = KeptAnswer {
            fingerprint,
            status: i16::try_from(parts.status.as_u16()).map_err(Problem::internal)?,
            headers: Json(headers.map_err(Problem::internal)?),
            body: body.to_vec(),
        };
        idempotency::keep(db, tenant, &key, &kept).await?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bodies_have_one_spelling() {
        let spelled =
            |body: &str| one_spelling("POST /links\n".to_owned(), body.as_bytes()).unwrap();
        let one = spelled(r#"{"b": [1, 2], "a": {"d": "x", "c": null}}"#);
        assert_eq!(one, spelled(r#"{"a":{"c":null,"d":"\u0078"},"b":[1,2]}"#));
        assert_ne!(one, spelled(r#"{"b": [2, 1], "a": {"d": "x", "c": null}}"#));
    }
}
