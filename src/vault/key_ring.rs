//! The operator's master keys: where they come from, and the data keys that they wrap.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

use super::{
    DataKey, KeyBytes, VaultError, WrappedDataKey, key_bytes, open, place, random_key, seal,
    secret_file,
};

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

/// The operator's master keys. The first one is active: it wraps what is new; the others still open
/// what is old.
#[derive(Clone)]
pub struct KeyRing(Arc<[MasterKey]>);

#[derive(Clone)]
struct MasterKey {
    id: String,
    key: KeyBytes,
}

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

    /// The id of the active key.
    pub fn active(&self) -> &str {
        // `parse` lets no empty ring come to be, and nothing takes the active key out.
        &self.0[0].id
    }

    /// The bytes of a master key, to derive others from.
    pub(super) fn master(&self, id: &str) -> Result<&[u8], VaultError> {
        Ok(self.find(id)?.key.as_slice())
    }

    fn find(&self, id: &str) -> Result<&MasterKey, VaultError> {
        let found = self.0.iter().find(|key| key.id == id);
        found.ok_or_else(|| VaultError::UnknownKey(id.to_owned()))
    }

    /// The ring with one more key behind the others: it opens, and does not wrap yet.
    ///
    /// # Errors
    /// When there is a key with this id, or the id cannot be one.
    pub fn with_new_key(&self, id: &str) -> anyhow::Result<Self> {
        let entry = new_master_key(id)?;
        let mut text = self.to_text("\n");
        text.push('\n');
        text.push_str(&entry);
        Ok(Self::parse(&text)?)
    }

    /// The ring with this key in front: it wraps from now on. `None` when there is no such key.
    #[must_use]
    pub fn with_active(&self, id: &str) -> Option<Self> {
        let (mut keys, others): (Vec<_>, Vec<_>) =
            self.0.iter().cloned().partition(|key| key.id == id);
        keys.extend(others);
        (keys.first()?.id == id).then(|| Self(keys.into()))
    }

    /// The ring with the active key and those that are `needed`.
    #[must_use]
    pub fn without_unneeded(&self, needed: &[String]) -> Self {
        let keep = |key: &&MasterKey| key.id == self.active() || needed.contains(&key.id);
        Self(self.0.iter().filter(keep).cloned().collect())
    }

    /// The ring as [`KeyRing::parse`] reads it. Secret.
    pub fn to_text(&self, separator: &str) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 96));
        for (index, key) in self.0.iter().enumerate() {
            if index > 0 {
                text.push_str(separator);
            }
            let encoded = Zeroizing::new(STANDARD.encode(key.key.as_slice()));
            text.push_str(&key.id);
            text.push(':');
            text.push_str(&encoded);
        }
        text
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
        let master = self.find(&wrapped.key_id)?;
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

/// What a wrapped data key is authenticated with: its tenant and the master key's id.
fn wrapping_place(tenant: &str, key_id: &str) -> Vec<u8> {
    place(&[tenant, key_id, "data-key"])
}
