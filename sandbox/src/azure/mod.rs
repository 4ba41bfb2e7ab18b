//! Azure DevOps Services as a stateful local service.

use crate::forge::{Hook, Message, Push, Vendor};
use crate::world::World;

/// Azure where the core acts by itself.
pub struct Azure;

impl Vendor for Azure {
    fn announce(&self, _: &World, _: &Hook, _: &Push) -> Option<Message> {
        None
    }

    fn not_found(&self, _: &str) -> String {
        "Azure: Unknown git repository".to_owned()
    }

    fn read_only(&self, _: &str) -> String {
        "Azure: Unauthorized".to_owned()
    }
}
