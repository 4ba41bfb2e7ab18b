//! Deploy keys: real RSA pairs whose private half never leaves; they belong to the token's user and are never deduplicated.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, ApiError, Page, created, no_content, ok};
use super::records::{DeployKey, object_id};
use super::view;
use crate::clock::milliseconds;
use crate::git::KeyPair;
use crate::world::World;

/// Key pairs made ahead. Shared by all sandboxes of a process: tests start many, most need no key, and making one costs
/// hundreds of milliseconds of a CPU. Each pair is given out once.
static STOCK: Mutex<Vec<KeyPair>> = Mutex::new(Vec::new());

/// POST `/deploy_keys`
pub async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
) -> Answer {
    let pair = take_pair(&world).await.map_err(|error| {
        tracing::error!(%error, "cannot make a key pair");
        ApiError::Plain(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    })?;
    let now = world.clock.now();
    let key = DeployKey {
        id: object_id(now),
        user_id: caller.user_id,
        pair: Arc::new(pair),
        created_at: now,
    };
    let body = key_view(&key);
    let mut netlify = world.netlify.lock();
    netlify.keys.insert(key.id.clone(), key);
    netlify.count_created("deploy_keys");
    created(body)
}

/// GET `/deploy_keys`
pub async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    page: Page,
) -> Answer {
    let netlify = world.netlify.lock();
    let own = netlify
        .keys
        .values()
        .filter(|k| k.user_id == caller.user_id);
    let listed = own.filter(|k| view::is_listed(&world, k.created_at));
    page.of(listed.map(key_view).collect(), &world.origin())
}

/// GET `/deploy_keys/{key_id}`
pub async fn get(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(key_id): Path<String>,
) -> Answer {
    let netlify = world.netlify.lock();
    let key = netlify.keys.get(&key_id);
    let own = key.filter(|k| k.user_id == caller.user_id);
    ok(key_view(own.ok_or(ApiError::NOT_FOUND)?))
}

/// DELETE `/deploy_keys/{key_id}`
pub async fn delete(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(key_id): Path<String>,
) -> Answer {
    let mut netlify = world.netlify.lock();
    let key = netlify.keys.get(&key_id);
    key.filter(|k| k.user_id == caller.user_id)
        .ok_or(ApiError::NOT_FOUND)?;
    netlify.keys.remove(&key_id);
    no_content()
}

/// Makes key pairs ahead, so that `POST /deploy_keys` answers as fast as the vendor does.
pub fn keep_stock(world: &Arc<World>) {
    let keeper = world.clone();
    world.spawn(async move {
        loop {
            let wanted = keeper.switches.read().netlify.key_stock;
            if STOCK.lock().len() >= wanted {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            match KeyPair::generate().await {
                Ok(pair) => STOCK.lock().push(pair),
                Err(error) => {
                    tracing::error!(%error, "cannot make a key pair ahead");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
}

/// Whether as many pairs are in stock as the switch asks for.
pub fn stock_is_full(world: &World) -> bool {
    STOCK.lock().len() >= world.switches.read().netlify.key_stock
}

async fn take_pair(world: &World) -> anyhow::Result<KeyPair> {
    if world.switches.read().netlify.pretend_keys {
        return Ok(KeyPair::pretended());
    }
    let stocked = STOCK.lock().pop();
    match stocked {
        Some(pair) => Ok(pair),
        None => KeyPair::generate().await,
    }
}

fn key_view(key: &DeployKey) -> Value {
    json!({
        "id": key.id,
        "public_key": key.pair.public_line(),
        "created_at": milliseconds(key.created_at),
    })
}
