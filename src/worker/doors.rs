//! Opens the upstreams for a link: connection rows, unsealed credentials, configured instances.

use std::sync::Arc;

use sqlx::PgPool;
use uuid::Uuid;

use crate::{
    link::{
        environment::{self, Environment},
        failure::{Failure, FailureCode},
        request::LinkSpec,
        status::Wanted,
    },
    netlify,
    providers::{self, Provider},
    store::{
        Rows, StoreError, begin, checks,
        connections::{self, ConnectionRow},
        data_keys::{self, DataKeyRow},
        environments,
        links::LeasedLink,
    },
    upstream::{Access, Credential, Http, Instance, StandingKey, UpstreamKind, instance_of},
    vault::{DataKey, KeyRing, Purpose, Sealed, WrappedDataKey, connection_row, link_row},
};

/// Everything that is needed to call upstreams on behalf of tenants.
pub struct Doors {
    http: Http,
    instances: Vec<Arc<Instance>>,
    key_ring: KeyRing,
}

/// The two connections of a link, and what it wants of them.
pub struct Pair<'a> {
    /// Whose they are.
    pub tenant: &'a str,
    /// The one to Netlify.
    pub netlify: Uuid,
    /// The one to the git provider.
    pub provider: Uuid,
    /// The repository's path, by which standing keys are granted.
    pub path: &'a str,
    /// The link, whose variables are opened too; absent for a look alone.
    pub link: Option<&'a LeasedLink>,
}

impl<'a> From<&'a LeasedLink> for Pair<'a> {
    fn from(link: &'a LeasedLink) -> Self {
        Self {
            tenant: &link.tenant,
            netlify: link.netlify_connection,
            provider: link.provider_connection,
            path: &link.spec.path,
            link: Some(link),
        }
    }
}

/// The two upstreams of one link.
pub struct Opened {
    /// Netlify.
    pub netlify: Access,
    /// The git provider.
    pub provider: Box<dyn Provider>,
    /// Which one it is.
    pub provider_kind: UpstreamKind,
    /// The operator's deploy key that the link may use, where keys belong to accounts.
    pub standing_key: Option<StandingKey>,
    /// The environment variables to set, with their values.
    pub environment: Environment,
    /// Seals what is the tenant's.
    pub key: DataKey,
    /// The credentials behind the two, Netlify's first.
    pub credentials: [UsedCredential; 2],
}

/// A credential that a link works with.
pub struct UsedCredential {
    /// The connection that holds it.
    pub connection: Uuid,
    /// The tenant's name of the connection.
    pub name: String,
    /// As it lies in the database: tells it from one that takes its place.
    pub sealed: Vec<u8>,
}

/// The upstream of one connection.
pub enum Door {
    /// Netlify.
    Netlify(Access),
    /// A git provider.
    Provider(Box<dyn Provider>),
}

/// Why an upstream cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The link cannot go on until the operator or the caller acts.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl Doors {
    /// Doors to these instances.
    pub fn new(http: Http, instances: Vec<Arc<Instance>>, key_ring: KeyRing) -> Self {
        Self {
            http,
            instances,
            key_ring,
        }
    }

    /// The upstreams of a link, with its connections' credentials.
    ///
    /// # Errors
    /// When a connection is gone, its credential does not open, or its instance is no longer configured.
    pub async fn open(&self, pool: &PgPool, pair: &Pair<'_>) -> Result<Opened, OpenError> {
        let mut tx = begin(pool, Rows::Of(pair.tenant)).await?;
        let wrapped = data_keys::get(&mut tx, pair.tenant).await?;
        let netlify = connections::get(&mut tx, pair.tenant, pair.netlify).await?;
        let provider = connections::get(&mut tx, pair.tenant, pair.provider).await?;
        let both = [pair.netlify, pair.provider];
        let refused = checks::refused(&mut tx, pair.tenant, &both).await?;
        let with_variables = pair.link.filter(|link| !link.spec.env.is_empty());
        let sealed = match with_variables {
            Some(link) => environments::get(&mut tx, pair.tenant, link.id).await?,
            None => None,
        };
        drop(tx);
        // Nothing is begun with a refused credential; what needs it cannot be taken back either, but all else can.
        let is_undoing = pair.link.is_some_and(|link| link.wanted != Wanted::Linked);
        let refused = match refused {
            Some((_, refusal)) if !is_undoing => return Err(refusal.into()),
            refused => refused,
        };
        let of = |connection| refused.as_ref().filter(|(of, _)| *of == connection);
        let credentials = [used(&netlify)?, used(&provider)?];
        let key = self.data_key(pair.tenant, wrapped)?;
        let environment = match with_variables {
            Some(link) => unseal_environment(&key, link.id, &link.spec, sealed)?,
            None => Environment::new(),
        };
        let (netlify, credential) = self.unseal(&key, netlify)?;
        self.http
            .heed_refusal(&netlify, &credential, of(pair.netlify).map(|it| &it.1));
        let netlify = netlify::access(&self.http, netlify, credential).map_err(Failure::from)?;
        let (instance, credential) = self.unseal(&key, provider)?;
        self.http
            .heed_refusal(&instance, &credential, of(pair.provider).map(|it| &it.1));
        let provider_kind = instance.kind;
        let keys = &instance.account_keys;
        let standing_key = keys.standing_for(pair.tenant, pair.path).cloned();
        let provider =
            providers::for_instance(&self.http, instance, credential).map_err(Failure::from)?;
        Ok(Opened {
            netlify,
            provider: provider
                .ok_or_else(|| closed(format!("{provider_kind} is not built yet")))?,
            provider_kind,
            standing_key,
            environment,
            key,
            credentials,
        })
    }

    /// The upstream of one connection, and the credential for it.
    ///
    /// # Errors
    /// When the connection is gone, its credential does not open, or its instance is no longer configured.
    pub async fn open_one(
        &self,
        pool: &PgPool,
        tenant: &str,
        connection: Uuid,
    ) -> Result<(Door, UsedCredential), OpenError> {
        let mut tx = begin(pool, Rows::Of(tenant)).await?;
        let wrapped = data_keys::get(&mut tx, tenant).await?;
        let row = connections::get(&mut tx, tenant, connection).await?;
        drop(tx);
        let used = used(&row)?;
        let key = self.data_key(tenant, wrapped)?;
        let (instance, credential) = self.unseal(&key, row)?;
        // Whoever asks wants to know whether it is good by now.
        self.http.heed_refusal(&instance, &credential, None);
        let kind = instance.kind;
        if kind == UpstreamKind::Netlify {
            let access = netlify::access(&self.http, instance, credential);
            return Ok((Door::Netlify(access.map_err(Failure::from)?), used));
        }
        let provider =
            providers::for_instance(&self.http, instance, credential).map_err(Failure::from)?;
        let provider = provider.ok_or_else(|| closed(format!("{kind} is not built yet")))?;
        Ok((Door::Provider(provider), used))
    }

    /// The values of the environment variables that a link sets; nothing when they cannot be opened.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn environment(
        &self,
        pool: &PgPool,
        tenant: &str,
        link: Uuid,
        spec: &LinkSpec,
    ) -> Result<Option<Environment>, StoreError> {
        if spec.env.is_empty() {
            return Ok(Some(Environment::new()));
        }
        let mut tx = begin(pool, Rows::Of(tenant)).await?;
        let wrapped = data_keys::get(&mut tx, tenant).await?;
        let sealed = environments::get(&mut tx, tenant, link).await?;
        drop(tx);
        let key = self.data_key(tenant, wrapped);
        Ok(key
            .and_then(|key| unseal_environment(&key, link, spec, sealed))
            .ok())
    }

    fn data_key(&self, tenant: &str, wrapped: Option<DataKeyRow>) -> Result<DataKey, Failure> {
        let wrapped = wrapped.ok_or_else(|| closed("the tenant has no data key"))?;
        let wrapped = WrappedDataKey {
            key_id: wrapped.key_id,
            bytes: wrapped.wrapped,
        };
        self.key_ring.unwrap(tenant, &wrapped).map_err(closed)
    }

    fn unseal(
        &self,
        key: &DataKey,
        row: Option<ConnectionRow>,
    ) -> Result<(Arc<Instance>, Credential), Failure> {
        let row = row.ok_or_else(|| closed("the connection was deleted"))?;
        let instance = instance_of(&self.instances, &row.kind, &row.host);
        let instance =
            instance.ok_or_else(|| closed(format!("{} is no longer configured", row.host)))?;
        let plain = key
            .open(
                &Sealed(row.sealed),
                &connection_row(row.id),
                Purpose::Credential,
            )
            .map_err(closed)?;
        let credential = Credential::from_stored(&row.credential_type, &plain).map_err(closed)?;
        Ok((instance, credential))
    }
}

fn used(row: &Option<ConnectionRow>) -> Result<UsedCredential, Failure> {
    let row = row
        .as_ref()
        .ok_or_else(|| closed("the connection was deleted"))?;
    Ok(UsedCredential {
        connection: row.id,
        name: row.name.clone(),
        sealed: row.sealed.clone(),
    })
}

fn unseal_environment(
    key: &DataKey,
    link: Uuid,
    spec: &LinkSpec,
    sealed: Option<Vec<u8>>,
) -> Result<Environment, Failure> {
    let sealed = sealed.ok_or_else(|| closed("the values of the environment are gone"))?;
    let row = link_row(link);
    let plain = key.open(&Sealed(sealed), &row, Purpose::Environment);
    let whole = environment::from_stored(&spec.env, &plain.map_err(closed)?);
    whole.ok_or_else(|| closed("the values of the environment do not fit the link"))
}

fn closed(why: impl std::fmt::Display) -> Failure {
    Failure::new(FailureCode::ConnectionUnusable, why.to_string())
}
