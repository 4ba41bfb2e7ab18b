//! Where a test takes place: a sandbox, a database and a server, all its own, and a caller's client.

mod client;
mod cluster;
mod command;
mod database;
mod description;
mod server;
mod unguarded;
mod wait;
mod way;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use linkbroker::api::caller::Scope;
use linkbroker::issuer::DevIssuer;
use linkbroker_sandbox::github::{NewRepository, NewToken};
use linkbroker_sandbox::recorder::{Call, Upstream};
use linkbroker_sandbox::{FaultRule, GITHUB_TOKEN, NETLIFY_TOKEN, Options, Sandbox, Strikes};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;

pub use client::{Answer, Client, text};
pub use cluster::Cluster;
pub use command::Done;
pub use database::Database;
pub use description::Description;
pub use description::FILE as OPENAPI;
pub use server::Server;
pub use unguarded::Unguarded;
pub use wait::until;
pub use way::{By, Way, place_account_key};
use wire::Wire;
pub use wire::{Statement, Tap, Transaction};

/// The tenant of [`World::client`].
pub const TENANT: &str = "acme";

/// What differs from the usual world.
#[derive(Default)]
pub struct Setup {
    /// Settings of the server, which win over the usual ones.
    pub settings: Vec<(&'static str, String)>,
    /// A JSON merge patch for the sandbox's switches.
    pub switches: Value,
    /// A Postgres of the test's own, to do harm to; else the database lies on the one that all tests share.
    pub cluster: Option<Cluster>,
    /// What is done between the server and its Postgres.
    pub tap: Option<Arc<dyn Tap>>,
}

/// All that a test needs.
pub struct World {
    // Dropped from first to last: the server goes before what it leans on.
    pub server: Server,
    /// Between server and database, when something is done there.
    _wire: Option<Wire>,
    pub database: Database,
    /// A Postgres of the world's own, when it has one.
    pub cluster: Option<Cluster>,
    pub sandbox: Sandbox,
    /// May do everything in the tenant [`TENANT`].
    pub client: Client,
    settings: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl World {
    /// An empty sandbox and a server without connections.
    pub async fn empty(setup: Setup) -> Self {
        let sandbox = Sandbox::start(Options::default()).await.expect("a sandbox");
        if !setup.switches.is_null() {
            sandbox.patch_switches(&setup.switches).expect("switches");
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = match &setup.cluster {
            Some(cluster) => Database::on(&cluster.url).await,
            None => Database::create().await,
        };
        let wire = match setup.tap {
            Some(tap) => Some(Wire::to(&database.url, tap).await),
            None => None,
        };
        let url = wire.as_ref().map_or(&database.url, |wire| &wire.url);
        let mut settings = usual_settings(&sandbox, url, folder.path());
        settings.extend(setup.settings);
        let server = Server::start(&settings, folder.path()).await;
        let mut world = Self {
            client: Client::new(&server.address, None),
            server,
            _wire: wire,
            database,
            sandbox,
            cluster: setup.cluster,
            settings,
            folder,
        };
        world.client = world.client_of(TENANT, Scope::ALL);
        world
    }

    /// With the private repository `acme/docs` and connections to Netlify and GitHub.
    pub async fn with(setup: Setup) -> Self {
        let world = Self::empty(setup).await;
        world.repository("docs").await;
        world.connect(&world.client).await;
        world
    }

    /// [`World::with`] nothing out of the ordinary.
    pub async fn usual() -> Self {
        Self::with(Setup::default()).await
    }

    /// Makes the private repository `acme/{name}` with a small site in it.
    pub async fn repository(&self, name: &str) -> Value {
        let new = NewRepository {
            name: name.to_owned(),
            template: Some("site".to_owned()),
            ..NewRepository::default()
        };
        let made = self.sandbox.create_repository(new).await;
        made.expect("a repository")
    }

    /// Connects a tenant to both vendors, with the tokens that the sandbox has from the start.
    pub async fn connect(&self, client: &Client) {
        self.connect_with(client, NETLIFY_TOKEN, GITHUB_TOKEN).await;
    }

    /// Connects a tenant to both vendors.
    pub async fn connect_with(&self, client: &Client, netlify: &str, github: &str) {
        for (kind, token) in [("netlify", netlify), ("github", github)] {
            self.connect_as(client, kind, kind, token).await;
        }
    }

    /// Makes one connection under a name; its id.
    pub async fn connect_as(&self, client: &Client, name: &str, kind: &str, token: &str) -> String {
        let credential = json!({"type": "token", "token": token});
        let connection = json!({"name": name, "kind": kind, "credential": credential});
        client
            .post("/connections", connection)
            .await
            .expect(201)
            .id()
    }

    /// A client with a token of the developer mode's issuer.
    pub fn client_of(&self, tenant: &str, scopes: &[Scope]) -> Client {
        let issuer = DevIssuer::open(&self.data_dir()).expect("the server's issuer");
        let tenant = tenant.parse().expect("a tenant's name");
        let token = issuer.mint(&tenant, "tester", scopes, Duration::from_secs(3600));
        let token = token.expect("a token").expose_secret().to_owned();
        self.client.with_token(&self.server.address, Some(token))
    }

    /// A GitHub token whose owner may do what `permissions` says, and only that.
    pub fn github_token(&self, token: &str, permissions: Value) {
        let new = json!({"token": token, "login": "limited", "permissions": permissions});
        let new: NewToken = serde_json::from_value(new).expect("a token's description");
        linkbroker_sandbox::github::add_token(self.sandbox.world(), new).expect("a token");
    }

    /// Makes a GitHub App of acme's own: `id`, `client_id` and `private_key`.
    pub fn github_app(&self, new: Value) -> Value {
        let new = serde_json::from_value(new).expect("an app's description");
        linkbroker_sandbox::github::create_app(self.sandbox.world(), new).expect("an app")
    }

    /// Installs an app, or changes an installation; its id.
    pub fn install(&self, new: Value) -> u64 {
        let new = serde_json::from_value(new).expect("an installation's description");
        linkbroker_sandbox::github::install(self.sandbox.world(), new).expect("an installation")
    }

    /// Disturbs chosen calls from now on; in the JSON form of the sandbox's admin door.
    /// How often the rule has struck can be followed.
    pub fn fault(&self, rule: Value) -> Strikes {
        let rule: FaultRule = serde_json::from_value(rule).expect("a fault");
        let added = self.sandbox.add_fault(rule);
        added.expect("a path that is a regular expression")
    }

    /// How long each call takes from now on, in milliseconds; half of it passes after the effect.
    pub fn calls_take(&self, latency: u64) {
        let patch = json!({"latency_ms": latency});
        self.sandbox.patch_switches(&patch).expect("a switch");
    }

    /// A call of GitHub's API as the owner of everything would make it.
    pub async fn github(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.sandbox.github_url());
        let request = reqwest::Client::new()
            .request(method, url)
            .bearer_auth(GITHUB_TOKEN)
            .header("user-agent", "somebody")
            .header("accept", "application/vnd.github+json");
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.expect("an answer of the sandbox");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Commits a file's text to the default branch of `acme/{name}` and tells everybody who listens, as a push would.
    pub async fn push(&self, name: &str, text: &str) {
        let commit = json!({"message": "Another text", "files": {"content/text.txt": text}});
        let commit = serde_json::from_value(commit).expect("a commit");
        let pushed = self.sandbox.commit(&format!("acme/{name}"), commit).await;
        pushed.expect("a push");
    }

    /// The whole state of both vendors, as the sandbox's admin door shows it.
    pub fn state(&self) -> Value {
        let world = self.sandbox.world();
        json!({
            "netlify": linkbroker_sandbox::netlify::world_view(world),
            "github": linkbroker_sandbox::github::world_view(world),
            "gitlab": linkbroker_sandbox::forge::world_view(world, &world.forges.gitlab),
            "gitea": linkbroker_sandbox::forge::world_view(world, &world.forges.gitea),
            "bitbucket": linkbroker_sandbox::forge::world_view(world, &world.forges.bitbucket),
            "azure_devops": linkbroker_sandbox::forge::world_view(world, &world.forges.azure),
            "plain": linkbroker_sandbox::forge::world_view(world, &world.forges.plain),
        })
    }

    /// How many of a kind the vendors made ever, and have now.
    pub fn count(&self, kind: &str) -> (u64, u64) {
        let count = self.sandbox.counts().of(kind);
        (count.created, count.alive)
    }

    /// All calls so far, without what patrols read of builds, which comes when its time is and belongs to no link.
    pub fn calls_of_links(&self) -> Vec<Call> {
        let mut calls = self.sandbox.calls();
        calls.retain(|call| {
            let of_builds = call.path.contains("/builds") || call.path.contains("/deploys/");
            call.upstream != Upstream::Netlify || call.method != "GET" || !of_builds
        });
        calls
    }

    /// Waits until a reader waits for a link, or a caller for a preflight.
    pub async fn has_a_waiting_reader(&self) {
        until("a reader to wait", async || {
            let metrics = self.client.get("/metrics").await.expect(200).text;
            metrics
                .contains("linkbroker_waiting_readers 1")
                .then_some(())
        })
        .await;
    }

    /// Waits until the first of a kind was made.
    pub async fn made(&self, kind: &str) {
        until(kind, async || (self.count(kind).0 > 0).then_some(())).await;
    }

    /// What visitors of a site see.
    pub async fn page(&self, site: &str) -> String {
        let url = format!("{}/sites/{site}/", self.sandbox.world().origin());
        let answer = reqwest::get(url).await.expect("an answer of the sandbox");
        answer.text().await.expect("a body")
    }

    /// Where the server keeps what is not in the database.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A folder for the test's own files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server without a warning and starts another on the same database.
    pub async fn crash(&mut self) {
        self.server.kill();
        self.start_again().await;
    }

    /// One more server on the same database.
    pub async fn replica(&self) -> Server {
        Server::start(&self.settings, self.folder.path()).await
    }

    /// Starts another server on the same database.
    pub async fn start_again(&mut self) {
        self.server = self.replica().await;
        self.client.base.clone_from(&self.server.address);
    }
}

fn usual_settings(
    sandbox: &Sandbox,
    database_url: &str,
    folder: &Path,
) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("DATABASE_URL", database_url.to_owned()),
        ("LINKBROKER_NETLIFY_URL", sandbox.netlify_url()),
        ("LINKBROKER_GITHUB_URL", sandbox.github_url()),
        ("LINKBROKER_GITLAB_URL", sandbox.gitlab_url()),
        ("LINKBROKER_BITBUCKET_URL", sandbox.bitbucket_url()),
        ("LINKBROKER_AZURE_DEVOPS_URL", sandbox.azure_devops_url()),
        (
            "LINKBROKER_PROVIDERS",
            providers_file(folder, &sandbox.gitea_url()),
        ),
        (
            "LINKBROKER_DATA_DIR",
            folder.join("data").display().to_string(),
        ),
    ];
    let quick = [
        ("LINKBROKER_LISTEN", "127.0.0.1:0"),
        ("LINKBROKER_LOG", "info,linkbroker=debug"),
        ("LINKBROKER_LOG_FORMAT", "json"),
        ("LINKBROKER_WATCH_MIN_MS", "25"),
        ("LINKBROKER_WATCH_MAX_MS", "250"),
        ("LINKBROKER_RETRY_BASE_MS", "25"),
        ("LINKBROKER_RETRY_MAX_SECONDS", "1"),
        ("LINKBROKER_SETTLE_SECONDS", "1"),
        ("LINKBROKER_GITHUB_WRITES_PER_MINUTE", "0"),
        ("LINKBROKER_GITHUB_WRITES_PER_HOUR", "0"),
    ];
    settings.extend(quick.map(|(name, value)| (name, value.to_owned())));
    settings
}

/// Unix time in milliseconds, as the sandbox's recorder has it.
pub fn unix_ms() -> f64 {
    time::OffsetDateTime::now_utc().unix_timestamp_nanos() as f64 / 1e6
}

/// A setting whose value is a file with this text. The file stays as long as the returned folder.
pub fn file_setting(name: &'static str, text: &str) -> (tempfile::TempDir, (&'static str, String)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("setting.toml");
    std::fs::write(&file, text).expect("a file");
    let path = file.display().to_string();
    (folder, (name, path))
}

/// The operator's file of further providers: a Forgejo at `code.example.com`.
fn providers_file(folder: &Path, gitea: &str) -> String {
    let file = folder.join("providers.toml");
    let text =
        format!("[[provider]]\nkind = \"gitea\"\nhost = \"code.example.com\"\napi = \"{gitea}\"\n");
    std::fs::write(&file, text).expect("a file in the test's own folder");
    file.display().to_string()
}

/// The request that most tests make: `acme/docs` to the site `acme-docs`.
pub fn docs() -> Value {
    json!({
        "repository": "https://github.com/acme/docs",
        "site": {"name": "acme-docs", "team": "sandbox"},
        "build": {"command": "sh build.sh", "publish": "dist"},
    })
}

/// The objects of a link that is over, each with what became of it; by kind.
pub fn receipts(link: &Value) -> Vec<(String, String)> {
    let resources = link["resources"].as_array().expect("resources");
    let receipt = |resource: &Value| (text(&resource["kind"]), text(&resource["receipt"]));
    let mut receipts: Vec<_> = resources.iter().map(receipt).collect();
    receipts.sort();
    receipts
}
