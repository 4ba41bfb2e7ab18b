//! Bitbucket Cloud as a stateful local service.

use crate::forge::{Hook, Message, Push, Vendor};
use crate::world::World;

/// Bitbucket where the core acts by itself.
pub struct Bitbucket;

impl Vendor for Bitbucket {
    fn announce(&self, _: &World, _: &Hook, _: &Push) -> Option<Message> {
        None
    }

    fn not_found(&self, _: &str) -> String {
        "Bitbucket: Unknown git repository".to_owned()
    }

    fn read_only(&self, _: &str) -> String {
        "Bitbucket: Unauthorized".to_owned()
    }
}
