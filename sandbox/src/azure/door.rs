//! What happens to every Azure call before and after its handler: sign-in, API version, limits, headers.

use std::sync::Arc;

use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::{Switches, refused};
use crate::forge::TokenKind;
use crate::forge::credentials::{Credentials, Visitor};
use crate::forge::refusal::{Refusal, insert};
use crate::forge::usage::{Limit, Rate};
use crate::world::World;

const SIGN_IN: &str = "<!DOCTYPE html><html><head><title>Azure DevOps Services | Sign In</title></head>\
                       <body>Sign in to continue to Azure DevOps.</body></html>";
const NOT_FOUND: &str = "<!DOCTYPE html><html><head><title>Azure DevOps Services | 404 - Not Found</title></head>\
                         <body>The resource cannot be found.</body></html>";

/// Wraps everything below `/azure`.
pub async fn receive(
    Shared(world): Shared<Arc<World>>,
    mut request: Request,
    next: Next,
) -> Response {
    let switches = world.switches.read().azure_devops.clone();
    let Some(visitor) = signed_in(&world, request.headers()) else {
        return sign(sign_in(&request, &switches).into_response());
    };
    let rate = pay(&world, &visitor, &switches);
    if rate.is_exceeded() {
        return sign(too_many(&switches).into_response());
    }
    let response = match check_version(&request) {
        Ok(()) => {
            request.extensions_mut().insert(visitor);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    sign(delayed(response, &rate, &switches))
}

/// What unknown paths and unknown organisations get.
pub async fn no_such_page() -> Refusal {
    Refusal::page(StatusCode::NOT_FOUND, NOT_FOUND)
}

/// A personal access token comes as the password of basic credentials, Entra's as a bearer token.
fn signed_in(world: &World, headers: &HeaderMap) -> Option<Visitor> {
    let credentials = Credentials::of(headers)??;
    let token = world
        .forges
        .azure
        .lock()
        .tokens
        .get(credentials.secret())
        .cloned()?;
    let fits = match credentials {
        Credentials::Basic { .. } => token.kind == TokenKind::Personal,
        Credentials::Bearer(_) => token.kind == TokenKind::Oauth,
        Credentials::Token(_) => false,
    };
    (fits && !token.is_over(world.clock.now())).then_some(Visitor { token: Some(token) })
}

/// A page to sign in for GET and POST; JSON for the others (azure-devops-auth-samples #52).
fn sign_in(request: &Request, switches: &Switches) -> Refusal {
    let suppressed = request.headers().contains_key("x-tfs-fedauthredirect");
    let browser = matches!(*request.method(), Method::GET | Method::HEAD | Method::POST);
    if !browser || (suppressed && switches.suppress_honoured) {
        let message = "TF400813: The user '' is not authorized to access this resource.";
        let refusal = refused(
            StatusCode::UNAUTHORIZED,
            "UnauthorizedRequestException",
            message,
        );
        return refusal.with("www-authenticate", "Basic realm=\"https://dev.azure.com/\"");
    }
    if switches.sign_in_redirects {
        let to = "https://spsprodeus21.vssps.visualstudio.com/_signin?realm=dev.azure.com";
        return Refusal::page(StatusCode::FOUND, SIGN_IN).with("location", to);
    }
    Refusal::page(StatusCode::NON_AUTHORITATIVE_INFORMATION, SIGN_IN)
}

/// Writing wants a version, in the query or in `Accept`.
fn check_version(request: &Request) -> Result<(), Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let accept = request
        .headers()
        .get("accept")
        .and_then(|v| v.to_str().ok());
    let named =
        query.contains("api-version=") || accept.is_some_and(|a| a.contains("api-version="));
    if named || matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let message = format!(
        "No api-version was supplied for the \"{}\" request. The version must be supplied either as part of the Accept \
         header (e.g. \"application/json; api-version=1.0\") or as a query parameter (e.g. \"?api-version=1.0\").",
        request.method()
    );
    Err(refused(
        StatusCode::BAD_REQUEST,
        "VssVersionNotSpecifiedException",
        &message,
    ))
}

fn pay(world: &World, visitor: &Visitor, switches: &Switches) -> Rate {
    let caller = visitor.login().unwrap_or_default().to_ascii_lowercase();
    let limit = Limit {
        calls: switches.refused_above,
        seconds: 300,
    };
    limit.take(&mut world.forges.azure.lock(), &caller, world.clock.now())
}

fn too_many(switches: &Switches) -> Refusal {
    let message = "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource \
                   'Concurrency' in namespace 'User'.";
    let refusal = refused(
        StatusCode::TOO_MANY_REQUESTS,
        "RequestBlockedException",
        message,
    );
    refusal.with("retry-after", &switches.retry_after_seconds.to_string())
}

/// Delays come before refusals: the answer is good and says to wait.
fn delayed(mut response: Response, rate: &Rate, switches: &Switches) -> Response {
    if rate.used > switches.delayed_above {
        let headers = response.headers_mut();
        headers.insert("retry-after", switches.retry_after_seconds.into());
        insert(headers, "x-ratelimit-resource", "Concurrency");
        headers.insert("x-ratelimit-limit", rate.limit.into());
        headers.insert("x-ratelimit-remaining", rate.remaining().into());
        headers.insert("x-ratelimit-reset", rate.resets_at.into());
    }
    response
}

/// The headers that even a refused caller gets.
fn sign(mut response: Response) -> Response {
    let headers = response.headers_mut();
    insert(headers, "x-vss-e2eid", &Uuid::new_v4().to_string());
    insert(headers, "x-tfs-processid", &Uuid::new_v4().to_string());
    response
}
