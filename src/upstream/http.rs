//! The HTTP clients: one for the public internet, one for private networks, one per extra root certificate.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, redirect};

use super::{
    Credential, Instance,
    guard::PublicOnly,
    minted::{MintedBook, Slot},
    rate::RateBook,
};

/// Longest time for a whole call, body included, unless the operator says otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The share of it that connecting may take: three of twenty seconds.
const CONNECTING: f64 = 0.15;
const USER_AGENT: &str = concat!("linkbroker/", env!("CARGO_PKG_VERSION"));

/// Shared by everybody who calls upstreams; cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    call_timeout: Duration,
    public: Client,
    private: Client,
    /// By certificate file and whether private addresses are allowed.
    with_certificates: Mutex<HashMap<(PathBuf, bool), Client>>,
    rates: RateBook,
    minted: MintedBook,
}

/// A client that cannot be set up: a mistake of the operator's.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The file with extra root certificates cannot be read.
    #[error("cannot read the certificates in {path}: {source}")]
    Unreadable {
        /// The instance's `ca_file`.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// TLS refuses the system's or the extra root certificates.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] reqwest::Error),
}

impl Http {
    /// Sets up the clients. They trust the system's root certificates, so `SSL_CERT_FILE` works.
    ///
    /// # Errors
    /// When TLS cannot be set up, e.g. without any root certificate.
    pub fn new() -> Result<Self, HttpError> {
        Self::with_call_timeout(CALL_TIMEOUT)
    }

    /// Sets up the clients, whose calls may take this long.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn with_call_timeout(call_timeout: Duration) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Inner {
            call_timeout,
            public: builder(false, call_timeout).build()?,
            private: builder(true, call_timeout).build()?,
            with_certificates: Mutex::default(),
            rates: RateBook::default(),
            minted: MintedBook::default(),
        })))
    }

    pub(super) fn rates(&self) -> &RateBook {
        &self.0.rates
    }

    /// The place of a token that is got for a credential, shared by everybody who needs it for the same purpose.
    pub fn minted_slot(
        &self,
        instance: &Instance,
        credential: &Credential,
        purpose: &str,
    ) -> Arc<Slot> {
        self.0.minted.slot(instance, credential, purpose)
    }

    /// The client that may talk to `instance`.
    pub(super) fn client(&self, instance: &Instance) -> Result<Client, HttpError> {
        let private = instance.allows_private_addresses();
        match &instance.ca_file {
            Some(file) => self.client_trusting(file, private),
            None if private => Ok(self.0.private.clone()),
            None => Ok(self.0.public.clone()),
        }
    }

    fn client_trusting(&self, file: &Path, private: bool) -> Result<Client, HttpError> {
        let mut clients = self
            .0
            .with_certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (file.to_owned(), private);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = builder(private, self.0.call_timeout)
            .tls_certs_merge(certificates(file)?)
            .build()?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, HttpError> {
    let pem = std::fs::read(file).map_err(|source| HttpError::Unreadable {
        path: file.to_owned(),
        source,
    })?;
    Ok(Certificate::from_pem_bundle(&pem)?)
}

/// Redirects are ours to judge (reqwest would turn a POST into a GET), and proxy variables are ignored: whoever sets
/// them could read every credential.
fn builder(private: bool, call_timeout: Duration) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(call_timeout.mul_f64(CONNECTING))
        .timeout(call_timeout);
    if private {
        builder
    } else {
        builder.dns_resolver(PublicOnly)
    }
}
