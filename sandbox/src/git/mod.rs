//! Real bare git repositories, whoever the provider is: commits, push detection, an SSH front, clones with a deploy key.
//!
//! Nothing here knows a provider's API. A repository is found by its *store key* (`github/1001`), which stays when the
//! provider renames it; who may read or write is asked from the provider by the SSH front (`ssh.rs`).

mod bare;
mod clone;
mod command;
mod keys;
mod pushes;
mod ssh;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::net::TcpListener;

pub use bare::{Author, BareRepository, Changes, CommitInfo, NewCommit, ZERO_SHA};
pub use clone::CloneError;
pub use keys::{BadKey, KeyPair, PublicKey};
pub use pushes::RefUpdate;

use crate::server;
use crate::world::World;

/// All repositories of a sandbox, and the address of the SSH front in front of them.
pub struct Host {
    root: PathBuf,
    ssh_addr: SocketAddr,
    /// Taken by [`start`], which needs the whole world.
    listener: Mutex<Option<TcpListener>>,
    host_key: russh::keys::PrivateKey,
    spool: pushes::Spool,
    /// `git fast-import` must be the only writer of its branch.
    committing: tokio::sync::Mutex<()>,
    /// Commits that were read before, by id: they never change.
    known: Mutex<HashMap<String, CommitInfo>>,
    /// What pushes brought that were told before: a push that is told again brings the same.
    brought: Mutex<HashMap<RefUpdate, Brought>>,
}

/// What a push brought.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Oldest first: those of a new branch are the ones that no other branch had.
    pub commits: Vec<CommitInfo>,
    /// Whether it replaced commits instead of adding to them.
    pub forced: bool,
}

impl Host {
    /// Binds the SSH front and prepares `data_dir/git`; connections are served once [`start`] has run.
    ///
    /// # Errors
    /// When the port is taken, or `data_dir/git` holds something that is not ours.
    pub async fn start(data_dir: &Path, ssh_listen: SocketAddr) -> anyhow::Result<Self> {
        let root = data_dir.join("git");
        make_empty(&root)?;
        let listener = TcpListener::bind(ssh_listen)
            .await
            .with_context(|| format!("cannot listen on {ssh_listen} for SSH"))?;
        let ssh_addr = server::from_here(listener.local_addr()?);
        let host_key = keys::host_key()?;
        let known_host = keys::known_hosts_line(ssh_addr, host_key.public_key())?;
        std::fs::write(root.join("known_hosts"), known_host)?;
        Ok(Self {
            spool: pushes::Spool::create(root.join(SPOOL))?,
            root,
            ssh_addr,
            listener: Mutex::new(Some(listener)),
            host_key,
            committing: tokio::sync::Mutex::new(()),
            known: Mutex::default(),
            brought: Mutex::default(),
        })
    }

    /// Where the SSH front listens.
    pub fn ssh_addr(&self) -> SocketAddr {
        self.ssh_addr
    }

    /// A `known_hosts` file with the SSH front's host key.
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// The address to clone `owner/name` from.
    pub fn ssh_url(&self, repo_path: &str) -> String {
        format!("ssh://git@{}/{repo_path}.git", self.ssh_addr)
    }

    /// The value of `GIT_SSH_COMMAND` with which plain git reaches the SSH front with the private key in `identity`.
    pub fn ssh_command(&self, identity: &Path) -> String {
        clone::ssh_command(Some(identity), &self.known_hosts())
    }

    /// The repository with this store key; it may not exist yet.
    pub fn repository(&self, store_key: &str) -> BareRepository {
        BareRepository::at(self.root.join(format!("{store_key}.git")))
    }

    /// Makes an empty bare repository whose pushes are noticed.
    ///
    /// # Errors
    /// When the store key is in use or git fails.
    pub async fn create(
        &self,
        store_key: &str,
        default_branch: &str,
    ) -> anyhow::Result<BareRepository> {
        let repository = self.repository(store_key);
        repository.init(default_branch).await?;
        self.spool.install_hook(&repository, store_key)?;
        Ok(repository)
    }

    /// Deletes a repository's folder.
    ///
    /// # Errors
    /// When something in it cannot be deleted.
    pub fn remove(&self, store_key: &str) -> std::io::Result<()> {
        std::fs::remove_dir_all(self.repository(store_key).path())
    }

    /// Makes a commit; unlike a push it is not noticed by itself, the caller reports the returned move.
    ///
    /// # Errors
    /// When a path or the branch name is not acceptable to git.
    pub async fn commit(
        &self,
        store_key: &str,
        commit: &NewCommit,
    ) -> anyhow::Result<(CommitInfo, RefUpdate)> {
        let repository = self.repository(store_key);
        let _only_writer = self.committing.lock().await;
        let before = repository.head(&commit.branch).await?;
        let made = repository.commit(commit, before.as_deref()).await?;
        let update = RefUpdate {
            store_key: store_key.to_owned(),
            before: before.unwrap_or_else(|| ZERO_SHA.to_owned()),
            after: made.sha.clone(),
            pusher: None,
            reference: format!("refs/heads/{}", commit.branch),
        };
        Ok((made, update))
    }

    /// One commit by its full id.
    ///
    /// # Errors
    /// When there is no such commit.
    pub async fn show(&self, store_key: &str, sha: &str) -> anyhow::Result<CommitInfo> {
        let known = self.known.lock().get(sha).cloned();
        if let Some(commit) = known {
            return Ok(commit);
        }
        let commit = self.repository(store_key).show(sha).await?;
        self.known.lock().insert(sha.to_owned(), commit.clone());
        Ok(commit)
    }

    /// What a push brought.
    ///
    /// # Errors
    /// When the repository cannot be read.
    pub async fn brought(&self, update: &RefUpdate) -> anyhow::Result<Brought> {
        let known = self.brought.lock().get(update).cloned();
        if let Some(brought) = known {
            return Ok(brought);
        }
        let repository = self.repository(&update.store_key);
        let RefUpdate { before, after, .. } = update;
        let brought = Brought {
            commits: repository
                .pushed(&update.reference, before, after)
                .await
                .context("the pushed commits cannot be read")?,
            forced: repository.forced(before, after).await?,
        };
        self.brought.lock().insert(update.clone(), brought.clone());
        Ok(brought)
    }

    /// Where pushes arrive, in the order in which they happened.
    pub fn pushes(&self) -> &pushes::Spool {
        &self.spool
    }
}

/// Serves the SSH front until the world stops.
///
/// # Errors
/// When it runs already.
pub fn start(world: &Arc<World>) -> anyhow::Result<()> {
    let listener = world.git.listener.lock().take();
    let listener = listener.context("the SSH front is running already")?;
    world.spawn(ssh::serve(world.clone(), listener));
    Ok(())
}

/// The list of pushes; also the sign that a folder `git` is a sandbox's and may be emptied.
const SPOOL: &str = "pushes";

/// State lives in memory, so repositories of an earlier run are of no use and would collide.
fn make_empty(root: &Path) -> anyhow::Result<()> {
    if root.exists() {
        anyhow::ensure!(
            root.join(SPOOL).exists(),
            "{} exists and was not made by a sandbox; choose another data folder",
            root.display()
        );
        std::fs::remove_dir_all(root)
            .with_context(|| format!("cannot empty {}", root.display()))?;
    }
    std::fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))
}
