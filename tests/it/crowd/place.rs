//! A place for links: a repository, and tenants with connections and tokens of their own.

use std::collections::BTreeSet;

use linkbroker::api::caller::Scope;
use linkbroker_sandbox::netlify::DeployState;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::world::{Client, World};

/// A repository and a tenant with access to it. Links come and go; what they leave would be seen.
pub struct Place {
    pub tenant: String,
    pub client: Client,
    /// Path of the repository.
    pub path: String,
    netlify_token: String,
    github_token: String,
}

impl Place {
    /// A tenant on the repository `acme/{repository}`, which is made when it is not there.
    pub async fn make(world: &World, tenant: &str, repository: &str) -> Self {
        let path = format!("acme/{repository}");
        let known = world.sandbox.world().github.lock().named(&path).is_some();
        if !known {
            world.repository(repository).await;
        }
        let place = Self {
            tenant: tenant.to_owned(),
            client: world.client_of(tenant, Scope::ALL),
            path,
            netlify_token: format!("netlify-of-{tenant}"),
            github_token: format!("github-of-{tenant}"),
        };
        place.let_in(world);
        let (netlify, github) = (&place.netlify_token, &place.github_token);
        world.connect_with(&place.client, netlify, github).await;
        place
    }

    /// All share the one team at Netlify, as tenants may.
    fn let_in(&self, world: &World) {
        let token = json!({"token": self.netlify_token});
        let token = serde_json::from_value(token).expect("a token's description");
        let sandbox = world.sandbox.world();
        let now = sandbox.clock.now();
        sandbox.netlify.lock().add_token(token, now);
        world.github_token(&self.github_token, json!({self.path.as_str(): "admin"}));
    }

    /// The request for a link of the place.
    pub fn request(&self, site: &str) -> Value {
        json!({
            "repository": format!("https://github.com/{}", self.path),
            "site": {"name": site, "team": "sandbox"},
            "build": {"command": "sh build.sh", "publish": "dist"},
        })
    }

    /// Disturbs the `nth` call from now on with the place's tokens at an upstream.
    pub fn disturb(&self, world: &World, upstream: &str, nth: u64, fault: &Value) {
        let token = match upstream {
            "netlify" => &self.netlify_token,
            _ => &self.github_token,
        };
        world.fault(
            json!({"upstream": upstream, "path": ".", "token": token, "nth": nth, "fault": fault}),
        );
    }

    /// Has every call of a kind with the place's tokens refused.
    pub fn refuse(&self, world: &World, upstream: &str, method: &str, path: &str, fault: &Value) {
        let token = match upstream {
            "netlify" => &self.netlify_token,
            _ => &self.github_token,
        };
        world.fault(
            json!({"upstream": upstream, "method": method, "path": path, "token": token,
            "times": 1_000, "fault": fault}),
        );
    }

    /// Ends what disturbs the place's calls.
    pub fn calm(&self, world: &World) {
        for token in [&self.netlify_token, &self.github_token] {
            world.sandbox.world().faults.clear_of(token);
        }
    }

    /// What there is of the place's tenant and repository at the vendors, in the ledger's words.
    pub fn at_vendors(&self, world: &World, sites: &[String]) -> BTreeSet<(String, String)> {
        let mut objects = BTreeSet::new();
        let mut add = |kind: &str, id: String| objects.insert((kind.to_owned(), id));
        let sandbox = world.sandbox.world();
        {
            let netlify = sandbox.netlify.lock();
            let user = &netlify.tokens[&self.netlify_token].user_id;
            for key in netlify.keys.values().filter(|key| key.user_id == *user) {
                add("deploy_key", key.id.clone());
            }
            for site in netlify
                .sites
                .values()
                .filter(|site| sites.contains(&site.name))
            {
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

    /// What the ledger says that there is of the tenant's: kind and id.
    pub async fn in_ledger(&self, db: &mut PgConnection) -> BTreeSet<(String, String)> {
        let rows = "select kind, external_id from resources where tenant = $1 and state in ('present', 'stock')";
        let rows = sqlx::query_as(rows).bind(&self.tenant).fetch_all(db).await;
        let rows: Vec<(String, String)> = rows.expect("the ledger");
        rows.into_iter().collect()
    }

    /// Whether a site has built this commit to the end.
    pub fn has_built(&self, world: &World, site: &str, sha: &str) -> bool {
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
        deploys
            .filter(|deploy| deploy.cause.source == "api")
            .count()
    }
}
