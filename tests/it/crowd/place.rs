//! A place for links: a repository, and a tenant with a team, connections and tokens of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use linkbroker::api::caller::Scope;
use linkbroker_sandbox::Strikes;
use linkbroker_sandbox::git::NewCommit;
use linkbroker_sandbox::netlify::{DeployState, NewToken};
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::world::{Client, World};

/// How often, and with what pause, a build is looked for: two minutes in all.
const LOOKS: u32 = 6_000;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A repository and a tenant with access to it. Links come and go; what they leave is seen.
pub struct Place {
    pub tenant: String,
    pub client: Client,
    /// Path of the repository.
    pub path: String,
}

/// Kind, in the ledger's words, and id.
pub type Objects = BTreeSet<(String, String)>;

impl Place {
    /// A tenant on the repository `acme/{repository}`; each is made when it is not there.
    pub async fn make(world: &World, tenant: &str, repository: &str) -> Self {
        let path = format!("acme/{repository}");
        if world.sandbox.world().github.lock().named(&path).is_none() {
            world.repository(repository).await;
        }
        let place = Self {
            tenant: tenant.to_owned(),
            client: world.client_of(tenant, Scope::ALL).of_many(),
            path,
        };
        if place.let_in(world) {
            let (netlify, github) = (place.token("netlify"), place.token("github"));
            world.connect_with(&place.client, &netlify, &github).await;
        }
        place
    }

    /// What the tenant presents to an upstream.
    fn token(&self, upstream: &str) -> String {
        format!("{upstream}-of-{}", self.tenant)
    }

    fn team(&self) -> String {
        format!("team-of-{}", self.tenant)
    }

    /// Makes the tenant's tokens, unless they are there.
    fn let_in(&self, world: &World) -> bool {
        let new = NewToken {
            token: self.token("netlify"),
            accounts: vec![self.team()],
            user: None,
        };
        let sandbox = world.sandbox.world();
        let now = sandbox.clock.now();
        let mut netlify = sandbox.netlify.lock();
        if netlify.tokens.contains_key(&new.token) {
            return false;
        }
        netlify.add_token(new, now);
        drop(netlify);
        let new =
            json!({"token": self.token("github"), "login": self.tenant, "everywhere": "admin"});
        let new = serde_json::from_value(new).expect("a token's description");
        linkbroker_sandbox::github::add_token(sandbox, new).expect("a token");
        true
    }

    /// The request for a link of the place.
    pub fn request(&self, site: &str) -> Value {
        json!({
            "repository": format!("https://github.com/{}", self.path),
            "site": {"name": site, "team": self.team()},
            "build": {"command": "sh build.sh", "publish": "dist"},
        })
    }

    /// Disturbs the tenant's calls to an upstream from now on, as a rule of the sandbox says.
    pub fn disturb(&self, world: &World, upstream: &str, mut rule: Value) -> Strikes {
        rule["upstream"] = json!(upstream);
        rule["credential"] = json!(self.token(upstream));
        world.fault(rule)
    }

    /// Ends what disturbs the tenant's calls.
    pub fn calm(&self, world: &World) {
        for upstream in ["netlify", "github"] {
            let token = self.token(upstream);
            world.sandbox.world().faults.clear_of(&token);
        }
    }

    /// What there is of the tenant and on the repository at the vendors.
    pub fn at_vendors(&self, world: &World) -> Objects {
        let mut objects = Objects::new();
        let mut add = |kind: &str, id: String| objects.insert((kind.to_owned(), id));
        let sandbox = world.sandbox.world();
        {
            let netlify = sandbox.netlify.lock();
            let user = &netlify.tokens[&self.token("netlify")].user_id;
            for key in netlify.keys.values().filter(|key| key.user_id == *user) {
                add("deploy_key", key.id.clone());
            }
            let team = netlify.account_of(user, &self.team()).expect("its team");
            let sites = netlify.sites.values();
            for site in sites.filter(|site| site.account_id == team.id) {
                add("site", site.id.clone());
            }
        }
        let github = sandbox.github.lock();
        let repository = github.named(&self.path).expect("the place's repository");
        for key in &repository.keys {
            add("installed_key", key.id.to_string());
        }
        for hook in &repository.hooks {
            add("webhook", hook.id.to_string());
        }
        objects
    }

    /// What the ledger says that there is of the tenant's.
    pub async fn in_ledger(&self, db: &mut PgConnection) -> Objects {
        let rows = "select kind, external_id from resources where tenant = $1 and state in ('present', 'stock')";
        let rows = sqlx::query_as(rows).bind(&self.tenant).fetch_all(db).await;
        let rows: Vec<(String, String)> = rows.expect("the ledger");
        rows.into_iter().collect()
    }

    /// How many calls for a deploy key of the tenant's may have had an effect that nobody has seen yet.
    pub async fn uncertain_keys(&self, db: &mut PgConnection) -> usize {
        let count = "select count(*) from uncertain_keys where tenant = $1";
        let count = sqlx::query_scalar(count).bind(&self.tenant).fetch_one(db);
        let count: i64 = count.await.expect("the uncertain keys");
        usize::try_from(count).expect("a count")
    }

    /// Whether the key with which a site clones is on the repository.
    pub fn can_clone(&self, world: &World, site: &str) -> bool {
        let sandbox = world.sandbox.world();
        let key = {
            let netlify = sandbox.netlify.lock();
            let repo = netlify.site_named(site).and_then(|site| site.repo.as_ref());
            let id = repo.and_then(|repo| repo.deploy_key_id.as_ref());
            let key = id.and_then(|id| netlify.keys.get(id));
            key.map(|key| key.pair.public_line().to_owned())
        };
        let github = sandbox.github.lock();
        let repository = github.named(&self.path).expect("the place's repository");
        let mut installed = repository.keys.iter();
        installed.any(|installed| Some(installed.key.as_str()) == key.as_deref())
    }

    /// Somebody removes the repository's webhooks.
    pub fn remove_webhooks(&self, world: &World) {
        let mut github = world.sandbox.world().github.lock();
        let mut repositories = github.repositories.values_mut();
        let repository = repositories.find(|it| it.full_name() == self.path);
        repository.expect("the place's repository").hooks.clear();
    }

    /// Somebody has a site publish another folder.
    pub fn publish_elsewhere(world: &World, site: &str) {
        let mut netlify = world.sandbox.world().netlify.lock();
        let mut sites = netlify.sites.values_mut();
        let site = sites.find(|it| it.name == site).expect("a site");
        let repo = site.repo.as_mut().expect("an attached repository");
        repo.dir = Some("elsewhere".to_owned());
    }

    /// The repository has its one webhook, and the site publishes the folder that was asked for.
    pub fn is_as_made(&self, world: &World, site: &str) -> Result<(), String> {
        let sandbox = world.sandbox.world();
        let webhooks = {
            let github = sandbox.github.lock();
            let repository = github.named(&self.path).expect("the place's repository");
            repository.hooks.len()
        };
        let netlify = sandbox.netlify.lock();
        let repo = netlify.site_named(site).and_then(|site| site.repo.as_ref());
        let folder = repo.and_then(|repo| repo.dir.as_deref());
        match (webhooks, folder) {
            (1, Some("dist")) => Ok(()),
            other => Err(format!(
                "webhooks and folder of a link that is live: {other:?}"
            )),
        }
    }

    /// Makes a commit that everybody is told who listens; its id.
    pub async fn push(&self, world: &World, text: &str) -> String {
        let commit = NewCommit {
            message: text.to_owned(),
            files: [("content/text.txt".to_owned(), format!("{text}\n"))].into(),
            ..NewCommit::default()
        };
        let pushed = world.sandbox.commit(self.path.as_str(), commit).await;
        let pushed = pushed.expect("a push");
        pushed["sha"].as_str().expect("a commit").to_owned()
    }

    /// Has Netlify send this event once more for every build of a site, whatever became of them; how many there were.
    pub fn tell_again(world: &World, site: &str, event: &str) -> usize {
        let sandbox = world.sandbox.world();
        let deploys: Vec<_> = {
            let netlify = sandbox.netlify.lock();
            let deploys = netlify
                .site_named(site)
                .map(|it| netlify.deploys_of(&it.id));
            let deploys = deploys.into_iter().flatten();
            deploys.map(|deploy| deploy.id.clone()).collect()
        };
        for deploy in &deploys {
            linkbroker_sandbox::netlify::fire(sandbox, deploy, event);
        }
        deploys.len()
    }

    /// Waits until a site has built this commit.
    pub async fn built(&self, world: &World, site: &str, sha: &str) -> Result<(), String> {
        for _ in 0..LOOKS {
            if self.has_built(world, site, sha) {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Err(format!("{site} has not built the push of {sha}"))
    }

    fn has_built(&self, world: &World, site: &str, sha: &str) -> bool {
        let netlify = world.sandbox.world().netlify.lock();
        let Some(site) = netlify.site_named(site) else {
            return false;
        };
        let mut deploys = netlify.deploys_of(&site.id).into_iter();
        deploys.any(|it| it.state == DeployState::Ready && it.commit.sha.as_deref() == Some(sha))
    }

    /// How many builds of a site there were that no push has started.
    pub fn first_builds(&self, world: &World, site: &str) -> usize {
        let netlify = world.sandbox.world().netlify.lock();
        let Some(site) = netlify.site_named(site) else {
            return 0;
        };
        let deploys = netlify.deploys_of(&site.id).into_iter();
        let first = deploys.filter(|deploy| deploy.cause.source == "api");
        first.count()
    }
}
