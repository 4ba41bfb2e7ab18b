//! The ways of linking as a table: which provider with which credential, what a caller asks for, and what people do with
//! their own hands.

use linkbroker_sandbox::forge::{
    self, Access, Forge, NewDeployKey, NewPersonKey, NewPullRequest, NewWebhook,
};
use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::recorder::{Call, Upstream};
use linkbroker_sandbox::{
    AZURE_DEVOPS_TOKEN, BITBUCKET_ACCESS_TOKEN, BITBUCKET_EMAIL, BITBUCKET_TOKEN, GITEA_TOKEN,
    GITHUB_TOKEN, GITLAB_TOKEN, NETLIFY_TOKEN, NewRepository, Place, Provider, admin,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, Setup, TENANT, World, text, until};

/// The installation of Netlify's app that the tenant may use.
const INSTALLATION: u64 = 4711;

/// Who does a part of the provider's half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// linkbroker, by the provider's API.
    Linkbroker,
    /// A person, whom the link asks.
    Person,
    /// The operator has done it before.
    Operator,
    /// Netlify itself, by its app at GitHub: there is no key and no webhook.
    Netlify,
}

/// One way of linking.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    pub name: &'static str,
    pub provider: Provider,
    /// Kind of the provider's connection.
    pub kind: &'static str,
    /// As the caller writes the repository; empty where only the git host knows it.
    address: &'static str,
    /// Path of the repository.
    pub path: &'static str,
    /// Its path after it was moved.
    pub moved: &'static str,
    credential: fn(&World) -> Value,
    /// The instance that the connection names, where there are several of its kind.
    host: Option<&'static str>,
    /// Which of the world's repositories it is.
    number: usize,
    /// The server's settings beside the usual ones.
    settings: &'static [(&'static str, &'static str)],
    private: bool,
    pub key: By,
    pub webhook: By,
    /// Who sends the push that proves the link.
    pub push: By,
}

impl Way {
    /// A private repository at GitHub, everything by its API: what the others differ from.
    pub const GITHUB: Self = Self {
        name: "github",
        provider: Provider::Github,
        kind: "github",
        address: "https://github.com/acme/docs",
        path: "acme/docs",
        moved: "acme/handbook",
        credential: |_| token(GITHUB_TOKEN),
        host: None,
        number: 0,
        settings: &[],
        private: true,
        key: By::Linkbroker,
        webhook: By::Linkbroker,
        push: By::Linkbroker,
    };
    /// On a machine of its own, which the operator has configured.
    pub const GITHUB_ENTERPRISE: Self = Self {
        name: "github_enterprise",
        address: "https://ghe.example.com/acme/docs",
        host: Some("ghe.example.com"),
        ..Self::GITHUB
    };
    /// By a GitHub App of the tenant's own, instead of somebody's token.
    pub const GITHUB_APP: Self = Self {
        name: "github_app",
        credential: own_app,
        ..Self::GITHUB
    };
    /// By an installation of Netlify's own app, which the operator grants; nothing of GitHub's replays its pushes.
    pub const INSTALLATION: Self = Self {
        name: "installation",
        key: By::Netlify,
        webhook: By::Netlify,
        push: By::Person,
        ..Self::GITHUB
    };
    pub const GITLAB: Self = Self {
        name: "gitlab",
        provider: Provider::Gitlab,
        kind: "gitlab",
        address: "https://gitlab.com/acme/web/docs/-/tree/main",
        path: "acme/web/docs",
        moved: "umbrella/site",
        credential: |_| token(GITLAB_TOKEN),
        ..Self::GITHUB
    };
    /// Bitbucket replays no push.
    pub const BITBUCKET: Self = Self {
        name: "bitbucket",
        provider: Provider::Bitbucket,
        kind: "bitbucket",
        address: "https://bitbucket.org/acme/docs/src/main/",
        credential: |_| json!({"type": "basic", "user": BITBUCKET_EMAIL, "secret": BITBUCKET_TOKEN}),
        push: By::Person,
        ..Self::GITHUB
    };
    pub const BITBUCKET_ACCESS_TOKEN: Self = Self {
        name: "bitbucket_access_token",
        credential: |_| token(BITBUCKET_ACCESS_TOKEN),
        ..Self::BITBUCKET
    };
    /// Azure's keys belong to people, and no described call places one.
    pub const AZURE_BY_HAND: Self = Self {
        name: "azure_by_hand",
        provider: Provider::AzureDevops,
        kind: "azure_devops",
        address: "https://dev.azure.com/acme/Web%20Team/_git/Our%20docs?version=GBmain",
        path: "acme/Web Team/Our docs",
        moved: "acme/Web Team/Their docs",
        credential: |_| json!({"type": "basic", "user": "acme", "secret": AZURE_DEVOPS_TOKEN}),
        key: By::Person,
        ..Self::GITHUB
    };
    /// With the calls of the settings page, which the operator allows.
    pub const AZURE_BY_API: Self = Self {
        name: "azure_by_api",
        settings: &[("LINKBROKER_AZURE_DEVOPS_PLACE_KEYS", "on")],
        key: By::Linkbroker,
        ..Self::AZURE_BY_HAND
    };
    /// With a key that stands on a service account.
    pub const AZURE_STANDING: Self = Self {
        name: "azure_standing",
        key: By::Operator,
        ..Self::AZURE_BY_HAND
    };
    pub const GITEA: Self = Self {
        name: "gitea",
        provider: Provider::Gitea,
        kind: "gitea",
        address: "https://code.example.com/acme/docs/src/branch/main",
        credential: |_| token(GITEA_TOKEN),
        ..Self::GITHUB
    };
    /// A git host that knows only SSH.
    pub const MANUAL: Self = Self {
        name: "manual",
        provider: Provider::Plain,
        kind: "manual",
        address: "",
        host: Some("127.0.0.1"),
        credential: anonymous,
        key: By::Person,
        webhook: By::Person,
        push: By::Person,
        ..Self::GITHUB
    };
    /// A public repository without any rights to it.
    pub const PUBLIC: Self = Self {
        name: "public",
        credential: anonymous,
        private: false,
        key: By::Person,
        webhook: By::Person,
        push: By::Person,
        ..Self::GITHUB
    };

    /// The world with the repository, and with connections to Netlify and the provider.
    pub async fn world(&self) -> World {
        self.world_with(Setup::default()).await
    }

    /// [`Self::world`] out of the ordinary.
    pub async fn world_with(&self, setup: Setup) -> World {
        let world = self.bare_world(setup).await;
        self.make_repository(&world).await;
        self.connect(&world, &world.client).await;
        world
    }

    /// Connects a tenant to Netlify and the provider.
    pub async fn connect(&self, world: &World, client: &Client) {
        let netlify =
            json!({"name": "netlify", "kind": "netlify", "credential": token(NETLIFY_TOKEN)});
        for connection in [netlify, self.connection(world)] {
            let made = client.post("/connections", connection).await;
            made.expect(201);
        }
    }

    /// A world with all that operators do for the way.
    pub async fn bare_world(&self, mut setup: Setup) -> World {
        let settings = self.settings.iter();
        setup
            .settings
            .extend(settings.map(|(name, value)| (*name, (*value).to_owned())));
        let mut world = World::empty(setup).await;
        match self.key {
            By::Operator => stand_key(&mut world).await,
            By::Netlify => grant_installation(&mut world).await,
            _ => {}
        }
        if let Some(host) = self.host.filter(|_| self.provider == Provider::Github) {
            let api = world.sandbox.github_url();
            let entry =
                format!("[[provider]]\nkind = \"github\"\nhost = \"{host}\"\napi = \"{api}\"\n");
            configure(&mut world, &entry).await;
        }
        world
    }

    /// The same way with somebody else's push as the proof.
    pub const fn proven_by(self, push: By) -> Self {
        Self { push, ..self }
    }

    /// The same way with the so-many-eth repository of its world.
    pub fn numbered(&self, number: usize) -> Self {
        let named =
            |text: &str| -> &'static str { text.replace("docs", &format!("docs-{number}")).leak() };
        Self {
            address: named(self.address),
            path: named(self.path),
            number,
            ..*self
        }
    }

    /// The connection to the provider, to be posted.
    pub fn connection(&self, world: &World) -> Value {
        let mut connection =
            json!({"name": self.kind, "kind": self.kind, "credential": (self.credential)(world)});
        if let Some(host) = self.host {
            connection["host"] = json!(host);
        }
        connection
    }

    /// Makes its repository.
    pub async fn make_repository(&self, world: &World) {
        let (owner, name) = self.path.rsplit_once('/').expect("an owner");
        let new = NewRepository {
            provider: self.provider,
            owner: owner.to_owned(),
            name: name.to_owned(),
            private: self.private,
            template: Some("site".to_owned()),
            ..NewRepository::default()
        };
        let made = world.sandbox.create_repository(new).await;
        made.expect("a repository");
        if self.key == By::Netlify {
            // An account is there once it has a repository.
            world.install(json!({"app": "netlify", "account": owner, "id": INSTALLATION}));
        }
    }

    /// The request for a link of the repository to the site `acme-docs`.
    pub fn request(&self, world: &World) -> Value {
        let mut request = super::docs();
        request["repository"] = match self.address {
            "" => self.repository(world)["ssh_url"].clone(),
            address => json!(address),
        };
        request["branch"] = json!("main");
        if self.key == By::Netlify {
            request["access"] = json!({"installation_id": INSTALLATION});
        }
        request
    }

    /// Asks for the link and does all that it asks people for; the link at the end.
    pub async fn link(&self, world: &World) -> Value {
        let id = world.client.link(self.request(world)).await;
        self.go_on(world, &id).await
    }

    /// Does all that the link asks people for, until it asks for nothing more.
    pub async fn go_on(&self, world: &World, id: &str) -> Value {
        self.go_on_as(world, &world.client, id).await
    }

    /// [`Self::go_on`] with a link of this caller.
    pub async fn go_on_as(&self, world: &World, client: &Client, id: &str) -> Value {
        loop {
            let link = client.settled(id).await;
            let action = &link["diagnosis"]["action"];
            if action.is_null() {
                return link;
            }
            self.act(world, action).await;
            match text(&action["then"]).as_str() {
                "by_retry" => drop(client.retry(id).await),
                _ => {
                    until("the link to see what was done", async || {
                        (client.read(id).await["version"] != link["version"]).then_some(())
                    })
                    .await;
                }
            }
        }
    }

    /// Does the one thing that a link asks for.
    pub async fn act(&self, world: &World, action: &Value) {
        match text(&action["what"]["kind"]).as_str() {
            "place_deploy_key" => {
                self.place_key(world, &text(&action["what"]["public_key"]))
                    .await
            }
            "place_webhook" => {
                self.place_webhook(world, &action["what"]).await;
                self.commit(world, "words after the webhook").await;
            }
            "push_commit" => self.commit(world, "words that prove it").await,
            other => panic!("nobody knows how to {other}"),
        }
    }

    /// Places a key where the provider's people place one.
    pub async fn place_key(&self, world: &World, key: &str) {
        match self.provider {
            Provider::Github => {
                let key = json!({"title": "Netlify", "key": key, "read_only": true});
                let path = format!("/repos/{}/keys", self.path);
                world.github(Method::POST, &path, Some(key)).await;
            }
            Provider::AzureDevops => place_account_key(world, key),
            _ => {
                let new = NewDeployKey {
                    provider: self.provider,
                    repository: self.present_path(world),
                    key: key.to_owned(),
                    ..NewDeployKey::default()
                };
                let made = forge::install_key(world.sandbox.world(), self.forge(world), new);
                made.expect("a key");
            }
        }
    }

    async fn place_webhook(&self, world: &World, what: &Value) {
        if self.provider == Provider::Github {
            let config = json!({"url": what["url"], "content_type": "json"});
            let hook =
                json!({"name": "web", "active": true, "events": what["events"], "config": config});
            let path = format!("/repos/{}/hooks", self.path);
            world.github(Method::POST, &path, Some(hook)).await;
            return;
        }
        let new = NewWebhook {
            provider: self.provider,
            repository: self.present_path(world),
            url: text(&what["url"]),
            ..NewWebhook::default()
        };
        let made = forge::install_webhook(world.sandbox.world(), self.forge(world), new);
        made.expect("a webhook");
    }

    /// The provider's state; GitHub's is of another kind.
    pub fn forge<'w>(&self, world: &'w World) -> &'w Forge {
        let forge = world.sandbox.world().forges.of(self.provider);
        forge.expect("a provider that is not GitHub")
    }

    /// Pushes a commit, and waits until the site shows it.
    pub async fn push(&self, world: &World, words: &str) {
        self.commit(world, words).await;
        shows(world, words).await;
    }

    /// Pushes a commit.
    pub async fn commit(&self, world: &World, words: &str) {
        let commit = NewCommit {
            message: format!("Say {words}"),
            files: [("content/text.txt".to_owned(), format!("{words}\n"))].into(),
            ..NewCommit::default()
        };
        let at: Place = (self.provider, self.present_path(world).as_str()).into();
        world.sandbox.commit(at, commit).await.expect("a commit");
    }

    /// Pushes a commit to the branch `proposal` and asks for its merge.
    pub async fn propose(&self, world: &World, words: &str) {
        let commit = NewCommit {
            branch: "proposal".to_owned(),
            files: forge::site_template::files(words),
            ..NewCommit::default()
        };
        let at: Place = (self.provider, self.present_path(world).as_str()).into();
        world
            .sandbox
            .commit(at.clone(), commit)
            .await
            .expect("a commit");
        let request = NewPullRequest {
            branch: "proposal".to_owned(),
            ..NewPullRequest::default()
        };
        let opened = world.sandbox.open_pull_request(at, request).await;
        opened.expect("a pull request");
    }

    /// Gives the repository another path.
    pub fn rename(&self, world: &World, to: &str) {
        let at: Place = (self.provider, self.present_path(world).as_str()).into();
        admin::rename(world.sandbox.world(), &at, to).expect("a rename");
    }

    /// Its repository, with keys and webhooks.
    pub fn repository(&self, world: &World) -> Value {
        world.state()[self.provider.word()]["repositories"][self.number].clone()
    }

    fn present_path(&self, world: &World) -> String {
        text(&self.repository(world)["full_name"])
    }

    /// The calls of linkbroker, in the order in which they ended; not those of people, who have to use GitHub's API too.
    pub fn calls(&self, world: &World) -> Vec<Call> {
        let by_person = |call: &Call| {
            let path = call.path.as_str();
            let places = path.ends_with("/keys") || path.ends_with("/hooks");
            self.key == By::Person && self.provider == Provider::Github && places
        };
        let mut calls = world.sandbox.calls();
        calls.retain(|call| call.upstream != Upstream::NetlifyHooks && !by_person(call));
        calls
    }
}

/// Waits until the site `acme-docs` shows these words.
pub async fn shows(world: &World, words: &str) {
    until("the page to have what was pushed", async || {
        let page = world.page("acme-docs").await;
        page.contains(words).then_some(())
    })
    .await;
}

fn token(token: &str) -> Value {
    json!({"type": "token", "token": token})
}

fn anonymous(_: &World) -> Value {
    json!({"type": "anonymous"})
}

/// What a tenant does for an app of its own: makes one, and installs it on the repository's owner.
fn own_app(world: &World) -> Value {
    let app = world.github_app(json!({"slug": "acme-broker"}));
    world.install(json!({"app": "acme-broker", "account": "acme"}));
    json!({"type": "github_app", "app_id": app["client_id"], "private_key": app["private_key"]})
}

/// Puts the key of an account that may read everything into its settings, as a person does.
pub fn place_account_key(world: &World, key: &str) {
    let new = NewPersonKey {
        provider: Provider::AzureDevops,
        login: "netlify-reader".to_owned(),
        title: "Netlify".to_owned(),
        key: key.to_owned(),
        permissions: forge::Permissions {
            everywhere: Some(Access::Read),
            ..forge::Permissions::default()
        },
        ..NewPersonKey::default()
    };
    admin::add_person_key(world.sandbox.world(), new).expect("a key");
}

/// What an operator does for a standing key: makes one at Netlify, places it, and writes it down for the tenant.
async fn stand_key(world: &mut World) {
    let url = format!("{}/deploy_keys", world.sandbox.netlify_url());
    let made = reqwest::Client::new().post(url).bearer_auth(NETLIFY_TOKEN);
    let made = made.send().await.expect("an answer").json::<Value>().await;
    let key = made.expect("a key");
    place_account_key(world, &text(&key["public_key"]));
    let entry = format!(
        "[[standing_key]]\norganisation = \"acme\"\ndeploy_key_id = \"{}\"\ntenants = [\"{TENANT}\"]\n",
        text(&key["id"])
    );
    configure(world, &entry).await;
}

/// What an operator does for a tenant that may use an installation of Netlify's app.
async fn grant_installation(world: &mut World) {
    let file = world.folder().join("grants.toml");
    let grant = format!(
        "[[grant]]\ntenant = \"{TENANT}\"\ninstallation_id = {INSTALLATION}\nrepositories = [\"github.com/acme/*\"]\nteam = \"sandbox\"\n"
    );
    std::fs::write(&file, grant).expect("the operator's file");
    let setting = ("LINKBROKER_GRANTS", file.display().to_string());
    world.settings.push(setting);
    world.restart().await;
}

/// Adds an entry to the operator's file of providers.
async fn configure(world: &mut World, entry: &str) {
    let file = world.folder().join("providers.toml");
    let mut lines = std::fs::read_to_string(&file).expect("the operator's file");
    lines += entry;
    std::fs::write(&file, lines).expect("the operator's file");
    world.restart().await;
}
