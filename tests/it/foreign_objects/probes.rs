//! How each operation can be made to name another tenant's object.

use linkbroker_sandbox::GITHUB_TOKEN;
use reqwest::Method;
use serde_json::{Value, json};

/// What a tenant has, as far as a request can name it.
pub struct Objects {
    pub link: String,
    pub connection: String,
    pub preflight: String,
    pub netlify: String,
    pub github: String,
    pub reference: String,
    pub site: String,
    pub site_id: String,
    pub repository: String,
    pub key: String,
    pub links_cursor: String,
    pub connections_cursor: String,
    pub audit_cursor: String,
    pub event_cursor: String,
    /// The asking tenant's own, whosever the rest is.
    pub own: Own,
}

/// What the asking tenant has itself.
#[derive(Clone)]
pub struct Own {
    pub link: String,
    pub status_token: String,
}

/// A request that names objects.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    pub key: Option<String>,
    pub bearer: Option<String>,
}

/// One way to name an object: the operation, the parameters that do it, and the request.
pub struct Probe {
    pub operation: &'static str,
    pub parameters: &'static [&'static str],
    /// Whether the answer is a 404; else it is the same as for what does not exist.
    pub missing: bool,
    pub ask: fn(&Objects) -> Ask,
}

fn ask(method: Method, path: String) -> Ask {
    Ask {
        method,
        path,
        body: None,
        key: None,
        bearer: None,
    }
}

fn get(path: String) -> Ask {
    ask(Method::GET, path)
}

fn post(path: String) -> Ask {
    ask(Method::POST, path)
}

impl Ask {
    fn body(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    fn key(self, key: &str) -> Self {
        let key = Some(key.to_owned());
        Self { key, ..self }
    }

    fn bearer(self, token: &str) -> Self {
        let bearer = Some(token.to_owned());
        Self { bearer, ..self }
    }
}

/// Of an object in the path that is not there.
const fn missing(operation: &'static str, ask: fn(&Objects) -> Ask) -> Probe {
    Probe {
        operation,
        parameters: &["id"],
        missing: true,
        ask,
    }
}

const fn same(
    operation: &'static str,
    parameters: &'static [&'static str],
    ask: fn(&Objects) -> Ask,
) -> Probe {
    Probe {
        operation,
        parameters,
        missing: false,
        ask,
    }
}

/// Parameters that name no object.
pub const NO_OBJECT: &[&str] = &[
    "If-None-Match",
    "Prefer",
    "after",
    "clear_cache",
    "condition",
    "keep_site",
    "limit",
    "provider",
    "since",
    "status",
    "updated_after",
    "validate_only",
    "wait",
];

/// Reads first: where something leaks, what removes comes last.
#[rustfmt::skip]
pub const PROBES: &[Probe] = &[
    missing("getConnection", |it| get(format!("/connections/{}", it.connection))),
    missing("getLink", |it| get(format!("/links/{}", it.link))),
    missing("getLink", |it| get(format!("/links/{}?wait=1&after=1", it.link))),
    same("getLink", &["id"], |it| get(format!("/links/{}", it.link)).bearer(&it.own.status_token)),
    missing("listBuilds", |it| get(format!("/links/{}/builds", it.link))),
    missing("getDiagnosis", |it| get(format!("/links/{}/diagnosis", it.link))),
    missing("listEvents", |it| get(format!("/links/{}/events", it.link))),
    same("listEvents", &["token"], |it| get(format!("/links/{}/events?token={}", it.link, it.own.status_token))),
    missing("listResources", |it| get(format!("/links/{}/resources", it.link))),
    missing("listSteps", |it| get(format!("/links/{}/steps", it.link))),
    missing("createStatusToken", |it| post(format!("/links/{}/status-tokens", it.link))),
    same("listAudit", &["link"], |it| get(format!("/audit?link={}", it.link))),
    same("listAudit", &["cursor"], |it| get(format!("/audit?cursor={}", it.audit_cursor))),
    same("listConnections", &["cursor"], |it| get(format!("/connections?cursor={}", it.connections_cursor))),
    same("listLinks", &["cursor"], |it| get(format!("/links?cursor={}", it.links_cursor))),
    same("listLinks", &["repository"], |it| get(format!("/links?repository=github.com/{}", it.repository))),
    same("listLinks", &["site"], |it| get(format!("/links?site={}", it.site))),
    same("listLinks", &["ref"], |it| get(format!("/links?ref={}", it.reference))),
    same("listLinks", &["labels"], |it| get(format!("/links?label.owner={}", it.reference))),
    same("listEvents", &["cursor"], |it| get(format!("/links/{}/events?cursor={}", it.own.link, it.event_cursor))),
    same("listBuilds", &["cursor"], |it| get(format!("/links/{}/builds?cursor=MCB4", it.own.link))),
    same("listEvents", &["Last-Event-ID"], |it| get(format!("/links/{}/events?cursor={}", it.own.link, it.event_cursor))),
    same("createLink", &["body"], |it| post("/links?validate_only=true".to_owned()).body(json!({
        "repository": format!("https://github.com/{}", it.repository), "ref": it.reference, "site": {"name": it.site}}))),
    same("createLink", &["body"], |it| post("/links?validate_only=true".to_owned()).body(json!({
        "repository": format!("https://github.com/{}", it.repository), "site": {"id": it.site_id, "relink": true}}))),
    same("createLink", &["body"], |it| post("/links".to_owned()).body(with_connection(it, "netlify", &it.netlify))),
    same("createLink", &["body"], |it| post("/links".to_owned()).body(with_connection(it, "provider", &it.github))),
    same("createLink", &["Idempotency-Key"], |it| post("/links".to_owned()).body(request(it)).key(&it.key)),
    same("putLinkByRef", &["ref", "body"], |it| ask(Method::PUT, format!("/links/by-ref/{}", it.reference)).body(request(it))),
    missing("getPreflight", |it| get(format!("/preflights/{}", it.preflight))),
    same("createPreflight", &["body"], |it| post("/preflights".to_owned()).body(with_connection(it, "provider", &it.github))),
    same("createConnection", &["body"], |it| post("/connections".to_owned()).body(connection(&it.netlify))),
    same("createConnection", &["Idempotency-Key"], |it| post("/connections".to_owned()).body(connection(&it.github)).key(&it.key)),
    missing("checkConnection", |it| post(format!("/connections/{}/check", it.connection))),
    Probe { parameters: &["id", "body"], ..missing("replaceCredential", |it| ask(Method::PUT, format!("/connections/{}/credential", it.connection)).body(token())) },
    missing("verifyLink", |it| post(format!("/links/{}/verify", it.link))),
    missing("checkLink", |it| post(format!("/links/{}/check", it.link))),
    missing("rotateKey", |it| post(format!("/links/{}/rotate-key", it.link))),
    missing("getDrift", |it| get(format!("/links/{}/drift", it.link))),
    Probe { parameters: &["id", "body"], ..missing("setDriftPolicy", |it| ask(Method::PATCH, format!("/links/{}/drift", it.link)).body(json!({"policy": "report"}))) },
    Probe { parameters: &["id", "body"], ..missing("healLink", |it| post(format!("/links/{}/heal", it.link)).body(json!({"drift": "all"}))) },
    missing("rebuildLink", |it| post(format!("/links/{}/rebuild", it.link))),
    missing("retryLink", |it| post(format!("/links/{}/retry", it.link))),
    missing("cancelLink", |it| post(format!("/links/{}/cancel", it.link))),
    missing("deleteConnection", |it| ask(Method::DELETE, format!("/connections/{}", it.connection))),
    missing("deleteLink", |it| ask(Method::DELETE, format!("/links/{}", it.link))),
    missing("deleteLink", |it| ask(Method::DELETE, format!("/links/{}?keep_site=true", it.link))),
];

/// What the other tenant asked for.
pub fn request(it: &Objects) -> Value {
    let mut request = with_connection(it, "netlify", &it.netlify);
    request["connections"]["provider"] = json!(it.github);
    request
}

fn with_connection(it: &Objects, which: &str, name: &str) -> Value {
    json!({
        "repository": format!("https://github.com/{}", it.repository),
        "ref": it.reference,
        "labels": {"owner": it.reference},
        "site": {"name": it.site, "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
        "connections": {which: name},
    })
}

fn token() -> Value {
    json!({"type": "token", "token": GITHUB_TOKEN})
}

fn connection(name: &str) -> Value {
    json!({"name": name, "kind": "github", "credential": token()})
}
