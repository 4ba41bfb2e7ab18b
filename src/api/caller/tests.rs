//! Good tokens, forged tokens, and keys that come, go and do not come.

use std::cell::Cell;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::request::Builder;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::config::{Issuer, KeySource};

thread_local! {
    /// How far a test has moved its clock: each runs on a thread of its own.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The time for the keys under test.
pub(super) fn now() -> Instant {
    Instant::now() + PASSED.get()
}

/// A key pair under a key id.
struct Signer {
    id: &'static str,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    fn ed(id: &'static str) -> Self {
        let random = aws_lc_rs::rand::SystemRandom::new();
        let der = aws_lc_rs::signature::Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
        Self {
            id,
            algorithm: Algorithm::EdDSA,
            key: EncodingKey::from_ed_der(der.as_ref()),
        }
    }

    fn ec(id: &'static str) -> Self {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let random = aws_lc_rs::rand::SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            id,
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_der(der.as_ref()),
        }
    }

    fn rsa(id: &'static str) -> Self {
        use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----");
        Self {
            id,
            algorithm: Algorithm::RS256,
            key: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap(),
        }
    }

    fn public(&self) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        jwk
    }

    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": format!("{:?}", self.algorithm), "kid": self.id})
    }

    fn sign(&self, header: &Value, claims: &str) -> String {
        let message = format!("{}.{}", encode(&header.to_string()), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.unwrap())
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&self.header(), &claims.to_string())
    }
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn unix_now() -> i64 {
    time::OffsetDateTime::now_utc().unix_timestamp()
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com",
        "aud": "linkbroker",
        "sub": "portal",
        "tenant": "acme",
        "scope": "links:read links:write openid",
        "exp": unix_now() + 60,
    })
}

/// The good claims with some replaced; `null` removes one.
fn claims_with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    claims
}

fn issuer(name: &str, keys: KeySource) -> Issuer {
    Issuer {
        issuer: name.to_owned(),
        audience: "linkbroker".to_owned(),
        keys,
        algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
        tenant_claim: "tenant".to_owned(),
        scope_claim: "scope".to_owned(),
    }
}

fn known(signers: &[&Signer]) -> KeySource {
    let keys = signers.iter().map(|signer| signer.public()).collect();
    KeySource::Known(JwkSet { keys })
}

fn router(issuers: Vec<Issuer>) -> Router {
    let who = async |caller: Caller| -> Result<String, Problem> {
        caller.require(Scope::LinksRead)?;
        Ok(format!(
            "{} {} {:?}",
            caller.tenant, caller.subject, caller.scopes
        ))
    };
    let admin = async |caller: Caller| caller.require(Scope::ConnectionsWrite).map(|()| "done");
    Router::new()
        .route("/who", get(who))
        .route("/admin", get(admin))
        .with_state(Arc::new(Authenticator::new(issuers).unwrap()))
}

struct Answer {
    status: StatusCode,
    challenge: String,
    body: String,
}

async fn send(router: &Router, request: Builder) -> Answer {
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX)
        .await
        .unwrap();
    Answer {
        status,
        challenge: challenge.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn present(router: &Router, token: &str) -> Answer {
    send(
        router,
        Request::get("/who").header(AUTHORIZATION, format!("Bearer {token}")),
    )
    .await
}

#[tokio::test]
async fn good_tokens_are_let_in() {
    let (ed, ec, rsa) = (Signer::ed("ed"), Signer::ec("ec"), Signer::rsa("rsa"));
    let router = router(vec![issuer(
        "https://id.example.com",
        known(&[&ed, &ec, &rsa]),
    )]);
    let mut with_jku = ed.header();
    with_jku["jku"] = json!("http://127.0.0.1:1/evil");
    let without_kid = json!({"alg": "EdDSA"});
    for (name, token) in [
        ("EdDSA", ed.token(&claims())),
        ("ES256", ec.token(&claims())),
        ("RS256", rsa.token(&claims())),
        (
            "aud as a list",
            ed.token(&claims_with(json!({"aud": ["other", "linkbroker"]}))),
        ),
        (
            "20 s late",
            ed.token(&claims_with(json!({"exp": unix_now() - 20}))),
        ),
        (
            "scopes as a list",
            ed.token(&claims_with(
                json!({"scope": ["links:read", "links:write", 5]}),
            )),
        ),
        ("jku is ignored", ed.sign(&with_jku, &claims().to_string())),
        (
            "the only key that fits",
            ed.sign(&without_kid, &claims().to_string()),
        ),
    ] {
        let answer = present(&router, &token).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(answer.body, "acme portal [LinksRead, LinksWrite]", "{name}");
    }
    let lower_case =
        Request::get("/who").header("authorization", format!("bearer {}", ed.token(&claims())));
    assert_eq!(send(&router, lower_case).await.status, StatusCode::OK);
}

#[tokio::test]
async fn forged_tokens_are_refused_with_one_constant_answer() {
    let (ed, ed_2, ec, rsa) = (
        Signer::ed("ed"),
        Signer::ed("ed-2"),
        Signer::ec("ec"),
        Signer::rsa("rsa"),
    );
    let (foreign, stranger) = (Signer::ed("foreign"), Signer::ed("ed"));
    let mut only_rsa = issuer("https://only-rsa.example.com", known(&[&rsa, &ed]));
    only_rsa.algorithms = vec![Algorithm::RS256];
    let router = router(vec![
        issuer("https://id.example.com", known(&[&ed, &ed_2, &ec, &rsa])),
        issuer("https://other.example.com", known(&[&foreign])),
        only_rsa,
    ]);

    let good = ed.token(&claims());
    let (good_message, good_signature) = good.rsplit_once('.').unwrap();
    let richer = claims_with(json!({"tenant": "umbrella"})).to_string();
    let hmac = |secret: &[u8]| Signer {
        id: "rsa",
        algorithm: Algorithm::HS256,
        key: EncodingKey::from_secret(secret),
    };
    let rsa_public = serde_json::to_value(rsa.public()).unwrap();
    let modulus = URL_SAFE_NO_PAD
        .decode(rsa_public["n"].as_str().unwrap())
        .unwrap();
    let with_header = |name: &str, value: Value| {
        let mut header = stranger.header();
        header[name] = value;
        stranger.sign(&header, &claims().to_string())
    };
    let twice = claims()
        .to_string()
        .replacen('{', r#"{"tenant":"umbrella","#, 1);
    let header_for = |algorithm: &str| json!({"alg": algorithm, "kid": "ed"}).to_string();
    let unsigned = |algorithm: &str| {
        format!(
            "{}.{}.",
            encode(&header_for(algorithm)),
            encode(&claims().to_string())
        )
    };
    let changed = |changes: Value| ed.token(&claims_with(changes));

    for (name, token) in [
        ("empty", String::new()),
        ("not a token", "opaque".to_owned()),
        ("three odd parts", "a.b.c".to_owned()),
        ("five parts", format!("{good}.e30.e30")),
        ("alg none", unsigned("none")),
        ("alg None", unsigned("None")),
        ("alg of a name unheard of", unsigned("XX999")),
        ("signature cut off", format!("{good_message}.")),
        (
            "signature of other claims",
            format!(
                "{}.{}.{good_signature}",
                encode(&ed.header().to_string()),
                encode(&richer)
            ),
        ),
        (
            "HMAC with the public modulus",
            hmac(&modulus).token(&claims()),
        ),
        (
            "HMAC with the public key as text",
            hmac(rsa_public.to_string().as_bytes()).token(&claims()),
        ),
        (
            "another algorithm than the key's",
            ec.sign(&json!({"alg": "ES256", "kid": "ed"}), &claims().to_string()),
        ),
        (
            "an algorithm that the issuer does not use",
            changed(json!({"iss": "https://only-rsa.example.com"})),
        ),
        ("a stranger under our key id", stranger.token(&claims())),
        (
            "a stranger with his key in the header",
            with_header("jwk", serde_json::to_value(stranger.public()).unwrap()),
        ),
        (
            "a stranger with his key address",
            with_header("jku", json!("https://evil.example.com/keys")),
        ),
        ("a key of another issuer", foreign.token(&claims())),
        (
            "our key for another issuer",
            changed(json!({"iss": "https://other.example.com"})),
        ),
        ("an unknown key id", Signer::ed("unknown").token(&claims())),
        (
            "no key id and two keys",
            ed.sign(&json!({"alg": "EdDSA"}), &claims().to_string()),
        ),
        (
            "a critical extension",
            ed.sign(
                &json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": true}),
                &claims().to_string(),
            ),
        ),
        (
            "unknown issuer",
            changed(json!({"iss": "https://evil.example.com"})),
        ),
        (
            "issuer with a slash too many",
            changed(json!({"iss": "https://id.example.com/"})),
        ),
        (
            "issuer as a list",
            changed(json!({"iss": ["https://id.example.com"]})),
        ),
        ("no issuer", changed(json!({"iss": null}))),
        ("no audience", changed(json!({"aud": null}))),
        ("another audience", changed(json!({"aud": "payroll"}))),
        (
            "a list without us",
            changed(json!({"aud": ["payroll", "hr"]})),
        ),
        ("an empty list", changed(json!({"aud": []}))),
        ("no subject", changed(json!({"sub": null}))),
        ("an empty subject", changed(json!({"sub": ""}))),
        ("a subject that is a number", changed(json!({"sub": 7}))),
        ("a huge subject", changed(json!({"sub": "x".repeat(257)}))),
        ("no expiry", changed(json!({"exp": null}))),
        ("expired 59 s ago", changed(json!({"exp": unix_now() - 59}))),
        (
            "expiry as a text",
            changed(json!({"exp": (unix_now() + 60).to_string()})),
        ),
        ("negative expiry", changed(json!({"exp": -1}))),
        ("not yet valid", changed(json!({"nbf": unix_now() + 59}))),
        (
            "validity as a text",
            changed(json!({"nbf": (unix_now() + 600).to_string()})),
        ),
        ("no tenant", changed(json!({"tenant": null}))),
        ("an empty tenant", changed(json!({"tenant": ""}))),
        (
            "a tenant with a slash",
            changed(json!({"tenant": "acme/../umbrella"})),
        ),
        (
            "a tenant that is too long",
            changed(json!({"tenant": "x".repeat(65)})),
        ),
        (
            "two tenants",
            changed(json!({"tenant": ["acme", "umbrella"]})),
        ),
        ("a claim twice", ed.sign(&ed.header(), &twice)),
        ("claims that are a list", ed.sign(&ed.header(), "[]")),
        ("10 KB", changed(json!({"padding": "x".repeat(10_000)}))),
    ] {
        let answer = present(&router, &token).await;
        assert_eq!(
            answer.status,
            StatusCode::UNAUTHORIZED,
            "{name}: {}",
            answer.body
        );
        assert_eq!(
            answer.challenge, r#"Bearer realm="linkbroker", error="invalid_token""#,
            "{name}"
        );
        assert_eq!(answer.body, present(&router, "x").await.body, "{name}");
    }
}

#[tokio::test]
async fn requests_without_one_bearer_token_are_refused() {
    let ed = Signer::ed("ed");
    let router = router(vec![issuer("https://id.example.com", known(&[&ed]))]);
    let token = ed.token(&claims());
    let bearer = format!("Bearer {token}");
    let nothing = send(&router, Request::get("/who")).await;
    assert_eq!(nothing.status, StatusCode::UNAUTHORIZED);
    assert_eq!(nothing.challenge, r#"Bearer realm="linkbroker""#);
    for request in [
        Request::get("/who").header(AUTHORIZATION, "Bearer"),
        Request::get("/who").header(AUTHORIZATION, format!("Basic {token}")),
        Request::get("/who").header(AUTHORIZATION, &token),
        Request::get("/who")
            .header(AUTHORIZATION, &bearer)
            .header(AUTHORIZATION, &bearer),
        Request::get(format!("/who?access_token={token}")),
    ] {
        let answer = send(&router, request).await;
        assert_eq!(
            (answer.status, &answer.body),
            (StatusCode::UNAUTHORIZED, &nothing.body)
        );
    }
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let ed = Signer::ed("ed");
    let router = router(vec![issuer("https://id.example.com", known(&[&ed]))]);
    let bearer = format!("Bearer {}", ed.token(&claims()));
    let answer = send(
        &router,
        Request::get("/admin").header(AUTHORIZATION, &bearer),
    )
    .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(
        answer
            .challenge
            .ends_with(r#"error="insufficient_scope", scope="connections:write""#)
    );
    let no_scopes = ed.token(&claims_with(json!({"scope": null})));
    assert_eq!(
        present(&router, &no_scopes).await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_developer_modes_tokens_are_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let open = || crate::issuer::DevIssuer::open(folder.path()).unwrap();
    let router = router(vec![open().trusted()]);
    let mint = |issuer: crate::issuer::DevIssuer| {
        let life = Duration::from_secs(60);
        let token = issuer
            .mint(&"acme".parse().unwrap(), "me", &[Scope::LinksRead], life)
            .unwrap();
        secrecy::ExposeSecret::expose_secret(&token).to_owned()
    };
    assert_eq!(
        present(&router, &mint(open())).await.body,
        "acme me [LinksRead]"
    );
    let elsewhere = tempfile::tempdir().unwrap();
    let other = crate::issuer::DevIssuer::open(elsewhere.path()).unwrap();
    assert_eq!(
        present(&router, &mint(other)).await.status,
        StatusCode::UNAUTHORIZED
    );
}

mod served {
    //! Keys from a server that changes its mind.

    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::State;
    use axum::http::header::CACHE_CONTROL;
    use axum::response::IntoResponse;

    use super::*;

    #[derive(Default)]
    struct Keys {
        /// What is served; `None` is an error.
        body: Mutex<Option<Value>>,
        cache_control: Mutex<String>,
        fetches: AtomicUsize,
    }

    impl Keys {
        fn serve(&self, signers: &[&Signer]) {
            let keys: Vec<_> = signers.iter().map(|signer| signer.public()).collect();
            *self.body.lock().unwrap() = Some(json!({"keys": keys}));
        }

        fn break_down(&self) {
            *self.body.lock().unwrap() = None;
        }

        fn fetches(&self) -> usize {
            self.fetches.load(Ordering::SeqCst)
        }
    }

    async fn answer(State(keys): State<Arc<Keys>>) -> axum::response::Response {
        keys.fetches.fetch_add(1, Ordering::SeqCst);
        let cache_control = keys.cache_control.lock().unwrap().clone();
        match keys.body.lock().unwrap().clone() {
            Some(body) => ([(CACHE_CONTROL, cache_control)], axum::Json(body)).into_response(),
            None => StatusCode::BAD_GATEWAY.into_response(),
        }
    }

    async fn start() -> (Arc<Keys>, url::Url) {
        let keys = Arc::new(Keys::default());
        let app = Router::new()
            .route("/{*path}", get(answer))
            .with_state(keys.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (keys, url.parse().unwrap())
    }

    fn pass(seconds: u64) {
        PASSED.set(PASSED.get() + Duration::from_secs(seconds));
    }

    async fn status(router: &Router, signer: &Signer) -> u16 {
        present(router, &signer.token(&claims()))
            .await
            .status
            .as_u16()
    }

    fn router_for(url: url::Url) -> Router {
        router(vec![issuer("https://id.example.com", KeySource::Url(url))])
    }

    #[tokio::test]
    async fn keys_are_rotated_without_a_restart() {
        let (keys, url) = start().await;
        let (old, new) = (Signer::ed("old"), Signer::ed("new"));
        let router = router_for(url);
        keys.serve(&[&old]);
        assert_eq!(status(&router, &old).await, 200);
        assert_eq!((status(&router, &new).await, keys.fetches()), (401, 1));
        keys.serve(&[&new]);
        pass(31);
        assert_eq!((status(&router, &new).await, keys.fetches()), (200, 2));
        assert_eq!(status(&router, &old).await, 401);
    }

    #[tokio::test]
    async fn many_unknown_keys_make_one_fetch() {
        let (keys, url) = start().await;
        let (real, fake) = (Signer::ed("real"), Signer::ed("fake"));
        let router = router_for(url);
        keys.serve(&[&real]);
        let all = (0..50).map(|_| status(&router, &fake));
        assert!(
            futures_util::future::join_all(all)
                .await
                .iter()
                .all(|status| *status == 401)
        );
        assert_eq!(keys.fetches(), 1);
        pass(29);
        assert_eq!((status(&router, &fake).await, keys.fetches()), (401, 1));
        pass(2);
        assert_eq!((status(&router, &fake).await, keys.fetches()), (401, 2));
    }

    #[tokio::test]
    async fn known_keys_outlive_a_broken_server() {
        let (keys, url) = start().await;
        let signer = Signer::ed("ed");
        let router = router_for(url);
        keys.serve(&[&signer]);
        assert_eq!(status(&router, &signer).await, 200);
        keys.break_down();
        pass(16 * 60);
        assert_eq!((status(&router, &signer).await, keys.fetches()), (200, 2));
        assert_eq!((status(&router, &signer).await, keys.fetches()), (200, 2));
        *keys.body.lock().unwrap() =
            Some(json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "x", "use": "enc"}]}));
        pass(31);
        assert_eq!((status(&router, &signer).await, keys.fetches()), (200, 3));
    }

    #[tokio::test]
    async fn the_servers_wish_is_kept_within_limits() {
        let signer = Signer::ed("ed");
        for (wish, seconds) in [
            ("max-age=3600", 3600),
            ("public, max-age=1", 300),
            ("max-age=0, no-store", 300),
            ("max-age=999999999", 86_400),
            ("", 900),
        ] {
            let (keys, url) = start().await;
            *keys.cache_control.lock().unwrap() = wish.to_owned();
            keys.serve(&[&signer]);
            let router = router_for(url);
            assert_eq!(status(&router, &signer).await, 200);
            pass(seconds - 2);
            assert_eq!(
                (status(&router, &signer).await, keys.fetches()),
                (200, 1),
                "{wish}"
            );
            pass(3);
            assert_eq!(
                (status(&router, &signer).await, keys.fetches()),
                (200, 2),
                "{wish}"
            );
        }
    }

    #[tokio::test]
    async fn without_any_keys_the_answer_is_to_come_back() {
        let (keys, url) = start().await;
        let signer = Signer::ed("ed");
        let router = router_for(url);
        let answer = present(&router, &signer.token(&claims())).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!answer.body.contains("127.0.0.1"), "{}", answer.body);
        keys.serve(&[&signer]);
        pass(2);
        assert_eq!(status(&router, &signer).await, 200);
    }

    #[tokio::test]
    async fn unusable_keys_do_not_spoil_the_others() {
        let (keys, url) = start().await;
        let signer = Signer::ed("ed");
        let public = serde_json::to_value(signer.public()).unwrap();
        let mut for_encryption = public.clone();
        for_encryption["use"] = json!("enc");
        let odd = [
            json!({"kty": "XX"}),
            json!("?"),
            json!({"kty": "RSA", "kid": "r"}),
            for_encryption,
            public,
        ];
        *keys.body.lock().unwrap() = Some(json!({"keys": odd}));
        assert_eq!(status(&router_for(url), &signer).await, 200);
    }

    #[tokio::test]
    async fn huge_documents_are_not_read() {
        let (keys, url) = start().await;
        *keys.body.lock().unwrap() = Some(json!({"keys": [], "padding": "x".repeat(300_000)}));
        assert_eq!(status(&router_for(url), &Signer::ed("ed")).await, 503);
    }

    #[tokio::test]
    async fn discovery_leads_to_the_keys_of_that_issuer_alone() {
        let (documents, base) = start().await;
        let (keys, keys_url) = start().await;
        let signer = Signer::ed("ed");
        keys.serve(&[&signer]);
        for (issuer_name, jwks_uri, expected) in [
            ("https://id.example.com", keys_url.as_str(), 200),
            ("https://evil.example.com", keys_url.as_str(), 503),
            ("https://id.example.com", "http://192.0.2.1/keys", 503),
        ] {
            let document = json!({"issuer": issuer_name, "jwks_uri": jwks_uri, "other": 1});
            *documents.body.lock().unwrap() = Some(document);
            let source = KeySource::Discovery(base.clone());
            let router = router(vec![issuer("https://id.example.com", source)]);
            assert_eq!(
                status(&router, &signer).await,
                expected,
                "{issuer_name} {jwks_uri}"
            );
        }
    }

    #[tokio::test]
    async fn a_key_file_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jwks.json");
        let (old, new) = (Signer::ed("old"), Signer::ed("new"));
        let write = |signer: &Signer| {
            let keys = JwkSet {
                keys: vec![signer.public()],
            };
            std::fs::write(&path, serde_json::to_vec(&keys).unwrap()).unwrap();
        };
        write(&old);
        let router = router(vec![issuer(
            "https://id.example.com",
            KeySource::File(path.clone()),
        )]);
        assert_eq!(status(&router, &old).await, 200);
        write(&new);
        pass(31);
        assert_eq!(status(&router, &new).await, 200);
    }
}
