//! The admin door `/__sandbox/…`: what a test or a demo may see and change behind the vendors' backs.

use std::sync::Arc;

use axum::Router;

use crate::world::World;

pub fn router() -> Router<Arc<World>> {
    Router::new()
}
