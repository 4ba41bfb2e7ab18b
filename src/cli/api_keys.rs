//! `linkbroker api-keys`: makes, lists and revokes the keys of callers without an issuer.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::NOTHING};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Output, database::with_database, print};
use crate::api::caller::{NewApiKey, Scope, Tenant};
use crate::config::StoreArgs;
use crate::store::{
    Rows, StoreError,
    api_keys::{self, ApiKeyRow},
    audit::{self, NewEntry},
    begin,
};

/// Who the audit says it was: whoever may use the database.
const OPERATOR: &str = "operator";

/// What to do with API keys. A server accepts them when LINKBROKER_API_KEYS is on.
#[derive(Debug, Subcommand)]
pub enum ApiKeysCommand {
    /// Makes a key and prints it. It cannot be shown again.
    Create(CreateArgs),
    /// Lists keys, without their secrets.
    List {
        /// Only of this tenant.
        #[arg(long)]
        tenant: Option<Tenant>,
        #[command(flatten)]
        store: Box<StoreArgs>,
    },
    /// Revokes a key: it is refused from now on, by every server.
    Revoke {
        /// The key's id, as `list` shows it.
        id: Uuid,
        #[command(flatten)]
        store: Box<StoreArgs>,
    },
}

/// A key to be made.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Whose things the bearer works with.
    #[arg(long)]
    tenant: Tenant,

    /// What to call it, 1 to 100 visible characters; its bearer appears as `api-key:NAME`.
    #[arg(long, value_parser = name)]
    name: String,

    /// What the bearer may do (links:read, links:write, connections:read, connections:write, audit:read); repeat it for more.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Scope>,

    #[command(flatten)]
    store: Box<StoreArgs>,
}

/// A key as `list` shows it.
#[derive(Debug, Serialize)]
struct ListedKey {
    id: String,
    tenant: String,
    name: String,
    scopes: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    last_used_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    revoked_at: Option<OffsetDateTime>,
}

pub(super) async fn run(command: ApiKeysCommand, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        ApiKeysCommand::Create(args) => create(args, output).await?,
        ApiKeysCommand::List { tenant, store } => list(tenant, *store, output).await?,
        ApiKeysCommand::Revoke { id, store } => revoke(id, *store, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: CreateArgs, output: Output) -> anyhow::Result<()> {
    let key = NewApiKey::random()?;
    let scopes: Vec<_> = args.scopes.iter().map(ToString::to_string).collect();
    let tenant = args.tenant.as_str();
    with_database(*args.store, async |pool| {
        let mut tx = begin(&pool, Rows::Of(tenant)).await?;
        let stored = api_keys::insert(&mut tx, key.id, tenant, &args.name, &scopes, &key.secret_hash);
        match stored.await {
            Err(error) if error.constraint() == Some("api_keys_name") => {
                bail!("tenant `{tenant}` has a key `{}` already: revoke it first, or choose another name", args.name)
            }
            done => done?,
        }
        audited(&mut tx, tenant, "create", key.id, &args.name).await?;
        Ok(tx.commit().await?)
    })
    .await?;
    let token = key.token.expose_secret();
    let id = key.id.simple().to_string();
    let value =
        json!({"id": id, "key": token, "tenant": tenant, "name": args.name, "scopes": scopes});
    print(output, token, &value)?;
    eprintln!("Keep this key now: it is not stored and cannot be shown again.");
    Ok(())
}

async fn list(tenant: Option<Tenant>, store: StoreArgs, output: Output) -> anyhow::Result<()> {
    let tenant = tenant.as_ref().map(Tenant::as_str);
    let rows = with_database(store, async |pool| {
        let mut tx = begin(&pool, Rows::OfAll).await?;
        Ok(api_keys::list(&mut tx, tenant).await?)
    })
    .await?;
    let keys: Vec<ListedKey> = rows.into_iter().map(Into::into).collect();
    print(output, &table(&keys), &keys)
}

async fn revoke(id: Uuid, store: StoreArgs, output: Output) -> anyhow::Result<()> {
    let (tenant, name) = with_database(store, async |pool| {
        let mut tx = begin(&pool, Rows::OfAll).await?;
        let revoked = api_keys::revoke(&mut tx, id).await?;
        let (tenant, name) = revoked.context("there is no such key, or it is revoked already")?;
        audited(&mut tx, &tenant, "revoke", id, &name).await?;
        tx.commit().await?;
        Ok((tenant, name))
    })
    .await?;
    let text = format!("The key `{name}` of tenant `{tenant}` is revoked.");
    print(
        output,
        &text,
        &json!({"id": id.simple().to_string(), "tenant": tenant, "name": name}),
    )
}

async fn audited(
    db: &mut PgConnection,
    tenant: &str,
    verb: &str,
    id: Uuid,
    name: &str,
) -> Result<(), StoreError> {
    let object = format!("api key {} ({name})", id.simple());
    audit::append(db, tenant, &[NewEntry::by(OPERATOR, verb, object)]).await
}

impl From<ApiKeyRow> for ListedKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id.simple().to_string(),
            tenant: row.tenant,
            name: row.name,
            scopes: row.scopes,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

fn table(keys: &[ListedKey]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "ID",
        "TENANT",
        "NAME",
        "SCOPES",
        "CREATED",
        "LAST USED",
        "REVOKED",
    ]);
    let day = |at: Option<OffsetDateTime>| at.map_or("-".to_owned(), |at| at.date().to_string());
    for key in keys {
        table.add_row([
            key.id.clone(),
            key.tenant.clone(),
            key.name.clone(),
            key.scopes.join(" "),
            day(Some(key.created_at)),
            day(key.last_used_at),
            day(key.revoked_at),
        ]);
    }
    table.to_string()
}

fn name(text: &str) -> Result<String, String> {
    let good = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    good.then(|| text.to_owned())
        .ok_or_else(|| "use 1 to 100 visible characters".to_owned())
}
