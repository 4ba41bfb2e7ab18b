//! The database, opened for a process: the operator's by its address, or one of our own.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::embedded::{Embedded, EmbeddedConfig, EmbeddedError};
use crate::config::Database;

/// A database that answers. Close it at the end: one of our own then stops when nobody else uses it.
#[derive(Debug)]
pub struct OpenDatabase {
    url: SecretString,
    embedded: Option<Embedded>,
}

impl OpenDatabase {
    /// Starts or joins the Postgres of our own in `data_dir`; the operator's is taken as it is.
    ///
    /// # Errors
    /// When our own does not start.
    pub async fn open(database: &Database, data_dir: &Path) -> Result<Self, EmbeddedError> {
        let pg_bin = match database {
            Database::Url(url) => {
                return Ok(Self {
                    url: url.clone(),
                    embedded: None,
                });
            }
            Database::Embedded { pg_bin } => pg_bin.clone(),
        };
        let embedded = Embedded::start(&EmbeddedConfig {
            data_dir: data_dir.to_owned(),
            pg_bin,
            durable: true,
        })
        .await?;
        tracing::info!(data_dir = %data_dir.display(), "no DATABASE_URL: using a Postgres of our own");
        Ok(Self {
            url: embedded.url().into(),
            embedded: Some(embedded),
        })
    }

    /// Its address; may hold a password.
    pub fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// When our own does not stop.
    pub async fn close(self) -> Result<(), EmbeddedError> {
        match self.embedded {
            Some(embedded) => embedded.stop().await,
            None => Ok(()),
        }
    }
}
