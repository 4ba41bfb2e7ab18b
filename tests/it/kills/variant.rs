//! What is killed through: the ways of the table, and the requests that write more than a plain one. Each link of a world has a
//! repository, a site, a team and credentials of its own, so that its calls and objects can be told from its neighbours'.

use std::sync::Arc;

use linkbroker_sandbox::netlify::NewToken;
use linkbroker_sandbox::{NETLIFY_TOKEN, Provider, forge};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::points::Holds;
use crate::world::{By, Setup, Way, World, file_setting, text};

/// A way of linking with a request.
#[derive(Debug)]
pub struct Variant {
    pub name: &'static str,
    pub way: Way,
    pub asks: Asks,
}

/// What the request asks for beside the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Nothing,
    /// Environment variables for a new site.
    Environment,
    /// A site that is there, bare but for a variable that the link replaces.
    ExistingSite,
    /// A site that is taken from another repository.
    TakenSite,
    /// An installation of Netlify's GitHub App instead of key and webhook.
    Installation,
}

const fn plain(way: Way) -> Variant {
    Variant {
        name: way.name,
        way,
        asks: Asks::Nothing,
    }
}

const fn asking(name: &'static str, asks: Asks) -> Variant {
    let way = match asks {
        Asks::Installation => Way::GITHUB.proven_by(By::Person),
        _ => Way::GITHUB,
    };
    Variant { name, way, asks }
}

pub const VARIANTS: [Variant; 14] = [
    plain(Way::GITHUB),
    plain(Way::GITHUB_ENTERPRISE),
    plain(Way::GITLAB),
    plain(Way::BITBUCKET),
    plain(Way::AZURE_STANDING),
    plain(Way::AZURE_BY_HAND),
    plain(Way::AZURE_BY_API),
    plain(Way::GITEA),
    plain(Way::MANUAL),
    plain(Way::PUBLIC),
    asking("with_environment", Asks::Environment),
    asking("existing_site", Asks::ExistingSite),
    asking("taken_site", Asks::TakenSite),
    asking("app_installation", Asks::Installation),
];

const INSTALLATION: u64 = 4711;
/// More links than any world gets.
const LINKS_MOST: usize = 200;

/// Where the links of a way take place.
pub struct Stage {
    pub world: World,
    pub holds: Arc<Holds>,
    pub variant: &'static Variant,
    links: usize,
    /// The operator's grants.
    _grants: Option<TempDir>,
}

/// One link to be.
pub struct Subject {
    /// With the repository of its own.
    pub way: Way,
    pub site: String,
    /// What it presents to Netlify and to the provider.
    pub netlify: String,
    pub provider: String,
    pub request: Value,
    /// Paths of its two connections.
    pub connections: Vec<String>,
}

impl Variant {
    /// A world without links. Nobody could wait for its leases to lapse: a death is noticed at once.
    pub async fn stage(&'static self) -> Stage {
        self.stage_with_lease(60).await
    }

    /// A world without links.
    pub async fn stage_with_lease(&'static self, seconds: u32) -> Stage {
        let holds = Arc::<Holds>::default();
        // Keys that are slow to make appear when nobody expects them any more. The site of somebody else takes one too.
        let key_stock = if self.asks == Asks::TakenSite { 24 } else { 12 };
        let setup = Setup {
            settings: vec![
                ("LINKBROKER_LEASE_SECONDS", seconds.to_string()),
                ("LINKBROKER_QUOTA_REQUESTS_PER_MINUTE", "1000000".to_owned()),
            ],
            switches: json!({"netlify": {"key_stock": key_stock}}),
            tap: Some(holds.clone()),
            ..Setup::default()
        };
        let stage = self.stage_in(setup).await;
        Stage { holds, ..stage }
    }

    /// A world without links, whose commits nobody holds.
    pub async fn stage_in(&'static self, mut setup: Setup) -> Stage {
        let grants = (self.asks == Asks::Installation).then(grants);
        let (_grants, setting) = grants.unzip();
        setup.settings.extend(setting);
        let world = self.way.bare_world(setup).await;
        Stage {
            world,
            holds: Arc::default(),
            variant: self,
            links: 0,
            _grants,
        }
    }

    async fn subject(&self, world: &World, number: usize) -> Subject {
        let way = self.way.numbered(number);
        way.make_repository(world).await;
        if self.asks == Asks::Installation && number == 0 {
            // An account is there once it has a repository.
            world.install(json!({"app": "netlify", "account": "acme", "id": INSTALLATION}));
        }
        let mut subject = Subject {
            way,
            site: format!("site-{number}"),
            netlify: format!("netlify-token-{number}"),
            provider: format!("{}-token-{number}", way.kind),
            request: Value::Null,
            connections: Vec::new(),
        };
        self.let_in(world, &subject, number);
        subject.connections = subject.connect(world, number).await;
        subject.request = self.request(world, &subject, number).await;
        subject
    }

    /// Tokens of its own. A standing key is its owner's alone, who is one for all.
    fn let_in(&self, world: &World, subject: &Subject, number: usize) {
        let user = (self.way.key == By::Operator).then(|| NETLIFY_TOKEN.to_owned());
        let new = NewToken {
            token: subject.netlify.clone(),
            accounts: vec![team(number)],
            user,
        };
        let now = world.sandbox.world().clock.now();
        world.sandbox.world().netlify.lock().add_token(new, now);
        let login = format!("person-{number}");
        match self.way.provider {
            Provider::Plain => {}
            Provider::Github => {
                let new = json!({"token": subject.provider, "login": login, "everywhere": "admin"});
                let new = serde_json::from_value(new).expect("a token's description");
                let added = linkbroker_sandbox::github::add_token(world.sandbox.world(), new);
                added.expect("a token");
            }
            _ => {
                let new = forge::NewToken {
                    token: subject.provider.clone(),
                    login,
                    everywhere: Some(forge::Access::Admin),
                    ..forge::NewToken::default()
                };
                let forge = self.way.forge(world);
                forge::add_token(world.sandbox.world(), forge, new).expect("a token");
            }
        }
    }

    async fn request(&self, world: &World, subject: &Subject, number: usize) -> Value {
        let mut request = subject.way.request(world);
        let provider = format!("{}-{number}", self.way.kind);
        request["connections"] =
            json!({"netlify": format!("netlify-{number}"), "provider": provider});
        request["site"] = json!({"name": subject.site, "team": team(number)});
        match self.asks {
            Asks::Nothing => {}
            Asks::Environment => request["env"] = json!({"COLOUR": "green", "SHAPE": "round"}),
            Asks::ExistingSite => {
                let id = subject.bare_site(world, number).await;
                request["site"] = json!({"id": id});
                request["env"] = json!({"COLOUR": "green", "SHAPE": "round"});
            }
            Asks::TakenSite => {
                let id = subject.bare_site(world, number).await;
                subject.attach_other(world, &id).await;
                request["site"] = json!({"id": id, "relink": true});
            }
            Asks::Installation => request["access"] = json!({"installation_id": INSTALLATION}),
        }
        request
    }
}

fn team(number: usize) -> String {
    format!("team-{number}")
}

fn grants() -> (TempDir, (&'static str, String)) {
    let grant = |number| {
        let team = team(number);
        format!(
            "[[grant]]\ntenant = \"acme\"\ninstallation_id = {INSTALLATION}\nrepositories = [\"github.com/acme/*\"]\nteam = \"{team}\"\n"
        )
    };
    let grants: String = (0..LINKS_MOST).map(grant).collect();
    file_setting("LINKBROKER_GRANTS", &grants)
}

impl Stage {
    /// So many more links to be.
    pub async fn subjects(&mut self, count: usize) -> Vec<Subject> {
        let numbers = self.links..self.links + count;
        self.links = numbers.end;
        let mut subjects = Vec::new();
        for number in numbers {
            subjects.push(self.variant.subject(&self.world, number).await);
        }
        subjects
    }
}

impl Subject {
    async fn connect(&self, world: &World, number: usize) -> Vec<String> {
        let token = json!({"type": "token", "token": self.netlify});
        let netlify =
            json!({"name": format!("netlify-{number}"), "kind": "netlify", "credential": token});
        let mut provider = self.way.connection(world);
        provider["name"] = json!(format!("{}-{number}", self.way.kind));
        let credential = &mut provider["credential"];
        for secret in ["token", "secret"] {
            if credential.get(secret).is_some() {
                credential[secret] = json!(self.provider);
            }
        }
        // Azure DevOps wants the organisation there.
        if credential["user"]
            .as_str()
            .is_some_and(|user| user.contains('@'))
        {
            credential["user"] = json!(format!("person-{number}@example.com"));
        }
        let mut paths = Vec::new();
        for connection in [netlify, provider] {
            let made = world.client.post("/connections", connection).await;
            paths.push(format!("/connections/{}", made.expect(201).id()));
        }
        paths
    }

    /// A call of Netlify's API by the owner of the team.
    async fn netlify(&self, world: &World, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", world.sandbox.netlify_url());
        let request = reqwest::Client::new().request(method, url);
        let request = request.bearer_auth(&self.netlify).json(&body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let body = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// A site that somebody made, with a variable.
    async fn bare_site(&self, world: &World, number: usize) -> String {
        let (team, name) = (team(number), json!({"name": self.site}));
        let path = format!("/{team}/sites");
        let site = self.netlify(world, Method::POST, &path, name).await;
        let id = text(&site["id"]);
        let variable = json!([{"key": "COLOUR", "values": [{"context": "all", "value": "red"}]}]);
        let path = format!("/accounts/{team}/env?site_id={id}");
        self.netlify(world, Method::POST, &path, variable).await;
        id
    }

    async fn attach_other(&self, world: &World, site: &str) {
        let key = self
            .netlify(world, Method::POST, "/deploy_keys", json!({}))
            .await;
        let repo = json!({
            "provider": "github", "repo_path": "acme/other", "repo_branch": "main", "deploy_key_id": key["id"],
            "cmd": "sh build.sh", "dir": "dist", "base": "",
        });
        let path = format!("/sites/{site}");
        self.netlify(world, Method::PATCH, &path, json!({"repo": repo}))
            .await;
    }
}
