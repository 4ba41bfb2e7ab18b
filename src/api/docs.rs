//! `/docs`: the description of the API for people, in a page that loads nothing from outside.
//!
//! RapiDoc (MIT) was chosen because one script of 217 kB is all it needs; the crate `utoipa-swagger-ui` with its vendored
//! Swagger UI puts ten times that into the program. Its licence and origin are in `docs/LICENSE-rapidoc.txt`.

use axum::{
    Router,
    http::{HeaderName, header},
    response::IntoResponse,
    routing::get,
};

const PAGE: &str = include_str!("docs/page.html");
const SCRIPT: &[u8] = include_bytes!("docs/rapidoc.min.js.gz");

/// Nothing but this server is asked for anything. RapiDoc adds one `<style>` element, allowed by its hash, and writes `style` attributes.
const POLICY: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'sha256-YPESJ0vSgUd6P2cXGqUQCY0HhVMSdRwnIZSk3Dx2r6s='; style-src-attr 'unsafe-inline'; \
    img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes of `/docs`; they are for people, so the description itself does not name them.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(page))
        .route("/docs/rapidoc.js", get(script))
}

async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    (headers, PAGE)
}

/// Compressed as it is stored: whatever runs a page's scripts can read gzip.
async fn script() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CONTENT_ENCODING, "gzip"),
        (header::CACHE_CONTROL, "public, max-age=86400"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, SCRIPT)
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, extract::Request, http::HeaderMap};
    use tower::ServiceExt;

    use super::*;

    async fn fetch(path: &str) -> (HeaderMap, Vec<u8>) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router::<()>().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX)
            .await
            .unwrap();
        (headers, body.to_vec())
    }

    #[tokio::test]
    async fn the_page_names_no_other_origin_and_may_load_nothing_from_one() {
        let (headers, page) = fetch("/docs").await;
        let page = String::from_utf8(page).unwrap();
        assert!(!page.contains("//"), "an address with a host");
        assert!(
            page.contains(r#"load-fonts="false""#),
            "RapiDoc's default fonts come from outside"
        );
        assert!(
            !page.contains("<style") && !page.contains("onload"),
            "the policy forbids these"
        );
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        let sources = policy
            .split([';', ' '])
            .filter(|word| word.contains([':', '.', '*']));
        assert_eq!(sources.collect::<Vec<_>>(), ["data:"]);
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe-eval"));
    }

    #[tokio::test]
    async fn everything_that_the_page_names_is_served() {
        let (_, page) = fetch("/docs").await;
        let page = String::from_utf8(page).unwrap();
        let scripts: Vec<_> = page
            .split("src=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(scripts, ["docs/rapidoc.js"]);
        let (headers, script) = fetch(&format!("/{}", scripts[0])).await;
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        assert_eq!(script[..2], [0x1f, 0x8b], "gzip");
    }
}
