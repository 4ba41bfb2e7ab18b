//! The admin door `/__sandbox/…`: what a test or a demo may see and change behind the vendors' backs.

use std::sync::Arc;

use axum::Router;
use serde::{Deserialize, Serialize};

use crate::world::World;

/// How many of one kind were made since the start, and how many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub created: u64,
    pub alive: u64,
}

pub fn router() -> Router<Arc<World>> {
    Router::new()
}
