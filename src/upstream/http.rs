//! The HTTP clients: one for the public internet, one for private networks, one per extra root certificate.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, ClientBuilder, redirect};

use super::{
    Budgets, Class, Credential, Instance, RateState, UpstreamError, UpstreamKind, WritePace,
    guard::PublicOnly,
    minted::{MintedBook, Slot},
    rate::RateBook,
};
use crate::link::failure::{Failure, UpstreamTrace};

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
    budgets: Option<Arc<dyn Budgets>>,
    github_pace: Option<WritePace>,
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
        Self::with(CALL_TIMEOUT, None, None)
    }

    /// Clients whose calls may take this long, that share rate limits with all other processes, and together with them make
    /// things at GitHub no faster than this.
    ///
    /// # Errors
    /// As [`Http::new`].
    pub fn sharing(
        call_timeout: Duration,
        budgets: Arc<dyn Budgets>,
        github_pace: Option<WritePace>,
    ) -> Result<Self, HttpError> {
        Self::with(call_timeout, Some(budgets), github_pace)
    }

    fn with(
        call_timeout: Duration,
        budgets: Option<Arc<dyn Budgets>>,
        github_pace: Option<WritePace>,
    ) -> Result<Self, HttpError> {
        Ok(Self(Arc::new(Inner {
            call_timeout,
            public: builder(false, call_timeout).build()?,
            private: builder(true, call_timeout).build()?,
            with_certificates: Mutex::default(),
            rates: RateBook::default(),
            budgets,
            github_pace,
            minted: MintedBook::default(),
        })))
    }

    pub(super) fn rates(&self) -> &RateBook {
        &self.0.rates
    }

    pub(super) fn budgets(&self) -> Option<Arc<dyn Budgets>> {
        self.0.budgets.clone()
    }

    /// How fast things are made there.
    pub(super) fn pace(&self, instance: &Instance) -> Option<WritePace> {
        let is_github = instance.kind == UpstreamKind::Github;
        self.0.github_pace.filter(|_| is_github)
    }

    /// Resolves when there are new rests to be told to the other processes.
    pub async fn rests_changed(&self) {
        self.rates().changed().notified().await;
    }

    /// Which credentials have to rest for how long, as far as the other processes do not know.
    pub fn new_rests(&self) -> Vec<([u8; 32], Duration)> {
        self.rates().take_untold()
    }

    /// They could not be told; they are new again.
    pub fn keep_new_rests(&self, rests: &[([u8; 32], Duration)]) {
        let names: Vec<_> = rests.iter().map(|(name, _)| *name).collect();
        self.rates().keep_untold(&names);
    }

    /// The states of all credentials in use, by name.
    pub fn rate_states(&self) -> Vec<([u8; 32], Arc<RateState>)> {
        self.rates().all()
    }

    /// Whether a credential was refused is known from elsewhere: nothing is sent with it then; otherwise it may be good again.
    pub fn heed_refusal(
        &self,
        instance: &Instance,
        credential: &Credential,
        refusal: Option<&Failure>,
    ) {
        let state = self.rates().state(instance, credential);
        state.heed_refusal(refusal.map(|refusal| {
            UpstreamError {
                code: refusal.code,
                class: Class::Refused,
                detail: refusal.detail.clone(),
                trace: refusal
                    .upstream
                    .as_deref()
                    .cloned()
                    .unwrap_or_else(|| UpstreamTrace {
                        upstream: instance.kind.as_str().to_owned(),
                        status: None,
                        request_id: None,
                    }),
            }
        }));
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
