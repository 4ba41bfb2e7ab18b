//! Serves published files: `/sites/{name}/…`, and by host name `{name}.localhost` or `{deploy id}--{name}.localhost`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
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

/// GET `/sites/{name}`: relative addresses on the page need the slash.
pub async fn redirect_to_root(UrlPath(name): UrlPath<String>) -> Redirect {
    Redirect::permanent(&format!("/sites/{name}/"))
}

/// GET `/sites/{name}/` and `/sites/{name}/{*path}`
pub async fn serve_by_path(State(world): State<Arc<World>>, request: Request) -> Response {
    // The router has stripped `/sites`; file names are looked up in their encoded form.
    let whole = request.uri().path().trim_start_matches('/');
    match whole.split_once('/') {
        Some((site, path)) => {
            let (site, path) = (site.to_owned(), format!("/{path}"));
            serve(&world, &site, &format!("/sites/{site}"), &path, request).await
        }
        None => absent(),
    }
}

/// Middleware: a request whose `Host` names a site goes to the site.
pub async fn serve_by_host(
    State(world): State<Arc<World>>,
    request: Request,
    next: Next,
) -> Response {
    let header = request.headers().get(header::HOST);
    let host = header.and_then(|h| h.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    match host.strip_suffix(".localhost").map(str::to_owned) {
        Some(site) => {
            let path = request.uri().path().to_owned();
            serve(&world, &site, "", &path, request).await
        }
        None => next.run(request).await,
    }
}

async fn serve(world: &World, site: &str, prefix: &str, path: &str, request: Request) -> Response {
    let (Some(folder), Ok(uri)) = (published(world, site), Uri::try_from(path)) else {
        return absent();
    };
    let (mut parts, _) = request.into_parts();
    parts.uri = uri;
    let request = Request::from_parts(parts, Body::empty());
    let mut files = ServeDir::new(folder).redirect_path_prefix(prefix);
    match files.try_call(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            absent()
        }
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
