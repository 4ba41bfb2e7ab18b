//! Hosts that have git over SSH and nothing else: a person installs the key, and a script tells Netlify about pushes.

use super::{Hook, Message, Push, Vendor};
use crate::gitea;
use crate::world::World;

/// A host without an API.
pub struct Plain;

impl Vendor for Plain {
    /// What a `post-receive` script would send: the shape that Gitea and GitHub share.
    fn announce(&self, world: &World, hook: &Hook, push: &Push) -> Option<Message> {
        let listens = push.branch().is_some() && hook.events.contains("push");
        listens.then(|| Message {
            headers: Vec::new(),
            ..gitea::push_message(world, hook, push)
        })
    }

    fn not_found(&self, path: &str) -> String {
        format!("fatal: '{path}' does not appear to be a git repository")
    }

    fn read_only(&self, path: &str) -> String {
        format!("fatal: no write access to '{path}'")
    }
}
