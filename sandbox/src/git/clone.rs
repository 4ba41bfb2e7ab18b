//! Clones as Netlify's build machines do: plain git over SSH with one private key, or with none.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tokio::process::Command;

use super::{BareRepository, CommitInfo, Host, KeyPair, command};

/// A clone that failed.
#[derive(Debug, thiserror::Error)]
#[error("{log}")]
pub struct CloneError {
    /// What git and ssh printed, or why they could not be run.
    pub log: String,
}

impl Host {
    /// Really runs `git clone` of one branch of the repository at an SSH address, one commit deep, into the folder `into` (absent or empty).
    ///
    /// Without a key the clone ends in `Host key verification failed.`, because Netlify only learns a host's key together
    /// with a deploy key (facts: jkan #228).
    ///
    /// # Errors
    /// With the log of git and ssh.
    pub async fn clone_over_ssh(
        &self,
        key: Option<&KeyPair>,
        url: &str,
        branch: &str,
        into: &Path,
    ) -> Result<CommitInfo, CloneError> {
        let clone = ["clone", "--quiet", "--depth=1", "--branch", branch];
        let mut git = command::program("git");
        git.args(clone).arg("--").arg(url).arg(into);
        self.run_over_ssh(git, key).await?;
        head_of(into).await
    }

    /// Puts a clone onto another commit of its repository: builds are of the commit that was pushed, not of what came later.
    ///
    /// # Errors
    /// With the log of git and ssh, also when the commit does not exist.
    pub async fn check_out_over_ssh(
        &self,
        key: Option<&KeyPair>,
        sha: &str,
        clone: &Path,
    ) -> Result<CommitInfo, CloneError> {
        let mut fetch = command::program("git");
        fetch.current_dir(clone);
        fetch.args(["fetch", "--quiet", "--depth=1", "origin", sha]);
        self.run_over_ssh(fetch, key).await?;
        let mut checkout = command::program("git");
        checkout.current_dir(clone);
        checkout.args(["checkout", "--quiet", "--detach", sha]);
        self.run_over_ssh(checkout, key).await?;
        head_of(clone).await
    }

    /// Clones the submodules of a clone, with the same key.
    ///
    /// # Errors
    /// With the log of git and ssh.
    pub async fn update_submodules_over_ssh(
        &self,
        key: Option<&KeyPair>,
        clone: &Path,
    ) -> Result<(), CloneError> {
        let mut update = command::program("git");
        update.current_dir(clone);
        update.args(["submodule", "update", "--init", "--recursive", "--depth=1"]);
        self.run_over_ssh(update, key).await
    }

    /// Clones as an app does that the provider lets in by itself: no key, the whole repository.
    ///
    /// # Errors
    /// With the log of git, also when the branch or the commit does not exist.
    pub async fn clone_as_app(
        &self,
        store_key: &str,
        branch: &str,
        sha: Option<&str>,
        into: &Path,
    ) -> Result<CommitInfo, CloneError> {
        let mut clone = command::program("git");
        clone.args(["clone", "--quiet", "--no-hardlinks", "--branch", branch]);
        clone.arg(self.repository(store_key).path()).arg(into);
        run(clone).await?;
        if let Some(sha) = sha {
            let mut checkout = command::program("git");
            checkout.current_dir(into);
            checkout.args(["checkout", "--quiet", "--detach", sha]);
            run(checkout).await?;
        }
        head_of(into).await
    }

    async fn run_over_ssh(
        &self,
        mut git: Command,
        key: Option<&KeyPair>,
    ) -> Result<(), CloneError> {
        let identity = key.map(Identity::write).transpose().map_err(not_run)?;
        let known_hosts = match key {
            Some(_) => self.known_hosts(),
            None => PathBuf::from("/dev/null"),
        };
        let ssh = ssh_command(identity.as_ref().map(|i| i.file.as_path()), &known_hosts);
        git.env("GIT_SSH_COMMAND", ssh);
        run(git).await
    }
}

async fn run(mut git: Command) -> Result<(), CloneError> {
    let output = git.output().await;
    let output = output.map_err(|error| not_run(error.into()))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).replace('\r', "");
    Err(CloneError { log })
}

async fn head_of(clone: &Path) -> Result<CommitInfo, CloneError> {
    let clone = BareRepository::at(clone.to_owned());
    clone.show("HEAD").await.map_err(not_run)
}

fn not_run(error: anyhow::Error) -> CloneError {
    CloneError {
        log: format!("{error:#}"),
    }
}

/// A private key in a file that only we can read, for as long as a clone runs.
struct Identity {
    _folder: tempfile::TempDir,
    file: PathBuf,
}

impl Identity {
    fn write(key: &KeyPair) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a folder for the key")?;
        let file = folder.path().join("id_rsa");
        let mut options = std::fs::OpenOptions::new();
        let opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)?;
        std::io::Write::write_all(&mut &opened, key.private_openssh().as_bytes())?;
        Ok(Self {
            _folder: folder,
            file,
        })
    }
}

/// ssh with this key, these known hosts, and nothing from the user's own configuration or agent.
pub fn ssh_command(identity: Option<&Path>, known_hosts: &Path) -> String {
    let mut command = format!(
        "ssh -F /dev/null -o BatchMode=yes -o ConnectTimeout=10 -o IdentityAgent=none -o IdentitiesOnly=yes \
         -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null -o {}",
        // The inner quotes are for ssh, which splits this option at blanks.
        quoted(&format!("UserKnownHostsFile=\"{}\"", known_hosts.display()))
    );
    if let Some(identity) = identity {
        command.push_str(" -i ");
        command.push_str(&quoted(&identity.display().to_string()));
    }
    command
}

/// git gives the command to a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
