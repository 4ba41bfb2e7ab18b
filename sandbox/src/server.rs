//! The HTTP door: an accept loop that can also cut a connection, which `axum::serve` cannot.

use std::future::poll_fn;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::world::World;

/// The address at which this machine reaches a listener: loopback for one that listens everywhere.
pub fn from_here(mut listener: SocketAddr) -> SocketAddr {
    if listener.ip().is_unspecified() {
        listener.set_ip(match listener {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listener
}

/// Put into an answer's extensions: the answer is not sent, the connection ends instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Close without a word, as a vendor's proxy does when its backend dies.
    Close,
    /// TCP reset.
    Reset,
}

impl IntoResponse for Cut {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(self);
        response
    }
}

/// Put into an answer's extensions: the answer is sent, and the connection breaks when the next request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    AfterAnswer,
}

#[derive(Debug, thiserror::Error)]
#[error("connection cut by a fault")]
struct WasCut(Cut);

/// Accepts connections until the world stops.
pub async fn serve(mut listener: TcpListener, router: Router, world: Arc<World>) {
    let mut outages = world.outages.subscribe();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    world.spawn(connection(stream, router.clone(), world.clone()));
                }
                // Out of file descriptors, or a client that left between SYN and accept: neither ends the server.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Ok(()) = outages.changed() => {
                let outage = *outages.borrow_and_update();
                let Some(outage) = outage else { continue };
                drop(listener);
                listener = match outage.pass(world.addr).await {
                    Ok(listener) => listener,
                    Err(error) => return tracing::error!(%error, "the door stays closed after an outage"),
                };
                world.outages.end();
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, world: Arc<World>) {
    let broken = Arc::new(AtomicBool::new(false));
    let here = world.clone();
    let service = service_fn(move |request| {
        Box::pin(answer(
            request,
            router.clone(),
            world.clone(),
            broken.clone(),
        ))
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let outcome = tokio::select! {
        outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => outcome,
        () = here.outages.begun() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    let stream = connection.into_parts().io.into_inner();
    match outcome {
        Err(error) if is_reset(&error) => {
            if let Err(error) = stream.set_zero_linger() {
                tracing::warn!(%error, "cannot reset a connection");
            }
        }
        Err(error) => tracing::debug!(%error, "connection ended"),
        Ok(()) => {}
    }
}

/// In a task of its own: as at a real vendor, a call has its effect even when the client has hung up meanwhile.
async fn answer(
    request: hyper::Request<Incoming>,
    router: Router,
    world: Arc<World>,
    broken: Arc<AtomicBool>,
) -> Result<Response, WasCut> {
    if broken.load(Ordering::Relaxed) {
        return Err(WasCut(Cut::Reset));
    }
    let request: Request = request.map(Body::new);
    let answered = world.spawn(router.oneshot(request)).await;
    let response = match answered {
        Ok(Some(Ok(response))) => response,
        Ok(Some(Err(never))) => match never {},
        // The sandbox is ending.
        Ok(None) => return Err(WasCut(Cut::Close)),
        Err(error) => {
            tracing::error!(%error, "a handler broke");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    if response.extensions().get::<Broken>().is_some() {
        broken.store(true, Ordering::Relaxed);
    }
    match response.extensions().get::<Cut>() {
        Some(cut) => Err(WasCut(*cut)),
        None => Ok(response),
    }
}

fn is_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<WasCut>())
        .is_some_and(|cut| cut.0 == Cut::Reset)
}

#[cfg(test)]
mod tests {
    use super::from_here;

    #[test]
    fn a_listener_everywhere_is_reached_at_loopback() {
        for (listener, reached) in [
            ("0.0.0.0:9999", "127.0.0.1:9999"),
            ("[::]:9999", "[::1]:9999"),
            ("192.0.2.7:9999", "192.0.2.7:9999"),
        ] {
            let listener = listener.parse().expect("an address");
            assert_eq!(from_here(listener).to_string(), reached);
        }
    }
}
