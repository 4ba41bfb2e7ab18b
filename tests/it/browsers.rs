//! Which web pages may call from a browser.

use reqwest::Method;

use crate::world::{Answer, Setup, World, docs};

const PORTAL: &str = "https://portal.example.com";

async fn world(origins: &str) -> World {
    let settings = vec![("LINKBROKER_CORS_ORIGINS", origins.to_owned())];
    World::with(Setup {
        settings,
        ..Setup::default()
    })
    .await
}

async fn preflight(world: &World, origin: &str, path: &str) -> Answer {
    let anonymous = world.client.with_token(&world.server.address, None);
    let ask = |request: reqwest::RequestBuilder| {
        request
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,idempotency-key",
            )
    };
    anonymous.send(Method::OPTIONS, path, ask).await
}

fn list(answer: &Answer, header: &str) -> Vec<String> {
    let values = answer.header(header).unwrap_or_default().split(',');
    values
        .map(|value| value.trim().to_ascii_lowercase())
        .collect()
}

#[tokio::test]
async fn pages_of_configured_origins_may_call_and_read_the_headers() {
    let world = world(&format!("{PORTAL}, http://localhost:3000")).await;
    for origin in [PORTAL, "http://localhost:3000"] {
        let allowed = preflight(&world, origin, "/links").await.expect(200);
        assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
        assert_eq!(allowed.header("access-control-allow-credentials"), None);
        let headers = list(&allowed, "access-control-allow-headers");
        for needed in [
            "authorization",
            "content-type",
            "idempotency-key",
            "if-none-match",
            "last-event-id",
            "prefer",
        ] {
            assert!(headers.contains(&needed.to_owned()), "{needed}");
        }
        let methods = list(&allowed, "access-control-allow-methods");
        assert_eq!(methods, ["get", "post", "put", "patch", "delete"]);
    }
    let from_portal = |request: reqwest::RequestBuilder| request.header("origin", PORTAL);
    let id = world.client.link(docs()).await;
    let read = world
        .client
        .send(Method::GET, &format!("/links/{id}"), from_portal)
        .await
        .expect(200);
    assert_eq!(read.header("access-control-allow-origin"), Some(PORTAL));
    assert!(list(&read, "vary").contains(&"origin".to_owned()));
    let exposed = list(&read, "access-control-expose-headers");
    for header in [
        "etag",
        "retry-after",
        "location",
        "preference-applied",
        "ratelimit",
    ] {
        assert!(exposed.contains(&header.to_owned()), "{header}");
    }
    // A page has to be able to read why it was refused.
    let anonymous = world.client.with_token(&world.server.address, None);
    let refused = anonymous
        .send(Method::GET, "/links", from_portal)
        .await
        .expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(PORTAL));
}

#[tokio::test]
async fn other_pages_may_not() {
    let configured = world(PORTAL).await;
    for origin in [
        "https://evil.example.com",
        "http://portal.example.com",
        "https://portal.example.com:8443",
        "https://portal.example.com.evil.com",
        "null",
    ] {
        let refused = preflight(&configured, origin, "/links").await;
        assert_eq!(
            refused.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
    let closed = World::usual().await;
    let refused = preflight(&closed, PORTAL, "/links").await.expect(405);
    assert_eq!(refused.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn origins_are_exact_or_refused() {
    let mut world = World::empty(Setup::default()).await;
    for wrong in [
        "*",
        "portal.example.com",
        "https://portal.example.com/",
        "https://*.example.com/x",
        "null",
        "https://Portal.example.com",
        "ftp://portal.example.com",
    ] {
        world.set("LINKBROKER_CORS_ORIGINS", wrong.to_owned());
        let told = world
            .run(&["config", "check", "--dev"])
            .await
            .expect(1)
            .json();
        assert_eq!(
            told["problems"][0]["setting"], "LINKBROKER_CORS_ORIGINS",
            "{wrong}: {told:#}"
        );
    }
}
