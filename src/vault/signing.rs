//! Signatures of our own, for what we hand out and get back: with a key that is derived from a
//! master key, so every server with the same key ring can check them and nothing is stored.

use aws_lc_rs::{
    hkdf::{HKDF_SHA256, Salt},
    hmac::{self, HMAC_SHA256},
};

use super::{KeyRing, VaultError};

/// What a signature is for; each has a key of its own. The text forms are for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedPurpose {
    /// A status token.
    StatusToken,
    /// The name of a credential's budget.
    BudgetName,
}

impl SignedPurpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::StatusToken => "linkbroker status token 1",
            Self::BudgetName => "linkbroker budget name 1",
        }
    }
}

impl KeyRing {
    /// Signs with a key that is derived from the active master key. The message should say
    /// [`KeyRing::active`], to be checked again after a rotation.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn sign(&self, purpose: SignedPurpose, message: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.signing_key(self.active(), purpose)?;
        Ok(hmac::sign(&key, message).as_ref().to_vec())
    }

    /// Checks a signature by the master key with this id, in constant time.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`] when it is not in the ring, [`VaultError::DoesNotOpen`] when the signature is not its own.
    pub fn verify(
        &self,
        key_id: &str,
        purpose: SignedPurpose,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), VaultError> {
        let key = self.signing_key(key_id, purpose)?;
        hmac::verify(&key, message, signature).map_err(|_| VaultError::DoesNotOpen)
    }

    fn signing_key(&self, id: &str, purpose: SignedPurpose) -> Result<hmac::Key, VaultError> {
        let salt = Salt::new(HKDF_SHA256, &[]);
        let info = [purpose.as_str().as_bytes()];
        let derived = salt.extract(self.master(id)?);
        let key = derived.expand(&info, HMAC_SHA256);
        Ok(key.map_err(|_| VaultError::Library)?.into())
    }
}
