//! Real bare repositories behind a real SSH front (builder B's part; this is only the shell's idea of its outside).
//!
//! Expected here: `Host` (below), `KeyPair { generate(), public_line() }`,
//! `Host::clone_over_ssh(&self, key: Option<&KeyPair>, repo_path: &str, branch: &str, into: &Path) -> Result<CommitInfo, CloneError>`
//! where `CommitInfo { sha, message, author, .. }` and `CloneError { log: String }`.

use std::net::SocketAddr;
use std::path::Path;

pub struct Host {
    ssh_addr: SocketAddr,
}

impl Host {
    pub async fn start(_data_dir: &Path, ssh_listen: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            ssh_addr: ssh_listen,
        })
    }

    pub fn ssh_addr(&self) -> SocketAddr {
        self.ssh_addr
    }
}
