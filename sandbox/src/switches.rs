//! Every behaviour that can be turned, in one tree: what is unproven about a vendor is a switch with both positions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{azure, bitbucket, github, gitlab, netlify};

/// All switches; `PATCH /__sandbox/switches` takes any part of this tree as a JSON merge patch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Milliseconds that every vendor call takes before it is handled.
    pub latency_ms: u64,
    /// Nothing is compared with the vendors' descriptions: for thousands of links, whose calls other tests compare.
    pub trust_clients: bool,
    /// The git providers' lists of keys and webhooks do not show the newest so many seconds.
    pub list_lag_seconds: u64,
    pub netlify: netlify::Switches,
    pub github: github::Switches,
    pub gitlab: gitlab::Switches,
    pub bitbucket: bitbucket::Switches,
    pub azure_devops: azure::Switches,
}

impl Switches {
    /// Lays `patch` over the present switches.
    ///
    /// # Errors
    /// When the patch names a switch that does not exist, or gives it a value of the wrong type.
    pub fn patched(&self, patch: &Value) -> serde_json::Result<Self> {
        let mut tree = serde_json::to_value(self)?;
        merge(&mut tree, patch);
        serde_json::from_value(tree)
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}
