//! Clones as Netlify's build machines do: plain git over SSH with one private key, or with none.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{BareRepository, CommitInfo, Host, KeyPair, command};

/// A clone that failed.
#[derive(Debug, thiserror::Error)]
#[error("{log}")]
pub struct CloneError {
    /// What git and ssh printed, or why they could not be run.
    pub log: String,
}

impl Host {
    /// Really runs `git clone` of one branch over the SSH front, one commit deep, into the folder `into` (absent or empty).
    ///
    /// Without a key the clone ends in `Host key verification failed.`, because Netlify only learns a host's key together
    /// with a deploy key (facts: jkan #228).
    ///
    /// # Errors
    /// With the log of git and ssh.
    pub async fn clone_over_ssh(
        &self,
        key: Option<&KeyPair>,
        repo_path: &str,
        branch: &str,
        into: &Path,
    ) -> Result<CommitInfo, CloneError> {
        let log = |error: anyhow::Error| CloneError {
            log: format!("{error:#}"),
        };
        let identity = key.map(Identity::write).transpose().map_err(log)?;
        let known_hosts = match key {
            Some(_) => self.known_hosts(),
            None => PathBuf::from("/dev/null"),
        };
        let ssh = ssh_command(identity.as_ref().map(|i| i.file.as_path()), &known_hosts);
        let output = command::program("git")
            .env("GIT_SSH_COMMAND", ssh)
            .args(["clone", "--quiet", "--depth=1", "--branch", branch])
            .arg(self.ssh_url(repo_path))
            .arg(into)
            .output()
            .await
            .map_err(|error| log(error.into()))?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).replace('\r', "");
            return Err(CloneError { log });
        }
        BareRepository::at(into.to_owned())
            .show("HEAD")
            .await
            .map_err(log)
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
