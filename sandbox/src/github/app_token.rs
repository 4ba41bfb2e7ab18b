//! The two tokens of a GitHub App: the JWT that it signs itself, and the installation token that it gets for it.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use time::Duration;
use uuid::Uuid;

use super::answer::Refusal;
use super::apps::{Installation, permissions_of};
use super::state::{State, Token, TokenKind};
use crate::clock::Clock;

/// How far ahead a JWT may end, in seconds.
const LONGEST_LIFE: i64 = 600;
/// How long an installation token lives.
const TOKEN_LIFE: Duration = Duration::hours(1);

/// Whether this looks like a JWT rather than one of GitHub's own tokens.
pub fn is_jwt(secret: &str) -> bool {
    secret.starts_with("eyJ") && secret.split('.').count() == 3
}

/// The slug of the app that signed it.
///
/// # Errors
/// 401 in the words that were recorded.
pub fn verify(state: &State, jwt: &str, now: i64) -> Result<String, Refusal> {
    let claims = claims(jwt).ok_or_else(undecodable)?;
    let issuer = match &claims["iss"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut apps = state.apps.values();
    let app = apps.find(|app| app.id.to_string() == issuer || app.client_id == issuer);
    let app = app.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "Integration not found"))?;
    let (signed, signature) = jwt.rsplit_once('.').ok_or_else(undecodable)?;
    let signature = BASE64_URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| undecodable())?;
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.public_key)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| undecodable())?;
    check_times(&claims, now)?;
    Ok(app.slug.clone())
}

fn claims(jwt: &str) -> Option<Value> {
    let mut parts = jwt.split('.');
    let mut part = || -> Option<Value> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(parts.next()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    let (header, claims) = (part()?, part()?);
    (header["alg"] == "RS256").then_some(claims)
}

fn check_times(claims: &Value, now: i64) -> Result<(), Refusal> {
    let refused = |message| Err(Refusal::new(StatusCode::UNAUTHORIZED, message));
    match (claims["iat"].as_i64(), claims["exp"].as_i64()) {
        (Some(issued), _) if issued > now => refused(
            "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued",
        ),
        (_, Some(end)) if end > now + LONGEST_LIFE => {
            refused("'Expiration time' claim ('exp') is too far in the future")
        }
        (Some(_), Some(end)) if end > now => Ok(()),
        _ => refused(
            "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires",
        ),
    }
}

fn undecodable() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "A JSON web token could not be decoded",
    )
}

/// Makes a token of an installation; its text and what is known of it.
pub fn mint(state: &mut State, installation: &Installation, clock: &Clock) -> (String, Token) {
    let app = state.apps.get(&installation.app);
    let text = format!("ghs_{}", Uuid::new_v4().simple());
    let token = Token {
        login: format!("{}[bot]", installation.app),
        kind: TokenKind::Installation,
        scopes: Vec::new(),
        grants: app.map(|app| app.permissions.clone()).unwrap_or_default(),
        permissions: permissions_of(state, installation),
        sso_url: None,
        expires_at: Some(clock.now() + TOKEN_LIFE),
        installation: Some(installation.id),
    };
    state.tokens.insert(text.clone(), token.clone());
    (text, token)
}
