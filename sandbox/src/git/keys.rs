//! SSH keys: pairs as Netlify makes them, and public keys compared as providers do.

use std::net::SocketAddr;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rand::Rng;
use russh::keys::pkcs8::decode_pkcs8;
use russh::keys::ssh_key::{self, LineEnding};
use russh::keys::{Algorithm, PrivateKey};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A key pair as Netlify makes them: RSA with 2048 bits, the private half in OpenSSH's own format.
pub struct KeyPair {
    private: String,
    public: PublicKey,
}

impl KeyPair {
    /// Makes a new pair; about a tenth of a second of a CPU, on a thread where that blocks nobody.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub async fn generate() -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(Self::generate_now).await?
    }

    /// What looks like a pair to everybody who does not use it, at no cost: the modulus is chance, and there is no private half.
    pub fn pretended() -> Self {
        let mut modulus = vec![0; 257];
        rand::rng().fill_bytes(&mut modulus[1..]);
        modulus[1] |= 0x80;
        let mut blob = Vec::new();
        for part in [&b"ssh-rsa"[..], &[1, 0, 1], &modulus] {
            let length = u32::try_from(part.len()).expect("a short part");
            blob.extend(length.to_be_bytes());
            blob.extend(part);
        }
        Self {
            private: String::new(),
            public: PublicKey(format!("ssh-rsa {}", BASE64_STANDARD.encode(blob))),
        }
    }

    fn generate_now() -> anyhow::Result<Self> {
        // C and assembler: finding primes in pure Rust is too slow in a debug build.
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
        let private = decode_pkcs8(der.as_ref(), None)?;
        Ok(Self {
            public: PublicKey::offered(private.public_key())?,
            private: private.to_openssh(LineEnding::LF)?.to_string(),
        })
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
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

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        let blob = self.0.split(' ').nth(1).unwrap_or_default();
        let digest = Sha256::digest(BASE64_STANDARD.decode(blob).unwrap_or_default());
        format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(digest))
    }

    /// Length of an RSA key in bits; `None` for other types.
    pub fn rsa_bits(&self) -> Option<usize> {
        let key = ssh_key::PublicKey::from_openssh(&self.0).ok()?;
        let modulus = key.key_data().rsa()?.n().as_positive_bytes()?;
        Some(modulus.len() * 8)
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

/// Makes a key for the SSH front itself.
pub fn host_key() -> anyhow::Result<PrivateKey> {
    Ok(PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519)?)
}

/// The line of a `known_hosts` file for a server on a port of its own.
pub fn known_hosts_line(at: SocketAddr, key: &ssh_key::PublicKey) -> anyhow::Result<String> {
    let key = PublicKey::offered(key)?;
    Ok(format!("[{}]:{} {}\n", at.ip(), at.port(), key.as_str()))
}

fn first_two_words(line: &str) -> String {
    line.split_whitespace()
        .take(2)
        .collect::<Vec<_>>()
        .join(" ")
}
