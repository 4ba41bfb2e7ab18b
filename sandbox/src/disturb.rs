//! Plays a fault on a call: what the client gets instead of the vendor's answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header, response};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use crate::faults::{Fault, Strike, target};
use crate::http::collect;
use crate::outage::Outage;
use crate::server::{Broken, Cut};
use crate::twist;
use crate::world::World;

/// Pieces in which long bodies are sent.
const PIECE: usize = 64 * 1024;
/// How long the connection lives on after the beginning of a body that breaks.
const BREAK_AFTER: Duration = Duration::from_millis(20);
/// What a gzip bomb unpacks to, in pieces.
const BOMB_PIECES: usize = 16 * 1024;
/// Pieces in one member of it.
const MEMBER_PIECES: usize = 16;

/// Disturbs a call as the fault says.
pub async fn play(world: &World, strike: &Strike, request: Request, next: Next) -> Response {
    match &strike.fault {
        Fault::Watch => next.run(request).await,
        Fault::Delay { delay_ms } => {
            sleep(Duration::from_millis(*delay_ms)).await;
            next.run(request).await
        }
        Fault::Answer {
            status,
            body,
            headers,
        } => {
            let (head, _) = request.into_parts();
            canned(*status, body.clone(), headers, target(&head))
        }
        Fault::Reset => Cut::Reset.into_response(),
        Fault::Refused { refused_ms } => {
            let time = Duration::from_millis(*refused_ms);
            world.outages.begin(Outage::Refuses(time));
            Cut::Reset.into_response()
        }
        Fault::Hung { hung_ms } => {
            let time = Duration::from_millis(*hung_ms);
            world.outages.begin(Outage::Hangs(time));
            Cut::Reset.into_response()
        }
        Fault::LostAnswer => {
            next.run(request).await;
            Cut::Close.into_response()
        }
        Fault::HoldRequest => stand_still(world, strike).await,
        Fault::HoldAnswer => {
            next.run(request).await;
            stand_still(world, strike).await
        }
        fault => changed(fault, next.run(request).await).await,
    }
}

async fn stand_still(world: &World, strike: &Strike) -> Response {
    let cleared = world.faults.cleared();
    strike.tell();
    cleared.await;
    Cut::Close.into_response()
}

/// An answer to a call that had its effect, and what is wrong with it.
async fn changed(fault: &Fault, answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let body = match collect(body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let body = match fault {
        Fault::Late { late_ms } => {
            sleep(Duration::from_millis(*late_ms)).await;
            body.into()
        }
        Fault::StaleConnection => {
            parts.extensions.insert(Broken::AfterAnswer);
            body.into()
        }
        Fault::Headers { more_headers } => {
            set(&mut parts, more_headers, "");
            body.into()
        }
        Fault::Body { body } => without_length(&mut parts, body.clone().into()),
        Fault::HalfBody => without_length(&mut parts, body.slice(..body.len() / 2).into()),
        Fault::BrokenBody => without_length(&mut parts, broken(body.slice(..body.len() / 2))),
        Fault::Drip { drip_ms } => without_length(&mut parts, dripping(body, *drip_ms)),
        Fault::Long { body_bytes } => without_length(&mut parts, long(*body_bytes)),
        Fault::GzipBomb => {
            let gzip = HeaderValue::from_static("gzip");
            parts.headers.insert(header::CONTENT_ENCODING, gzip);
            without_length(&mut parts, bomb().into())
        }
        Fault::Json { json } => without_length(&mut parts, twist::twisted(*json, body).into()),
        _ => body.into(),
    };
    Response::from_parts(parts, body)
}

fn without_length(parts: &mut response::Parts, body: Body) -> Body {
    parts.headers.remove(header::CONTENT_LENGTH);
    body
}

fn canned(
    status: u16,
    body: Option<Value>,
    headers: &BTreeMap<String, String>,
    target: &str,
) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let response = match body {
        None => status.into_response(),
        Some(Value::String(text)) => (status, text).into_response(),
        Some(json) => (status, axum::Json(json)).into_response(),
    };
    let (mut parts, body) = response.into_parts();
    set(&mut parts, headers, target);
    Response::from_parts(parts, body)
}

fn set(parts: &mut response::Parts, headers: &BTreeMap<String, String>, target: &str) {
    for (name, value) in headers {
        let value = HeaderValue::try_from(value.replace("{target}", target));
        match (HeaderName::try_from(name), value) {
            (Ok(name), Ok(value)) => {
                parts.headers.insert(name, value);
            }
            _ => tracing::warn!(name, "the fault's header is not valid and was left out"),
        }
    }
}

/// Ends with an error, which breaks the connection; not before the beginning is sent.
fn broken(begin: Bytes) -> Body {
    let beginning = stream::once(std::future::ready(Ok(begin)));
    let end = stream::once(async {
        sleep(BREAK_AFTER).await;
        Err(std::io::Error::other("broken by a fault"))
    });
    Body::from_stream(beginning.chain(end))
}

fn dripping(body: Bytes, drip_ms: u64) -> Body {
    Body::from_stream(stream::unfold(body, move |mut rest| async move {
        sleep(Duration::from_millis(drip_ms)).await;
        let drop = (!rest.is_empty()).then(|| rest.split_to(1))?;
        Some((Ok::<_, Infallible>(drop), rest))
    }))
}

fn long(bytes: u64) -> Body {
    let piece = Bytes::from_static(&[b' '; PIECE]);
    Body::from_stream(stream::unfold(bytes, move |left| {
        let size = PIECE.min(usize::try_from(left).unwrap_or(PIECE));
        let piece = piece.slice(..size);
        let next = (size > 0).then(|| (Ok::<_, Infallible>(piece), left - size as u64));
        std::future::ready(next)
    }))
}

/// Members of a gzip file follow each other: one that is packed once, over and over.
fn bomb() -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..MEMBER_PIECES {
        packer
            .write_all(&[b' '; PIECE])
            .expect("memory takes what is written");
    }
    let member = packer.finish().expect("memory takes what is written");
    member.repeat(BOMB_PIECES / MEMBER_PIECES)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::MultiGzDecoder;

    use super::*;

    #[test]
    fn a_bomb_goes_on_when_its_first_member_is_unpacked() {
        let bomb = bomb();
        let mut unpacked = Vec::new();
        let some = 3 * (MEMBER_PIECES * PIECE) as u64;
        let read = MultiGzDecoder::new(&*bomb)
            .take(some)
            .read_to_end(&mut unpacked);
        assert_eq!(read.expect("a gzip file") as u64, some);
    }
}
