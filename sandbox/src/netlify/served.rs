//! Serves published files: `/sites/{name}/…`, and by host name `{name}.localhost` or `{deploy id}--{name}.localhost`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeDir;

use crate::world::World;

/// Where the files of a deploy are kept.
pub fn folder(data_dir: &Path, deploy_id: &str) -> PathBuf {
    data_dir.join("published").join(deploy_id)
}

/// Deletes the files of a deploy that is no more.
pub fn forget(data_dir: &Path, deploy_id: &str) {
    match std::fs::remove_dir_all(folder(data_dir, deploy_id)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, deploy_id, "cannot delete published files");
        }
        _ => {}
    }
}

/// GET `/sites/{name}/`
pub async fn serve_root(
    State(world): State<Arc<World>>,
    UrlPath(name): UrlPath<String>,
    request: Request,
) -> Response {
    serve(&world, &name, "/", request).await
}

/// GET `/sites/{name}/{*path}`
pub async fn serve_path(
    State(world): State<Arc<World>>,
    UrlPath((name, _)): UrlPath<(String, String)>,
    request: Request,
) -> Response {
    // Routing saw the decoded path; files are looked up by the encoded rest of it.
    let prefix = request
        .uri()
        .path()
        .match_indices('/')
        .nth(1)
        .map_or(0, |(at, _)| at);
    let path = request.uri().path()[prefix..].to_owned();
    serve(&world, &name, &path, request).await
}

/// Any other address: the site that the `Host` header names.
pub async fn serve_by_host(State(world): State<Arc<World>>, request: Request) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|h| h.to_str().ok());
    let host = host
        .unwrap_or_default()
        .split(':')
        .next()
        .unwrap_or_default();
    match host.strip_suffix(".localhost").map(str::to_owned) {
        Some(site) => {
            let path = request.uri().path().to_owned();
            serve(&world, &site, &path, request).await
        }
        None => absent(),
    }
}

async fn serve(world: &World, site: &str, path: &str, request: Request) -> Response {
    let (Some(folder), Ok(uri)) = (published(world, site), Uri::try_from(path)) else {
        return absent();
    };
    let (mut parts, _) = request.into_parts();
    parts.uri = uri;
    let request = Request::from_parts(parts, Body::empty());
    match ServeDir::new(folder).try_call(request).await {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => absent(),
        Ok(response) => response.map(Body::new),
        Err(error) => {
            tracing::warn!(%error, site, "cannot read a published file");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// `name` is the published deploy; `id--name` is one deploy, published or not; `branch--name` is not kept.
fn published(world: &World, site: &str) -> Option<PathBuf> {
    let netlify = world.netlify.lock();
    let deploy_id = match site.split_once("--") {
        Some((deploy_id, name)) if netlify.deploys.contains_key(deploy_id) => {
            let deploy = &netlify.deploys[deploy_id];
            (netlify.site_named(name)?.id == deploy.site_id).then_some(deploy_id.to_owned())?
        }
        _ => netlify.site_named(site)?.published.clone()?,
    };
    Some(folder(&world.data_dir, &deploy_id))
}

fn absent() -> Response {
    (StatusCode::NOT_FOUND, "Not Found").into_response()
}
