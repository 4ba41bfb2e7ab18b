//! Netlify and git providers as local services with state and behaviour.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use linkbroker_sandbox::{Options, Sandbox};
//!
//! let sandbox = Sandbox::start(Options::default()).await?;
//! println!("{} {}", sandbox.netlify_url(), sandbox.github_url());
//! sandbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Code tour, in the order in which a request meets it: [`server`] accepts, [`http`] wraps (faults, contract check,
//! recording), [`netlify`], [`github`], [`gitlab`], [`gitea`], [`bitbucket`] and [`azure`] answer from [`world::World`],
//! [`forge`] is what git providers have in common, [`git`] keeps the repositories, [`admin`] is the test's own door.

pub mod admin;
pub mod azure;
pub mod bitbucket;
pub mod clock;
pub mod contracts;
mod description;
mod disturb;
pub mod faults;
pub mod forge;
pub mod git;
pub mod gitea;
pub mod github;
pub mod gitlab;
pub mod http;
pub mod netlify;
mod outage;
pub mod recorder;
pub mod server;
pub mod switches;
mod twist;
pub mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;

use contracts::Contracts;
pub use contracts::{Side, Violation};
pub use faults::{Fault, FaultRule, Strikes, Twist};
pub use forge::{NewRepository, Place, Provider};
pub use recorder::{Call, Upstream};
pub use switches::Switches;
use world::{Parts, World};

/// The Netlify token that exists from the start; it belongs to a user with the one account [`ACCOUNT`].
pub const NETLIFY_TOKEN: &str = "sandbox-netlify-token";
/// The GitHub token that exists from the start; administrator of every repository.
pub const GITHUB_TOKEN: &str = "sandbox-github-token";
/// The GitLab token that exists from the start: scope `api`, maintainer of every project.
pub const GITLAB_TOKEN: &str = "sandbox-gitlab-token";
/// The token of Gitea (and Forgejo) that exists from the start: scope `write:repository`, administrator of every repository.
pub const GITEA_TOKEN: &str = "sandbox-gitea-token";
/// The Bitbucket API token that exists from the start; goes with [`BITBUCKET_EMAIL`] as basic credentials.
pub const BITBUCKET_TOKEN: &str = "sandbox-bitbucket-token";
/// E-mail address of the account behind [`BITBUCKET_TOKEN`].
pub const BITBUCKET_EMAIL: &str = "sandbox@example.com";
/// The Bitbucket access token that exists from the start, of a workspace: a bearer token.
pub const BITBUCKET_ACCESS_TOKEN: &str = "sandbox-bitbucket-access-token";
/// The personal access token of Azure DevOps that exists from the start, with full scope: basic credentials with any user name.
pub const AZURE_DEVOPS_TOKEN: &str = "sandbox-azure-devops-token";
/// Login of the person behind the providers' tokens that exist from the start.
pub const LOGIN: &str = "sandbox";
/// Slug of the Netlify account (team) that exists from the start.
pub const ACCOUNT: &str = "sandbox";

/// How to start a sandbox.
#[derive(Clone, Debug)]
pub struct Options {
    /// HTTP door for all vendors, served sites and the admin door.
    pub listen: SocketAddr,
    /// SSH front of the git repositories.
    pub ssh_listen: SocketAddr,
    /// Where repositories and published files are kept; a temporary folder when `None`.
    pub data_dir: Option<PathBuf>,
    pub switches: Switches,
}

impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: any_port,
            ssh_listen: any_port,
            data_dir: None,
            switches: Switches::default(),
        }
    }
}

/// A running sandbox; it ends when dropped, more orderly with [`Sandbox::shutdown`].
pub struct Sandbox {
    world: Arc<World>,
    /// Deletes the temporary data folder with the sandbox.
    _temporary: Option<TempDir>,
}

impl Sandbox {
    /// Binds both ports, creates the default tokens and serves.
    ///
    /// # Errors
    /// When a port is taken or the data folder cannot be written.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let (data_dir, temporary) = data_dir(options.data_dir)?;
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let git = git::Host::start(&data_dir, options.ssh_listen).await?;
        let world = Arc::new(World::new(Parts {
            git,
            switches: options.switches,
            addr: server::from_here(listener.local_addr()?),
            data_dir,
        })?);
        admin::forget_providers(&world)?;
        git::start(&world)?;
        world.spawn(forge::pushes::watch(world.clone()));
        netlify::start(&world);
        world.spawn(server::serve(listener, app(&world), world.clone()));
        Ok(Self {
            world,
            _temporary: temporary,
        })
    }

    /// Waits until calls are as fast as they get: keys are in stock, descriptions are compiled. For measurements, and before
    /// people are let in.
    pub async fn warm_up(&self) {
        let compiled = tokio::task::spawn_blocking(Contracts::warm_up).await;
        if let Err(error) = compiled {
            tracing::error!(%error, "the vendors' descriptions cannot be compiled");
        }
        while !netlify::stock_is_full(&self.world) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Value for `LINKBROKER_NETLIFY_URL`.
    pub fn netlify_url(&self) -> String {
        format!("{}/netlify/api/v1", self.world.origin())
    }

    /// Value for `LINKBROKER_GITHUB_URL`.
    pub fn github_url(&self) -> String {
        format!("{}/github", self.world.origin())
    }

    /// Value for `LINKBROKER_GITLAB_URL`: an instance that is served below a path.
    pub fn gitlab_url(&self) -> String {
        format!("{}/gitlab/api/v4", self.world.origin())
    }

    /// Base of the API of Gitea, for an instance that the operator configures.
    pub fn gitea_url(&self) -> String {
        format!("{}/gitea/api/v1", self.world.origin())
    }

    /// Value for `LINKBROKER_BITBUCKET_URL`.
    pub fn bitbucket_url(&self) -> String {
        format!("{}/bitbucket/2.0", self.world.origin())
    }

    /// Value for `LINKBROKER_AZURE_DEVOPS_URL`; stands for all of Azure's host names.
    pub fn azure_devops_url(&self) -> String {
        format!("{}/azure", self.world.origin())
    }

    /// Base of the admin door.
    pub fn admin_url(&self) -> String {
        format!("{}/__sandbox", self.world.origin())
    }

    /// Where the SSH front listens.
    pub fn ssh_addr(&self) -> SocketAddr {
        self.world.git.ssh_addr()
    }

    /// Makes a repository; the answer has its `id`, `full_name`, `path` on disk, `ssh_url` and `head`.
    ///
    /// # Errors
    /// When the name is taken or not acceptable.
    pub async fn create_repository(&self, new: NewRepository) -> anyhow::Result<Value> {
        admin::create_repository(&self.world, new).await
    }

    /// Makes a commit and delivers the push; the answer has its `sha`. A path alone names a repository at GitHub,
    /// `(Provider::Gitlab, "acme/web/docs")` one elsewhere.
    ///
    /// # Errors
    /// When there is no such repository or it is archived.
    pub async fn commit(
        &self,
        repository: impl Into<Place>,
        new: git::NewCommit,
    ) -> anyhow::Result<Value> {
        admin::commit(&self.world, &repository.into(), new).await
    }

    /// Opens a pull or merge request of a branch with commits, and tells the webhooks that listen; its number.
    ///
    /// # Errors
    /// When there is no such repository, or the branch has no commits.
    pub async fn open_pull_request(
        &self,
        repository: impl Into<Place>,
        new: forge::NewPullRequest,
    ) -> anyhow::Result<Value> {
        forge::pull_requests::open(&self.world, &repository.into(), new).await
    }

    /// Everything created and alive, calls per upstream, rounds.
    pub fn counts(&self) -> admin::Counts {
        admin::counts(&self.world, 0)
    }

    /// All calls, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.world.recorder.since(0)
    }

    /// What clients (or the sandbox itself) did against the vendors' descriptions.
    pub fn violations(&self) -> Vec<Violation> {
        self.world.contracts.violations()
    }

    /// Disturbs chosen calls from now on; how often can be followed.
    ///
    /// # Errors
    /// When the rule's path is no regular expression.
    pub fn add_fault(&self, rule: FaultRule) -> anyhow::Result<Strikes> {
        Ok(self.world.faults.add(rule)?)
    }

    /// Changes switches by a JSON merge patch, such as `{"netlify": {"stop_builds_honoured": false}}`.
    ///
    /// # Errors
    /// When a switch does not exist or the value has the wrong type.
    pub fn patch_switches(&self, patch: &Value) -> anyhow::Result<()> {
        Ok(self.world.patch_switches(patch)?)
    }

    /// The whole state, and what is not worth a method here: tokens, renames, the clock.
    pub fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// Stops all tasks and child processes and removes the temporary folder.
    pub async fn shutdown(self) {
        self.world.stop().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.world.stop_token().cancel();
    }
}

fn data_dir(wanted: Option<PathBuf>) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
    if let Some(dir) = wanted {
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        return Ok((dir.canonicalize()?, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("linkbroker-sandbox-")
        .tempdir()?;
    Ok((temporary.path().to_owned(), Some(temporary)))
}

fn app(world: &Arc<World>) -> Router {
    Router::new()
        .nest("/netlify", netlify::router(world))
        .nest("/github", github::router(world))
        .nest("/gitlab", gitlab::router(world))
        .nest("/gitea", gitea::router(world))
        .nest("/bitbucket", bitbucket::router(world))
        .nest("/azure", azure::router(world))
        .nest("/sites", netlify::sites_router())
        // Also for what a vendor's router did not match, so that it is observed.
        .fallback(|| async { (StatusCode::NOT_FOUND, "Not Found") })
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            http::observe,
        ))
        .nest("/__sandbox", admin::router())
        // Outermost: a site with a host name of its own may have any path.
        .layer(axum::middleware::from_fn_with_state(
            world.clone(),
            netlify::serve_by_host,
        ))
        .with_state(world.clone())
}
