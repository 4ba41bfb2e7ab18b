//! Netlify as a stateful local service: API, builds, served sites, hooks in and out.

use std::sync::Arc;

use axum::Router;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::world::World;

/// What can be turned about Netlify.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {}

#[derive(Debug)]
pub struct State {}

impl State {
    pub fn new(_clock: &Clock) -> Self {
        Self {}
    }
}

pub fn router() -> Router<Arc<World>> {
    Router::new()
}
