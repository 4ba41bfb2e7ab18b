//! SSH keys: pairs made by `ssh-keygen` (part of every OpenSSH client) and public keys compared as providers do.

use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;

use russh::keys::{PrivateKey, ssh_key};
use serde::{Serialize, Serializer};

use super::command;

/// A key pair as Netlify makes them: RSA with 2048 bits, the private half in OpenSSH's own format.
pub struct KeyPair {
    private: String,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a new pair; takes a few hundred milliseconds of a CPU.
    ///
    /// # Errors
    /// When `ssh-keygen` is missing or fails.
    pub async fn generate() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("key");
        keygen(&file, &["-t", "rsa", "-b", "2048"]).await?;
        Ok(Self {
            private: tokio::fs::read_to_string(&file).await?,
            public: tokio::fs::read_to_string(file.with_extension("pub"))
                .await?
                .parse()?,
        })
    }

    /// `ssh-rsa AAAA…`, one line without a comment.
    pub fn public_line(&self) -> &str {
        self.public.as_str()
    }

    /// The private half, in the text form that an OpenSSH client reads from a file with mode 0600.
    pub fn private_openssh(&self) -> &str {
        &self.private
    }
}

impl std::fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyPair")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Type and base64 of a public key, without its comment: the identity of a key at every provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(String);

/// Why a text is not a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("the key type is not a known one")]
    UnknownType,
    #[error("the text is not a public key in OpenSSH's format")]
    Malformed,
}

/// The types that GitHub names in its refusal of other ones.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ssh-ed25519@openssh.com",
];

impl PublicKey {
    /// `type base64`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of a key that an SSH client offered.
    ///
    /// # Errors
    /// When the key cannot be written as text.
    pub fn offered(key: &ssh_key::PublicKey) -> ssh_key::Result<Self> {
        Ok(Self(first_two_words(&key.to_openssh()?)))
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        if !TYPES.contains(&text.split_whitespace().next().unwrap_or_default()) {
            return Err(BadKey::UnknownType);
        }
        let key = ssh_key::PublicKey::from_openssh(text).map_err(|_| BadKey::Malformed)?;
        Self::offered(&key).map_err(|_| BadKey::Malformed)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Makes the SSH front's own key in `folder`.
pub async fn host_key(folder: &Path) -> anyhow::Result<PrivateKey> {
    let file = folder.join("ssh_host_ed25519_key");
    keygen(&file, &["-t", "ed25519"]).await?;
    Ok(PrivateKey::from_openssh(tokio::fs::read(&file).await?)?)
}

/// The line of a `known_hosts` file for a server on a port of its own.
pub fn known_hosts_line(at: SocketAddr, key: &ssh_key::PublicKey) -> anyhow::Result<String> {
    let key = PublicKey::offered(key)?;
    Ok(format!("[{}]:{} {}\n", at.ip(), at.port(), key.as_str()))
}

async fn keygen(file: &Path, kind: &[&str]) -> anyhow::Result<()> {
    let mut command = command::program("ssh-keygen");
    command
        .arg("-q")
        .args(kind)
        .args(["-N", "", "-C", "", "-f"])
        .arg(file);
    command::output(&mut command).await?;
    Ok(())
}

fn first_two_words(line: &str) -> String {
    line.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}
