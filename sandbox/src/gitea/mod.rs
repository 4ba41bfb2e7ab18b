//! Gitea (and Forgejo) as a stateful local service, and hosts that have git over SSH and nothing else.

use crate::forge::{Hook, Message, Push, Vendor};
use crate::world::World;

/// Gitea where the core acts by itself.
pub struct Gitea;

impl Vendor for Gitea {
    fn announce(&self, _: &World, _: &Hook, _: &Push) -> Option<Message> {
        None
    }

    fn not_found(&self, _: &str) -> String {
        "Gitea: Unknown git repository".to_owned()
    }

    fn read_only(&self, _: &str) -> String {
        "Gitea: Unauthorized".to_owned()
    }
}

/// A host without an API.
pub struct Plain;

impl Vendor for Plain {
    fn announce(&self, _: &World, _: &Hook, _: &Push) -> Option<Message> {
        None
    }

    fn not_found(&self, path: &str) -> String {
        format!("fatal: '{path}' does not appear to be a git repository")
    }

    fn read_only(&self, path: &str) -> String {
        format!("fatal: no write access to '{path}'")
    }
}
