//! Keeps credentials secret at rest: envelope encryption with a data key per tenant.
//!
//! A [`KeyRing`] of master keys comes from the operator and never touches the database. It wraps
//! one [`DataKey`] per tenant; the data key seals the tenant's secrets. What is sealed says (as
//! additional data of AES-256-GCM) whose it is, which row it belongs to and what it is for, so a
//! ciphertext that was moved does not open. No I/O but for key files, no database.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

/// Bytes of an AES-256 key.
const KEY_LEN: usize = 32;
/// Bytes of AES-GCM's nonce, drawn at random for each sealing.
const NONCE_LEN: usize = 12;
/// First byte of everything sealed, and part of the additional data.
const VERSION: u8 = 1;

type KeyBytes = Zeroizing<[u8; KEY_LEN]>;

/// Why something could not be sealed or opened. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The key ring does not have the master key that a data key was wrapped with.
    #[error(
        "the key ring has no master key `{0}`: put it back into the ring until everything is rewrapped"
    )]
    UnknownKey(String),
    /// Wrong key, changed bytes, or a ciphertext that belongs elsewhere.
    #[error("the sealed bytes do not open: they were changed, moved, or sealed with another key")]
    DoesNotOpen,
    /// A sealed value of a version that this program does not know, or too short to be one.
    #[error("these bytes are not in a known sealed format")]
    UnknownFormat,
    /// The cryptographic library failed; in practice: no random numbers.
    #[error("the cryptographic library failed")]
    Library,
}

/// Why a key ring's text is not one. Holds no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// There is no key in it.
    #[error("it holds no key")]
    Empty,
    /// An entry is not `id:base64`; by its number, from 1.
    #[error(
        "key {0} is not of the form id:base64 with an id of 1 to 32 letters, digits, `-`, `_` or `.`"
    )]
    Malformed(usize),
    /// A key is not 32 bytes long.
    #[error("key `{0}` is not 32 bytes of base64")]
    WrongLength(String),
    /// An id is there twice.
    #[error("the id `{0}` is there twice")]
    Duplicate(String),
}

/// What a sealed value is for; part of what is authenticated. The text forms are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A connection's credential.
    Credential,
    /// The secret that signs an upstream's notifications to us.
    NotificationSecret,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::NotificationSecret => "notification-secret",
        }
    }
}

/// The operator's master keys. The first one is active: it wraps what is new; the others still open
/// what is old.
#[derive(Clone)]
pub struct KeyRing(Arc<[MasterKey]>);

struct MasterKey {
    id: String,
    key: KeyBytes,
}

/// A tenant's key, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedDataKey {
    /// The master key that opens it.
    pub key_id: String,
    /// The key, sealed.
    pub bytes: Vec<u8>,
}

/// A tenant's key, ready for use. Forgotten (zeroed) when dropped.
pub struct DataKey {
    tenant: String,
    key: KeyBytes,
}

/// A sealed secret, as it is stored: version ‖ nonce ‖ ciphertext ‖ tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl KeyRing {
    /// Reads `id:base64` entries separated by commas or line ends; `#` starts a comment line.
    ///
    /// # Errors
    /// The first entry that is not a key, without its contents.
    pub fn parse(text: &str) -> Result<Self, KeyRingError> {
        let entries = text.split([',', '\n']).map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty() && !entry.starts_with('#'));
        let mut keys: Vec<MasterKey> = Vec::new();
        for (index, entry) in entries.enumerate() {
            let key = MasterKey::parse(entry, index + 1)?;
            if keys.iter().any(|known| known.id == key.id) {
                return Err(KeyRingError::Duplicate(key.id));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        Ok(Self(keys.into()))
    }

    /// Reads a key ring from a file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a key ring.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let read = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = read.with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Reads a key ring from a file that is made, with one new key, when it does not exist.
    ///
    /// # Errors
    /// When the file can be neither read nor made, or is not a key ring.
    pub fn load_or_create(path: &Path) -> anyhow::Result<Self> {
        let text = secret_file(path, || Ok(new_master_key("dev")?))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// The ids of its keys, the active one first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// A new data key for a tenant, with the form in which it is stored.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn new_data_key(&self, tenant: &str) -> Result<(DataKey, WrappedDataKey), VaultError> {
        let data_key = DataKey {
            tenant: tenant.to_owned(),
            key: random_key()?,
        };
        let wrapped = self.wrap(&data_key)?;
        Ok((data_key, wrapped))
    }

    /// Wraps a data key with the active master key (again: that is how master keys are rotated).
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn wrap(&self, data_key: &DataKey) -> Result<WrappedDataKey, VaultError> {
        // `parse` lets no empty ring come to be.
        let active = &self.0[0];
        let place = wrapping_place(&data_key.tenant, &active.id);
        Ok(WrappedDataKey {
            key_id: active.id.clone(),
            bytes: seal(&active.key, data_key.key.as_slice(), &place)?,
        })
    }

    /// Opens a tenant's stored data key.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] when its master key has left the ring, else when it does not open.
    pub fn unwrap(&self, tenant: &str, wrapped: &WrappedDataKey) -> Result<DataKey, VaultError> {
        let master = self.0.iter().find(|key| key.id == wrapped.key_id);
        let master = master.ok_or_else(|| VaultError::UnknownKey(wrapped.key_id.clone()))?;
        let place = wrapping_place(tenant, &master.id);
        let opened = open(&master.key, &wrapped.bytes, &place)?;
        Ok(DataKey {
            tenant: tenant.to_owned(),
            key: key_bytes(&opened).ok_or(VaultError::UnknownFormat)?,
        })
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.key_ids()).finish()
    }
}

impl MasterKey {
    fn parse(entry: &str, number: usize) -> Result<Self, KeyRingError> {
        let (id, encoded) = entry
            .split_once(':')
            .ok_or(KeyRingError::Malformed(number))?;
        let is_id_char = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !(1..=32).contains(&id.len()) || !id.chars().all(is_id_char) {
            return Err(KeyRingError::Malformed(number));
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).unwrap_or_default());
        let key = key_bytes(&decoded).ok_or_else(|| KeyRingError::WrongLength(id.to_owned()))?;
        Ok(Self {
            id: id.to_owned(),
            key,
        })
    }
}

impl DataKey {
    /// Seals a secret for one row and purpose.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn seal(&self, plain: &[u8], row: &str, purpose: Purpose) -> Result<Sealed, VaultError> {
        let place = place(&[&self.tenant, row, purpose.as_str()]);
        seal(&self.key, plain, &place).map(Sealed)
    }

    /// Opens a secret that was sealed for this tenant, row and purpose.
    ///
    /// # Errors
    /// When it was sealed for anything else, or was changed.
    pub fn open(
        &self,
        sealed: &Sealed,
        row: &str,
        purpose: Purpose,
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let place = place(&[&self.tenant, row, purpose.as_str()]);
        open(&self.key, &sealed.0, &place)
    }
}

/// A new master key as an entry of a key ring: `id:base64`.
///
/// # Errors
/// [`VaultError::Library`].
pub fn new_master_key(id: &str) -> Result<Zeroizing<String>, VaultError> {
    let key = random_key()?;
    let mut entry = Zeroizing::new(String::with_capacity(id.len() + 64));
    let encoded = Zeroizing::new(STANDARD.encode(key.as_slice()));
    write!(entry, "{id}:{}", *encoded).map_err(|_| VaultError::Library)?;
    Ok(entry)
}

/// Contents of a file that only we may read; `make` gives them when there is no such file yet.
/// Of several processes that make it at once, one wins and all read the same.
///
/// # Errors
/// When the file can be neither read nor made.
pub fn secret_file(
    path: &Path,
    make: impl FnOnce() -> anyhow::Result<Zeroizing<String>>,
) -> anyhow::Result<Zeroizing<String>> {
    let read = || std::fs::read_to_string(path).map(Zeroizing::new);
    match read() {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let made = make()?;
            create_secret_file(path, &made)
                .with_context(|| format!("{} cannot be made", path.display()))?;
            read()
        }
        found => found,
    }
    .with_context(|| format!("{} cannot be read", path.display()))
}

/// Writes a file beside `path` and links it there: it appears complete or not at all, and never
/// replaces one that is there.
fn create_secret_file(path: &Path, contents: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    writeln!(file, "{contents}")?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(why) if why.kind() != io::ErrorKind::AlreadyExists => Err(why),
        _ => Ok(()),
    }
}

/// What a wrapped data key is authenticated with: its tenant and the master key's id.
fn wrapping_place(tenant: &str, key_id: &str) -> Vec<u8> {
    place(&[tenant, key_id, "data-key"])
}

/// Length-prefixed parts, so that no two lists of parts give the same bytes, then the version.
fn place(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes.push(VERSION);
    bytes
}

fn seal(key: &KeyBytes, plain: &[u8], place: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
    body.extend(plain);
    let cipher = cipher(key)?;
    let nonce = cipher
        .seal_in_place_append_tag(Aad::from(place), &mut *body)
        .map_err(|_| VaultError::Library)?;
    let mut sealed = vec![VERSION];
    sealed.extend(nonce.as_ref());
    sealed.extend(body.iter());
    Ok(sealed)
}

fn open(key: &KeyBytes, sealed: &[u8], place: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let Some((&VERSION, rest)) = sealed.split_first() else {
        return Err(VaultError::UnknownFormat);
    };
    let (nonce, body) = rest
        .split_at_checked(NONCE_LEN)
        .ok_or(VaultError::UnknownFormat)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::UnknownFormat)?;
    let mut body = Zeroizing::new(body.to_vec());
    let plain_len = cipher(key)?
        .open_in_place(nonce, Aad::from(place), &mut body)
        .map_err(|_| VaultError::DoesNotOpen)?
        .len();
    body.truncate(plain_len);
    Ok(body)
}

fn cipher(key: &KeyBytes) -> Result<RandomizedNonceKey, VaultError> {
    RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| VaultError::Library)
}

fn random_key() -> Result<KeyBytes, VaultError> {
    let mut key = KeyBytes::default();
    rand::fill(key.as_mut_slice()).map_err(|_| VaultError::Library)?;
    Ok(key)
}

fn key_bytes(bytes: &[u8]) -> Option<KeyBytes> {
    Some(Zeroizing::new(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
